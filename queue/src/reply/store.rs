use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{
    Clock, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock, saturating_add,
};

use super::wire::Step;
use super::{Answering, REPLY_TO};
use crate::delivery::Received;
use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::message::SendOutcome;
use crate::queue::Queue;
use crate::receipt::{DeliveryToken, Receipt};
use crate::status::{
    Advance, CancelOutcome, JobStatus, MAX_CHECKPOINT, MemoryStatusConfig, MemoryStatusStore,
    StatusCapabilities, StatusStore, StatusUpdate,
};

/// How long a job is remembered after its lease, for who has lost it without knowing.
const AFTER_LEASE: Duration = Duration::from_secs(10 * 60);

/// How long a job that the store has ended is remembered, for who has to tell.
const TO_TELL: Duration = Duration::from_secs(60 * 60);

/// The most queues that are kept open; then all are opened anew as they are needed.
const OPEN: usize = 256;

/// The statuses of jobs that wait for replies, as a worker sees them: each step is sent to the
/// [`ReplyQueue`](super::ReplyQueue) that the job names.
///
/// It is the status store of the worker's [`Jobs`](crate::Jobs), and [`answering`](Self::answering)
/// makes their queue: a handle alone does not say who waits, so the store learns it from the jobs
/// that are received. It knows a job from its delivery to its settlement. Jobs that name no queue
/// have their statuses in another store.
///
/// # What is told, and what is not
///
/// A step counts as stored once the reply queue has it. While that queue fails, the worker tries
/// again for as long as its lease lasts, as with every store. A reply queue that is full, not there
/// or cannot be opened belongs to an instance that is gone: its replies are dropped, logged and
/// counted in `standfast_replies_dropped_total`, and the job goes on.
///
/// A checkpoint is known to its delivery only, and a request to cancel reaches nobody.
///
/// # What if the process dies?
///
/// Before a step is sent: nothing was said, and the message is delivered again. After: it was said.
/// A step that is sent twice changes nothing where it arrives.
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_queue::{Jobs, MemoryQueue};
/// use standfast_queue::{MemoryStatusStore, Queue, ReplyStore};
///
/// // every reply queue of this application is on one backend, under the name that jobs carry
/// # let (web_1, queue) = (MemoryQueue::new(), MemoryQueue::new());
/// let open = move |name: &str| -> standfast_core::Result<Arc<dyn Queue>> {
///     # assert_eq!(name, "web-1");
///     Ok(Arc::new(web_1.clone()))
/// };
/// let answers = ReplyStore::new(MemoryStatusStore::new(), open);
/// let jobs = Jobs::new(answers.answering(queue), answers);
/// let worker = jobs.worker(());
/// # let _ = worker;
/// ```
#[derive(Clone)]
pub struct ReplyStore(Arc<Inner>);

struct Inner {
    otherwise: Box<dyn StatusStore>,
    open: Box<Open>,
    clock: Arc<dyn Clock>,
    /// What was said here, by the rule; the authority is where the replies go.
    said: MemoryStatusStore,
    state: Mutex<State>,
}

type Open = dyn Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync;

#[derive(Default)]
struct State {
    known: HashMap<StatusHandle, Asked>,
    /// How many were known after the last sweep.
    swept: usize,
    queues: HashMap<Arc<str>, Arc<dyn Queue>>,
}

/// A job that is here, and who asked for it.
struct Asked {
    name: Arc<str>,
    /// The delivery that knows it last; none for what the store has ended.
    token: Option<DeliveryToken>,
    until: Instant,
}

impl ReplyStore {
    /// Sends steps to the queues that `open` opens by name; jobs that name none have their statuses
    /// in `otherwise`.
    pub fn new(
        otherwise: impl StatusStore,
        open: impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static,
    ) -> Self {
        Self::with_clock(otherwise, open, Arc::new(SystemClock))
    }

    /// The same, with the time by which jobs are remembered.
    pub fn with_clock(
        otherwise: impl StatusStore,
        open: impl Fn(&str) -> Result<Arc<dyn Queue>> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config =
            MemoryStatusConfig { clock: Arc::clone(&clock), ..MemoryStatusConfig::default() };
        Self(Arc::new(Inner {
            otherwise: Box::new(otherwise),
            open: Box::new(open),
            clock,
            said: MemoryStatusStore::with_config(config),
            state: Mutex::default(),
        }))
    }

