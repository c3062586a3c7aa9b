use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Error, Health, HealthCheck, Result, Verdict};
use tokio::sync::watch;

use crate::admin::{Leased, QueueAdmin};
use crate::capabilities::QueueCapabilities;
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::status::{
    Advance, CancelOutcome, JobStatus, StatusCapabilities, StatusStore, StatusUpdate,
};

/// What goes wrong with one call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # use standfast_core::{Error, ErrorKind};
/// # use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
/// # use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue, SendOutcome};
/// let queue = Faulty::new(MemoryQueue::new());
/// let full = Error::new(ErrorKind::Unavailable, "memory", "queue.send");
/// queue.script(QueueOperation::Send, [Fault::None, Fault::Entries(vec![(1, full)])]);
///
/// let mail = || OutgoingMessage::new(Envelope::new("mail", "hello"));
/// assert!(queue.send(&[mail()]).await?[0].is_sent());
/// let outcomes = queue.send(&[mail(), mail()]).await?;
/// assert!(matches!(outcomes[..], [SendOutcome::Sent, SendOutcome::Failed(_)]));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call waits this long and then happens.
    Delay(Duration),
    /// The call happens except for these entries, by position, which fail. On calls without
    /// entries, nothing goes wrong.
    Entries(Vec<(usize, Error)>),
    /// The call does not happen.
    ErrorBefore(Error),
    /// The call happens and its answer is lost.
    ErrorAfter(Error),
    /// The call waits until the gate opens and then happens.
    HoldBefore(Gate),
    /// The call happens and its answer waits until the gate opens.
    HoldAfter(Gate),
    /// Nothing goes wrong: for scripts in which only a later call fails.
    None,
    /// The call panics.
    Panic,
}

/// Holds calls back until it is opened. Clones are the same gate.
///
/// ```
/// use standfast_queue::testkit::Gate;
///
/// let gate = Gate::new();
/// gate.open();
/// ```
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        // invariant: the sender lives in `self`, so the wait cannot fail
        self.0.subscribe().wait_for(|open| *open).await.expect("the gate is there");
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// The operations of a queue that [`Faulty`] tells apart.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use standfast_core::{Error, ErrorKind};
/// # use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
/// # use standfast_queue::{MemoryQueue, Queue, ReceiveOptions};
/// let queue = Faulty::new(MemoryQueue::new());
/// let down = Error::new(ErrorKind::Unavailable, "memory", "queue.receive");
/// queue.always(QueueOperation::Receive, Fault::ErrorBefore(down));
/// assert!(queue.receive(&ReceiveOptions::new(1)).await.is_err());
/// assert!(queue.stats().await.is_ok(), "other operations work");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum QueueOperation {
    /// [`Queue::extend`].
    Extend,
    /// [`HealthCheck::health`]: an error is a failing verdict.
    Health,
    /// Everything of [`DeadLetters`] and [`QueueAdmin`].
    Operate,
    /// [`Queue::receive`].
    Receive,
    /// [`Queue::send`].
    Send,
    /// [`Queue::settle`].
    Settle,
    /// [`Queue::stats`].
    Stats,
}

/// The operations of a store that [`FaultyStatus`] tells apart.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # use standfast_core::{Error, ErrorKind};
/// # use standfast_queue::testkit::{Fault, FaultyStatus, StatusOperation};
/// # use standfast_queue::{MemoryStatusStore, StatusHandle, StatusStore};
/// let store = FaultyStatus::new(MemoryStatusStore::new());
/// let down = Error::new(ErrorKind::Unavailable, "memory", "status.get");
/// store.script(StatusOperation::Get, [Fault::ErrorBefore(down)]);
///
/// let handle = StatusHandle::random();
/// assert!(store.get(&handle).await.is_err());
/// assert!(store.get(&handle).await?.is_none(), "only the first call fails");
/// assert_eq!(store.calls(StatusOperation::Get), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StatusOperation {
    /// [`StatusStore::advance`].
    Advance,
    /// [`StatusStore::get`].
    Get,
    /// [`HealthCheck::health`]: an error is a failing verdict.
    Health,
    /// [`StatusStore::remove`].
    Remove,
    /// [`StatusStore::request_cancel`].
    RequestCancel,
    /// [`StatusStore::wait`].
    Wait,
}

#[derive(Debug)]
struct Script<O>(Mutex<HashMap<O, Line>>);

#[derive(Debug, Default)]
struct Line {
    next: VecDeque<Fault>,
    always: Option<Fault>,
    calls: usize,
    entries: usize,
}

/// What is left to do once the call has happened.
struct After {
    gate: Option<Gate>,
    error: Option<Error>,
    entries: Vec<(usize, Error)>,
}

