//! What the worker adds to the queue for a job that does nothing.
//!
//! The jobs are sent before the clock starts. Beside the worker the same messages are received and
//! settled by the bare queue, with the calls that a worker of that concurrency makes at best:
//! receives and settlements of as many messages as may run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use standfast_benches::{Bench, CpuTime, Table, current_thread, nanos_per, two_threads};
use standfast_queue::{
    Job, JobError, Jobs, MemoryQueue, MemoryStatusStore, Queue, ReceiveOptions, Settlement,
};
use tokio::runtime::{Runtime, RuntimeFlavor};
use tokio::sync::Notify;

#[derive(Deserialize, Serialize)]
struct Nothing {
    number: u64,
}

impl Job for Nothing {
    const KIND: &'static str = "nothing";
    type Output = ();
}

/// Counts what has run, and says when that was all.
#[derive(Clone)]
struct Done(Arc<(AtomicUsize, Notify)>);

async fn nothing(job: Nothing, done: Done) -> Result<(), JobError> {
    std::hint::black_box(job.number);
    let (left, all) = &*done.0;
    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
        all.notify_one();
    }
    Ok(())
}

fn main() {
    let mut bench = Bench::from_args("worker");
    for (threads, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        for concurrency in [1, 10, 100] {
            for with_status in [false, true] {
                let kind = if with_status { "with status" } else { "detached" };
                if bench.wants(&format!("{kind}-{concurrency}")) {
                    measure(&mut bench, &runtime, threads, concurrency, with_status);
                }
            }
        }
    }
    bench.finish();
}

fn measure(
    bench: &mut Bench,
    runtime: &Runtime,
    threads: &str,
    concurrency: usize,
    with_status: bool,
) {
    let count = bench.count(20_000);
    let kind = if with_status { "with status" } else { "detached" };
    let title = format!("{kind}-{concurrency}: no-op jobs, {concurrency} at once, {threads}");
    let results = Table::new(title, &["ns/job"])
        .row("queue", || {
            runtime.block_on(async {
                let jobs = sent(count, with_status).await;
                let start = Start::now();
                let working =
                    tokio::spawn(async move { settle_all(jobs.queue(), concurrency).await });
                working.await.expect("no panic");
                start.nanos_per(runtime, count)
            })
        })
        .row("worker", || {
            runtime.block_on(async {
                let jobs = sent(count, with_status).await;
                let done = Done(Arc::new((AtomicUsize::new(count), Notify::new())));
                let worker = jobs.worker(done.clone()).on(nothing).concurrency(concurrency);
                let start = Start::now();
                let all = async move { done.0.1.notified().await };
                let report = tokio::spawn(worker.run_until(all)).await.expect("no panic");
                assert_eq!(report.succeeded, count as u64);
                start.nanos_per(runtime, count)
            })
        })
        .run(bench);
    let overhead = results.excess("worker", "queue") / 1000.0;
    println!("  the worker adds {overhead:.2} us to each job");
    if !with_status {
        let what = format!("at most 3 us, {concurrency} at once, {threads}");
        bench.target(&what, overhead <= 3.0);
    }
}

struct Start(CpuTime, Instant);

impl Start {
    fn now() -> Self {
        Self(CpuTime::now(), Instant::now())
    }

    /// What each of `count` took since then of this thread, or of the clock where it ran on others.
    fn nanos_per(&self, runtime: &Runtime, count: usize) -> f64 {
        match runtime.handle().runtime_flavor() {
            RuntimeFlavor::CurrentThread => self.0.nanos_per(count),
            _ => nanos_per(self.1, count),
        }
    }
}

/// As many jobs in a queue.
async fn sent(count: usize, with_status: bool) -> Jobs {
    let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    for number in 0..count as u64 {
        let job = jobs.send(Nothing { number });
        if with_status {
            job.await.expect("memory does not fail");
        } else {
            job.detached().await.expect("memory does not fail");
        }
    }
    jobs
}

async fn settle_all(queue: &Arc<dyn Queue>, max: usize) {
    let options = ReceiveOptions::new(max);
    loop {
        let batch = queue.receive(&options).await.expect("memory does not fail");
        if batch.is_empty() {
            return;
        }
        let deliveries = batch.deliveries.into_iter();
        let acks: Vec<_> = deliveries.map(|one| (one.receipt, Settlement::Ack)).collect();
        queue.settle(&acks).await.expect("memory does not fail");
    }
}
