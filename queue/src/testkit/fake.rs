use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::Result;

use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::jobs::{Job, Jobs, decode};
use crate::memory::MemoryQueue;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::status::MemoryStatusStore;
use crate::worker::Worker;
use crate::wrap::delegate_operators;

/// Remembers what was sent, for tests of code that sends.
///
/// ```
/// # use standfast_queue::{Job, Jobs};
/// use standfast_queue::testkit::QueueFake;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// # async fn sign_up(jobs: &Jobs, to: &str) { jobs.send(Mail { to: to.into() }).await.unwrap(); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let fake = QueueFake::new();
/// fake.assert_nothing_sent();
/// sign_up(&fake.jobs(), "ada@example.org").await;
/// fake.assert_sent::<Mail>(|mail| mail.to == "ada@example.org");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct QueueFake {
    jobs: Jobs,
    sent: Arc<Mutex<Vec<Arc<Envelope>>>>,
}

impl QueueFake {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        let sent: Arc<Mutex<Vec<Arc<Envelope>>>> = Arc::default();
        let record = {
            let sent = Arc::clone(&sent);
            move |batch: &[OutgoingMessage]| -> Then {
                let envelopes = batch.iter().map(|message| Arc::clone(&message.envelope));
                lock(&sent).extend(envelopes);
                Box::pin(std::future::ready(()))
            }
        };
        let queue = AfterSend { inner: MemoryQueue::new(), then: Arc::new(record) };
        Self { jobs: Jobs::new(queue, MemoryStatusStore::new()), sent }
    }

    /// What the code under test sends to. A worker can be made from it too, and
    /// [drained](Worker::drain).
    pub fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }

    /// The jobs of kind `J` that were sent, in order, each read from what would be stored.
    ///
    /// # Panics
    ///
    /// When one of them cannot be read back.
    pub fn sent<J: Job>(&self) -> Vec<J> {
        let sent = lock(&self.sent);
        let of_kind = sent.iter().filter(|envelope| envelope.kind == J::KIND);
        let read =
            |envelope: &Arc<Envelope>| decode(envelope).expect("a job that was sent reads back");
        of_kind.map(read).collect()
    }

    /// Panics unless a job of kind `J` was sent that `is` the one.
    pub fn assert_sent<J: Job>(&self, is: impl Fn(&J) -> bool) {
        let sent = self.sent::<J>();
        let kinds = self.kinds();
        assert!(sent.iter().any(is), "no such `{}` among what was sent: {kinds:?}", J::KIND);
    }

    /// Panics if a job of kind `J` was sent that `is` the one.
    pub fn assert_not_sent<J: Job>(&self, is: impl Fn(&J) -> bool) {
        assert!(!self.sent::<J>().iter().any(is), "such a `{}` was sent", J::KIND);
    }

    /// Panics if anything was sent.
    pub fn assert_nothing_sent(&self) {
        let kinds = self.kinds();
        assert!(kinds.is_empty(), "these were sent: {kinds:?}");
    }

    fn kinds(&self) -> Vec<String> {
        lock(&self.sent).iter().map(|envelope| envelope.kind.to_string()).collect()
    }
}

impl Default for QueueFake {
    fn default() -> Self {
        Self::new()
    }
}

/// Jobs that have run by the time their send returns, for tests of code that sends and then waits.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::testkit::inline;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Double { of: u64 }
/// # impl Job for Double { const KIND: &'static str = "double"; type Output = u64; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn double(job: Double) -> Result<u64, JobError> { Ok(2 * job.of) }
///
/// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let jobs = inline(&jobs.worker(()).on(double));
/// let handle = jobs.send(Double { of: 21 }).await?;
/// assert_eq!(handle.wait(Duration::ZERO).await?, 42);
/// # Ok(()) }
/// ```
pub fn inline<S: Clone + Send + Sync + 'static>(worker: &Worker<S>) -> Jobs {
    let jobs = worker.jobs();
    let worker = worker.clone();
    let run = move |_: &[OutgoingMessage]| -> Then {
        let worker = worker.clone();
        Box::pin(async move {
            worker.drain().await;
        })
    };
    let queue = AfterSend { inner: Arc::clone(jobs.queue()), then: Arc::new(run) };
    Jobs::new(queue, Arc::clone(jobs.status()))
}

type Then = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hook = Arc<dyn Fn(&[OutgoingMessage]) -> Then + Send + Sync>;

/// A queue that does something after each send, before it answers.
struct AfterSend<Q> {
    inner: Q,
    then: Hook,
}

impl<Q: fmt::Debug> fmt::Debug for AfterSend<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

delegate_operators!(AfterSend, self => self.inner);

#[async_trait]
impl<Q: Queue> Queue for AfterSend<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let outcomes = self.inner.send(batch).await?;
        (self.then)(batch).await;
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.inner.receive(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.inner.settle(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.inner.extend(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.inner.stats().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
