//! Many jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore, Queue};

use crate::support::{Task, World, secs, start, task, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_jobs_succeed_exactly_once_each() {
    const JOBS: u64 = 20_000;
    let queue = MemoryQueue::new();
    let jobs = Jobs::new(queue.clone(), MemoryStatusStore::new());
    let runs: Arc<Vec<AtomicU8>> = Arc::new((0..JOBS).map(|_| AtomicU8::new(0)).collect());
    let worker = jobs.worker(Arc::clone(&runs)).concurrency(100).on(
        async |job: Task, runs: Arc<Vec<AtomicU8>>| {
            runs[usize::try_from(job.n)?].fetch_add(1, SeqCst);
            Ok(0)
        },
    );
    let worker = start(worker);
    for n in 0..JOBS {
        jobs.send(task(n)).detached().await.unwrap();
    }
    until("all are done", async || queue.stats().await.unwrap() == Default::default()).await;
    let report = worker.stop().await;
    assert_eq!((report.succeeded, report.retried, report.lost), (JOBS, 0, 0));
    assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1));
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Parent;

impl Job for Parent {
    const KIND: &'static str = "parent";
    type Output = ();
}

#[tokio::test]
async fn a_drain_runs_everything_that_comes_of_what_is_there_and_nothing_that_is_not_due() {
    let (world, other) = (World::new(), World::new());
    let (first, second) = (world.jobs.clone(), other.jobs.clone());
    // a job of the second queue sends to the first, which is drained before it
    second.send(Parent).await.unwrap();
    second.send(task(1)).delay(secs(60)).await.unwrap();
    let worker =
        first.worker(first.clone()).also_from(second, 1).on(async |_: Parent, jobs: Jobs| {
            jobs.send(task(1)).detached().await?;
            Ok(())
        });
    let worker = worker.on(async |job: Task, _: JobContext| match job.n {
        0 => Err(JobError::dead("never")),
        n => Ok(n),
    });
    assert_eq!(worker.drain().await.succeeded, 2);
    assert_eq!(other.stats().await.delayed, 1);
    assert_eq!(worker.drain().await, Default::default());
}
