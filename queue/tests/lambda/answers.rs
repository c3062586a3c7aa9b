//! From an event to its answer in this process, where SQS and the statuses can fail.

use std::time::{Duration, Instant};

use standfast_queue::{
    DeadLetter, JobState, Jobs, LambdaQueue, MemoryStatusStore, Queue as _, ReceiveOptions,
    Settlement, SqsConfig, StatusHandle, StatusStore as _, StatusUpdate,
};
use tempfile::TempDir;

use crate::function::{Act, Log, Then, worker};
use crate::source::{Source, message};
use crate::sqs_support::fault::Fault;
use crate::sqs_support::{Service, config};

crate::tests![
    a_status_follows_its_job,
    a_dead_letter_that_is_stored_is_deleted_by_lambda,
    what_is_dead_stays_while_the_redrive_queue_takes_nothing,
    a_retry_that_cannot_be_delayed_comes_back_all_the_same,
    a_job_that_somebody_else_has_is_not_waited_for,
    a_message_that_was_received_too_often_is_dead,
    an_invocation_without_time_begins_nothing,
];

/// A function in this process.
struct Function {
    source: Source,
    queue: LambdaQueue,
    jobs: Jobs,
    statuses: MemoryStatusStore,
    log: Log,
    _dir: TempDir,
}

impl Function {
    async fn new(service: &Service) -> Self {
        Self::with(service, config()).await
    }

    async fn with(service: &Service, config: SqsConfig) -> Self {
        let source = Source::new(service, "").await;
        let queue = LambdaQueue::new(service.open(&source.queues, config));
        let statuses = MemoryStatusStore::new();
        let jobs = Jobs::new(queue.clone(), statuses.clone());
        let dir = TempDir::new().unwrap();
        let log = Log::at(dir.path().join("log"));
        Self { source, queue, jobs, statuses, log, _dir: dir }
    }

    /// The names of what stays in the queue, of the next messages.
    async fn respond(&self, names: &[&str], time: Duration) -> Vec<String> {
        let polled = self.source.poll(names.len()).await;
        let worker = worker(&self.jobs, self.log.clone());
        let event = polled.event(names);
        let response = self.queue.respond(&worker, event, Instant::now() + time).await.unwrap();
        let stays = |name: &&&str| response.failed.contains(&polled.ids(&[**name])[0]);
        let failed = names.iter().filter(stays).map(|name| (*name).to_owned()).collect();
        self.source.delete(&polled, &response.failed).await;
        failed
    }
}

const A_MINUTE: Duration = Duration::from_secs(60);

async fn a_status_follows_its_job(service: Service) {
    let function = Function::new(&service).await;
    let send = |name: &str, then| function.jobs.send(Act { name: name.into(), then });
    let done = send("done", Then::Succeed).await.unwrap();
    let late = send("late", Then::Hang).await.unwrap();
    let dead = send("dead", Then::Die).await.unwrap();
    let failed = function.respond(&["done", "late", "dead"], Duration::from_secs(6)).await;
    assert_eq!(failed, ["late"]);
    assert_eq!(done.status().await.unwrap().unwrap().state, JobState::Succeeded);
    assert_eq!(late.status().await.unwrap().unwrap().state, JobState::Queued);
    let dead = dead.status().await.unwrap().unwrap();
    let error = dead.error.as_ref().unwrap();
    assert_eq!((dead.state, &*error.message), (JobState::Failed, "never"));
}

async fn a_dead_letter_that_is_stored_is_deleted_by_lambda(service: Service) {
    let function = Function::new(&service).await;
    function.source.send("never", Then::Die).await;
    service.http.fail("DeleteMessageBatch", usize::MAX, Fault::Answer(403, "AccessDenied"));
    assert!(function.respond(&["never"], A_MINUTE).await.is_empty());
    let stats = function.source.stats().await;
    assert_eq!((stats.ready, stats.leased, stats.dead), (0, 0, 1));
}

async fn what_is_dead_stays_while_the_redrive_queue_takes_nothing(service: Service) {
    let function = Function::new(&service).await;
    function.source.send("never", Then::Die).await;
    function.source.send("done", Then::Succeed).await;
    service.http.fail("SendMessageBatch", usize::MAX, Fault::Answer(403, "AccessDenied"));
    let began = Instant::now();
    assert_eq!(function.respond(&["never", "done"], A_MINUTE).await, ["never"]);
    assert!(began.elapsed() < A_MINUTE / 2, "it was waited for: {:?}", began.elapsed());
    let stats = function.source.stats().await;
    assert_eq!((stats.leased, stats.dead), (1, 0));
}

async fn a_retry_that_cannot_be_delayed_comes_back_all_the_same(service: Service) {
    let function = Function::new(&service).await;
    function.source.send("again", Then::Retry(1)).await;
    service.http.fail("ChangeMessageVisibilityBatch", usize::MAX, Fault::LoseAnswer);
    let began = Instant::now();
    assert_eq!(function.respond(&["again"], A_MINUTE).await, ["again"]);
    assert!(began.elapsed() < A_MINUTE / 2, "it was waited for: {:?}", began.elapsed());
}

async fn a_job_that_somebody_else_has_is_not_waited_for(service: Service) {
    let function = Function::new(&service).await;
    let handle = StatusHandle::random();
    let running = StatusUpdate::new("act", JobState::Running).execution(1, 5, 5);
    function.statuses.advance(&handle, &running, A_MINUTE).await.unwrap();
    let mut theirs = message("theirs", Then::Succeed);
    let envelope = (*theirs.envelope).clone().with_handle(handle);
    theirs.envelope = envelope.into();
    function.source.send_message(theirs).await;
    function.source.send("ours", Then::Succeed).await;
    let began = Instant::now();
    assert_eq!(function.respond(&["theirs", "ours"], A_MINUTE).await, ["theirs"]);
    assert!(began.elapsed() < A_MINUTE / 2, "it was waited for: {:?}", began.elapsed());
    assert_eq!(function.log.lines(), ["ours 1"]);
}

async fn a_message_that_was_received_too_often_is_dead(service: Service) {
    let mut config = config();
    config.max_receives = 1;
    let function = Function::with(&service, config).await;
    let often = function.jobs.send(Act { name: "often".into(), then: Then::Succeed });
    let often = often.await.unwrap();
    let sqs = &function.source.sqs;
    let once = sqs.receive(&ReceiveOptions::new(1).wait(Duration::from_secs(20))).await.unwrap();
    let receipt = once.deliveries[0].receipt.clone();
    sqs.settle(&[(receipt, Settlement::release())]).await.unwrap();

    let began = Instant::now();
    assert!(function.respond(&["often"], A_MINUTE).await.is_empty());
    assert!(began.elapsed() < A_MINUTE, "it was waited for: {:?}", began.elapsed());
    assert!(function.log.lines().is_empty());
    assert_eq!(often.status().await.unwrap().unwrap().state, JobState::Failed);
    let reasons: Vec<_> =
        function.source.letters().await.into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [DeadLetter::CRASHED]);
}

async fn an_invocation_without_time_begins_nothing(service: Service) {
    let function = Function::new(&service).await;
    function.source.send("one", Then::Succeed).await;
    assert_eq!(function.respond(&["one"], Duration::ZERO).await, ["one"]);
    assert!(function.log.lines().is_empty());
}
