//! What the archive remembers of one message at one time, and how that is stored.
//!
//! ```text
//! <crc> <head bytes> <envelope bytes>\n<head, one line of JSON>\n<envelope, or nothing>\n
//! ```
//!
//! The checksum is the CRC64NVME of head and envelope, in hexadecimal.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use standfast_blobstore::Crc64;
use standfast_core::JobId;

use crate::envelope::Envelope;
use crate::message::Priority;

/// What happened to a message.
///
/// ```
/// use standfast_queue::wrap::ArchiveEvent;
///
/// assert_eq!(ArchiveEvent::DeadLettered.as_str(), "dead_lettered");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ArchiveEvent {
    /// It was about to be sent: an [`Unsent`](Self::Unsent) follows if it surely was not.
    Sent,
    /// The send of that time did not put it into the queue: a duplicate, a full queue, an error.
    Unsent,
    /// It was received.
    Received,
    /// A delivery was acked.
    Acked,
    /// A delivery was released.
    Released,
    /// A delivery went to the dead letters.
    DeadLettered,
}

impl ArchiveEvent {
    /// The event as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Unsent => "unsent",
            Self::Received => "received",
            Self::Acked => "acked",
            Self::Released => "released",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// One record of an archive.
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::wrap::{Archive, ArchiveEvent, Archived};
/// use standfast_queue::{Envelope, MemoryQueue, Queue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = Arc::new(MemoryBlobStore::new());
/// let queue = Archived::new(MemoryQueue::new(), store.clone())?;
/// queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// let mut records = Archive::new(store, "archive")?.records(None, None);
/// let record = records.next().await?.expect("it was sent");
/// assert_eq!((record.event, record.kind.as_str()), (ArchiveEvent::Sent, "mail"));
/// assert_eq!(record.envelope.expect("a send keeps the message").body, "hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ArchiveRecord {
    /// When, by the clock of the process that wrote it, which dates each of its records a
    /// microsecond after the one before at least.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: ArchiveEvent,
    /// To which message.
    pub id: JobId,
    /// In which run.
    pub run: u32,
    /// Of which kind.
    pub kind: String,
    /// The message itself, of what was sent or received.
    pub envelope: Option<Arc<Envelope>>,
    /// Its priority, of what was sent.
    pub priority: Option<Priority>,
    /// Its group, of what was sent.
    pub group: Option<Arc<str>>,
    /// The attempt, of deliveries.
    pub attempt: Option<u32>,
    /// Why it was not sent, was released or is dead.
    pub detail: Option<String>,
    /// When that was sent which was not.
    pub of: Option<DateTime<Utc>>,
}

/// The head of a record as it is stored.
#[derive(Deserialize, Serialize)]
struct Head {
    at: DateTime<Utc>,
    event: ArchiveEvent,
    id: JobId,
    run: u32,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<DateTime<Utc>>,
}

/// The order of records in a segment and of those that are read.
pub(super) type Order = (DateTime<Utc>, JobId, u32, ArchiveEvent);

/// A record on its way into a segment.
pub(super) struct Frame {
    pub(super) order: Order,
    head: Vec<u8>,
    envelope: Option<Arc<Envelope>>,
}

impl ArchiveRecord {
    pub(super) fn new(at: DateTime<Utc>, event: ArchiveEvent, envelope: &Envelope) -> Self {
        Self {
            at,
            event,
            id: envelope.id,
            run: envelope.run,
            kind: envelope.kind.clone().into_owned(),
            envelope: None,
            priority: None,
            group: None,
            attempt: None,
            detail: None,
            of: None,
        }
    }

    pub(super) fn order(&self) -> Order {
        (self.at, self.id, self.run, self.event)
    }

    pub(super) fn into_frame(self) -> Frame {
        let order = self.order();
        let head = Head {
            at: self.at,
            event: self.event,
            id: self.id,
            run: self.run,
            kind: self.kind,
            priority: self.priority.map(|priority| priority as u8),
            group: self.group,
            attempt: self.attempt,
            detail: self.detail,
            of: self.of,
        };
        // invariant: times, numbers and text are JSON
        let head = serde_json::to_vec(&head).expect("a head is JSON");
        Frame { order, head, envelope: self.envelope }
    }
}

impl Frame {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let body = self.envelope.as_ref().map_or(0, |envelope| envelope.body.len() + 256);
        self.head.len() + body + 64
    }

    pub(super) fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        let envelope = self.envelope.as_ref().map_or_else(Bytes::new, |envelope| envelope.encode());
        let mut sums = standfast_blobstore::Checksums::new(false);
        sums.update(&self.head);
        sums.update(&envelope);
        writeln!(to, "{} {} {}", sums.crc64(), self.head.len(), envelope.len())?;
        to.write_all(&self.head)?;
        to.write_all(b"\n")?;
        to.write_all(&envelope)?;
        to.write_all(b"\n")
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Next {
    /// The bytes of a record are not what was written; the next one can be read.
    Damaged,
    /// The end.
    End,
    Record(Box<ArchiveRecord>),
    /// The end is missing, or cannot be read.
    Truncated,
}

pub(super) fn read(from: &mut impl BufRead) -> Next {
    match read_frame(from) {
        Ok(next) => next,
        // what a decoder says of what is cut off or damaged
        Err(_) => Next::Truncated,
    }
}

fn read_frame(from: &mut impl BufRead) -> io::Result<Next> {
    /// No head and no line of lengths is longer.
    const LONGEST: u64 = 1024 * 1024;
    let mut line = Vec::new();
    from.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(Next::End);
    }
    let Some((crc, head_len, envelope_len)) = lengths(&line).filter(|(_, head, _)| *head < LONGEST)
    else {
        return Ok(Next::Truncated);
    };
    let (Some(head), Some(envelope)) = (exactly(from, head_len)?, exactly(from, envelope_len)?)
    else {
        return Ok(Next::Truncated);
    };
    let mut sums = standfast_blobstore::Checksums::new(false);
    sums.update(&head);
    sums.update(&envelope);
    if sums.crc64() != crc {
        return Ok(Next::Damaged);
    }
    Ok(decode(&head, envelope).map_or(Next::Damaged, |record| Next::Record(Box::new(record))))
}

fn lengths(line: &[u8]) -> Option<(Crc64, u64, u64)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut parts = line.split(' ');
    let found =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

/// `len` bytes and the line end behind them; nothing if they are not all there.
fn exactly(from: &mut impl BufRead, len: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.by_ref().take(len.saturating_add(1)).read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 == len.saturating_add(1) && bytes.pop() == Some(b'\n');
    Ok(whole.then_some(bytes))
}

fn decode(head: &[u8], envelope: Vec<u8>) -> Option<ArchiveRecord> {
    let head: Head = serde_json::from_slice(head).ok()?;
    let envelope = match envelope.is_empty() {
        true => None,
        false => Some(Arc::new(Envelope::decode(envelope.into()).ok()?)),
    };
    let priority = match head.priority {
        Some(level) => Some(*Priority::ALL.get(usize::from(level))?),
        None => None,
    };
    Some(ArchiveRecord {
        at: head.at,
        event: head.event,
        id: head.id,
        run: head.run,
        kind: head.kind,
        envelope,
        priority,
        group: head.group,
        attempt: head.attempt,
        detail: head.detail,
        of: head.of,
    })
}
