use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Clock, Error, Result, saturating_add};

use super::{Job, Jobs};
use crate::handle::StatusHandle;
use crate::status::{CancelOutcome, JobFailure, JobState, JobStatus, StatusStore};

/// A job that was sent, for whoever waits for it.
///
/// ```
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore, CancelOutcome};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Mail).await?;
/// // the same job, found again by what its link says
/// let again = jobs.handle::<Mail>(handle.id());
/// assert_eq!(again.cancel().await?, CancelOutcome::Cancelled);
/// # Ok(()) }
/// ```
pub struct Handle<J> {
    id: StatusHandle,
    status: Arc<dyn StatusStore>,
    clock: Arc<dyn Clock>,
    duplicate: bool,
    job: PhantomData<fn() -> J>,
}

/// Why there is no result.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::WaitError;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Mail { to: "ada@example.org".into() }).await?;
/// handle.cancel().await?;
/// let answer = match handle.wait(Duration::from_secs(20)).await {
///     Ok(()) => "done".to_owned(),
///     Err(WaitError::Timeout) => "ask again".to_owned(),
///     Err(error) => error.to_string(),
/// };
/// assert_eq!(answer, "the job was cancelled");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Somebody asked for its end.
    #[error("the job was cancelled")]
    Cancelled,
    /// It failed for good.
    #[error("the job failed: {}", .0.message)]
    Failed(JobFailure),
    /// The statuses could not be asked, or the result could not be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// It has not ended yet.
    #[error("the job has not ended yet")]
    Timeout,
    /// Nobody knows the handle, or not any more.
    #[error("the job is not known, or not any more")]
    Unknown,
}

impl<J: Job> Handle<J> {
    pub(crate) fn new(id: StatusHandle, jobs: &Jobs, duplicate: bool) -> Self {
        let (status, clock) = (Arc::clone(jobs.status()), Arc::clone(jobs.clock()));
        Self { id, status, clock, duplicate, job: PhantomData }
    }

    /// What names the job in links.
    pub fn id(&self) -> StatusHandle {
        self.id
    }

    /// Whether the send was a duplicate, so that this is the earlier job.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }

    /// What is known about the job; `None` when it is not known, or not any more.
    ///
    /// # Errors
    ///
    /// What the status store meets.
    pub async fn status(&self) -> Result<Option<Arc<JobStatus>>> {
        self.status.get(&self.id).await
    }

    /// Waits at most `timeout` for the job to end, and returns what came of it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect on the job.
    ///
    /// # Errors
    ///
    /// Why there is no result.
    pub async fn wait(&self, timeout: Duration) -> Result<J::Output, WaitError> {
        let deadline = saturating_add(self.clock.instant(), timeout);
        let mut seen = 0;
        loop {
            let left = deadline.saturating_duration_since(self.clock.instant());
            let status = self.status.wait(&self.id, seen, left).await?;
            let status = status.ok_or(WaitError::Unknown)?;
            match status.state {
                JobState::Succeeded => return output::<J>(&status),
                JobState::Cancelled => return Err(WaitError::Cancelled),
                JobState::Failed => {
                    let failure = status.error.clone();
                    let unknown = || JobFailure::new("no reason was given");
                    return Err(WaitError::Failed(failure.unwrap_or_else(unknown)));
                }
                JobState::Queued | JobState::Running if left.is_zero() => {
                    return Err(WaitError::Timeout);
                }
                JobState::Queued | JobState::Running => seen = status.version,
            }
        }
    }

    /// Asks the job to end.
    ///
    /// # Errors
    ///
    /// What the status store meets.
    pub async fn cancel(&self) -> Result<CancelOutcome> {
        self.status.request_cancel(&self.id).await
    }
}

fn output<J: Job>(status: &JobStatus) -> Result<J::Output, WaitError> {
    let result = status.result.clone().unwrap_or_default();
    serde_json::from_value(result).map_err(|error| {
        let kind = standfast_core::ErrorKind::Corrupt;
        WaitError::Store(Error::new(kind, "status", "status.result").with_source(error))
    })
}

impl<J> Clone for Handle<J> {
    fn clone(&self) -> Self {
        let (status, clock) = (Arc::clone(&self.status), Arc::clone(&self.clock));
        Self { status, clock, ..*self }
    }
}

impl<J> fmt::Debug for Handle<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.id).finish()
    }
}
