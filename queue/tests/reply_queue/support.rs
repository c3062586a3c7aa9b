//! What the tests are written with.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::Result;
use standfast_queue::{
    Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore, Queue, ReplyQueue, ReplyStore,
};
use tokio::task::JoinHandle;

pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) async fn is_empty(queue: &dyn Queue) -> bool {
    let stats = queue.stats().await.expect("memory answers");
    stats.ready + stats.leased + stats.delayed == 0
}

/// Opens `queue`, whatever its name.
pub(crate) fn opens<Q: Queue + Clone>(
    queue: &Q,
) -> impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static {
    let queue = queue.clone();
    move |_| Ok(Arc::new(queue.clone()))
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) numbers: Vec<u64>,
}

impl Job for Sum {
    const KIND: &'static str = "sum";
    type Output = u64;
}

pub(crate) async fn sum(job: Sum, ctx: JobContext) -> Result<u64, JobError> {
    ctx.progress(job.numbers.len() as u64, job.numbers.len() as u64);
    if job.numbers.is_empty() {
        return Err(JobError::dead("nothing to add"));
    }
    Ok(job.numbers.iter().sum())
}

pub(crate) fn numbers(numbers: &[u64]) -> Sum {
    Sum { numbers: numbers.to_vec() }
}

/// A web instance: nothing of it is shared but its queues.
pub(crate) struct Web {
    pub(crate) jobs: Jobs,
    pub(crate) replies: ReplyQueue,
    pub(crate) receives: JoinHandle<()>,
}

impl Web {
    pub(crate) fn start(name: &str, jobs: &MemoryQueue, own: impl Queue) -> Self {
        let replies = ReplyQueue::new(name, own);
        let jobs = Jobs::new(replies.asking(jobs.clone()), replies.statuses());
        let receiver = replies.clone();
        let receives =
            tokio::spawn(async move { receiver.run_until(std::future::pending()).await });
        Self { jobs, replies, receives }
    }

    pub(crate) async fn kill(self) {
        self.receives.abort();
        assert!(self.receives.await.is_err_and(|ended| ended.is_cancelled()), "it is killed");
    }
}

/// A worker process's store and its jobs.
pub(crate) fn worker(
    jobs: &MemoryQueue,
    open: impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static,
) -> (ReplyStore, Jobs) {
    let answers = ReplyStore::new(MemoryStatusStore::new(), open);
    (answers.clone(), Jobs::new(answers.answering(jobs.clone()), answers))
}
