use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use standfast_core::{Clock, Error, ErrorKind, Id128, Result, SystemClock};

use super::delegate::{delegate_operators, delegate_queue};
use super::many::{Many, Route};
use crate::capabilities::QueueCapabilities;
use crate::message::OutgoingMessage;
use crate::queue::Queue;

/// One queue spread over several, such as Redis queues with different hash tags, to use more than
/// one node of a Cluster.
///
/// A message goes to the shard that a hash chooses: of its group if it has one, else of its dedupe
/// key, else of its id. The hash is part of the stored form and never changes, so every process
/// that has the same shards *in the same order* agrees. Receives begin with another shard each time
/// and take from the others what the first does not have.
///
/// # What differs from one queue
///
/// - Messages of one shard come in their order and by their priority, those of different shards in
///   any. A group is in one shard, so it keeps its order.
/// - A dedupe key is unique among the messages without a group, and within each group.
/// - Limits on length hold for each shard, not for the whole; so more than one do not call
///   themselves bounded.
/// - To change the number of shards, let the old ones run empty first: until then a group may have
///   messages in two, and a repeated send may find another shard than the first.
/// - Waiting, shards that are empty and shards that fail are as with
///   [`Prioritized`](super::Prioritized).
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::wrap::Sharded;
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Sharded::new((0..4).map(|_| MemoryQueue::new()))?;
/// let mails: Vec<_> =
///     (0..100).map(|_| OutgoingMessage::new(Envelope::new("mail", "hello"))).collect();
/// queue.send(&mails).await?;
/// assert_eq!(queue.receive(&ReceiveOptions::new(100)).await?.deliveries.len(), 100);
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// As with [`Prioritized`](super::Prioritized).
///
/// # Panics
///
/// A receive that waits panics outside a tokio runtime.
pub struct Sharded<Q: Queue>(Many<Q, ByHash>);

impl<Q: Queue> Sharded<Q> {
    /// These shards, in an order that is the same in every process.
    ///
    /// # Errors
    ///
    /// `Invalid` without any.
    pub fn new(shards: impl IntoIterator<Item = Q>) -> Result<Self> {
        Self::with_clock(shards, Arc::new(SystemClock))
    }

    /// The same, waiting by `clock`: that of the queues, where they have one of their own.
    ///
    /// # Errors
    ///
    /// `Invalid` without any.
    pub fn with_clock(shards: impl IntoIterator<Item = Q>, clock: Arc<dyn Clock>) -> Result<Self> {
        let shards: Vec<Q> = shards.into_iter().collect();
        if shards.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "sharded", "queue.new")
                .with_detail("a queue needs at least one shard"));
        }
        Ok(Self(Many::new(shards, ByHash::default(), clock)))
    }

    /// The shards.
    pub fn shards(&self) -> &[Q] {
        self.0.queues()
    }

    /// Which of the shards `message` goes to.
    pub fn shard_of(&self, message: &OutgoingMessage) -> usize {
        shard(message, self.shards().len())
    }

    /// Waits until no receive is under way and gives back what nobody has taken, before the
    /// process ends; as long as the longest wait that was asked for.
    pub async fn drain(&self) {
        self.0.drain().await;
    }
}

impl<Q: Queue> Clone for Sharded<Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q: Queue> fmt::Debug for Sharded<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sharded").field(&self.0).finish()
    }
}

delegate_queue!(Sharded, self => self.0);
delegate_operators!(Sharded, self => self.0);

#[derive(Debug, Default)]
struct ByHash {
    turn: AtomicUsize,
}

impl Route for ByHash {
    fn route(&self, message: &OutgoingMessage, queues: usize) -> usize {
        shard(message, queues)
    }

    fn plan(&self, max: usize, queues: usize) -> Vec<(usize, usize)> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..queues).map(|next| (first.wrapping_add(next) % queues, max)).collect()
    }

    fn capabilities(&self, each: QueueCapabilities, queues: usize) -> QueueCapabilities {
        QueueCapabilities { bounded: each.bounded && queues == 1, ..each }
    }
}

fn shard(message: &OutgoingMessage, shards: usize) -> usize {
    let hash = match (&message.group, &message.dedupe) {
        (Some(group), _) => hash(group.as_bytes()),
        (None, Some(dedupe)) => hash(dedupe.key.as_bytes()),
        (None, None) => hash(&Id128::from(message.envelope.id).to_bytes()),
    };
    // the high bits of the product: all shards get the same share of the hashes
    ((u128::from(hash) * shards as u128) >> 64) as usize
}

/// FNV-1a of 64 bits, then the last mixing of MurmurHash3, because FNV leaves the high bits of
/// short keys alike.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mix = |hash: u64, factor| (hash ^ (hash >> 33)).wrapping_mul(factor);
    let mixed = mix(mix(fnv, 0xff51_afd7_ed55_8ccd), 0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;

    #[test]
    fn the_shard_of_a_key_is_fixed_for_ever() {
        let message = |group: &str| OutgoingMessage::new(Envelope::new("mail", "")).group(group);
        let shards: Vec<_> = (0..16).map(|n| shard(&message(&format!("tenant-{n}")), 8)).collect();
        assert_eq!(shards, [1, 1, 6, 3, 6, 0, 6, 6, 7, 5, 1, 5, 4, 4, 6, 1]);
    }

    #[test]
    fn shards_get_about_the_same_share() {
        let mut counts = [0_usize; 8];
        for n in 0..8000 {
            counts[shard(
                &OutgoingMessage::new(Envelope::new("mail", "")).group(format!("g{n}")),
                8,
            )] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
