//! An archive of every message, and what is done with it.

mod cursor;
mod filter;
mod meter;
mod plan;
mod read;
mod record;
mod replay;
mod segment;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_blobstore::{BlobKey, BlobStore};
use standfast_core::{Clock, Error, ErrorKind, Health, HealthCheck, Result, SystemClock};

pub use self::filter::ReplayFilter;
pub use self::read::{Archive, ArchiveRecords};
pub use self::record::{ArchiveEvent, ArchiveRecord};
pub use self::replay::{Replay, Replayed};

use self::meter::Meter;
use self::writer::{Writer, may_be_stored};
use super::stored::{is_surely_absent, not_reached, worse};
use crate::admin::{Leased, QueueAdmin};
use crate::capabilities::QueueCapabilities;
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;

/// What becomes of received messages.
///
/// ```
/// use standfast_queue::wrap::{ArchiveConfig, ArchiveReceived};
///
/// let mut config = ArchiveConfig::default();
/// config.received = ArchiveReceived::BestEffort;   // latency is dearer than completeness here
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ArchiveReceived {
    /// They are archived before they are handed over. While the store is down, nothing is received.
    #[default]
    Before,
    /// They are handed over at once and archived with the next segment. What the store does not
    /// take, or what waits when the process dies, is lost to the archive.
    BestEffort,
    /// They are not archived: for queues whose senders all archive.
    Not,
}

/// How an [`Archived`] keeps messages.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::MemoryQueue;
/// use standfast_queue::wrap::{ArchiveConfig, Archived};
///
/// let mut config = ArchiveConfig::default();
/// config.prefix = "archive/mails".to_owned();
/// config.keep_for = Duration::from_secs(400 * 24 * 60 * 60);
/// config.outcomes = true;
/// let store = Arc::new(MemoryBlobStore::new());
/// let queue = Archived::with_config(MemoryQueue::new(), store, config)?;
/// # Ok::<(), standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArchiveConfig {
    /// Where the keys begin; `archive` by default. One for each queue.
    pub prefix: String,
    /// How long segments are kept; 90 days by default.
    pub keep_for: Duration,
    /// How long records wait for company before their segment is stored; 20 milliseconds by
    /// default. A send takes this long, and a put, longer than without an archive.
    pub linger: Duration,
    /// The most bytes of a segment before it is compressed, unless one call is larger; 4 MiB by
    /// default.
    pub max_segment_bytes: usize,
    /// How many segments may be on their way at a time before others gather; 4 by default.
    pub max_flights: usize,
    /// The most bytes that may wait for the store; more are refused. 64 MiB by default.
    pub max_waiting_bytes: usize,
    /// What becomes of received messages.
    pub received: ArchiveReceived,
    /// Whether settlements are archived too, with the next segment: what the store does not take, or
    /// what waits when the process dies, is lost to the archive. Not by default.
    pub outcomes: bool,
    /// How long what was received is held back when it cannot be archived; 1 second by default.
    pub retry_in: Duration,
    /// What records are dated by and lingering is measured with.
    pub clock: Arc<dyn Clock>,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            prefix: "archive".to_owned(),
            keep_for: Duration::from_secs(90 * 24 * 60 * 60),
            linger: Duration::from_millis(20),
            max_segment_bytes: 4 * 1024 * 1024,
            max_flights: 4,
            max_waiting_bytes: 64 * 1024 * 1024,
            received: ArchiveReceived::default(),
            outcomes: false,
            retry_in: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A queue whose messages are all kept in a blob store, to be looked at and
