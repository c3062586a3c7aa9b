//! What is known about a job: [`StatusStore`], [`JobStatus`] and the rule by which one follows the
//! other.

mod forward;
mod json;
mod memory;
mod model;
#[cfg(feature = "redis")]
mod redis;
mod rule;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{HealthCheck, Result};

use crate::handle::StatusHandle;
pub(crate) use json::{DEEPEST, is_readable};
pub use memory::{MemoryStatusConfig, MemoryStatusStore};
pub use model::{JobFailure, JobState, JobStatus, Progress, StatusUpdate};
#[cfg(feature = "redis")]
pub use redis::{RedisStatusConfig, RedisStatusStore};

/// The largest checkpoint in bytes.
pub const MAX_CHECKPOINT: usize = 64 * 1024;

/// What became of a step.
///
/// ```
/// # use std::time::Duration;
/// use standfast_queue::{Advance, JobState, MemoryStatusStore};
/// use standfast_queue::{StatusHandle, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let (store, handle) = (MemoryStatusStore::new(), StatusHandle::random());
/// let hour = Duration::from_secs(3600);
/// let ended = StatusUpdate::new("report", JobState::Succeeded);
/// assert!(store.advance(&handle, &ended, hour).await?.is_applied());
/// // a worker that comes too late
/// match store.advance(&handle, &StatusUpdate::new("report", JobState::Running), hour).await? {
///     Advance::Refused(stored) => assert_eq!(stored.state, JobState::Succeeded),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Advance {
    /// It is stored; this is the status now.
    Applied(Arc<JobStatus>),
    /// Something later is stored already; this is it, unchanged.
    Refused(Arc<JobStatus>),
}

impl Advance {
    /// The status that is stored now, whoever stored it.
    pub fn status(&self) -> &Arc<JobStatus> {
        match self {
            Self::Applied(status) | Self::Refused(status) => status,
        }
    }

    /// Whether the step was stored.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

/// What became of a request to cancel.
///
/// ```
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::CancelOutcome;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Mail { to: "ada@example.org".into() }).await?;
/// let answer = match handle.cancel().await? {
///     CancelOutcome::Cancelled => "it will not be sent",
///     CancelOutcome::Requested => "it is being sent, and may stop",
///     CancelOutcome::Finished => "too late",
///     _ => "no such mail",
/// };
/// assert_eq!(answer, "it will not be sent");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// It had not begun, and will not.
    Cancelled,
    /// It has ended already.
    Finished,
    /// It is running and will see the request.
    Requested,
    /// Nobody knows the handle.
    Unknown,
}

/// What a status backend can do. Constant for the life of the value.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{MemoryStatusStore, StatusStore};
///
/// let capabilities = MemoryStatusStore::new().capabilities();
/// assert_eq!(capabilities.backend, "memory");
/// // how long a poll of a client can be held
/// let held = Duration::from_secs(60).min(capabilities.max_wait);
/// assert_eq!(held, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusCapabilities {
    /// The backend's name, as errors and metrics show it.
    pub backend: &'static str,
    /// The longest wait in one call; longer ones are shortened to it.
    pub max_wait: Duration,
}

impl StatusCapabilities {
    /// Waits of any length.
    pub fn all(backend: &'static str) -> Self {
        Self { backend, max_wait: Duration::MAX }
    }
}

/// The statuses of jobs, by handle.
///
/// # Contract
///
/// - **T1** Steps are ordered by (run, delivery, rank of the state, units done). A step that is
///   not later than what is stored is refused and changes nothing, decided in one step with the
///   write. Ranks: queued, running, ended.
/// - **T2** Within a run, an ended state is never left. A new run leaves it.
/// - **T3** The first step of a handle creates it, whatever its state.
/// - **T4** Progress and checkpoint last as long as their run; progress starts anew with each
///   delivery, the checkpoint is handed on to it.
/// - **T5** `keep_for` bounds the life of an ended status only; others live as long as their
///   message may, 30 days at least.
/// - **T6** A waiter is woken by the next version, by removal and by its timeout, and by nothing else.
/// - **T7** A request to cancel ends a job that is queued, is a flag on one that runs, and changes
///   nothing on one that has ended.
/// - **T8** Versions of one handle's status differ.
///
/// # What if the process dies?
///
/// Each method is one step at the store: it happened or it did not. The order between a status and
/// its message is the caller's: status first, then send, so that no message is without a status;
/// settle last, so that no status stays behind a settled message.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{JobState, MemoryStatusStore, StatusHandle, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let (store, handle) = (MemoryStatusStore::new(), StatusHandle::random());
/// let hour = Duration::from_secs(3600);
/// let queued = StatusUpdate::new("report", JobState::Queued);
/// let seen = store.advance(&handle, &queued, hour).await?.status().version;
///
/// let running = StatusUpdate::new("report", JobState::Running);
/// let (next, advanced) =
///     tokio::join!(store.wait(&handle, seen, hour), store.advance(&handle, &running, hour));
/// assert!(advanced?.is_applied());
/// assert_eq!(next?.expect("it is known").state, JobState::Running);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait StatusStore: HealthCheck + Debug + Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> StatusCapabilities;

    /// Applies `update` if it is later than what is stored; an ended status is kept for
    /// `keep_for`.
    ///
    /// # Errors
    ///
    /// `TooLarge` for a checkpoint over [`MAX_CHECKPOINT`]; what the backend meets. After an error
    /// the step may have happened; repeating it is harmless.
    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance>;

    /// The status; `None` when the handle is not known, or not any more.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>>;

    /// Waits until the version of the status is not `seen` any more, at most `timeout`, and
    /// returns the status as it is then.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>>;

    /// Asks the job to end.
    ///
    /// # Errors
    ///
    /// What the backend meets. Repeating it is harmless.
    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome>;

    /// Forgets the handle and says whether it was known.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn remove(&self, handle: &StatusHandle) -> Result<bool>;
}
