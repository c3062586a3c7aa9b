use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use standfast_core::{CancellationToken, Clock, Context, Id128};
use tokio::sync::Notify;

use super::JobError;
use crate::delivery::Received;
use crate::envelope::Envelope;
use crate::jobs::{Job, Jobs, SendJob};
use crate::status::{MAX_CHECKPOINT, Progress};

/// Why a job was asked to end.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobContext, JobError, Jobs, KindConfig, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::CancelReason;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Count;
/// # impl Job for Count { const KIND: &'static str = "count"; type Output = u64; }
///
/// async fn count(_: Count, ctx: JobContext) -> Result<u64, JobError> {
///     let mut counted = 0;
///     while !ctx.is_cancelled() {
///         counted += 1;
///         tokio::task::yield_now().await;
///     }
///     match ctx.cancel_reason() {
///         Some(CancelReason::TimedOut) => Ok(counted),   // as far as it came
///         _ => Err(JobError::cancelled("asked to end")),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Count).await?;
/// let brief = KindConfig::default().timeout(Duration::from_millis(5));
/// jobs.worker(()).on_with(brief, count).drain().await;
/// assert!(handle.wait(Duration::from_secs(5)).await? > 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CancelReason {
    /// Its lease could not be kept: another worker may have the job already.
    LeaseLost,
    /// Somebody asked for it.
    Requested,
    /// The worker stops and its grace is over.
    Shutdown,
    /// It ran longer than its kind may.
    TimedOut,
}

/// What a handler knows about its job, and how it tells how far it is.
///
/// Cheap to clone. Nothing in it waits: what is told is taken along by the worker's next step.
///
/// ```
/// # use standfast_queue::{Job, JobContext, JobError};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Import { rows: u64 }
/// # impl Job for Import { const KIND: &'static str = "import"; type Output = (); }
/// async fn import(job: Import, ctx: JobContext) -> Result<(), JobError> {
///     let done = ctx.last_checkpoint::<u64>().unwrap_or(0);   // where the attempt before was
///     for row in done..job.rows {
///         if ctx.is_cancelled() {
///             return Err(JobError::cancelled("asked to stop"));
///         }
///         ctx.progress(row + 1, job.rows);
///         ctx.checkpoint(&(row + 1))?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct JobContext(Arc<Shared>);

struct Shared {
    received: Received,
    lease_until: Mutex<Instant>,
    cancelled: CancellationToken,
    reason: OnceLock<CancelReason>,
    last_checkpoint: OnceLock<Bytes>,
    told: Mutex<Told>,
    news: Notify,
    jobs: Option<Jobs>,
}

/// What the handler told and the status does not have yet.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) progress: Option<Progress>,
    pub(crate) checkpoint: Option<Bytes>,
    /// The most units that were said to be done.
    most: u64,
    /// How often something was told.
    times: u64,
}

impl Told {
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.checkpoint.is_none()
    }
}

impl JobContext {
    pub(crate) fn new(received: Received, jobs: Option<Jobs>) -> Self {
        Self(Arc::new(Shared {
            lease_until: Mutex::new(received.lease_until),
            received,
            cancelled: CancellationToken::new(),
            reason: OnceLock::new(),
            last_checkpoint: OnceLock::new(),
            told: Mutex::default(),
            news: Notify::new(),
            jobs,
        }))
    }

