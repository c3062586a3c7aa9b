//! What a status says: plain data.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::SessionRef;

/// Where a job stands.
///
/// ```
/// use standfast_queue::JobState;
///
/// fn keep_polling(state: JobState) -> bool {
///     !state.is_terminal()
/// }
/// assert!(keep_polling(JobState::Running));
/// assert!(!keep_polling(JobState::Failed));
/// assert_eq!(serde_json::to_value(JobState::Succeeded).unwrap(), "succeeded");   // for clients
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// Ended because somebody asked for it.
    Cancelled,
    /// Ended without a result.
    Failed,
    /// Waiting for a worker: for the first time, or again.
    Queued,
    /// With a worker.
    Running,
    /// Ended with a result.
    Succeeded,
}

impl JobState {
    /// Whether a run in this state has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed | Self::Succeeded)
    }

    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Running => 1,
            Self::Cancelled | Self::Failed | Self::Succeeded => 2,
        }
    }
}

/// How far a job is.
///
/// ```
/// use standfast_queue::Progress;
///
/// let progress = Progress::new(3, 12).message("reading rows");
/// let percent = progress.total.map(|total| progress.done * 100 / total);
/// assert_eq!(percent, Some(25));
/// assert_eq!(Progress::new(3, None).total, None);   // nobody knows yet
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done, in units of the job's choice.
    pub done: u64,
    /// Out of how much, where that is known.
    pub total: Option<u64>,
    /// What is being done.
    pub message: Option<String>,
}

impl Progress {
    /// `done` out of `total`.
    pub fn new(done: u64, total: impl Into<Option<u64>>) -> Self {
        Self { done, total: total.into(), message: None }
    }

    /// Says what is being done.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

/// Why a run, or an attempt of it, did not succeed.
///
/// ```
/// # use standfast_queue::{Job, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// async fn mail(_: Mail) -> Result<(), JobError> {
///     Err(JobError::dead("no such address").with_detail("550 5.1.1 user unknown"))
/// }
/// let handle = jobs.send(Mail { to: "nobody@example.org".into() }).await?;
/// jobs.worker(()).on(mail).drain().await;
///
/// let status = handle.status().await?.expect("it was sent");
/// let failure = status.error.as_ref().expect("it failed");
/// assert_eq!(failure.message, "no such address");
/// assert_eq!(failure.detail.as_deref(), Some("550 5.1.1 user unknown"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobFailure {
    /// What went wrong, in words for whoever waits.
    pub message: String,
    /// What else is known, such as the last lines a job process wrote, for whoever looks into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl JobFailure {
    /// A failure in words for whoever waits.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: None }
    }

    /// What else is known.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// What is known about a job. Times are the store's.
///
/// ```
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::JobState;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Mail { to: "ada@example.org".into() }).await?;
/// let status = handle.status().await?.expect("it was sent");
/// assert_eq!((status.state, status.kind.as_str(), status.attempt), (JobState::Queued, "mail", 1));
/// assert!(status.started_at.is_none());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// Where it stands.
    pub state: JobState,
    /// What kind of job it is.
    pub kind: String,
    /// Which run this is about, from 1.
    pub run: u32,
    /// Which attempt of the run, from 1.
    pub attempt: u32,
    /// Which delivery of the run, from 1, counted as an attempt or not.
    pub delivery: u32,
    /// How far it is.
    pub progress: Progress,
    /// Where the next attempt goes on; at most [`MAX_CHECKPOINT`](super::MAX_CHECKPOINT) bytes.
    pub checkpoint: Option<Bytes>,
    /// What came of it, in `Succeeded`.
    pub result: Option<Value>,
    /// What went wrong: in `Failed`, why it ended; before, what the last attempt said.
    pub error: Option<JobFailure>,
    /// Who may ask, where that is restricted.
    pub owner: Option<SessionRef>,
    /// Whether somebody asked the running job to end.
    pub cancel_requested: bool,
    /// When the handle was first known.
    pub created_at: DateTime<Utc>,
    /// When the run first ran.
    pub started_at: Option<DateTime<Utc>>,
    /// When the run ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the next attempt is due, while it waits for one.
    pub retry_at: Option<DateTime<Utc>>,
    /// When this status last changed.
    pub updated_at: DateTime<Utc>,
    /// Differs from every earlier version of this handle's status.
    pub version: u64,
}

/// A step of a job's status. What is `None` stays as it is within a run.
///
/// ```
/// use standfast_queue::{JobState, Progress, StatusUpdate};
///
/// let update = StatusUpdate::new("report", JobState::Running).progress(Progress::new(3, 10));
/// assert_eq!((update.run, update.attempt, update.delivery), (1, 1, 1));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusUpdate {
    /// The state after the step.
    pub state: JobState,
    /// What kind of job it is.
    pub kind: String,
    /// Which run, from 1.
    pub run: u32,
    /// Which attempt of the run, from 1.
    pub attempt: u32,
    /// Which delivery of the run, from 1, counted as an attempt or not.
    pub delivery: u32,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Where the next attempt goes on.
    pub checkpoint: Option<Bytes>,
    /// What came of it.
    pub result: Option<Value>,
    /// What went wrong.
    pub error: Option<JobFailure>,
    /// Who may ask.
    pub owner: Option<SessionRef>,
    /// How long until the next attempt is due.
    pub retry_in: Option<Duration>,
}

impl StatusUpdate {
    /// The first delivery of the first run of a job of `kind`, in `state`.
    pub fn new(kind: impl Into<String>, state: JobState) -> Self {
        Self {
            state,
            kind: kind.into(),
            run: 1,
            attempt: 1,
            delivery: 1,
            progress: None,
            checkpoint: None,
            result: None,
            error: None,
            owner: None,
            retry_in: None,
        }
    }

    /// Which run, attempt and delivery the step belongs to, each from 1.
    #[must_use]
    pub fn execution(self, run: u32, attempt: u32, delivery: u32) -> Self {
        Self { run, attempt, delivery, ..self }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Where the next attempt goes on.
    #[must_use]
    pub fn checkpoint(self, checkpoint: impl Into<Bytes>) -> Self {
        Self { checkpoint: Some(checkpoint.into()), ..self }
    }

    /// What came of it.
    #[must_use]
    pub fn result(self, result: Value) -> Self {
        Self { result: Some(result), ..self }
    }

    /// What went wrong.
    #[must_use]
    pub fn error(self, error: JobFailure) -> Self {
        Self { error: Some(error), ..self }
    }

    /// Who may ask.
    #[must_use]
    pub fn owner(self, owner: Option<SessionRef>) -> Self {
        Self { owner, ..self }
    }

    /// How long until the next attempt is due.
    #[must_use]
    pub fn retry_in(self, delay: Duration) -> Self {
        Self { retry_in: Some(delay), ..self }
    }
}
