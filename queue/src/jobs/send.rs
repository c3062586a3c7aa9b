use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use standfast_core::{Backoff, Context, Error, ErrorKind, JobId, SessionRef, Tick};

use super::{Handle, Job, Jobs, worth_repeating};
use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::message::{Dedupe, OutgoingMessage, Priority, SendOutcome};
use crate::status::{JobState, StatusUpdate};

/// How often a send that failed for the moment is tried, with the same id.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a job was not sent.
///
/// ```
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryQueueConfig, MemoryStatusStore};
/// use standfast_queue::SendError;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let mut config = MemoryQueueConfig::default();
/// # config.max_len = 0;
/// # let jobs = Jobs::new(MemoryQueue::with_config(config), MemoryStatusStore::new());
/// let http_status = match jobs.send(Mail { to: "ada@example.org".into() }).await {
///     Ok(_) => 202,
///     Err(SendError::Full) => 503,   // the queue is bounded, and at its bound
///     Err(_) => 500,
/// };
/// assert_eq!(http_status, 503);
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The queue or the status store failed. The job may have been sent all the same if the error
    /// is retryable or its outcome unknown.
    #[error(transparent)]
    Backend(#[from] Error),
    /// It is a duplicate of a job that nobody can wait for.
    #[error("a duplicate of job {0}")]
    Duplicate(JobId),
    /// The queue holds as many messages as it may.
    #[error("the queue is full")]
    Full,
}

/// A job on its way: awaiting it sends it.
///
/// # What if the process dies?
///
/// First the status is stored as queued, then the message is sent, then the handle is returned.
/// Between the first two, a status without a message is left, whose handle nobody has; with ids of
/// the caller's choice (see [`id`](Self::id)) the repeated send completes it. So a handle that was
/// given out always has a status.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let mail = || Mail { to: "ada@example.org".into() };
/// let handle = jobs.send(mail()).delay(Duration::from_secs(60)).dedupe("welcome-ada").await?;
/// let again = jobs.send(mail()).dedupe("welcome-ada").await?;
/// assert!(again.is_duplicate());
/// assert_eq!(again.id(), handle.id());
/// # Ok(()) }
/// ```
#[must_use = "a job is sent when this is awaited"]
pub struct SendJob<J> {
    jobs: Jobs,
    job: J,
    message: OutgoingMessage,
    owner: Option<SessionRef>,
}

impl<J: Job> SendJob<J> {
    pub(super) fn new(jobs: Jobs, job: J) -> Self {
        // the body is written last: only then is it known that JSON can express the job
        let envelope = Envelope::sent_at(jobs.clock().now(), J::KIND, "")
            .with_version(J::VERSION)
            .with_context(jobs.context().clone())
            .with_handle(StatusHandle::random());
        Self { jobs, job, message: OutgoingMessage::new(envelope), owner: None }
    }

    fn envelope(&mut self) -> &mut Envelope {
        Arc::make_mut(&mut self.message.envelope)
    }

