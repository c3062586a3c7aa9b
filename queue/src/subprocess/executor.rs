//! A worker's jobs, each in a process of its own.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use standfast_core::Id128;
use tempfile::TempDir;

use super::exit::{Exit, ExitOutcome, RunError};
use super::spec::Subprocess;
use super::wire::{Event, FailureKind, JobFailureWire};
use crate::jobs::Job;
use crate::status::Progress;
use crate::worker::{JobContext, JobError};

/// The headers that a job process gets beside those of its envelope.
pub(super) const ATTEMPT: &str = "attempt";
pub(super) const DELIVERY: &str = "delivery";
pub(super) const CHECKPOINT: &str = "checkpoint";

/// Runs jobs in processes of their own, each in a fresh directory.
///
/// The handler in the worker fetches what the job needs into the directory, runs the process there,
/// and stores what it left there; so the process needs access to no backend. What the process says
/// about its progress becomes the job's. When the job is cancelled, over its time or without a
/// lease, the process and everything it started is ended; see [`Subprocess`].
///
/// The worker's `cancel_grace` should be longer than the grace of the [`Subprocess`].
///
/// ```no_run
/// # use standfast_queue::{Job, JobContext, JobError};
/// # use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Render { scene: String }
/// # impl Job for Render { const KIND: &'static str = "render"; type Output = u64; }
/// async fn render(job: Render, exec: SubprocessExecutor, ctx: JobContext) -> Result<u64, JobError> {
///     let dir = exec.directory()?;
///     std::fs::write(dir.path().join("scene.txt"), &job.scene)?;
///     let frames: u64 = exec.run(&ctx, dir.path()).await?;
///     // … store what it left in `dir`, which goes when it is dropped
///     Ok(frames)
/// }
///
/// let exec = SubprocessExecutor::new(Subprocess::new().arg("job"), std::env::temp_dir())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubprocessExecutor {
    command: Arc<Subprocess>,
    base: Arc<Base>,
}

/// The directory of one executor, held by a lock for as long as the process lives. It goes with
/// the last clone; what a process that is killed leaves, the next one removes.
#[derive(Debug)]
struct Base {
    path: PathBuf,
    _lock: File,
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a directory of jobs stays");
        }
    }
}

const PREFIX: &str = "standfast-jobs-";
const LOCK: &str = "lock";

impl SubprocessExecutor {
    /// Runs `command` for each job, in fresh directories under `base`. Removes what executors of
    /// processes that have died left there.
    ///
    /// # Errors
    ///
    /// When there is no writing under `base`.
    pub fn new(command: Subprocess, base: impl AsRef<Path>) -> io::Result<Self> {
        let base = base.as_ref();
        remove_abandoned(base)?;
        let name = Id128::random();
        // locked before it has the name by which others look for what is not locked
        let (new, path) =
            (base.join(format!("standfast-new-{name}")), base.join(format!("{PREFIX}{name}")));
        fs::create_dir(&new)?;
        let lock = File::create(new.join(LOCK))?;
        lock.lock()?;
        fs::rename(&new, &path)?;
        Ok(Self { command: Arc::new(command), base: Arc::new(Base { path, _lock: lock }) })
    }

    /// A fresh directory for a job; it goes, with all that is in it, when it is dropped.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn directory(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("job-").tempdir_in(&self.base.path)
    }

    /// A handler that runs jobs of kind `J` in a process, with nothing to fetch or store.
    ///
    /// ```no_run
    /// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
    /// # use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Render;
    /// # impl Job for Render { const KIND: &'static str = "render"; type Output = u64; }
    /// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    /// let exec = SubprocessExecutor::new(Subprocess::new().arg("job"), std::env::temp_dir())?;
    /// let worker = jobs.worker(()).on(exec.handler::<Render>());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handler<J: Job>(
        &self,
    ) -> impl Fn(J, JobContext) -> BoxFuture<'static, Result<J::Output, JobError>> + Send + Sync + 'static
    {
        let executor = self.clone();
        move |_job, context| {
            let executor = executor.clone();
            Box::pin(async move {
                let directory = executor.directory()?;
                executor.run(&context, directory.path()).await
            })
        }
    }

    /// Runs the job of `context` in a process with `directory` as its working directory, and
    /// returns what it says came of it.
    ///
    /// # Errors
    ///
    /// As the process says, or in words for its exit code or signal; the last lines of its standard
    /// error are the failure's detail.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the process and everything it started.
    pub async fn run<T: DeserializeOwned>(
        &self,
        context: &JobContext,
        directory: &Path,
    ) -> Result<T, JobError> {
        let header = header(context)?;
        let body = context.envelope().body.clone();
        let told = context.clone();
        let events = move |event| match event {
            Event::Progress { done, total, message } => {
                told.report(Progress { message, ..Progress::new(done, total) });
            }
            Event::Checkpoint(state) => told.checkpoint_bytes(state),
        };
        let cancelled = context.cancellation();
        match self.command.run(directory, &header, body, events, cancelled).await {
            Ok(exit) => outcome(exit),
            Err(RunError::ShimLost { stderr_tail }) => {
                Err(JobError::retry("the job process was lost").with_detail(stderr_tail))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The headers of the envelope in one line, with what the worker knows about the attempt.
fn header(context: &JobContext) -> Result<Vec<u8>, JobError> {
    let mut headers: Map<String, Value> =
        serde_json::from_slice(&context.envelope().encode_head())?;
    headers.insert(ATTEMPT.into(), context.attempt().into());
    headers.insert(DELIVERY.into(), context.received().delivery.into());
    if let Some(state) = context.last_checkpoint_bytes() {
        headers.insert(CHECKPOINT.into(), STANDARD.encode(state).into());
    }
    Ok(serde_json::to_vec(&headers)?)
}

fn outcome<T: DeserializeOwned>(exit: Exit) -> Result<T, JobError> {
    let words = exit.outcome.to_string();
    let error = match exit.outcome {
        ExitOutcome::Done { result } => {
            return Ok(serde_json::from_value(result.unwrap_or_default())?);
        }
        ExitOutcome::Reported(failure) => reported(failure),
        ExitOutcome::Cancelled => JobError::cancelled("the job process was cancelled"),
        ExitOutcome::ResultTooLong { .. } => JobError::dead(words),
        ExitOutcome::Signalled { .. } | ExitOutcome::Failed { .. } => {
            JobError::retry(format!("the job process ended: {words}"))
        }
        ExitOutcome::Retry | ExitOutcome::TimedOut => JobError::retry(words),
    };
    Err(match exit.stderr_tail.is_empty() {
        true => error,
        false => error.with_detail(exit.stderr_tail),
    })
}

fn reported(JobFailureWire { kind, message, delay_ms, .. }: JobFailureWire) -> JobError {
    let delay = delay_ms.map(std::time::Duration::from_millis);
    match (kind, delay) {
        (FailureKind::Dead, _) => JobError::dead(message),
        (FailureKind::Cancelled, _) => JobError::cancelled(message),
        (FailureKind::Snooze, delay) => JobError::snooze(delay.unwrap_or_default()),
        (FailureKind::Retry, Some(delay)) => JobError::retry_in(delay, message),
        (FailureKind::Retry, None) => JobError::retry(message),
    }
}

/// Removes the directories of executors whose process no longer holds their lock.
fn remove_abandoned(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let named = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        if !named {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => {
                if let Err(error) = fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "an abandoned directory stays");
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}
