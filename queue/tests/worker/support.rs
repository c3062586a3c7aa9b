use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::testkit::ManualClock;
use standfast_core::{CancellationToken, Clock};
use standfast_queue::{
    DeadLetter, DeadLetterFilter, DeadLetters, Handle, Job, JobState, JobStatus, Jobs, KindConfig,
    MemoryQueue, MemoryQueueConfig, MemoryStatusConfig, MemoryStatusStore, Queue, QueueStats,
    RetryPolicy, Worker, WorkerConfig, WorkerReport,
};
use tokio::task::JoinHandle;

use crate::faulty::{FaultyQueue, FaultyStatus};

/// Longer than anything here takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) n: u64,
}

impl Job for Task {
    const KIND: &'static str = "task";
    type Output = u64;
}

pub(crate) fn task(n: u64) -> Task {
    Task { n }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Memory stores, one clock that stands still, and what can go wrong with them.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) queue: FaultyQueue,
    pub(crate) status: FaultyStatus,
    pub(crate) jobs: Jobs,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_queue(|_| {})
    }

    pub(crate) fn with_queue(adjust: impl FnOnce(&mut MemoryQueueConfig)) -> Self {
        let clock = ManualClock::new();
        let mut queue = MemoryQueueConfig::default();
        queue.clock = Arc::new(clock.clone());
        adjust(&mut queue);
        let mut status = MemoryStatusConfig::default();
        status.clock = Arc::new(clock.clone());
        let queue = FaultyQueue::new(MemoryQueue::with_config(queue));
        let status = FaultyStatus::new(MemoryStatusStore::with_config(status));
        let jobs = Jobs::new(queue.clone(), status.clone()).with_clock(Arc::new(clock.clone()));
        Self { clock, queue, status, jobs }
    }

    /// Lets time pass in steps until `done`.
    pub(crate) async fn pass_until(
        &self,
        step: Duration,
        what: &str,
        mut done: impl AsyncFnMut() -> bool,
    ) {
        until(what, async || {
            self.clock.advance(step);
            tokio::time::sleep(millis(1)).await;
            done().await
        })
        .await;
    }

    /// Lets `span` pass in steps.
    pub(crate) async fn pass(&self, span: Duration, step: Duration) {
        let end = self.clock.instant() + span;
        while self.clock.instant() < end {
            self.clock.advance(step.min(end - self.clock.instant()));
            tokio::time::sleep(millis(1)).await;
        }
    }

    /// Lets time run, `step` each millisecond, until the returned guard is dropped.
    pub(crate) fn run_time(&self, step: Duration) -> impl Drop + use<> {
        let (clock, token) = (self.clock.clone(), CancellationToken::new());
        let ended = token.clone();
        tokio::spawn(async move {
            while !ended.is_cancelled() {
                clock.advance(step);
                tokio::time::sleep(millis(1)).await;
            }
        });
        token.drop_guard()
    }

    pub(crate) async fn stats(&self) -> QueueStats {
        self.queue.stats().await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter::default();
        self.queue.list_dead_letters(&filter, None, 100).await.unwrap().letters
    }
}

/// Waits until `done`, looking again and again.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !done().await {
            tokio::time::sleep(millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// The output of `future`, which must not hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

pub(crate) async fn status_of<J: Job>(handle: &Handle<J>) -> Arc<JobStatus> {
    handle.status().await.unwrap().expect("a handle that was given out has a status")
}

pub(crate) async fn until_state<J: Job>(handle: &Handle<J>, state: JobState) {
    until(&format!("{state:?}"), async || status_of(handle).await.state == state).await;
}

/// Retries after `delay`, without jitter.
pub(crate) fn retry_after(delay: Duration) -> KindConfig {
    let backoff = standfast_core::Backoff::constant(delay);
    KindConfig::default().retry(RetryPolicy::default().backoff(backoff))
}

pub(crate) fn config(adjust: impl FnOnce(&mut WorkerConfig)) -> WorkerConfig {
    let mut config = WorkerConfig::default();
    adjust(&mut config);
    config
}

/// A worker that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<WorkerReport>,
}

pub(crate) fn start<S: Clone + Send + Sync + 'static>(worker: Worker<S>) -> Running {
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    Running { stop, task: tokio::spawn(worker.run_until(stopped)) }
}

impl Running {
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn ended(self) -> WorkerReport {
        soon(self.task).await.unwrap()
    }

    pub(crate) async fn stop(self) -> WorkerReport {
        self.begin_stop();
        self.ended().await
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Dies on the spot: nothing is settled.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
