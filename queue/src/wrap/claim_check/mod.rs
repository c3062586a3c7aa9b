//! Large bodies in a blob store instead of in the queue.

mod claims;
mod meter;
mod operate;
mod receive;
mod reference;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use standfast_blobstore::{BlobKey, BlobStore, Version};
use standfast_core::{Clock, Error, ErrorKind, Result, SystemClock};

use self::claims::{Claim, Claims, Unresolved};
use self::meter::Meter;
use self::reference::{HEADER, Reference};
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::wrap::stored::is_surely_absent;

const DAMAGED: &str = "its body in the blob store is damaged";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a [`ClaimCheck`] keeps bodies.
///
/// ```
/// use std::sync::Arc;
/// use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::wrap::{ClaimCheck, ClaimCheckConfig};
/// use standfast_queue::{MemoryQueue, Queue};
///
/// let mut config = ClaimCheckConfig::default();
/// config.threshold = 4 * 1024;
/// config.prefix = "mail/claims".to_owned();
/// let store = Arc::new(MemoryBlobStore::new());
/// let queue = ClaimCheck::with_config(MemoryQueue::new(), store, config)?;
/// assert_eq!(queue.capabilities().max_body, 64 * 1024 * 1024);
/// # Ok::<(), standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimCheckConfig {
    /// The largest body in bytes that stays in the queue; 64 KiB by default, and never more than
    /// the queue takes.
    pub threshold: usize,
    /// The largest body in bytes that is sent or received; 64 MiB by default, and never more than
    /// the store takes.
    pub max_body: usize,
    /// How many bytes of bodies one receive, one look at dead letters or one step of a redrive
    /// brings into memory, unless a single body is larger; 64 MiB by default.
    pub max_fetch: usize,
    /// How many bodies are put or fetched at a time; 8 by default.
    pub concurrency: usize,
    /// How long a body is kept from its send, or the end of its delay, if nothing deletes it
    /// earlier; 90 days by default. A body that is received when half of this is over gets all of
    /// it again. So it is to be twice as long as dead letters are kept, and longer than a message
    /// can wait to be received.
    pub keep_for: Duration,
    /// Leaves acked bodies to their expiry, for an archive inside that holds references.
    pub keep_after_ack: bool,
    /// How long an acked body stays, for deliveries that come after it; not at all by default, and
    /// an hour at least where the queue may deliver or hold a message twice.
    pub linger: Duration,
    /// How long a message is held back when the store cannot give its body; 5 seconds by default.
    pub retry_in: Duration,
    /// Where the keys begin; `claims` by default.
    pub prefix: String,
    /// What waiting is measured with.
    pub clock: Arc<dyn Clock>,
}

