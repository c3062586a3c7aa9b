use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::dead::DeadLetter;
use crate::envelope::Envelope;
use crate::queue::Queue;
use crate::receipt::Receipt;

/// What to receive and how.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::ReceiveOptions;
///
/// let options = ReceiveOptions::new(10).wait(Duration::from_secs(20));
/// assert_eq!(options.lease, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiveOptions {
    /// The most messages to receive.
    pub max: usize,
    /// How long to wait for the first one; none by default.
    pub wait: Duration,
    /// How long the deliveries are leased; 30 seconds by default.
    pub lease: Duration,
    /// Who receives, for those who look at what is leased.
    pub worker: Option<Arc<str>>,
}

impl ReceiveOptions {
    /// At most `max` messages, without waiting, leased for 30 seconds.
    pub fn new(max: usize) -> Self {
        Self { max, wait: Duration::ZERO, lease: Duration::from_secs(30), worker: None }
    }

    /// Waits up to `wait` for the first message (long poll).
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Leases the deliveries for `lease`.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Says who receives.
    #[must_use]
    pub fn worker(self, worker: impl Into<Arc<str>>) -> Self {
        Self { worker: Some(worker.into()), ..self }
    }
}

/// One delivery, as a backend hands it over: plain data.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{Queue, ReceiveOptions, Settlement};
/// # use standfast_queue::{Envelope, MemoryQueue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = MemoryQueue::new();
/// # queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// let first = queue.receive(&ReceiveOptions::new(1)).await?.deliveries.remove(0);
/// let error = Some("no answer".to_owned());
/// let again = Settlement::Release { delay: Duration::ZERO, counted: true, error };
/// queue.settle(&[(first.receipt, again)]).await?;
///
/// let second = queue.receive(&ReceiveOptions::new(1)).await?.deliveries.remove(0);
/// assert_eq!((second.attempt, second.last_error.as_deref()), (2, Some("no answer")));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// What settles it.
    pub receipt: Receipt,
    /// The attempt of this run, from 1: counted releases and lease run-outs raise it.
    pub attempt: u32,
    /// The delivery of this run, from 1: every delivery raises it, counted or not.
    pub delivery: u32,
    /// How many leases of this run ran out.
    pub crashes: u32,
    /// When this run was first due, by the store's clock.
    pub due_at: DateTime<Utc>,
    /// When the lease ends, measured from before the request was sent.
    pub lease_until: Instant,
    /// What the last counted release said.
    pub last_error: Option<Arc<str>>,
}

impl Received {
    /// The first delivery of a message.
    pub fn new(receipt: Receipt, due_at: DateTime<Utc>, lease_until: Instant) -> Self {
        Self { receipt, attempt: 1, delivery: 1, crashes: 0, due_at, lease_until, last_error: None }
    }

    /// The message.
    pub fn envelope(&self) -> &Arc<Envelope> {
        self.receipt.envelope()
    }
}

/// What one receive brought: deliveries, and what the store decided about other messages on the
/// way, so that whoever keeps their status can tell.
///
/// ```
/// use standfast_queue::{Queue, ReceiveOptions, Settlement};
/// # use standfast_queue::{Envelope, MemoryQueue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = MemoryQueue::new();
/// # queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// let batch = queue.receive(&ReceiveOptions::new(10)).await?;
/// for letter in &batch.dead {
///     println!("{} is dead: {}", letter.envelope.id, letter.reason);
/// }
/// let receipts = batch.deliveries.into_iter().map(|received| received.receipt);
/// let done: Vec<_> = receipts.map(|receipt| (receipt, Settlement::Ack)).collect();
/// assert_eq!(queue.settle(&done).await?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// The deliveries, in the order to work on them.
    pub deliveries: Vec<Received>,
    /// Messages that were moved to the dead letters because their leases ran out too often.
    pub dead: Vec<DeadLetter>,
    /// Messages that were dropped because their `drop_after` had passed.
    pub dropped: Vec<Arc<Envelope>>,
}

impl Batch {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.dead.is_empty() && self.dropped.is_empty()
    }
}

/// What to do with a delivery.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use std::time::Duration;
/// use standfast_queue::Settlement;
///
/// fn settlement(result: Result<(), Error>) -> Settlement {
///     let Err(error) = result else { return Settlement::Ack };
///     let reason = error.to_string();
///     match error.kind() {
///         ErrorKind::NotFound => Settlement::DeadLetter { reason },
///         _ => {
///             let delay = Duration::from_secs(30);
///             Settlement::Release { delay, counted: true, error: Some(reason) }
///         }
///     }
/// }
/// assert_eq!(settlement(Ok(())), Settlement::Ack);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Settlement {
    /// It is done: never deliver the message again.
    Ack,
    /// It will never be done: keep the message with the dead letters.
    DeadLetter {
        /// Why.
        reason: String,
    },
    /// Not now: deliver the message again.
    Release {
        /// After how long.
        delay: Duration,
        /// Whether it counts as an attempt.
        counted: bool,
        /// What went wrong, for whoever looks at the message later.
        error: Option<String>,
    },
}

