use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::{Backoff, Clock, Error, ErrorKind, Reason, Result, SystemClock};

use super::cursor::{Cursor, Position};
use super::filter::ReplayFilter;
use super::plan::Plan;
use super::read::{Archive, ArchiveRecords};
use super::record::ArchiveRecord;
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;

/// The header that says when the message was archived that is sent again.
const REPLAYED_FROM: &str = "replayed_from";

/// The most messages of one call.
const CHUNK: usize = 100;

/// The most bytes of bodies of one call, unless one is larger.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How often the same messages are tried before the replay gives up, to be resumed.
const TRIES: u32 = 6;

const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// Sends messages of an [`Archive`] again, when it is [run](Self::run).
///
/// - Of each id that matches, one message is sent: as it was in its last run within the range, with
///   the same id and handle, as run + 1, with its priority and group, and the header
///   `replayed_from` (when it was archived). Delays, dedupe keys and `drop_after` are of the past.
/// - Messages go out in the order in which they were archived, by the clocks of those who did.
/// - What was archived as sent and noted as unsent is left out; so may be what was still being
///   sent when the replay began.
/// - It reads the range twice: to know the runs, and to send. In memory are the ids that match
///   (about 50 bytes each, while the first reading lasts 100), what [reading](Archive::records)
///   needs, and the messages of one call.
///
/// # A status that has ended
///
/// A job whose status has ended in that run or a later one is settled without running. Let the range
/// reach until now, which is what it does by default: it includes earlier replays and redrives that
/// were archived, and so the next run is a new one.
///
/// # Interruption
///
/// A cursor, kept for 90 days under `<prefix>/replays/`, remembers the range and what was sent. Run
/// again under the same name and filter, it goes on; what was sent after the cursor was last written
/// (at most [`checkpoint`](Self::checkpoint) messages) is sent again, with the same ids and
/// runs: one message, as long as it is queued, and the same execution to whoever keeps statuses.
/// Two processes cannot advance one cursor: the second fails with `Conflict`. A replay that is
/// finished sends nothing more under its name.
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::wrap::{Archive, ReplayFilter};
/// use standfast_queue::MemoryQueue;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let store = Arc::new(MemoryBlobStore::new());
/// let archive = Archive::new(store, "archive")?;
/// let replay = archive.replay("after-the-fix", ReplayFilter::default().kind("mail")).rate(50.0);
/// println!("{} messages match", replay.dry_run().await?.matched);
/// let replayed = replay.run(&MemoryQueue::new()).await?;
/// assert_eq!(replayed.sent, replayed.matched);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is run"]
pub struct Replay {
    archive: Archive,
    name: String,
    filter: ReplayFilter,
    rate: Option<f64>,
    checkpoint: usize,
    clock: Arc<dyn Clock>,
}

/// What a replay did, all its runs together; of a dry run, what it would do.
///
/// ```
/// use standfast_queue::wrap::Replayed;
///
/// assert_eq!(Replayed::default().sent, 0);
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Replayed {
    /// How many records were read.
    pub scanned: u64,
    /// How many messages match.
    pub matched: u64,
    /// How many were sent.
    pub sent: u64,
    /// How many the queue took for duplicates of a message that it has.
    pub duplicates: u64,
    /// How many the queue refused for good; each is logged.
    pub refused: u64,
    /// How many records could not be read.
    pub damaged: u64,
    /// How many segments could not be read to their end.
    pub truncated: u64,
}

impl Replay {
    pub(super) fn new(archive: Archive, name: String, filter: ReplayFilter) -> Self {
        let clock = Arc::new(SystemClock);
        Self { archive, name, filter, rate: None, checkpoint: 500, clock }
    }