/// [replayed](Archive::replay).
///
/// - **Send** stores the messages in a segment, then sends them. Concurrent sends share a segment.
///   If the archive cannot store it, each message is `Failed` and none was sent: `Unavailable`, or
///   what the store says; never `OutcomeUnknown`, which is the queue's word. A message that the
///   queue surely did not take (`Duplicate`, `Full`, an error that says so) is noted as unsent, with
///   the next segment, and not replayed.
/// - **Receive** archives what it received before it hands it over, whoever has sent it and however
///   often it is delivered; [`ArchiveReceived`] has the other choices. What cannot be archived within
///   half of its lease is released, uncounted where the queue can, and `receive` fails.
/// - **Settlements** are archived if [asked](ArchiveConfig::outcomes), without making anybody wait.
///
/// # What the archive holds if a process dies
///
/// | it dies | the archive | the queue |
/// |---|---|---|
/// | before a segment of sends is stored | nothing | nothing |
/// | after that, before the messages are sent | the messages, as sent | nothing: the sender does not know either, and repeats it or not |
/// | after they are sent | the messages | the messages |
/// | after a receive, before its segment is stored | nothing new | the messages, after their leases |
///
/// So the archive may hold a message that was never in the queue, if its sender died over it; it
/// lacks none that was acknowledged or, by default, handed over.
///
/// # Segments
///
/// Blobs named by time, under `<prefix>/segments/<year>/<month>/<day>/<hour>/`, private, compressed
/// (gzip), each record with a checksum, expiring with [`keep_for`](ArchiveConfig::keep_for). Call
/// [`sweep`](BlobStore::sweep) of the store on a schedule where it asks for it. Whoever can read the
/// store can read the messages.
///
/// # Metrics
///
/// With the label `backend`: counters `standfast_archive_records_total`,
/// `standfast_archive_segments_total`, `standfast_archive_bytes_total`,
/// `standfast_archive_lost_total` (records that nobody waited for and that were not stored) and
/// `standfast_archive_errors_total` (with `operation` and `kind`), and the histogram
/// `standfast_archive_put_seconds`. Each put is a span `archive.put` of level `DEBUG`.
///
/// ```
/// use std::sync::Arc;
/// use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::wrap::{Archive, Archived, ReplayFilter};
/// use standfast_queue::{Envelope, MemoryQueue, Queue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = Arc::new(MemoryBlobStore::new());
/// let queue = Arc::new(Archived::new(MemoryQueue::new(), store.clone())?);
/// queue.send_one(Envelope::new("mail", "hello")).await?;
/// queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent").ack().await?;
/// queue.flush().await; // before the process ends
///
/// let archive = Archive::new(store, "archive")?;
/// let replayed = archive.replay("mails again", ReplayFilter::default().kind("mail")).run(&queue).await?;
/// assert_eq!(replayed.sent, 1);
/// let again = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was replayed");
/// assert_eq!((again.envelope().run, &again.envelope().body[..]), (2, &b"hello"[..]));
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// A send that is dropped may be archived, and may have happened; repeat it with the same ids. What a
/// dropped receive had received comes back after its lease.
///
/// # Panics
///
/// Sending, receiving and settling panic outside a tokio runtime.
pub struct Archived<Q: Queue> {
    queue: Q,
    writer: Writer,
}

impl<Q: Queue> Archived<Q> {
    /// Keeps every message in `store`, as [`ArchiveConfig`] says by default.
    ///
    /// # Errors
    ///
    /// As [`with_config`](Self::with_config).
    pub fn new(queue: Q, store: Arc<dyn BlobStore>) -> Result<Self> {
        Self::with_config(queue, store, ArchiveConfig::default())
    }

    /// Keeps every message in `store`, as `config` says. Does no I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a prefix that no key can begin with, or a `keep_for` of zero.
    pub fn with_config(queue: Q, store: Arc<dyn BlobStore>, config: ArchiveConfig) -> Result<Self> {
        check_prefix(&config.prefix)?;
        if config.keep_for.is_zero() {
            return Err(Error::new(ErrorKind::Invalid, "archive", "queue.open")
                .with_detail("segments are kept for a while"));
        }
        let config = ArchiveConfig { max_flights: config.max_flights.max(1), ..config };
        let meter = Meter::new(queue.capabilities().backend);
        Ok(Self { queue, writer: Writer::new(store, config, meter) })
    }