impl Default for ClaimCheckConfig {
    fn default() -> Self {
        Self {
            threshold: 64 * 1024,
            max_body: 64 * 1024 * 1024,
            max_fetch: 64 * 1024 * 1024,
            concurrency: 8,
            keep_for: 90 * DAY,
            keep_after_ack: false,
            linger: Duration::ZERO,
            retry_in: Duration::from_secs(5),
            prefix: "claims".to_owned(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A queue whose large bodies go to a blob store: the message carries a reference, and whoever
/// receives it through a claim check on the same store gets the body.
///
/// - **Send** puts the body, then sends the message. A send repeated with the same id and body puts
///   the same blob.
/// - **Receive** fetches the bodies of what it received, several at a time, and extends the leases
///   meanwhile. It brings at most [`max_fetch`](ClaimCheckConfig::max_fetch) bytes of bodies into
///   memory, or one body; what does not fit is released, uncounted where the queue can, and the
///   next receives ask for fewer messages. What a caller still holds from earlier receives is its
///   own to count.
/// - **Ack** deletes the body once the queue has confirmed it, unless another message may refer to
///   it: one of the same id, run and body that was sent before or after, dead letters included.
/// - **Dead letters** keep their bodies, redriven ones find them, and a redrive to another queue
///   sends whole messages there. [Looking](crate::QueueAdmin::peek) at messages and
///   [listing](crate::DeadLetters::list_dead_letters) dead letters shows bodies up to `max_fetch`;
///   the rest is shown with an empty body and its reference in the header `claim_check`, and
///   [`resolve`](Self::resolve) gets it.
///
/// # What becomes of a message whose body cannot be had
///
/// | the store says | the message |
/// |---|---|
/// | there is none | is dead, because of [`MISSING`](Self::MISSING); `receive` reports it |
/// | not what was sent | is delivered to a claim check twice more, then dead, because of [`DAMAGED`](Self::DAMAGED) |
/// | over `max_body` | is dead, because of [`TOO_LARGE`](Self::TOO_LARGE); redrive it when the limit is higher |
/// | an error | is released, uncounted where the queue can, for `retry_in`; if nothing else came, `receive` fails with the error |
/// | a reference of a newer library | is released likewise, for a newer process |
///
/// # What stays behind
///
/// Nothing is lost if the process dies, whatever it was doing; blobs that nobody needs may stay, and
/// expire with [`keep_for`](ClaimCheckConfig::keep_for): those of a process that died between put
/// and send or between ack and delete; of sends that failed; of a second body sent with an id that
/// is queued; of bodies that were sent twice; of messages that were purged, evicted or redriven to
/// another queue. Call [`sweep`](BlobStore::sweep) of the store on a schedule where it asks for it.
///
/// With an [`Archived`](super::Archived), put the archive outside: `Archived<ClaimCheck<Q>>` archives
/// whole messages. Inside it archives references; then set
/// [`keep_after_ack`](ClaimCheckConfig::keep_after_ack) and keep bodies for as long as the archive.
///
/// # Metrics
///
/// With the label `backend`, all counters: `standfast_claims_stored_total`,
/// `standfast_claims_stored_bytes_total`, `standfast_claims_fetched_total`,
/// `standfast_claims_discarded_total`, `standfast_claims_kept_total` (left to their expiry after an
/// ack), `standfast_claims_missing_total`, and `standfast_claim_errors_total` with `operation`
/// (`put`, `get`) and `kind`.
///
/// ```
/// use std::sync::Arc;
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
/// use standfast_queue::wrap::ClaimCheck;
/// use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
/// use futures_util::TryStreamExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = MemoryBlobStore::new();
/// let queue = Arc::new(ClaimCheck::new(MemoryQueue::new(), Arc::new(store.clone()))?);
/// let film = vec![7; 1024 * 1024];
/// queue.send_one(Envelope::new("film", film.clone())).await?;
///
/// let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// assert_eq!(delivery.envelope().body, film);
/// delivery.ack().await?;
/// let left: Vec<_> = Blobs::new(store).list("").try_collect().await?;
/// assert!(left.is_empty());
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// A send that is dropped may have put bodies, and happened or not: repeat it with the same ids. What
/// a dropped receive had received comes back after its lease.
pub struct ClaimCheck<Q: Queue> {
    queue: Q,
    claims: Arc<Claims>,
    /// How many messages a receive asks for, as far as memory is concerned.
    fit: AtomicUsize,
}

impl<Q: Queue> ClaimCheck<Q> {
    /// The reason of dead letters whose body is not in the store.
    pub const MISSING: &'static str = "its body is missing from the blob store";

    /// The reason of dead letters whose body is not what was sent.
    pub const DAMAGED: &'static str = DAMAGED;

    /// The reason of dead letters whose body is over the limit of whoever received it.
    pub const TOO_LARGE: &'static str = "its body is over the limit of its receiver";

    /// Keeps bodies over 64 KiB in `store`, as [`ClaimCheckConfig`] says by default.
    ///
    /// # Errors
    ///
    /// As [`with_config`](Self::with_config).
    pub fn new(queue: Q, store: Arc<dyn BlobStore>) -> Result<Self> {
        Self::with_config(queue, store, ClaimCheckConfig::default())
    }

    /// Keeps bodies in `store` as `config` says. Does no I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a prefix that no key can begin with, or no `concurrency` or `keep_for`.
    pub fn with_config(
        queue: Q,
        store: Arc<dyn BlobStore>,
        mut config: ClaimCheckConfig,
    ) -> Result<Self> {
        let invalid = |detail: &str| {
            Error::new(ErrorKind::Invalid, "claim_check", "queue.open").with_detail(detail)
        };
        // what follows the prefix in a key is shorter than this
        BlobKey::new(format!("{}/{}", config.prefix, "k".repeat(200)))?;
        if config.concurrency == 0 || config.keep_for.is_zero() {
            return Err(invalid("bodies are put one at a time at least, and kept for a while"));
        }
        let inner = queue.capabilities();
        let store_takes = usize::try_from(store.capabilities().max_len).unwrap_or(usize::MAX);
        config.max_body = config.max_body.min(store_takes);
        config.threshold = config.threshold.min(inner.max_body);
        let once = inner.exclusive && inner.idempotent_send;
        let linger = if once { Duration::ZERO } else { Duration::from_secs(60 * 60) };
        let meter = Meter::new(inner.backend);
        let claims = Arc::new(Claims { store, config, meter, linger });
        Ok(Self { queue, claims, fit: AtomicUsize::new(usize::MAX) })
    }

    /// The queue inside, with references instead of large bodies.
    pub fn inner(&self) -> &Q {
        &self.queue
    }

    /// `envelope` with its body, if it carries a reference: for those that were shown without it.
    ///
    /// # Errors
    ///
    /// `NotFound` for a body that is gone, `Corrupt` for one that is damaged, `TooLarge` for one
    /// over `max_body`, `Unsupported` for a reference of a newer library; what the store meets.
    pub async fn resolve(&self, envelope: &Arc<Envelope>) -> Result<Arc<Envelope>> {
        self.claims.resolve(envelope).await
    }
}

impl Claims {
    async fn resolve(&self, envelope: &Arc<Envelope>) -> Result<Arc<Envelope>> {
        let Some(reference) = Reference::of(envelope)? else { return Ok(Arc::clone(envelope)) };
        let error = |kind, detail: &str| {
            Error::new(kind, "claim_check", "claim.get").with_detail(detail.to_owned())
        };
        match self.fetch(envelope, &reference).await {
            Ok((whole, _)) => Ok(whole),
            Err(Unresolved::Damaged(source) | Unresolved::Failed(source)) => Err(source),
            Err(Unresolved::Missing) => Err(error(ErrorKind::NotFound, "the body is gone")),
            Err(Unresolved::TooLarge(_)) => Err(error(ErrorKind::TooLarge, "over max_body")),
        }
    }

    /// What is to be sent for `message`.
    async fn prepare(&self, message: &OutgoingMessage) -> Result<Prepared> {
        let envelope = &message.envelope;
        let mut made = None;
        let mut message = message.clone();
        if message.envelope.body.len() > self.config.threshold {
            if envelope.headers.contains_key(HEADER) {
                return Err(Error::new(ErrorKind::Invalid, "claim_check", "queue.send")
                    .with_detail(format!("the header {HEADER} is the library's own")));
            }
            let deposit = self.deposit(envelope, message.delay).await?;
            (message.envelope, made) = (deposit.bare, deposit.made);
        } else if envelope.body.is_empty() && envelope.headers.contains_key(HEADER) {
            self.share(envelope, message.delay).await?;
        }
        Ok(Prepared { message, made })
    }
}

struct Prepared {
    message: OutgoingMessage,
    made: Option<(BlobKey, Version)>,
}

/// The delivery inside, and what it claimed, if it did.
fn unwrap(receipt: &Receipt) -> (Receipt, Option<Arc<Claim>>) {
    match receipt.pop::<Claim>() {
        Some((claim, inner)) => (inner.with_envelope(Arc::clone(&claim.bare)), Some(claim)),
        None => (receipt.clone(), None),
    }
}

#[async_trait]
impl<Q: Queue> Queue for ClaimCheck<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        let inner = self.queue.capabilities();
        let max_body = inner.max_body.max(self.claims.config.max_body);
        QueueCapabilities { max_body, ..inner }
    }

    /// Dies before the send: nothing was sent, and bodies are orphans. Dies after it: the messages
    /// are sent with their bodies. A body is never put after its message.
    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let (claims, capabilities) = (&*self.claims, self.capabilities());
        let is_large =
            |message: &OutgoingMessage| message.envelope.body.len() > claims.config.threshold;
        let refers = |message: &OutgoingMessage| message.envelope.headers.contains_key(HEADER);
        let plain = !batch.iter().any(|message| is_large(message) || refers(message));
        if plain || batch.len() > capabilities.max_batch {
            return self.queue.send(batch).await; // which refuses too many, before any I/O
        }
        let preparing: Vec<_> = batch
            .iter()
            .map(|message| {
                let checked = message.check(&capabilities);
                async move {
                    checked?;
                    claims.prepare(message).await
                }
            })
            .collect();
        let prepared: Vec<Result<Prepared>> =
            stream::iter(preparing).buffered(claims.config.concurrency).collect().await;
        let mut outcomes = Vec::with_capacity(batch.len());
        let (mut sending, mut made) = (Vec::new(), Vec::new());
        for prepared in prepared {
            match prepared {
                Ok(prepared) => {
                    sending.push(prepared.message);
                    made.push((outcomes.len(), prepared.made));
                    outcomes.push(SendOutcome::Sent);
                }
                Err(error) => {
                    claims.meter.error("put", error.kind());
                    outcomes.push(SendOutcome::Failed(error));
                }
            }
        }
        if sending.is_empty() {
            return Ok(outcomes);
        }
        let sent = self.queue.send(&sending).await?;
        if sent.len() != sending.len() {
            return Err(Error::new(ErrorKind::Unexpected, capabilities.backend, "queue.send")
                .with_detail(format!("{} outcomes for {} entries", sent.len(), sending.len())));
        }
        let mut unsent = Vec::new();
        for (outcome, (at, made)) in sent.into_iter().zip(made) {
            if let (true, Some((key, version))) = (is_surely_absent(&outcome), made) {
                unsent.push((key, version));
            }
            outcomes[at] = outcome;
        }
        join_all(unsent.iter().map(|(key, version)| claims.take_back(key, version.clone()))).await;
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.receive_whole(options).await
    }

    /// Dies before the inner settle: nothing happened. Dies after it: it is settled, and the body
    /// of an acked message is an orphan.
    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let mut claimed = Vec::new();
        let mut inner = Vec::with_capacity(batch.len());
        for (at, (receipt, settlement)) in batch.iter().enumerate() {
            let (receipt, claim) = unwrap(receipt);
            inner.push((receipt, settlement.clone()));
            if let (Some(claim), Settlement::Ack) = (claim, settlement) {
                claimed.push((at, claim));
            }
        }
        let outcomes = self.queue.settle(&inner).await?;
        claimed.retain(|(at, _)| matches!(outcomes.get(*at), Some(SettleOutcome::Settled)));
        let discarding: Vec<_> =
            claimed.iter().map(|(_, claim)| self.claims.discard(claim)).collect();
        let concurrency = self.claims.config.concurrency;
        stream::iter(discarding).buffer_unordered(concurrency).collect::<Vec<()>>().await;
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let inner: Vec<_> = batch.iter().map(|receipt| unwrap(receipt).0).collect();
        self.queue.extend(&inner, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

impl<Q: Queue> fmt::Debug for ClaimCheck<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimCheck")
            .field("queue", &self.queue)
            .field("prefix", &self.claims.config.prefix)
            .field("threshold", &self.claims.config.threshold)
            .finish_non_exhaustive()
    }
}