impl<O: Copy + Debug + Eq + Hash> Script<O> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<O, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on<T>(&self, operation: O, change: impl FnOnce(&mut Line) -> T) -> T {
        change(self.lock().entry(operation).or_default())
    }

    fn heal(&self) {
        for line in self.lock().values_mut() {
            line.next.clear();
            line.always = None;
        }
    }

    async fn before(&self, operation: O, entries: usize) -> Result<After> {
        let fault = self.on(operation, |line| {
            line.calls += 1;
            line.entries += entries;
            line.next.pop_front().or_else(|| line.always.clone())
        });
        let mut after = After { gate: None, error: None, entries: Vec::new() };
        match fault {
            None | Some(Fault::None) => {}
            Some(Fault::Delay(span)) => tokio::time::sleep(span).await,
            Some(Fault::Entries(entries)) => after.entries = entries,
            Some(Fault::ErrorBefore(error)) => return Err(error),
            Some(Fault::ErrorAfter(error)) => after.error = Some(error),
            Some(Fault::HoldBefore(gate)) => gate.pass().await,
            Some(Fault::HoldAfter(gate)) => after.gate = Some(gate),
            Some(Fault::Panic) => panic!("{operation:?} panics on demand"),
        }
        Ok(after)
    }

    /// A call without entries.
    async fn run<T: Send>(
        &self,
        operation: O,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let after = self.before(operation, 0).await?;
        let answer = call.await;
        after.apply(answer).await
    }
}

impl After {
    async fn apply<T>(self, answer: Result<T>) -> Result<T> {
        if let Some(gate) = self.gate {
            gate.pass().await;
        }
        self.error.map_or(answer, Err)
    }

    /// The entries of `batch` that are to reach the queue.
    fn passing<E: Clone>(&self, batch: &[E]) -> Vec<E> {
        let fails = |position| self.entries.iter().any(|(failing, _)| *failing == position);
        let passing = batch.iter().enumerate().filter(|(position, _)| !fails(*position));
        passing.map(|(_, entry)| entry.clone()).collect()
    }

    /// Puts the failed entries back between the outcomes of the others.
    async fn apply_to_entries<T: Send>(
        mut self,
        answer: Result<Vec<T>>,
        failed: impl Fn(Error) -> T + Send,
    ) -> Result<Vec<T>> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_key(|(position, _)| *position);
        let mut outcomes = self.apply(answer).await?;
        for (position, error) in entries {
            if position <= outcomes.len() {
                outcomes.insert(position, failed(error));
            }
        }
        Ok(outcomes)
    }
}

/// A queue that fails on demand, call by call, and counts the calls. Clones share the script and,
/// as far as it does, the queue.
///
/// ```
/// use standfast_core::{Error, ErrorKind};
/// use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Faulty::new(MemoryQueue::new());
/// let lost = Error::new(ErrorKind::OutcomeUnknown, "memory", "queue.send");
/// queue.script(QueueOperation::Send, [Fault::ErrorAfter(lost)]);
///
/// let message = OutgoingMessage::new(Envelope::new("mail", "hello"));
/// assert!(queue.send(&[message.clone()]).await.is_err());
/// assert!(queue.send(&[message]).await?[0].is_sent());
/// assert_eq!(queue.stats().await?.ready, 1, "the same id is the same message");
/// assert_eq!(queue.calls(QueueOperation::Send), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Faulty<Q> {
    queue: Q,
    script: Arc<Script<QueueOperation>>,
}

impl<Q: Queue> Faulty<Q> {
    /// Nothing goes wrong until it is told to.
    pub fn new(queue: Q) -> Self {
        Self { queue, script: Arc::new(Script::new()) }
    }

    /// The queue inside, without faults.
    pub fn inner(&self) -> &Q {
        &self.queue
    }
}

impl<Q> Faulty<Q> {
    /// What happens to the next calls of `operation`, one fault each, after those scripted before.
    pub fn script(&self, operation: QueueOperation, faults: impl IntoIterator<Item = Fault>) {
        self.script.on(operation, |line| line.next.extend(faults));
    }

    /// What happens to every call of `operation` that nothing is scripted for.
    pub fn always(&self, operation: QueueOperation, fault: Fault) {
        self.script.on(operation, |line| line.always = Some(fault));
    }

    /// Nothing goes wrong any more. Gates stay as they are.
    pub fn heal(&self) {
        self.script.heal();
    }

    /// How many calls of `operation` have begun.
    pub fn calls(&self, operation: QueueOperation) -> usize {
        self.script.on(operation, |line| line.calls)
    }

    /// How many entries came with the calls of `operation`.
    pub fn entries(&self, operation: QueueOperation) -> usize {
        self.script.on(operation, |line| line.entries)
    }
}