    /// The queue inside.
    pub fn inner(&self) -> &Q {
        &self.queue
    }

    /// Returns when nothing waits for the store. What lingers goes out now.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect.
    pub async fn flush(&self) {
        self.writer.flush().await;
    }

    /// Notes what was archived and surely not sent.
    fn leave_unsent(&self, unsent: &[(DateTime<Utc>, &OutgoingMessage, String)]) {
        if unsent.is_empty() {
            return;
        }
        let dated = unsent.iter().zip(self.writer.dates(unsent.len()));
        let records = dated.map(|((of, message, detail), at)| ArchiveRecord {
            of: Some(*of),
            detail: Some(detail.clone()),
            ..ArchiveRecord::new(at, ArchiveEvent::Unsent, &message.envelope)
        });
        self.writer.leave(records.collect());
    }

    /// Archives deliveries, in the time that their leases leave.
    async fn archive_received(&self, batch: &Batch, lease: Duration) -> Result<()> {
        let config = self.writer.config();
        if config.received == ArchiveReceived::Not {
            return Ok(());
        }
        let dated = batch.deliveries.iter().zip(self.writer.dates(batch.deliveries.len()));
        let records = dated.map(|(received, at)| {
            let envelope = received.envelope();
            ArchiveRecord {
                envelope: Some(Arc::clone(envelope)),
                attempt: Some(received.attempt),
                ..ArchiveRecord::new(at, ArchiveEvent::Received, envelope)
            }
        });
        let records = records.collect();
        if config.received == ArchiveReceived::BestEffort {
            self.writer.leave(records);
            return Ok(());
        }
        tokio::select! {
            biased;
            stored = self.writer.append(records) => stored,
            () = config.clock.sleep(lease / 2) => {
                Err(Error::new(ErrorKind::Timeout, "archive", "archive.put")
                    .with_detail("half of the lease is over"))
            }
        }
    }

    /// Gives back what is not handed over. Dies before it, or fails: the leases run out.
    async fn give_back(&self, batch: &mut Batch) {
        let delay = self.writer.config().retry_in;
        let back: Vec<_> = std::mem::take(&mut batch.deliveries)
            .into_iter()
            .map(|received| {
                (received.receipt, Settlement::Release { delay, counted: false, error: None })
            })
            .collect();
        if let Err(error) = self.queue.settle(&back).await {
            tracing::warn!(%error, "messages that are not archived wait for their leases");
        }
    }
}

fn check_prefix(prefix: &str) -> Result<()> {
    // what follows the prefix in a key is shorter than this
    BlobKey::new(format!("{prefix}/{}", "k".repeat(250))).map(drop)
}

