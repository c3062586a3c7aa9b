//! What it costs, counted by the meter and, independently, by the client.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_queue::wrap::{Coalescing, CoalescingConfig};
use standfast_queue::{
    Envelope, Job, JobError, Jobs, MemoryStatusStore, OutgoingMessage, Queue, ReceiveOptions,
    Settlement, WorkerConfig,
};

use crate::sqs_support::Service;

#[derive(Deserialize, Serialize)]
struct Nothing;
impl Job for Nothing {
    const KIND: &'static str = "nothing";
    type Output = ();
}

async fn fill(queue: &dyn Queue, count: usize) {
    for _ in 0..count / 10 {
        let batch: Vec<OutgoingMessage> =
            (0..10).map(|_| Envelope::new("nothing", "null").into()).collect();
        let outcomes = queue.send(&batch).await.expect("it answers");
        assert!(outcomes.iter().all(|outcome| outcome.is_sent()), "{outcomes:?}");
    }
}

#[tokio::test]
async fn full_batches_cost_less_than_a_third_of_a_request_each() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    fill(&*queue, 300).await;
    let patient = ReceiveOptions::new(10).wait(Duration::from_secs(20));
    let mut left = 300;
    while left > 0 {
        let batch = queue.receive(&patient).await.expect("it answers").deliveries;
        left -= batch.len();
        let acks: Vec<_> = batch.into_iter().map(|one| (one.receipt, Settlement::Ack)).collect();
        queue.settle(&acks).await.expect("it answers");
    }
    let usage = queue.usage();
    let each = usage.per_message().expect("there were some");
    println!("{each} requests each: {usage:?}");
    assert!(each <= 0.31, "{usage:?}");
    assert_eq!((usage.sent, usage.received, usage.deleted), (300, 300, 300));
    let counted = ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"]
        .map(|name| service.http.asked(name) as u64);
    assert_eq!([usage.sends, usage.receives, usage.deletes], counted, "as the client counts");
}

/// Acks of jobs that end one by one gather where they may linger. A worker asks for as many jobs as
/// it has places, which become free one by one, too: its receives are not always full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_costs_half_a_request_each_where_its_acks_may_linger() {
    let Some(service) = Service::find() else { return };
    let sqs = service.queue().await;
    let mut config = CoalescingConfig::default();
    config.linger = Duration::from_millis(50);
    config.max_batch = 10;
    config.max_flights = 2;
    fill(&*sqs, 500).await;
    let jobs =
        Jobs::new(Coalescing::with_config(Arc::clone(&sqs), config), MemoryStatusStore::new());
    let mut config = WorkerConfig::default();
    config.concurrency = 40;
    let nothing = async |_: Nothing, _: ()| -> Result<(), JobError> { Ok(()) };
    let worker = jobs.worker(()).on(nothing).config(config);
    let done = async {
        while sqs.usage().deleted < 500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), done);
    let report = worker.run_until(async { done.await.expect("all are done") }).await;
    assert_eq!(report.succeeded, 500, "{report:?}");
    let usage = sqs.usage();
    let each = usage.per_message().expect("there were some");
    println!("{each} requests each: {usage:?}");
    assert!(each <= 0.5, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_three_times_a_minute() {
    let Some(service) = Service::find() else { return };
    let sqs = service.queue().await;
    let jobs = Jobs::new(Arc::clone(&sqs), MemoryStatusStore::new());
    let mut config = WorkerConfig::default();
    config.concurrency = 40;
    let nothing = async |_: Nothing, _: ()| -> Result<(), JobError> { Ok(()) };
    let worker = jobs.worker(()).on(nothing).config(config);
    let worker = tokio::spawn(worker.run_until(tokio::time::sleep(Duration::from_secs(63))));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = sqs.usage().calls();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = sqs.usage().calls() - before;
    println!("{asked} requests in a minute");
    assert!(asked <= 3, "{:?}", sqs.usage());
    worker.await.expect("it stops");
}
