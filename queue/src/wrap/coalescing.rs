use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Clock, Result, SystemClock};

use super::calls::{ExtendCall, Limits, SendCall, SettleCall, in_chunks};
use super::delegate::delegate_operators;
use super::lane::Lane;
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;

/// How a [`Coalescing`] gathers.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::wrap::{Coalescing, CoalescingConfig};
/// # use standfast_queue::{Envelope, MemoryQueue, Queue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut config = CoalescingConfig::default();
/// config.linger = Duration::from_millis(2);   // calls are dear here, and latency is not
/// config.max_batch = 100;
/// let queue = Coalescing::with_config(MemoryQueue::new(), config);
/// assert!(queue.send(&[Envelope::new("mail", "hello").into()]).await?[0].is_sent());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoalescingConfig {
    /// How long a call that finds nothing under way waits for company; not at all by default.
    pub linger: Duration,
    /// The most entries gathered into one call, if the inner queue takes that many; 256 by default.
    pub max_batch: usize,
    /// The most bytes of bodies gathered into one call; 1 MiB by default.
    pub max_bytes: usize,
    /// How many calls of each kind may be under way at a time before others gather; 4 by default.
    /// With 64 tasks against a server that is 40 µs away and needs 15 µs per call and 1.5 µs per
    /// entry, 1 took 1.4 times as long per send as 4, and 8 needed twice the calls for nothing.
    pub max_flights: usize,
    /// What lingering is measured with.
    pub clock: Arc<dyn Clock>,
}

impl Default for CoalescingConfig {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            max_batch: 256,
            max_bytes: 1024 * 1024,
            max_flights: 4,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A queue whose concurrent sends go out together, and whose concurrent settles do: 64 tasks that
/// settle one delivery each become a few calls of the inner queue.
///
/// A call that finds little under way goes out at once; those that come while it is under way
/// gather and go out as the next one. So an idle queue adds no latency, and a busy one makes its
/// own batches, the larger the slower it answers. Each caller gets the outcomes of its own entries;
/// an error of the whole call goes to every caller in it, and a panic of the inner queue is such
/// an error (`Unexpected`).
///
/// Calls may be of any size: those that fill a batch by themselves, and every `extend`, pass
/// through in chunks of what the inner queue takes, one after the other. Where a later chunk fails,
/// the outcome of every entry from there on is `Failed`. Receiving and everything else goes
/// straight to the inner queue. Clones share what they gather.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::wrap::Coalescing;
/// use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(Coalescing::new(MemoryQueue::new()));
/// queue.send_one(Envelope::new("mail", "hello")).await?;
/// let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// delivery.ack().await?;
/// queue.flush().await; // before the process ends
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// Entries are handed over when their call is first polled. From then on they are sent or settled
/// whether or not the caller stays, and no caller that leaves or stops polling holds up another.
/// A call that fills a batch by itself is the exception: dropped, it ends as on the inner queue.
///
/// # Panics
///
/// A call panics outside a tokio runtime if the inner queue does not answer it at once.
pub struct Coalescing<Q: Queue> {
    queue: Arc<Q>,
    sends: Lane<SendCall, Q>,
    settles: Lane<SettleCall, Q>,
}

impl<Q: Queue> Coalescing<Q> {
    /// Gathers calls of `queue`.
    pub fn new(queue: Q) -> Self {
        Self::with_config(queue, CoalescingConfig::default())
    }

    /// Gathers calls of `queue` as `config` says.
    pub fn with_config(queue: Q, config: CoalescingConfig) -> Self {
        let config = CoalescingConfig { max_flights: config.max_flights.max(1), ..config };
        let queue = Arc::new(queue);
        Self {
            sends: Lane::new(SendCall, Arc::clone(&queue), &config),
            settles: Lane::new(SettleCall, Arc::clone(&queue), &config),
            queue,
        }
    }

    /// The queue inside.
    pub fn inner(&self) -> &Q {
        &self.queue
    }

    /// Returns when nothing is gathered or under way. What lingers goes out now.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect.
    pub async fn flush(&self) {
        self.sends.flush().await;
        self.settles.flush().await;
    }
}

impl<Q: Queue> Clone for Coalescing<Q> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            sends: self.sends.clone(),
            settles: self.settles.clone(),
        }
    }
}

impl<Q: Queue> fmt::Debug for Coalescing<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Coalescing").field(&self.queue).finish()
    }
}

#[async_trait]
impl<Q: Queue> Queue for Coalescing<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities { max_batch: usize::MAX, ..self.queue.capabilities() }
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.sends.call(batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let max = options.max.min(self.queue.capabilities().max_batch);
        if max == options.max {
            return self.queue.receive(options).await;
        }
        self.queue.receive(&ReceiveOptions { max, ..options.clone() }).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.settles.call(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let limits = Limits { entries: self.queue.capabilities().max_batch, bytes: usize::MAX };
        in_chunks(&ExtendCall { lease }, &*self.queue, batch, limits).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

delegate_operators!(Coalescing, self => self.queue);