    /// Which attempt of the run this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.received.attempt
    }

    /// Which run of the job this is, from 1.
    pub fn run(&self) -> u32 {
        self.envelope().run
    }

    /// The message.
    pub fn envelope(&self) -> &Arc<Envelope> {
        self.0.received.envelope()
    }

    /// Where the job was sent from.
    pub fn context(&self) -> &Context {
        &self.envelope().context
    }

    /// When the lease ends unless it is extended: the worker does that for as long as it can, and
    /// [cancels](Self::cancelled) the job in time when it cannot.
    pub fn lease_deadline(&self) -> Instant {
        *self.0.lease_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far the job is: `done` out of `total`, in units of its choice.
    pub fn progress(&self, done: u64, total: impl Into<Option<u64>>) {
        self.report(Progress::new(done, total));
    }

    /// Says how far the job is, and what is being done. The units done do not go back: a report of
    /// fewer than before is left out.
    pub fn report(&self, progress: Progress) {
        self.tell(|told| {
            if progress.done >= told.most {
                told.most = progress.done;
                told.progress = Some(progress);
            }
        });
    }

    /// Leaves `value` for the next attempt, should this one not end. It is stored within the
    /// worker's progress interval, with whatever else was told by then.
    ///
    /// # Errors
    ///
    /// When it cannot be expressed in JSON, or in more than 64 KiB.
    pub fn checkpoint<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), JobError> {
        let bytes = serde_json::to_vec(value)?;
        if bytes.len() > MAX_CHECKPOINT {
            let message = format!("a checkpoint holds at most {MAX_CHECKPOINT} bytes");
            return Err(JobError::dead(message));
        }
        self.checkpoint_bytes(bytes.into());
        Ok(())
    }

    pub(crate) fn checkpoint_bytes(&self, state: Bytes) {
        self.tell(|told| told.checkpoint = Some(state));
    }

    pub(crate) fn last_checkpoint_bytes(&self) -> Option<&Bytes> {
        self.0.last_checkpoint.get()
    }

    /// What an earlier attempt of this run left, if it can be read as a `T`. Jobs without a status
    /// have none.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.last_checkpoint_bytes()?).ok()
    }

    /// A name for the effect `key` of this job, the same in every attempt and run: hand it to
    /// whatever brings the effect about, so that it happens once.
    pub fn once(&self, key: &str) -> Id128 {
        let id = Id128::from(self.envelope().id).to_bytes();
        Id128::derive("standfast:once:1", &[&id, key.as_bytes()])
    }

    /// Sends a follow-up job from the same context.
    ///
    /// # Errors
    ///
    /// In a process of its own a job has no queue; there it leaves follow-ups to its host.
    pub fn send<J: Job>(&self, job: J) -> Result<SendJob<J>, JobError> {
        let jobs = self.0.jobs.as_ref();
        let jobs = jobs.ok_or_else(|| JobError::dead("this host of the job has no queue"))?;
        Ok(jobs.with_context(self.context().clone()).send(job))
    }

    /// Whether the job should end.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Waits until the job should end.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    /// Cancelled when the job should end.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    /// Why the job should end, once it should.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.0.reason.get().copied()
    }

    pub(crate) fn cancel(&self, reason: CancelReason) {
        // the first reason stays: later ones follow from it
        let _ = self.0.reason.set(reason);
        self.0.cancelled.cancel();
    }

    pub(crate) fn received(&self) -> &Received {
        &self.0.received
    }

    /// Which context this is, among those that live.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Hands over what an earlier delivery left, before the handler runs.
    pub(crate) fn set_last_checkpoint(&self, checkpoint: Bytes) {
        // invariant: a job begins once, so there is none yet
        let _ = self.0.last_checkpoint.set(checkpoint);
    }

    pub(crate) fn extend_lease(&self, until: Instant) {
        *self.0.lease_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Waits until the lease has ended, however often it is extended meanwhile.
    pub(crate) async fn lease_ended(&self, clock: &dyn Clock) {
        while self.lease_deadline() > clock.instant() {
            clock.sleep_until(self.lease_deadline()).await;
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        let mut told = self.told();
        tell(&mut told);
        told.times += 1;
        drop(told);
        self.0.news.notify_one();
    }

    /// What the handler told and the status does not have yet.
    pub(crate) fn news_to_store(&self) -> Told {
        self.told().clone()
    }

    /// Takes note that the status has what was told up to `stored`.
    pub(crate) fn stored(&self, stored: &Told) {
        let mut told = self.told();
        if told.times == stored.times {
            (told.progress, told.checkpoint) = (None, None);
        }
    }

    /// Waits until the handler has told something.
    pub(crate) async fn news(&self) {
        self.0.news.notified().await;
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("received", &self.0.received)
            .field("cancelled", &self.cancel_reason())
            .finish_non_exhaustive()
    }
}