#[async_trait]
impl<Q: Queue> Queue for Archived<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let capabilities = self.queue.capabilities();
        if batch.is_empty() || batch.len() > capabilities.max_batch {
            return self.queue.send(batch).await; // which refuses too many, before any I/O
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut sending = Vec::with_capacity(batch.len());
        let mut places = Vec::with_capacity(batch.len());
        for (place, message) in batch.iter().enumerate() {
            match message.check(&capabilities) {
                Ok(()) => {
                    places.push(place);
                    sending.push(message.clone());
                    outcomes.push(SendOutcome::Sent);
                }
                Err(error) => outcomes.push(SendOutcome::Failed(error)),
            }
        }
        if sending.is_empty() {
            return Ok(outcomes);
        }
        let dates: Vec<_> = self.writer.dates(sending.len()).collect();
        let records = sending.iter().zip(&dates).map(|(message, at)| ArchiveRecord {
            envelope: Some(Arc::clone(&message.envelope)),
            priority: Some(message.priority),
            group: message.group.clone(),
            ..ArchiveRecord::new(*at, ArchiveEvent::Sent, &message.envelope)
        });
        if let Err(error) = self.writer.append(records.collect()).await {
            if may_be_stored(&error) {
                let all = dates.iter().zip(&sending);
                let unsent = all.map(|(at, message)| (*at, message, "not archived".to_owned()));
                self.leave_unsent(&unsent.collect::<Vec<_>>());
            }
            let error = not_reached(error, "archive", "queue.send", "not archived, so not sent");
            for place in places {
                outcomes[place] = SendOutcome::Failed(error.clone());
            }
            return Ok(outcomes);
        }
        let sent = self.queue.send(&sending).await?;
        if sent.len() != sending.len() {
            return Err(Error::new(ErrorKind::Unexpected, capabilities.backend, "queue.send")
                .with_detail(format!("{} outcomes for {} entries", sent.len(), sending.len())));
        }
        let all = dates.iter().zip(&sending).zip(&sent);
        let absent = all.filter(|(_, outcome)| is_surely_absent(outcome));
        let unsent = absent.map(|((at, message), outcome)| {
            let why = match outcome {
                SendOutcome::Duplicate(_) => "duplicate".to_owned(),
                SendOutcome::Failed(error) => error.kind().to_string(),
                _ => "full".to_owned(),
            };
            (*at, message, why)
        });
        self.leave_unsent(&unsent.collect::<Vec<_>>());
        for (place, outcome) in places.into_iter().zip(sent) {
            outcomes[place] = outcome;
        }
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let mut batch = self.queue.receive(options).await?;
        if batch.deliveries.is_empty() {
            return Ok(batch);
        }
        let Err(error) = self.archive_received(&batch, options.lease).await else {
            return Ok(batch);
        };
        self.give_back(&mut batch).await;
        if batch.is_empty() {
            return Err(not_reached(error, "archive", "queue.receive", "not archived"));
        }
        // deaths are told once
        tracing::warn!(%error, "messages are not handed over, because they are not archived");
        Ok(batch)
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let outcomes = self.queue.settle(batch).await?;
        if self.writer.config().outcomes {
            let settled = batch
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| matches!(outcome, SettleOutcome::Settled));
            let settled: Vec<_> = settled.map(|(entry, _)| entry).collect();
            let dated = settled.iter().zip(self.writer.dates(settled.len()));
            let records = dated.map(|((receipt, settlement), at)| {
                let (event, detail) = match settlement {
                    Settlement::Ack => (ArchiveEvent::Acked, None),
                    Settlement::DeadLetter { reason } => {
                        (ArchiveEvent::DeadLettered, Some(reason.clone()))
                    }
                    Settlement::Release { error, .. } => (ArchiveEvent::Released, error.clone()),
                };
                ArchiveRecord { detail, ..ArchiveRecord::new(at, event, receipt.envelope()) }
            });
            self.writer.leave(records.collect());
        }
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.queue.extend(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

#[async_trait]
impl<Q: Queue> DeadLetters for Archived<Q> {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        self.queue.list_dead_letters(filter, after, limit).await
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.queue.redrive(filter, options).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.queue.purge_dead_letters(filter).await
    }
}

#[async_trait]
impl<Q: Queue> QueueAdmin for Archived<Q> {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.queue.peek(limit).await
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.queue.leased(limit).await
    }

    async fn pause(&self) -> Result<()> {
        self.queue.pause().await
    }

    async fn resume(&self) -> Result<()> {
        self.queue.resume().await
    }

    async fn purge(&self) -> Result<u64> {
        self.queue.purge().await
    }
}

#[async_trait]
impl<Q: Queue> HealthCheck for Archived<Q> {
    async fn health(&self) -> Health {
        let began = Instant::now();
        let (queue, store) = tokio::join!(self.queue.health(), self.writer.store().health());
        worse(queue, store, began)
    }
}

impl<Q: Queue> fmt::Debug for Archived<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archived")
            .field("queue", &self.queue)
            .field("prefix", &self.writer.config().prefix)
            .finish_non_exhaustive()
    }
}