    /// At most `rate` messages a second.
    pub fn rate(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// Remembers its position each `messages` messages, 500 unless set.
    pub fn checkpoint(self, messages: usize) -> Self {
        Self { checkpoint: messages.max(1), ..self }
    }

    /// Takes the time, and waits, by `clock`.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Counts what a run that begins now would send. Writes nothing.
    ///
    /// # Errors
    ///
    /// As [`ArchiveRecords::next`].
    pub async fn dry_run(&self) -> Result<Replayed> {
        let mut counts = Replayed::default();
        let mut records = self.archive.records(self.filter.since, self.filter.until);
        let plan = Plan::read(&mut records, &self.filter, &mut counts.scanned).await?;
        counts.matched = plan.len() as u64;
        (counts.damaged, counts.truncated) = (records.damaged(), records.truncated());
        Ok(counts)
    }

    /// Sends the messages to `queue`, or the rest of them.
    ///
    /// # Cancellation
    ///
    /// Run again under the same name, it goes on.
    ///
    /// # Errors
    ///
    /// `Invalid` for a rate that is not positive, a name that is none, or one of a replay with
    /// another filter; `Conflict` when somebody else runs it; as [`ArchiveRecords::next`]; what
    /// the queue meets, after a few tries. `Unavailable` when the queue stays full. All but the
    /// first can be resumed.
    pub async fn run(&self, queue: &dyn Queue) -> Result<Replayed> {
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(Error::new(ErrorKind::Invalid, "archive", "archive.replay")
                .with_detail("a rate is a positive number of messages per second"));
        }
        if self.name.contains('/') {
            return Err(Error::new(ErrorKind::Invalid, "archive", "archive.replay")
                .with_reason(Reason::InvalidName)
                .with_detail("the name of a replay has no slash"));
        }
        let now = self.clock.now();
        let mut cursor = Cursor::open(&self.archive, &self.name, &self.filter, now).await?;
        let mut counts = cursor.counts().clone();
        if cursor.is_finished() {
            return Ok(counts);
        }
        let range = (self.filter.since, Some(cursor.until()));
        let mut records = self.archive.records(range.0, range.1);
        counts.scanned = 0;
        let mut plan = Plan::read(&mut records, &self.filter, &mut counts.scanned).await?;
        counts.matched = plan.len() as u64;
        (counts.damaged, counts.truncated) = (records.damaged(), records.truncated());
        let mut records = self.archive.records(range.0, range.1);
        let mut unsaved = 0;
        while let Some(chunk) = self.chunk(&mut records, &mut plan, &cursor, queue).await? {
            let began = self.clock.instant();
            self.send(queue, &chunk.messages, &mut counts).await?;
            unsaved += chunk.messages.len();
            if unsaved >= self.checkpoint {
                cursor.advance(chunk.last, &counts, false).await?;
                unsaved = 0;
            }
            if let Some(rate) = self.rate {
                let span = Duration::from_secs_f64(chunk.messages.len() as f64 / rate);
                self.clock.sleep_until(standfast_core::saturating_add(began, span)).await;
            }
        }
        cursor.advance(None, &counts, true).await?;
        Ok(counts)
    }

    /// The next messages that go into one call.
    async fn chunk(
        &self,
        records: &mut ArchiveRecords,
        plan: &mut Plan,
        cursor: &Cursor<'_>,
        queue: &dyn Queue,
    ) -> Result<Option<Chunk>> {
        let most = queue.capabilities().max_batch.min(CHUNK).min(self.checkpoint).max(1);
        // a tenth of a second's worth, so that a pace is one
        let pace = self.rate.map_or(most, |rate| ((rate / 10.0) as usize).clamp(1, most));
        let mut chunk = Chunk { messages: Vec::new(), last: None };
        let (mut bytes, mut read) = (0, 0_usize);
        while chunk.messages.len() < pace && bytes < CHUNK_BYTES {
            if plan.len() == 0 {
                break;
            }
            let Some(record) = records.next().await? else { break };
            read += 1;
            if read.is_multiple_of(1024) {
                tokio::task::yield_now().await;
            }
            let position = Position::new(record.at, record.id);
            if !plan.take(&record, &self.filter) || cursor.has_passed(position) {
                continue;
            }
            if let Some(message) = again(record) {
                bytes += message.envelope.body.len();
                chunk.messages.push(message);
                chunk.last = Some(position);
            }
        }
        Ok((!chunk.messages.is_empty()).then_some(chunk))
    }

    /// Dies in here: the messages are sent again by the next run.
    async fn send(
        &self,
        queue: &dyn Queue,
        messages: &[OutgoingMessage],
        counts: &mut Replayed,
    ) -> Result<()> {
        let mut left = messages.to_vec();
        let mut attempt = 1;
        loop {
            let mut again = Vec::new();
            let mut failure = None;
            match queue.send(&left).await {
                Ok(outcomes) => {
                    for (message, outcome) in left.into_iter().zip(outcomes) {
                        match outcome {
                            SendOutcome::Sent => counts.sent += 1,
                            SendOutcome::Duplicate(_) => counts.duplicates += 1,
                            SendOutcome::Failed(error) if is_final(&error) => {
                                let id = message.envelope.id;
                                tracing::error!(%id, %error, "a message is not replayed");
                                counts.refused += 1;
                            }
                            SendOutcome::Failed(error) => {
                                failure = Some(error);
                                again.push(message);
                            }
                            SendOutcome::Full => again.push(message),
                        }
                    }
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    failure = Some(error);
                    again = left;
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            if attempt == TRIES {
                return Err(failure.unwrap_or_else(|| {
                    Error::new(ErrorKind::Unavailable, "archive", "archive.replay")
                        .with_detail("the queue is full")
                }));
            }
            let wait = failure.and_then(|error| error.retry_after());
            self.clock.sleep(wait.unwrap_or_else(|| BETWEEN_TRIES.next(attempt))).await;
            (left, attempt) = (again, attempt + 1);
        }
    }
}

struct Chunk {
    messages: Vec<OutgoingMessage>,
    /// The last of them.
    last: Option<Position>,
}

/// Whether another try would be refused as well.
fn is_final(error: &Error) -> bool {
    !error.is_retryable() && error.kind() != ErrorKind::OutcomeUnknown
}

/// The archived message as the next run.
fn again(record: ArchiveRecord) -> Option<OutgoingMessage> {
    let mut envelope: Envelope = record.envelope?.next_run();
    let from = record.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    envelope.headers.insert(REPLAYED_FROM.to_owned(), from.into());
    let message = OutgoingMessage::new(envelope);
    let message = message.priority(record.priority.unwrap_or_default());
    Some(OutgoingMessage { group: record.group, ..message })
}