impl Settlement {
    /// Deliver again at once, without counting an attempt.
    pub fn release() -> Self {
        Self::Release { delay: Duration::ZERO, counted: false, error: None }
    }
}

/// What became of one settlement.
///
/// ```
/// use standfast_queue::{Queue, ReceiveOptions, SettleOutcome, Settlement};
/// # use standfast_queue::{Envelope, MemoryQueue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = MemoryQueue::new();
/// # queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// let received = queue.receive(&ReceiveOptions::new(1)).await?.deliveries.remove(0);
/// let ack = [(received.receipt, Settlement::Ack)];
/// assert!(matches!(queue.settle(&ack).await?[0], SettleOutcome::Settled));
/// // the receipt was good for one settlement
/// assert!(matches!(queue.settle(&ack).await?[0], SettleOutcome::Stale));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SettleOutcome {
    /// It is not settled, or nobody knows: see the error.
    Failed(Error),
    /// It is settled.
    Settled,
    /// The receipt is no longer current: the lease ran out, or it is settled already. Nothing changed.
    Stale,
}

/// What became of one extension.
///
/// ```
/// # use std::time::Duration;
/// use standfast_queue::{ExtendOutcome, Queue, ReceiveOptions};
/// # use standfast_queue::{Envelope, MemoryQueue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = MemoryQueue::new();
/// # queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// let received = queue.receive(&ReceiveOptions::new(1)).await?.deliveries.remove(0);
/// match &queue.extend(&[received.receipt], Duration::from_secs(60)).await?[0] {
///     ExtendOutcome::Extended => println!("a minute more"),
///     ExtendOutcome::Failed(error) => println!("to be tried again: {error}"),
///     ExtendOutcome::Stale => panic!("somebody else may work on it already"),
///     other => println!("to be finished in time: {other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExtendOutcome {
    /// The lease ends one lease after the request was sent.
    Extended,
    /// It may not be extended: see the error.
    Failed(Error),
    /// The backend does not extend this lease further; it ends when it did before.
    LeaseCap,
    /// The receipt is no longer current. Nothing changed.
    Stale,
}

/// One delivery, as a caller works on it: consumed by what settles it.
///
/// Dropping it does no I/O: its lease runs out and the message is delivered again.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(MemoryQueue::new());
/// queue.send_one(Envelope::new("mail", "hello")).await?;
/// let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// assert_eq!(delivery.envelope().body, "hello");
/// delivery.ack().await?;
/// # Ok(()) }
/// ```
#[must_use = "a delivery that is dropped comes back after its lease"]
pub struct Delivery {
    queue: Arc<dyn Queue>,
    received: Received,
}

impl Delivery {
    pub(crate) fn new(queue: Arc<dyn Queue>, received: Received) -> Self {
        Self { queue, received }
    }

    /// The message.
    pub fn envelope(&self) -> &Envelope {
        self.received.envelope()
    }

    /// The delivery as plain data.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// The work is done.
    ///
    /// # Errors
    ///
    /// `Conflict` when the lease ran out in the meantime, and what the backend met.
    pub async fn ack(self) -> Result<()> {
        self.settle(Settlement::Ack).await
    }

    /// Deliver it again after `delay`, as another attempt.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub async fn release(self, delay: Duration) -> Result<()> {
        self.settle(Settlement::Release { delay, counted: true, error: None }).await
    }

    /// Keep it with the dead letters because of `reason`.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub async fn dead_letter(self, reason: impl Into<String>) -> Result<()> {
        self.settle(Settlement::DeadLetter { reason: reason.into() }).await
    }

    async fn settle(self, settlement: Settlement) -> Result<()> {
        let Self { queue, received } = self;
        let backend = queue.capabilities().backend;
        let outcomes = queue.settle(&[(received.receipt, settlement)]).await?;
        match outcomes.into_iter().next() {
            Some(SettleOutcome::Settled) => Ok(()),
            Some(SettleOutcome::Failed(error)) => Err(error),
            Some(SettleOutcome::Stale) => {
                Err(Error::new(ErrorKind::Conflict, backend, "queue.settle")
                    .with_detail("the lease ran out before the delivery was settled"))
            }
            None => Err(Error::new(ErrorKind::Unexpected, backend, "queue.settle")
                .with_detail("no outcome for the only entry")),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.received).finish()
    }
}
