//! What a worker's store knows, and for how long.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, SystemClock};
use standfast_queue::{
    Envelope, JobState, Jobs, MemoryQueue, MemoryQueueConfig, MemoryStatusStore, Queue, QueueAdmin,
    ReceiveOptions, ReplyQueue, ReplyStore, Settlement, StatusHandle, StatusStore, StatusUpdate,
};

use crate::support::{LONG, numbers, opens, sum};

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
        answering.purge().await.expect("memory");
    }
    let shown = format!("{answers:?}");
    let known = shown.split("known: ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let known: usize = known.expect("it is shown").parse().expect("a number");
    assert!(known < 200, "{shown}");
}