    /// Not before `delay` has passed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.message.delay = delay;
        self
    }

    /// Only if no job of this key was sent within a day; otherwise the handle is that of the
    /// earlier one.
    pub fn dedupe(self, key: impl Into<Arc<str>>) -> Self {
        self.dedupe_for(key, DAY)
    }

    /// Only if no job of this key was sent within `window`.
    pub fn dedupe_for(mut self, key: impl Into<Arc<str>>, window: Duration) -> Self {
        self.message.dedupe = Some(Dedupe::new(key, window));
        self
    }

    /// How soon it is taken once it is ready.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.message.priority = priority;
        self
    }

    /// In order behind the other jobs of `group`, one at a time.
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.message.group = Some(group.into());
        self
    }

    /// Dropped, and failed, if it has not begun within `span`.
    pub fn drop_after(mut self, span: Duration) -> Self {
        self.message.drop_after = Some(span);
        self
    }

    /// Where it is sent from, instead of the context of the [`Jobs`].
    pub fn context(mut self, context: Context) -> Self {
        self.envelope().context = context;
        self
    }

    /// Only this session may ask for the status.
    pub fn owner(mut self, owner: impl Into<Option<SessionRef>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Names the message and the status: a send repeated with the same names is the same job, for
    /// as long as its message is queued or its status is kept.
    pub fn id(mut self, id: JobId, handle: StatusHandle) -> Self {
        let envelope = self.envelope();
        (envelope.id, envelope.handle) = (id, Some(handle));
        self
    }

    /// A header beyond the usual ones.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.envelope().headers.insert(name.into(), value.into());
        self
    }

    /// The run of this kind that `tick` calls for: every instance that sends it sends the same
    /// job, and a takeover of the tick does not send it again for as long as the tick says.
    pub fn for_tick(mut self, tick: &Tick) -> Self {
        let id = tick.job_id(J::KIND);
        self.envelope().id = id;
        self.dedupe_for(format!("tick:{id}"), tick.repeats_within)
    }

    /// Sends it without a status: nobody can wait for it, and the store has nothing to keep.
    ///
    /// # Errors
    ///
    /// Why it was not sent. A duplicate is an error here, since there is no handle to return.
    pub async fn detached(mut self) -> Result<JobId, SendError> {
        self.envelope().handle = None;
        let (jobs, message) = self.message()?;
        let id = message.envelope.id;
        match send(&jobs, message).await? {
            SendOutcome::Sent => Ok(id),
            SendOutcome::Duplicate(original) => Err(SendError::Duplicate(original.id)),
            SendOutcome::Full => Err(SendError::Full),
            SendOutcome::Failed(error) => Err(error.into()),
        }
    }

    fn message(mut self) -> Result<(Jobs, OutgoingMessage), SendError> {
        let body = serde_json::to_vec(&self.job).map_err(|error| {
            Error::new(ErrorKind::Invalid, "jobs", "job.encode")
                .with_detail(format!("a {} that JSON cannot express", J::KIND))
                .with_source(error)
        })?;
        self.envelope().body = body.into();
        Ok((self.jobs, self.message))
    }

    async fn send(self) -> Result<Handle<J>, SendError> {
        let owner = self.owner;
        let (jobs, message) = self.message()?;
        let Some(handle) = message.envelope.handle else {
            return Err(Error::new(ErrorKind::Unexpected, "jobs", "job.send").into());
        };
        let mut queued = StatusUpdate::new(J::KIND, JobState::Queued).owner(owner);
        if !message.delay.is_zero() {
            queued = queued.retry_in(message.delay);
        }
        let status = jobs.status();
        let advance = retrying(&jobs, || status.advance(&handle, &queued, jobs.kept_for())).await?;
        if !advance.is_applied() && advance.status().state.is_terminal() {
            // the same names were sent before, and that job has ended
            return Ok(Handle::new(handle, &jobs, true));
        }
        let created = advance.is_applied();
        // after an error it may be in the queue, and then it needs its status
        let not_sent = match send(&jobs, message).await? {
            SendOutcome::Sent => return Ok(Handle::new(handle, &jobs, !created)),
            SendOutcome::Duplicate(original) => match original.handle {
                Some(known) if known == handle => return Ok(Handle::new(handle, &jobs, true)),
                Some(known) => Ok(Handle::new(known, &jobs, true)),
                None => Err(SendError::Duplicate(original.id)),
            },
            SendOutcome::Full => Err(SendError::Full),
            SendOutcome::Failed(error) => Err(error.into()),
        };
        if created {
            // nobody has this handle; if it stays behind, it expires by itself
            if let Err(error) = status.remove(&handle).await {
                tracing::warn!(%error, "the status of a job that was not sent stays behind");
            }
        }
        not_sent
    }
}

impl<J: Job> IntoFuture for SendJob<J> {
    type Output = Result<Handle<J>, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<J: Job> fmt::Debug for SendJob<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendJob")
            .field("kind", &J::KIND)
            .field("id", &self.message.envelope.id)
            .finish_non_exhaustive()
    }
}

/// Sends one message. Every try has the same id, so that together they are one send. `Failed` is
/// left only where the message is not stored; where nobody knows, it is the error.
async fn send(jobs: &Jobs, message: OutgoingMessage) -> Result<SendOutcome, Error> {
    let batch = [message];
    retrying(jobs, || async {
        match jobs.queue().send(&batch).await?.into_iter().next() {
            Some(SendOutcome::Failed(error)) if worth_repeating(&error) => Err(error),
            Some(outcome) => Ok(outcome),
            None => Err(Error::new(ErrorKind::Unexpected, "jobs", "queue.send")),
        }
    })
    .await
}

async fn retrying<T, F>(jobs: &Jobs, mut call: impl FnMut() -> F + Send) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>> + Send,
    T: Send,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if worth_repeating(&error) && attempt < TRIES => {
                let pause = error.retry_after().unwrap_or_else(|| BETWEEN_TRIES.next(attempt));
                jobs.clock().sleep(pause).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}