    /// The queue of jobs as this worker receives from it.
    pub fn answering<Q: Queue>(&self, jobs: Q) -> Answering<Q> {
        Answering::new(jobs, self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who waits for the job of this handle.
    fn name(&self, handle: &StatusHandle) -> Option<Arc<str>> {
        self.state().known.get(handle).map(|asked| Arc::clone(&asked.name))
    }

    /// Learns who waits for a job that was received.
    pub(super) async fn learn(&self, received: &Received) {
        let token = received.receipt.token().clone();
        let until = saturating_add(received.lease_until, AFTER_LEASE);
        self.remember(received.envelope(), Some(token), until).await;
    }

    /// Learns who waits for a job that the store has ended.
    pub(super) async fn learn_ended(&self, envelope: &Envelope) {
        let until = saturating_add(self.0.clock.instant(), TO_TELL);
        self.remember(envelope, None, until).await;
    }

    async fn remember(&self, envelope: &Envelope, token: Option<DeliveryToken>, until: Instant) {
        let Some(handle) = envelope.handle else { return };
        let Some(name) = envelope.headers.get(REPLY_TO) else { return };
        let Some(name) = name.as_str() else {
            tracing::error!(id = %envelope.id, "the header `reply_to` is no name");
            return;
        };
        let gone = {
            let mut state = self.state();
            state.known.insert(handle, Asked { name: name.into(), token, until });
            state.sweep(self.0.clock.instant())
        };
        for handle in gone {
            self.forget(&handle).await;
        }
    }

    /// A lease was made to end `lease` after now.
    pub(super) fn extended(&self, receipt: &Receipt, lease: Duration) {
        let until = saturating_add(self.0.clock.instant(), lease.saturating_add(AFTER_LEASE));
        let mut state = self.state();
        let handle = receipt.envelope().handle;
        if let Some(asked) = handle.and_then(|handle| state.known.get_mut(&handle))
            && asked.token.as_ref() == Some(receipt.token())
        {
            asked.until = until;
        }
    }

    /// A delivery is over.
    pub(super) async fn settled(&self, receipt: &Receipt) {
        let Some(handle) = receipt.envelope().handle else { return };
        let was_last = {
            let mut state = self.state();
            let asked = state.known.get(&handle);
            let was_last = asked.is_some_and(|asked| asked.token.as_ref() == Some(receipt.token()));
            was_last && state.known.remove(&handle).is_some()
        };
        if was_last {
            self.forget(&handle).await;
        }
    }

    async fn forget(&self, handle: &StatusHandle) {
        // invariant: memory does not fail
        self.0.said.remove(handle).await.expect("a status in memory can be removed");
    }

    /// Sends a step. Says why nobody will ever read it, where that is so; an error is for the worker
    /// to act on.
    async fn send(&self, name: &Arc<str>, step: Envelope) -> Result<Option<String>> {
        let queue = match self.queue(name) {
            Ok(queue) => queue,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => return Ok(Some(error.to_string())),
        };
        let outcomes = queue.send(&[step.into()]).await;
        let error = match outcomes.map(|outcomes| outcomes.into_iter().next()) {
            Ok(Some(SendOutcome::Sent | SendOutcome::Duplicate(_))) => return Ok(None),
            Ok(Some(SendOutcome::Full)) => return Ok(Some("it is full".into())),
            Ok(Some(SendOutcome::Failed(error))) | Err(error) => error,
            Ok(None) => Error::new(ErrorKind::Unexpected, "reply", "status.advance"),
        };
        match error.kind() {
            ErrorKind::NotFound => Ok(Some(error.to_string())),
            _ => Err(error),
        }
    }

    fn queue(&self, name: &Arc<str>) -> Result<Arc<dyn Queue>> {
        if let Some(queue) = self.state().queues.get(name) {
            return Ok(Arc::clone(queue));
        }
        // two that open it at once: the second one stays
        let queue = (self.0.open)(name)?;
        let mut state = self.state();
        if state.queues.len() >= OPEN {
            state.queues.clear();
        }
        state.queues.insert(Arc::clone(name), Arc::clone(&queue));
        Ok(queue)
    }
}

impl State {
    /// Takes out what nobody can want any more, once it could be half of all.
    fn sweep(&mut self, now: Instant) -> Vec<StatusHandle> {
        if self.known.len() < 2 * self.swept.max(64) {
            return Vec::new();
        }
        let over = self.known.extract_if(|_, asked| asked.until <= now);
        let gone = over.map(|(handle, _)| handle).collect();
        self.swept = self.known.len();
        gone
    }
}

#[async_trait]
impl StatusStore for ReplyStore {
    fn capabilities(&self) -> StatusCapabilities {
        StatusCapabilities { backend: "reply", ..self.0.otherwise.capabilities() }
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let Some(name) = self.name(handle) else {
            return self.0.otherwise.advance(handle, update, keep_for).await;
        };
        if update.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.len() > MAX_CHECKPOINT) {
            return Err(Error::new(ErrorKind::TooLarge, "reply", "status.advance")
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("a checkpoint holds at most {MAX_CHECKPOINT} bytes")));
        }
        let said = self.0.said.get(handle).await?;
        if let Some(said) = said.filter(|said| !said.precedes(update)) {
            return Ok(Advance::Refused(said));
        }
        // first sent, then noted: what failed to be sent is not refused when it is repeated
        let step = Step::write(*handle, update, keep_for, &self.0.clock)?;
        if let Some(why) = self.send(&name, step).await? {
            // whoever waited is gone, and the job is not to suffer for it
            tracing::error!(%name, why, "a reply was dropped: nobody reads the queue");
            metrics::counter!("standfast_replies_dropped_total").increment(1);
        }
        self.0.said.advance(handle, update, keep_for).await
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        match self.name(handle) {
            Some(_) => self.0.said.get(handle).await,
            None => self.0.otherwise.get(handle).await,
        }
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        match self.name(handle) {
            Some(_) => self.0.said.wait(handle, seen, timeout).await,
            None => self.0.otherwise.wait(handle, seen, timeout).await,
        }
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        match self.name(handle) {
            Some(_) => Err(Error::new(ErrorKind::Unsupported, "reply", "status.request_cancel")
                .with_detail("through a reply queue nobody can be asked to end")),
            None => self.0.otherwise.request_cancel(handle).await,
        }
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        match self.name(handle) {
            Some(_) => self.0.said.remove(handle).await,
            None => self.0.otherwise.remove(handle).await,
        }
    }
}

#[async_trait]
impl HealthCheck for ReplyStore {
    async fn health(&self) -> Health {
        self.0.otherwise.health().await
    }
}

impl fmt::Debug for ReplyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.state().known.len();
        f.debug_struct("ReplyStore")
            .field("otherwise", &self.0.otherwise)
            .field("known", &known)
            .finish_non_exhaustive()
    }
}
