//! What callers touch: [`Jobs`], [`Handle`] and [`Job`].

mod handle;
mod job;
mod send;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Clock, Context, Error, ErrorKind, SystemClock};

use crate::handle::StatusHandle;
use crate::queue::Queue;
use crate::status::StatusStore;
use crate::worker::Worker;
use crate::wrap::{Traced, TracedStatus};
pub use handle::{Handle, WaitError};
pub(crate) use job::decode;
pub use job::{Job, UpgradeError};
pub use send::{SendError, SendJob};

/// A queue and the statuses of its jobs: where jobs are sent to and workers are made.
///
/// Cheap to clone; clones share everything.
///
/// ```
/// use standfast_queue::{Jobs, MemoryQueue, MemoryStatusStore};
///
/// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// # let _ = jobs;
/// ```
#[derive(Clone)]
pub struct Jobs {
    queue: Arc<dyn Queue>,
    status: Arc<dyn StatusStore>,
    clock: Arc<dyn Clock>,
    keep_for: Duration,
    context: Arc<Context>,
}

impl Jobs {
    /// Jobs on `queue`, with statuses in `status`; traces and metrics call the queue `jobs`.
    pub fn new(queue: impl Queue, status: impl StatusStore) -> Self {
        Self::named("jobs", queue, status)
    }

    /// Jobs on `queue`, which traces and metrics call `name`, with statuses in `status`.
    pub fn named(name: impl Into<String>, queue: impl Queue, status: impl StatusStore) -> Self {
        Self {
            queue: Arc::new(Traced::new(queue, name)),
            status: Arc::new(TracedStatus::new(status)),
            clock: Arc::new(SystemClock),
            keep_for: Duration::from_secs(24 * 60 * 60),
            context: Arc::default(),
        }
    }

    /// What to wait with and take the sender's time from.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// How long the status of a job is kept after it ended; a day by default.
    #[must_use]
    pub fn keep_for(self, keep_for: Duration) -> Self {
        Self { keep_for, ..self }
    }

    /// The same jobs, sent from `context`.
    #[must_use]
    pub fn with_context(&self, context: Context) -> Self {
        Self { context: Arc::new(context), ..self.clone() }
    }

    /// Sends a job: set what is needed, then await.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore, Priority};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    /// let handle = jobs
    ///     .send(Mail { to: "ada@example.org".into() })
    ///     .delay(Duration::from_secs(60))
    ///     .priority(Priority::Low)
    ///     .await?;
    /// assert!(handle.status().await?.is_some());
    /// # Ok(()) }
    /// ```
    pub fn send<J: Job>(&self, job: J) -> SendJob<J> {
        SendJob::new(self.clone(), job)
    }

    /// The job that `handle` names.
    pub fn handle<J: Job>(&self, handle: StatusHandle) -> Handle<J> {
        Handle::new(handle, self, false)
    }

    /// A worker for these jobs; `state` is what its handlers share, such as connections.
    pub fn worker<S: Clone + Send + Sync + 'static>(&self, state: S) -> Worker<S> {
        Worker::new(self.clone(), state)
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }

    /// The statuses.
    pub fn status(&self) -> &Arc<dyn StatusStore> {
        &self.status
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn kept_for(&self) -> Duration {
        self.keep_for
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("queue", &self.queue)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Whether a call that met `error` is to be repeated, where it happens at most once however often
/// it is made.
pub(crate) fn worth_repeating(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown
}
