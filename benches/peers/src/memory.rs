//! Queues in the memory of one process, beside one another: jobs go in, then they come out and are
//! handled by nothing.
//!
//! Every job is made inside the measured loop: an id, a time and a hundred bytes. The memory
//! storage of apalis keeps it as it is; the others turn it into JSON and back, but for one row that
//! keeps the bytes as they are. apalis and omniqueue keep no leases: what a handler has and loses
//! is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::{MemoryStorage, TaskSink, WorkerBuilder, WorkerContext};
use omniqueue::backends::InMemoryBackend;
use serde::{Deserialize, Serialize};
use standfast_benches::{Bench, CpuTime, Table, current_thread, nanos_per, two_threads};
use standfast_queue::{
    Envelope, Job, JobError, Jobs, MemoryQueue, MemoryStatusStore, OutgoingMessage, Queue,
    ReceiveOptions, Settlement,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

const COLUMNS: &[&str] = &["ns/job", "in", "out"];

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Work {
    id: u64,
    sent_at: u64,
    pad: String,
}

impl Work {
    fn new(id: u64) -> Self {
        Self { id, sent_at: 1_700_000_000_000 + id, pad: "x".repeat(100) }
    }
}

impl Job for Work {
    const KIND: &'static str = "work";
    type Output = ();
}

fn main() {
    let mut bench = Bench::from_args("peers in memory");
    let count = bench.count(50_000) / 100 * 100;
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        // the work runs in a task, as it would in an application, not in the thread that waits
        let run = |work: std::pin::Pin<Box<dyn Future<Output = Vec<f64>> + Send>>| {
            runtime.block_on(async { tokio::spawn(work).await.expect("no panic") })
        };
        let title = format!("{count} jobs in, then out: {name}");
        let results = Table::new(title, COLUMNS)
            .rows("apalis", || run(Box::pin(apalis(count))))
            .rows("omniqueue", || run(Box::pin(omniqueue(count))))
            .rows("standfast, queue, 1 at a time", || run(Box::pin(queue(count, 1, true))))
            .rows("standfast, queue, 10 at a time", || run(Box::pin(queue(count, 10, true))))
            .rows("standfast, queue, 100 at a time", || run(Box::pin(queue(count, 100, true))))
            .rows("standfast, queue, 100 at a time, no JSON", || {
                run(Box::pin(queue(count, 100, false)))
            })
            .rows("standfast, worker, 100 at once", || run(Box::pin(worker(count, 100))))
            .run(&bench);
        let speed = results.speed("standfast, queue, 100 at a time, no JSON", "apalis");
        bench.target(&format!("1.5 x apalis, neither with JSON, {name}"), speed >= 1.5);
    }
    bench.finish();
}

/// When a contender began: of its own thread where there is one, of the clock otherwise.
#[derive(Clone, Copy)]
struct Start(CpuTime, Instant);

impl Start {
    fn now() -> Self {
        Self(CpuTime::now(), Instant::now())
    }

    /// What each of `count` took since then.
    fn nanos_per(self, count: usize) -> f64 {
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => self.0.nanos_per(count),
            _ => nanos_per(self.1, count),
        }
    }
}

fn columns(count: usize, start: Start, sent: f64) -> Vec<f64> {
    let all = start.nanos_per(count);
    vec![all, sent, all - sent]
}

async fn apalis(count: usize) -> Vec<f64> {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    async fn handle(work: Work, worker: WorkerContext) {
        std::hint::black_box(work.id);
        if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
            worker.stop().expect("it runs");
        }
    }
    LEFT.store(count, Ordering::Release);
    let mut storage = MemoryStorage::new();
    let start = Start::now();
    for id in 0..count as u64 {
        storage.push(Work::new(id)).await.expect("memory does not fail");
    }
    let sent = start.nanos_per(count);
    let worker = WorkerBuilder::new("peer").backend(storage).build(handle);
    worker.run().await.expect("memory does not fail");
    columns(count, start, sent)
}

async fn omniqueue(count: usize) -> Vec<f64> {
    let (producer, mut consumer) =
        InMemoryBackend::builder().build_pair().await.expect("memory does not fail");
    let start = Start::now();
    for id in 0..count as u64 {
        producer.send_serde_json(&Work::new(id)).await.expect("memory does not fail");
    }
    let sent = start.nanos_per(count);
    let mut left = count;
    while left > 0 {
        let second = Duration::from_secs(1);
        let deliveries = consumer.receive_all(100, second).await.expect("memory does not fail");
        left -= deliveries.len();
        for delivery in deliveries {
            let work: Option<Work> = delivery.payload_serde_json().expect("it was sent as JSON");
            std::hint::black_box(work);
            delivery.ack().await.map_err(|(error, _)| error).expect("memory does not fail");
        }
    }
    columns(count, start, sent)
}

async fn queue(count: usize, batch: usize, json: bool) -> Vec<f64> {
    let queue = MemoryQueue::new();
    let message = |id| {
        let work = Work::new(id);
        let body = match json {
            true => serde_json::to_vec(&work).expect("work is JSON"),
            false => work.pad.into_bytes(),
        };
        OutgoingMessage::new(Envelope::new("work", body))
    };
    let start = Start::now();
    for first in (0..count as u64).step_by(batch) {
        let messages: Vec<_> = (first..first + batch as u64).map(message).collect();
        queue.send(&messages).await.expect("memory does not fail");
    }
    let sent = start.nanos_per(count);
    let options = ReceiveOptions::new(batch);
    let mut left = count;
    while left > 0 {
        let batch = queue.receive(&options).await.expect("memory does not fail");
        left -= batch.deliveries.len();
        let mut acks = Vec::with_capacity(batch.deliveries.len());
        for delivery in batch.deliveries {
            let body = &delivery.envelope().body;
            if json {
                let work = serde_json::from_slice::<Work>(body);
                std::hint::black_box(work.expect("it was sent as JSON"));
            }
            std::hint::black_box(body);
            acks.push((delivery.receipt, Settlement::Ack));
        }
        queue.settle(&acks).await.expect("memory does not fail");
    }
    columns(count, start, sent)
}

/// How many are left, and that none is.
#[derive(Clone)]
struct Done(Arc<(AtomicUsize, Notify)>);

async fn handle(work: Work, done: Done) -> Result<(), JobError> {
    std::hint::black_box(work.id);
    if done.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
        done.0.1.notify_one();
    }
    Ok(())
}

async fn worker(count: usize, concurrency: usize) -> Vec<f64> {
    let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    let done = Done(Arc::new((AtomicUsize::new(count), Notify::new())));
    let start = Start::now();
    for id in 0..count as u64 {
        jobs.send(Work::new(id)).detached().await.expect("memory does not fail");
    }
    let sent = start.nanos_per(count);
    let worker = jobs.worker(done.clone()).on(handle).concurrency(concurrency);
    worker.run_until(async move { done.0.1.notified().await }).await;
    columns(count, start, sent)
}
