//! Reply queues that fail, are full, or are not there.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::{Error, ErrorKind, HealthCheck, Result};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, Job, JobError, MemoryQueue, MemoryQueueConfig, Queue,
    QueueExt, ReplyQueue, SendOutcome, WaitError,
};

use crate::support::{LONG, Sum, Web, is_empty, numbers, opens, sum, worker};

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
    type Open = dyn Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync;
    let opens: [Box<Open>; 3] = [
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
    let gate = Gate::new();
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