#[async_trait]
impl<Q: Queue> Queue for Faulty<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let after = self.script.before(QueueOperation::Send, batch.len()).await?;
        let answer = self.queue.send(&after.passing(batch)).await;
        after.apply_to_entries(answer, SendOutcome::Failed).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.script.run(QueueOperation::Receive, self.queue.receive(options)).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let after = self.script.before(QueueOperation::Settle, batch.len()).await?;
        let answer = self.queue.settle(&after.passing(batch)).await;
        after.apply_to_entries(answer, SettleOutcome::Failed).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let after = self.script.before(QueueOperation::Extend, batch.len()).await?;
        let answer = self.queue.extend(&after.passing(batch), lease).await;
        after.apply_to_entries(answer, ExtendOutcome::Failed).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.script.run(QueueOperation::Stats, self.queue.stats()).await
    }
}

#[async_trait]
impl<Q: Queue> DeadLetters for Faulty<Q> {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let call = self.queue.list_dead_letters(filter, after, limit);
        self.script.run(QueueOperation::Operate, call).await
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.script.run(QueueOperation::Operate, self.queue.redrive(filter, options)).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.script.run(QueueOperation::Operate, self.queue.purge_dead_letters(filter)).await
    }
}

#[async_trait]
impl<Q: Queue> QueueAdmin for Faulty<Q> {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.script.run(QueueOperation::Operate, self.queue.peek(limit)).await
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.script.run(QueueOperation::Operate, self.queue.leased(limit)).await
    }

    async fn pause(&self) -> Result<()> {
        self.script.run(QueueOperation::Operate, self.queue.pause()).await
    }

    async fn resume(&self) -> Result<()> {
        self.script.run(QueueOperation::Operate, self.queue.resume()).await
    }

    async fn purge(&self) -> Result<u64> {
        self.script.run(QueueOperation::Operate, self.queue.purge()).await
    }
}

#[async_trait]
impl<Q: Queue> HealthCheck for Faulty<Q> {
    async fn health(&self) -> Health {
        let health = async { Ok(self.queue.health().await) };
        verdict(self.script.run(QueueOperation::Health, health).await)
    }
}

fn verdict(health: Result<Health>) -> Health {
    health.unwrap_or_else(|error| {
        Health::since("a faulty double", Instant::now(), Verdict::Failing(error.to_string()))
    })
}

/// A status store that fails on demand, call by call, and counts the calls.
///
/// ```
/// use standfast_core::{Error, ErrorKind};
/// use standfast_queue::testkit::{Fault, FaultyStatus, StatusOperation};
/// use standfast_queue::{MemoryStatusStore, StatusHandle, StatusStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = FaultyStatus::new(MemoryStatusStore::new());
/// let down = Error::new(ErrorKind::Unavailable, "memory", "status.get");
/// store.always(StatusOperation::Get, Fault::ErrorBefore(down));
/// assert!(store.get(&StatusHandle::random()).await.is_err());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStatus<S> {
    store: S,
    script: Arc<Script<StatusOperation>>,
}

impl<S: StatusStore> FaultyStatus<S> {
    /// Nothing goes wrong until it is told to.
    pub fn new(store: S) -> Self {
        Self { store, script: Arc::new(Script::new()) }
    }

    /// The store inside, without faults.
    pub fn inner(&self) -> &S {
        &self.store
    }
}

impl<S> FaultyStatus<S> {
    /// What happens to the next calls of `operation`, one fault each, after those scripted before.
    pub fn script(&self, operation: StatusOperation, faults: impl IntoIterator<Item = Fault>) {
        self.script.on(operation, |line| line.next.extend(faults));
    }

    /// What happens to every call of `operation` that nothing is scripted for.
    pub fn always(&self, operation: StatusOperation, fault: Fault) {
        self.script.on(operation, |line| line.always = Some(fault));
    }

    /// Nothing goes wrong any more. Gates stay as they are.
    pub fn heal(&self) {
        self.script.heal();
    }

    /// How many calls of `operation` have begun.
    pub fn calls(&self, operation: StatusOperation) -> usize {
        self.script.on(operation, |line| line.calls)
    }
}

#[async_trait]
impl<S: StatusStore> StatusStore for FaultyStatus<S> {
    fn capabilities(&self) -> StatusCapabilities {
        self.store.capabilities()
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let call = self.store.advance(handle, update, keep_for);
        self.script.run(StatusOperation::Advance, call).await
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.script.run(StatusOperation::Get, self.store.get(handle)).await
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.script.run(StatusOperation::Wait, self.store.wait(handle, seen, timeout)).await
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.script.run(StatusOperation::RequestCancel, self.store.request_cancel(handle)).await
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.script.run(StatusOperation::Remove, self.store.remove(handle)).await
    }
}

#[async_trait]
impl<S: StatusStore> HealthCheck for FaultyStatus<S> {
    async fn health(&self) -> Health {
        let health = async { Ok(self.store.health().await) };
        verdict(self.script.run(StatusOperation::Health, health).await)
    }
}
