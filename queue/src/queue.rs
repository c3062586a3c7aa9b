use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, HealthCheck, Result};

use crate::admin::{Leased, QueueAdmin};
use crate::capabilities::QueueCapabilities;
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::delivery::{Batch, Delivery, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::receipt::Receipt;

/// How much is in a queue. Exact or a recent estimate, as the capabilities say.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// let mail = || OutgoingMessage::new(Envelope::new("mail", "hello"));
/// queue.send(&[mail(), mail(), mail().delay(Duration::from_secs(60))]).await?;
/// queue.receive(&ReceiveOptions::new(1)).await?;
/// let stats = queue.stats().await?;
/// assert_eq!((stats.ready, stats.leased, stats.delayed, stats.dead), (1, 1, 1, 0));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages that could be delivered now, and those waiting behind the head of their group.
    pub ready: u64,
    /// Deliveries that are out.
    pub leased: u64,
    /// Messages that are kept back until their time.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest ready message has been due; `None` when there is none or it is unknown.
    pub oldest_age: Option<Duration>,
    /// Messages dropped since the queue was opened because their `drop_after` had passed.
    pub dropped: u64,
    /// Dead letters deleted since the queue was opened because there were too many or they were
    /// too old.
    pub dead_evicted: u64,
    /// Whether delivering is paused.
    pub paused: bool,
}

/// A queue of messages, for backend authors; callers use [`Jobs`](crate::Jobs) or [`QueueExt`].
///
/// # Contract
///
/// Each line is a case of the suite (feature `testkit`); what a backend cannot keep it declares in
/// its [capabilities](Queue::capabilities).
///
/// - **Q1** A message that was acked is not delivered again.
/// - **Q2** A message that is neither settled nor extended is delivered again after its lease,
///   attempt + 1.
/// - **Q3** A receipt names one delivery, by a token that the store draws anew for every delivery.
///   A receipt that is no longer current is refused and changes nothing.
/// - **Q4** A release can be delayed and can count as an attempt or not.
/// - **Q5** A message whose lease ran out as often as the queue was told to bear (5 times) is
///   moved to the dead letters in the same step, and `receive` reports it. Dead letters always
///   exist, keep reason, last error, counts and times, and are bounded.
/// - **Q6** A delayed message is never early by the store's clock. A delay above the backend's
///   own cap is kept all the same and counts no attempt.
/// - **Q7** A second message of the same dedupe key within the window is a `Duplicate`.
/// - **Q8** The sender chooses the id: a send repeated while the message is in the queue is one
///   message.
/// - **Q9** Four priorities, none of which starves.
/// - **Q10** A group keeps its order, one message in flight at a time; a delayed head blocks its
///   group; dead-lettering the head frees it.
/// - **Q11** Every call answers with one outcome per entry, in order.
/// - **Q12** A `receive` that waits returns promptly when a message becomes available.
/// - **Q13** Stats count what there is.
/// - **Q14** Bodies are any bytes; a body over the limit is `TooLarge` before any I/O.
/// - **Q15** Ten thousand leased messages do not slow an ack.
/// - **Q16** A process killed at any step loses nothing.
/// - **Q17** Two receivers never hold the same live receipt.
/// - **Q18** A message whose `drop_after` has passed is counted and dropped, not delivered.
/// - **Q19** A queue that holds as many messages as it may answers `Full`.
///
/// All methods may be called concurrently. No method retries: an error says whether the caller may.
///
/// ```
/// use standfast_core::Result;
/// use standfast_queue::{Queue, ReceiveOptions, Settlement};
/// # use standfast_queue::{Envelope, MemoryQueue};
///
/// /// Acks what is there, whatever the backend.
/// async fn skip(queue: &dyn Queue) -> Result<usize> {
///     let batch = queue.receive(&ReceiveOptions::new(100)).await?;
///     let receipts = batch.deliveries.into_iter().map(|received| received.receipt);
///     let acks: Vec<_> = receipts.map(|receipt| (receipt, Settlement::Ack)).collect();
///     Ok(queue.settle(&acks).await?.len())
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = MemoryQueue::new();
/// # queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// assert_eq!(skip(&queue).await?, 1);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Queue: DeadLetters + QueueAdmin + HealthCheck + Debug + Send + Sync + 'static {
    /// What this backend can do and how much it takes.
    fn capabilities(&self) -> QueueCapabilities;

    /// Sends messages; returns when each is stored or refused.
    ///
    /// # Cancellation
    ///
    /// A send that is dropped may have happened; repeat it with the same ids.
    ///
    /// # Errors
    ///
    /// `Invalid` for more entries than `max_batch`. An error of the whole call may mean that some
    /// messages are stored: repeat it with the same ids.
    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>>;

    /// Receives messages and leases them; waits for the first one as long as the options say.
    ///
    /// # Cancellation
    ///
    /// Deliveries that were on their way to a dropped call come back after their lease.
    ///
    /// # Errors
    ///
    /// What the backend meets. An empty batch is no error.
    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch>;

    /// Settles deliveries.
    ///
    /// # Cancellation
    ///
    /// A settlement that is dropped may have happened; repeated, it answers `Stale`.
    ///
    /// # Errors
    ///
    /// `Invalid` for more entries than `max_batch`; what the backend meets.
    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>>;

    /// Makes leases end `lease` after now.
    ///
    /// # Cancellation
    ///
    /// As [`settle`](Self::settle); repeated, it extends again.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>>;

    /// Counts what there is.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn stats(&self) -> Result<QueueStats>;
}

