//! Replies through queues: the status suite as far as it applies, and web instances and workers
//! that share nothing but queues.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Error, ErrorKind, Health, HealthCheck, Result, SystemClock};
use standfast_queue::testkit::{
    Fault, Faulty, MemoryHarness, QueueOperation, STATUS_CASES, StatusHarness, run_status_case,
};
use standfast_queue::{
    Advance, CancelOutcome, DeadLetterFilter, DeadLetters, Envelope, Handle, Job, JobContext,
    JobError, JobState, JobStatus, Jobs, KindConfig, MemoryQueue, MemoryQueueConfig,
    MemoryStatusStore, Queue, QueueExt, ReceiveOptions, ReplyQueue, ReplyStatuses, ReplyStore,
    RetryPolicy, SendOutcome, Settlement, StatusCapabilities, StatusHandle, StatusStore,
    StatusUpdate, WaitError,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(30);

/// What a reply queue cannot do, and the cases that ask for it.
const MISSING: &[&str] = &[
    // nobody can be asked to end
    "a_job_that_waits_is_cancelled_at_once",
    "a_job_that_runs_is_asked_to_end",
    "a_job_that_runs_may_end_otherwise",
    "a_request_to_cancel_wakes_a_waiter",
    "a_new_run_begins_with_nothing",
    "versions_differ",
    // checkpoints stay with the delivery
    "a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint",
    "progress_and_checkpoint_stay_until_they_change",
    "a_checkpoint_over_the_limit_is_too_large",
];

#[test]
fn the_suite_holds_through_a_reply_queue() {
    for case in STATUS_CASES.iter().filter(|case| !MISSING.contains(&case.name)) {
        println!("{case:?}");
        run_status_case(case, || ReplyHarness(MemoryHarness::manual()));
    }
}

#[test]
fn what_is_said_to_be_missing_is_missing() {
    for name in MISSING {
        let case = standfast_queue::testkit::status_case(name);
        let run = || run_status_case(case, || ReplyHarness(MemoryHarness::manual()));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{name} works after all");
    }
}

/// Steps are taken at a worker and looked at where somebody waits.
struct ReplyHarness(MemoryHarness);

#[async_trait]
impl StatusHarness for ReplyHarness {
    async fn fresh_store(&self) -> Arc<dyn StatusStore> {
        let clock = self.0.clock();
        let mut config = MemoryQueueConfig::default();
        config.clock = Arc::clone(&clock);
        let own = MemoryQueue::with_config(config);
        let replies = ReplyQueue::with_clock("web", own.clone(), Arc::clone(&clock));
        let answers = ReplyStore::with_clock(MemoryStatusStore::new(), opens(&own), clock);
        tokio::spawn({
            let replies = replies.clone();
            async move { replies.run_until(std::future::pending()).await }
        });
        let web = replies.statuses();
        while !web.health().await.is_usable() {
            tokio::task::yield_now().await;
        }
        Arc::new(Through { replies, web, answers, own, known: Mutex::default() })
    }

    async fn pass_time(&self, span: Duration) {
        StatusHarness::pass_time(&self.0, span).await;
    }

    fn unit(&self) -> Duration {
        StatusHarness::unit(&self.0)
    }

    fn can_pass(&self, span: Duration) -> bool {
        StatusHarness::can_pass(&self.0, span)
    }
}

#[derive(Debug)]
struct Through {
    replies: ReplyQueue,
    web: ReplyStatuses,
    answers: ReplyStore,
    own: MemoryQueue,
    known: Mutex<HashSet<StatusHandle>>,
}

#[async_trait]
impl StatusStore for Through {
    fn capabilities(&self) -> StatusCapabilities {
        self.web.capabilities()
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let mut known = self.known.lock().await;
        if known.insert(*handle) {
            // a job of this handle arrives at the worker
            let jobs = MemoryQueue::new();
            let job = Envelope::new("case", "").with_handle(*handle);
            self.replies.asking(jobs.clone()).send(&[job.into()]).await?;
            self.answers.answering(jobs).receive(&ReceiveOptions::new(1)).await?;
        }
        let said = self.answers.advance(handle, update, keep_for).await?;
        while !is_empty(&self.own).await {
            tokio::task::yield_now().await;
        }
        let arrived = self.web.get(handle).await?.unwrap_or_else(|| Arc::clone(said.status()));
        Ok(if said.is_applied() { Advance::Applied(arrived) } else { Advance::Refused(arrived) })
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.web.get(handle).await
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.web.wait(handle, seen, timeout).await
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.web.request_cancel(handle).await
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.answers.remove(handle).await?;
        self.web.remove(handle).await
    }
}

#[async_trait]
impl HealthCheck for Through {
    async fn health(&self) -> Health {
        self.web.health().await
    }
}

async fn is_empty(queue: &dyn Queue) -> bool {
    let stats = queue.stats().await.expect("memory answers");
    stats.ready + stats.leased + stats.delayed == 0
}

/// Opens `queue`, whatever its name.
fn opens<Q: Queue + Clone>(
    queue: &Q,
) -> impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static {
    let queue = queue.clone();
    move |_| Ok(Arc::new(queue.clone()))
}

#[derive(Serialize, Deserialize)]
struct Sum {
    numbers: Vec<u64>,
}

impl Job for Sum {
    const KIND: &'static str = "sum";
    type Output = u64;
}

async fn sum(job: Sum, ctx: JobContext) -> Result<u64, JobError> {
    ctx.progress(job.numbers.len() as u64, job.numbers.len() as u64);
    if job.numbers.is_empty() {
        return Err(JobError::dead("nothing to add"));
    }
    Ok(job.numbers.iter().sum())
}

fn numbers(numbers: &[u64]) -> Sum {
    Sum { numbers: numbers.to_vec() }
}

/// A web instance: nothing of it is shared but its queues.
struct Web {
    jobs: Jobs,
    replies: ReplyQueue,
    receives: JoinHandle<()>,
}

impl Web {
    fn start(name: &str, jobs: &MemoryQueue, own: impl Queue) -> Self {
        let replies = ReplyQueue::new(name, own);
        let jobs = Jobs::new(replies.asking(jobs.clone()), replies.statuses());
        let receiver = replies.clone();
        let receives =
            tokio::spawn(async move { receiver.run_until(std::future::pending()).await });
        Self { jobs, replies, receives }
    }

    async fn kill(self) {
        self.receives.abort();
        assert!(self.receives.await.is_err_and(|ended| ended.is_cancelled()), "it is killed");
    }
}

/// A worker process's store and its jobs.
fn worker(
    jobs: &MemoryQueue,
    open: impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static,
) -> (ReplyStore, Jobs) {
    let answers = ReplyStore::new(MemoryStatusStore::new(), open);
    (answers.clone(), Jobs::new(answers.answering(jobs.clone()), answers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_instance_learns_the_results_of_its_own_jobs() {
    let (jobs, own) = (MemoryQueue::new(), [MemoryQueue::new(), MemoryQueue::new()]);
    let webs =
        [Web::start("web-0", &jobs, own[0].clone()), Web::start("web-1", &jobs, own[1].clone())];
    let open = move |name: &str| -> Result<Arc<dyn Queue>> {
        let index: usize = name.trim_start_matches("web-").parse().expect("one of two");
        Ok(Arc::new(own[index].clone()))
    };
    let (answers, worker) = worker(&jobs, open);
    tokio::spawn(worker.worker(()).on(sum).run_until(std::future::pending()));
    let mut handles: Vec<Vec<Handle<Sum>>> = Vec::new();
    for (index, web) in webs.iter().enumerate() {
        let mut own = Vec::new();
        for number in 0..50 {
            let job = numbers(&[number, 1000 * index as u64]);
            own.push(web.jobs.send(job).await.expect("it is sent"));
        }
        handles.push(own);
    }
    for (index, own) in handles.iter().enumerate() {
        for (number, handle) in own.iter().enumerate() {
            let result = handle.wait(LONG).await.expect("it is told");
            assert_eq!(result, number as u64 + 1000 * index as u64);
            let status = handle.status().await.expect("memory").expect("it is kept");
            assert_eq!(status.progress.done, 2, "progress is told too");
        }
    }
    let dead = webs[1].jobs.send(numbers(&[])).await.expect("it is sent");
    match dead.wait(LONG).await {
        Err(WaitError::Failed(failure)) => assert_eq!(failure.message, "nothing to add"),
        other => panic!("{other:?}"),
    }
    let elsewhere = webs[0].jobs.handle::<Sum>(dead.id());
    assert!(elsewhere.status().await.expect("memory").is_none(), "only the sender knows");
    // settled a moment after it was told
    while !format!("{answers:?}").contains("known: 0") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_to_a_dead_instance_is_learnt_by_the_next_in_its_place() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1, 2])).await.expect("it is sent");
    let id = handle.id();
    web.kill().await;
    let (_, at_work) = worker(&jobs, opens(&own));
    let report = at_work.worker(()).on(sum).drain().await;
    assert_eq!(report.succeeded, 1, "the job runs all the same");
    let web = Web::start("web-0", &jobs, own.clone());
    // before the first reply the handle is not known here
    while web.jobs.status().get(&id).await.expect("memory").is_none() {
        tokio::task::yield_now().await;
    }
    let again = web.jobs.handle::<Sum>(id);
    assert_eq!(again.wait(LONG).await.expect("it is told"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_between_a_step_and_its_ack_applies_it_again() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1, 2])).await.expect("it is sent");
    let (_, at_work) = worker(&jobs, opens(&own));
    web.receives.abort();
    at_work.worker(()).on(sum).drain().await;
    // received and not acked
    let brief = ReceiveOptions::new(10).lease(Duration::ZERO);
    let seen = own.receive(&brief).await.expect("memory").deliveries.len();
    assert!(seen >= 2, "running and its end were told: {seen}");
    let receiver = web.replies.clone();
    tokio::spawn(async move { receiver.run_until(std::future::pending()).await });
    assert_eq!(handle.wait(LONG).await.expect("it is told"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_seen_where_it_is_waited_for() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let (_, at_work) = worker(&jobs, opens(&own));
    let tries = Arc::new(AtomicU32::new(0));
    let flaky = {
        let tries = Arc::clone(&tries);
        move |job: Sum| {
            let tries = Arc::clone(&tries);
            async move {
                match tries.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(JobError::retry("no disk").with_detail("/dev/full")),
                    _ => Ok(job.numbers.iter().sum::<u64>()),
                }
            }
        }
    };
    let handle = web.jobs.send(numbers(&[4])).await.expect("it is sent");
    let mut policy = RetryPolicy::default();
    policy.backoff = standfast_core::Backoff::new(LONG, LONG);
    let flaky = at_work.worker(()).on_with(KindConfig::default().retry(policy), flaky);
    tokio::spawn(flaky.run_until(std::future::pending()));
    let mut seen = 0;
    loop {
        let status = web.jobs.status().wait(&handle.id(), seen, LONG).await.expect("memory");
        let status = status.expect("it is known");
        seen = status.version;
        if status.delivery == 2 {
            assert_eq!((status.state, status.attempt), (JobState::Queued, 2));
            let error = status.error.as_ref().expect("why it waits");
            assert_eq!(error.message, "no disk");
            assert!(status.retry_at.is_some(), "and until when");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_queue_that_fails_for_a_while_loses_nothing() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let faulty = Arc::new(Faulty::new(own));
    let down = || Error::new(ErrorKind::Unavailable, "memory", "queue.send");
    let unknown = Error::new(ErrorKind::OutcomeUnknown, "memory", "queue.send");
    faulty.script(
        QueueOperation::Send,
        [
            Fault::ErrorBefore(down()),
            Fault::None,
            // the end: not sent, then sent and nobody knows
            Fault::ErrorBefore(down()),
            Fault::Entries(vec![(0, down())]),
            Fault::ErrorAfter(unknown),
        ],
    );
    let (_, at_work) = worker(&jobs, opens(&faulty));
    async fn quiet(job: Sum) -> Result<u64, JobError> {
        Ok(job.numbers.iter().sum())
    }
    let handle = web.jobs.send(numbers(&[1, 2])).await.expect("it is sent");
    let report = at_work.worker(()).on(quiet).drain().await;
    assert_eq!(report.succeeded, 1, "the worker waited the outage out");
    assert_eq!(handle.wait(LONG).await.expect("it is told"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_does_not_suffer_for_an_instance_that_is_gone() {
    let mut config = MemoryQueueConfig::default();
    config.max_len = 1;
    let full = MemoryQueue::with_config(config);
    let sent = Arc::new(full.clone()).send_one(Envelope::new("old", "")).await;
    assert!(sent.expect("memory").is_sent());
    let gone = |kind| {
        move |_: &str| -> Result<Arc<dyn Queue>> { Err(Error::new(kind, "memory", "queue.open")) }
    };
    let opens: [Box<dyn Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync>; 3] = [
        Box::new(opens(&full)),
        Box::new(gone(ErrorKind::NotFound)),
        Box::new(gone(ErrorKind::Invalid)),
    ];
    for open in opens {
        let jobs = MemoryQueue::new();
        let web = Web::start("web-0", &jobs, MemoryQueue::new());
        web.jobs.send(numbers(&[1])).await.expect("it is sent");
        let (_, at_work) = worker(&jobs, open);
        let report = at_work.worker(()).on(sum).drain().await;
        assert_eq!(report.succeeded, 1, "it ran, once");
        assert!(is_empty(&jobs).await, "and is settled");
    }
}

#[tokio::test]
async fn a_result_too_large_for_the_reply_queue_fails_the_job() {
    let jobs = MemoryQueue::new();
    let mut config = MemoryQueueConfig::default();
    config.max_body = 1000;
    let own = MemoryQueue::with_config(config);
    let web = Web::start("web-0", &jobs, own.clone());
    let (_, at_work) = worker(&jobs, opens(&own));
    async fn verbose(_: Text) -> Result<String, JobError> {
        Ok("x".repeat(2000))
    }
    let handle = web.jobs.send(Text).await.expect("it is sent");
    let report = at_work.worker(()).on(verbose).drain().await;
    assert_eq!(report.dead, 1, "{report:?}");
    match handle.wait(LONG).await {
        Err(WaitError::Failed(failure)) => {
            assert!(failure.message.contains("the result was not stored"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[derive(Serialize, Deserialize)]
struct Text;

impl Job for Text {
    const KIND: &'static str = "text";
    type Output = String;
}

#[tokio::test]
async fn a_job_that_names_no_queue_has_its_status_elsewhere() {
    let jobs = MemoryQueue::new();
    let shared = MemoryStatusStore::new();
    let sender = Jobs::new(jobs.clone(), shared.clone());
    let answers = ReplyStore::new(shared, |name: &str| panic!("{name} is opened"));
    let worker = Jobs::new(answers.answering(jobs), answers);
    let handle = sender.send(numbers(&[2, 3])).await.expect("it is sent");
    worker.worker(()).on(sum).drain().await;
    assert_eq!(handle.wait(LONG).await.expect("it is known"), 5);
}

#[tokio::test]
async fn the_first_header_stays_and_who_waits_for_nothing_has_none() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let first = ReplyQueue::new("first", own.clone());
    let second = ReplyQueue::new("second", own);
    let job = Envelope::new("sum", "").with_handle(StatusHandle::random());
    // a job that is passed on, or replayed, by another instance
    second.asking(first.asking(jobs.clone())).send(&[job.into()]).await.expect("memory");
    let plain = Envelope::new("sum", "");
    first.asking(jobs.clone()).send(&[plain.into()]).await.expect("memory");
    let batch = jobs.receive(&ReceiveOptions::new(2)).await.expect("memory");
    let headers: Vec<_> =
        batch.deliveries.iter().map(|it| it.envelope().headers.get("reply_to").cloned()).collect();
    assert_eq!(headers[0], Some("second".into()), "the outermost is the sender");
    assert_eq!(headers[1], None, "nobody waits");
}

#[tokio::test]
async fn a_crashed_job_that_the_store_buries_is_told() {
    let clock = ManualClock::new();
    let mut config = MemoryQueueConfig::default();
    (config.clock, config.max_crashes) = (Arc::new(clock.clone()), 1);
    let jobs = MemoryQueue::with_config(config);
    let own = MemoryQueue::new();
    let web = Web::start("web-0", &jobs, own.clone());
    let handle = web.jobs.send(numbers(&[1])).await.expect("it is sent");
    // a worker that dies with it
    let died = jobs.receive(&ReceiveOptions::new(1)).await.expect("memory");
    assert_eq!(died.deliveries.len(), 1);
    clock.advance(Duration::from_secs(60));
    let (_, at_work) = worker(&jobs, opens(&own));
    tokio::spawn(at_work.worker(()).on(sum).run_until(std::future::pending()));
    assert!(matches!(handle.wait(LONG).await, Err(WaitError::Failed(_))), "its end is told");
}

#[tokio::test]
async fn a_delivery_that_is_over_does_not_take_the_next_one_along() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = ReplyQueue::with_clock("web-0", own.clone(), Arc::clone(&clock));
    let handle = StatusHandle::random();
    let job = Envelope::new("sum", "").with_handle(handle);
    web.asking(jobs.clone()).send(&[job.into()]).await.expect("memory");
    let answers = ReplyStore::with_clock(MemoryStatusStore::new(), opens(&own), clock);
    let queue = answers.answering(jobs);
    let lost = ReceiveOptions::new(1).lease(Duration::ZERO);
    let lost = queue.receive(&lost).await.expect("memory").deliveries.remove(0);
    let next = queue.receive(&ReceiveOptions::new(1)).await.expect("memory").deliveries.remove(0);
    queue.settle(&[(lost.receipt, Settlement::Ack)]).await.expect("memory");
    let running = StatusUpdate::new("sum", JobState::Running).execution(1, 2, 2);
    answers.advance(&handle, &running, LONG).await.expect("memory");
    assert_eq!(own.stats().await.expect("memory").ready, 1, "it is still known who waits");
    queue.settle(&[(next.receipt, Settlement::Ack)]).await.expect("memory");
    assert!(answers.get(&handle).await.expect("memory").is_none(), "it is forgotten");
}

#[tokio::test]
async fn jobs_whose_leases_are_lost_are_forgotten() {
    let clock = ManualClock::new();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let mut config = MemoryQueueConfig::default();
    config.clock = Arc::clone(&shared);
    let jobs = MemoryQueue::with_config(config);
    let web = ReplyQueue::with_clock("web-0", MemoryQueue::new(), Arc::clone(&shared));
    let answers =
        ReplyStore::with_clock(MemoryStatusStore::new(), opens(&MemoryQueue::new()), shared);
    let (asking, answering) = (web.asking(jobs.clone()), answers.answering(jobs));
    let hour = Duration::from_secs(3600);
    for _ in 0..1000 {
        let job = Envelope::new("sum", "").with_handle(StatusHandle::random());
        asking.send(&[job.into()]).await.expect("memory");
        answering.receive(&ReceiveOptions::new(1)).await.expect("memory");
        clock.advance(hour);
        answering.purge_all().await;
    }
    let shown = format!("{answers:?}");
    let known = shown.split("known: ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let known: usize = known.expect("it is shown").parse().expect("a number");
    assert!(known < 200, "{shown}");
}

#[async_trait]
trait PurgeAll {
    async fn purge_all(&self);
}

#[async_trait]
impl<Q: Queue> PurgeAll for Q {
    async fn purge_all(&self) {
        self.purge().await.expect("memory");
    }
}

#[tokio::test]
async fn what_is_no_reply_is_kept_apart_and_the_rest_goes_on() {
    let (jobs, own) = (MemoryQueue::new(), MemoryQueue::new());
    let web = Web::start("web-0", &jobs, own.clone());
    let (_, at_work) = worker(&jobs, opens(&own));
    own.send(&[Envelope::new("junk", "junk").into()]).await.expect("memory");
    let handle = web.jobs.send(numbers(&[7])).await.expect("it is sent");
    at_work.worker(()).on(sum).drain().await;
    assert_eq!(handle.wait(LONG).await.expect("it is told"), 7);
    let page = own.list_dead_letters(&DeadLetterFilter::default(), None, 10).await;
    let dead = page.expect("memory").letters;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0].envelope.kind, "junk");
}

#[tokio::test]
async fn the_health_tells_whether_replies_arrive() {
    let own = Arc::new(Faulty::new(MemoryQueue::new()));
    let replies = ReplyQueue::new("web-0", Arc::clone(&own));
    let statuses = replies.statuses();
    assert!(!statuses.health().await.is_usable(), "nobody receives");
    let gate = standfast_queue::testkit::Gate::new();
    let down = || Error::new(ErrorKind::Unavailable, "memory", "queue.receive");
    own.script(
        QueueOperation::Receive,
        [Fault::ErrorBefore(down()), Fault::HoldBefore(gate.clone())],
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let receiver = replies.clone();
    let runs = tokio::spawn(async move {
        receiver.run_until(async { drop(stopped.await) }).await;
    });
    let mut verdicts = Vec::new();
    while verdicts.len() < 2 {
        let usable = statuses.health().await.is_usable();
        if verdicts.last() != Some(&usable) {
            verdicts.push(usable);
        }
        if verdicts.last() == Some(&false) {
            gate.open();
            let sent = own.send(&[Envelope::new("junk", "").into()]).await.expect("memory");
            assert!(matches!(sent[0], SendOutcome::Sent));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(()).expect("it runs");
    runs.await.expect("it ends");
    assert!(!statuses.health().await.is_usable(), "nobody receives any more");
}

#[tokio::test]
async fn nobody_can_be_asked_to_end() {
    let jobs = MemoryQueue::new();
    let web = Web::start("web-0", &jobs, MemoryQueue::new());
    let handle = web.jobs.send(numbers(&[1])).await.expect("it is sent");
    let error = handle.cancel().await.expect_err("it cannot be done");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let nobody = web.jobs.handle::<Sum>(StatusHandle::random());
    assert_eq!(nobody.cancel().await.expect("memory"), CancelOutcome::Unknown);
}