/// What callers do with any queue.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(MemoryQueue::new());
/// assert!(queue.send_one(Envelope::new("mail", "hello")).await?.is_sent());
/// let patient = ReceiveOptions::new(1).wait(Duration::from_secs(20));
/// if let Some(delivery) = queue.receive_one(&patient).await? {
///     delivery.ack().await?;
/// }
/// # Ok(()) }
/// ```
#[async_trait]
pub trait QueueExt {
    /// Sends one message.
    ///
    /// # Errors
    ///
    /// What became of the message, where that is `Failed`; what the backend meets.
    async fn send_one(&self, message: impl Into<OutgoingMessage> + Send) -> Result<SendOutcome>;

    /// Receives one message, if one comes within the wait of `options`.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn receive_one(&self, options: &ReceiveOptions) -> Result<Option<Delivery>>;
}

#[async_trait]
impl<Q: Queue> QueueExt for Arc<Q> {
    async fn send_one(&self, message: impl Into<OutgoingMessage> + Send) -> Result<SendOutcome> {
        let outcomes = self.send(&[message.into()]).await?;
        match outcomes.into_iter().next() {
            Some(SendOutcome::Failed(error)) => Err(error),
            Some(outcome) => Ok(outcome),
            None => {
                Err(Error::new(ErrorKind::Unexpected, self.capabilities().backend, "queue.send")
                    .with_detail("no outcome for the only entry"))
            }
        }
    }

    async fn receive_one(&self, options: &ReceiveOptions) -> Result<Option<Delivery>> {
        let options = ReceiveOptions { max: 1, ..options.clone() };
        let batch = self.receive(&options).await?;
        let queue: Arc<dyn Queue> = Self::clone(self);
        Ok(batch.deliveries.into_iter().next().map(|received| Delivery::new(queue, received)))
    }
}

impl From<Envelope> for OutgoingMessage {
    fn from(envelope: Envelope) -> Self {
        Self::new(envelope)
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<Q: Queue + ?Sized> Queue for $pointer<Q> {
            fn capabilities(&self) -> QueueCapabilities {
                (**self).capabilities()
            }
            async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
                (**self).send(batch).await
            }
            async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
                (**self).receive(options).await
            }
            async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
                (**self).settle(batch).await
            }
            async fn extend(
                &self,
                batch: &[Receipt],
                lease: Duration,
            ) -> Result<Vec<ExtendOutcome>> {
                (**self).extend(batch, lease).await
            }
            async fn stats(&self) -> Result<QueueStats> {
                (**self).stats().await
            }
        }

        #[async_trait]
        impl<Q: Queue + ?Sized> DeadLetters for $pointer<Q> {
            async fn list_dead_letters(
                &self,
                filter: &DeadLetterFilter,
                after: Option<&PageToken>,
                limit: usize,
            ) -> Result<DeadLetterPage> {
                (**self).list_dead_letters(filter, after, limit).await
            }
            async fn redrive(
                &self,
                filter: &DeadLetterFilter,
                options: &RedriveOptions,
            ) -> Result<Redriven> {
                (**self).redrive(filter, options).await
            }
            async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
                (**self).purge_dead_letters(filter).await
            }
        }

        #[async_trait]
        impl<Q: Queue + ?Sized> QueueAdmin for $pointer<Q> {
            async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
                (**self).peek(limit).await
            }
            async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
                (**self).leased(limit).await
            }
            async fn pause(&self) -> Result<()> {
                (**self).pause().await
            }
            async fn resume(&self) -> Result<()> {
                (**self).resume().await
            }
            async fn purge(&self) -> Result<u64> {
                (**self).purge().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
