//! What is stored in Redis, byte by byte. The scripts write and read the same.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Id128, JobId, Result};

use crate::dead::DeadLetter;
use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::message::{Original, OutgoingMessage};

const BASE: u8 = 0x40;
const COUNTED: u8 = 0x04;
const DROPS: u8 = 0x08;
const GROUPED: u8 = 0x10;

/// How long the worker's name in a lease may be.
const MAX_WORKER: usize = 80;

/// A set of up to 128 members of at most 64 bytes is stored as a list and searched from its start.
/// Leases are made longer than that.
const MIN_WORKER: usize = 65 - 25 - 16;

/// The first byte of an item.
pub(super) fn flags(message: &OutgoingMessage) -> u8 {
    let mut flags = BASE | message.priority as u8;
    if message.drop_after.is_some() {
        flags |= DROPS;
    }
    if message.group.is_some() {
        flags |= GROUPED;
    }
    flags
}

/// The name of a worker as a lease ends with it.
pub(super) fn worker_suffix(worker: Option<&str>) -> Vec<u8> {
    let mut name = worker.unwrap_or_default();
    while name.len() > MAX_WORKER {
        let (at, _) = name.char_indices().next_back().expect("it is not empty");
        name = &name[..at];
    }
    let mut suffix = name.as_bytes().to_vec();
    suffix.resize(suffix.len().max(MIN_WORKER), 0);
    suffix
}

/// Where a message stands: what lies in the lists and sets, and what a lease begins with.
pub(super) struct Item {
    pub(super) id: JobId,
    pub(super) due_at: DateTime<Utc>,
    failures: u32,
    uncounted: u32,
    pub(super) crashes: u32,
    is_counted: bool,
    pub(super) group: Option<String>,
    priority: u8,
    length: usize,
}

impl Item {
    /// The item that `bytes` begin with; `None` when they begin with something else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let flags = rest.byte()?;
        if flags & !(0x03 | COUNTED | DROPS | GROUPED) != BASE {
            return None;
        }
        let id = JobId::from(Id128::from_bytes(rest.take(16)?.try_into().ok()?));
        let due_at = rest.time()?;
        let is_counted = flags & COUNTED != 0;
        let [failures, uncounted, crashes] = if is_counted {
            let counts = [rest.u32()?, rest.u32()?, rest.u32()?];
            rest.time()?; // when it became due last
            counts
        } else {
            [0; 3]
        };
        if flags & DROPS != 0 {
            rest.time()?;
        }
        let group = if flags & GROUPED != 0 {
            let length = usize::from(rest.byte()?) + 1;
            Some(String::from_utf8(rest.take(length)?.to_vec()).ok()?)
        } else {
            None
        };
        let (priority, length) = (flags & 0x03, bytes.len() - rest.0.len());
        Some(Self { id, due_at, failures, uncounted, crashes, is_counted, group, priority, length })
    }

    pub(super) fn attempt(&self) -> u32 {
        (self.failures + self.crashes).saturating_add(1)
    }

    pub(super) fn delivery(&self) -> u32 {
        (self.failures + self.uncounted + self.crashes).saturating_add(1)
    }

    /// Whether an ack has nothing else to remove than the message and its lease.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_counted && self.group.is_none()
    }

    pub(super) fn priority(&self) -> crate::message::Priority {
        crate::message::Priority::ALL[usize::from(self.priority)]
    }
}

/// A lease apart: the item, since when it is out, and with whom.
pub(super) struct Lease {
    pub(super) item: Item,
    pub(super) since: DateTime<Utc>,
    pub(super) worker: Option<Arc<str>>,
}

impl Lease {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let item = Item::parse(bytes)?;
        let mut rest = Reader(&bytes[item.length..]);
        rest.take(8)?; // the token
        let since = rest.time()?;
        let name = rest.0.split(|byte| *byte == 0).next().unwrap_or_default();
        let worker = (!name.is_empty()).then(|| String::from_utf8_lossy(name).into());
        Some(Self { item, since, worker })
    }
}

/// A dead letter under its name. What cannot be read is kept, and can be deleted.
pub(super) struct Letter {
    pub(super) name: Vec<u8>,
    pub(super) item: Item,
    pub(super) letter: DeadLetter,
}

/// The place of a dead letter in the order in which they came, which its name ends with.
pub(super) fn number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.split_once(':')?.1.parse().ok()
}

/// A dead letter as it is stored: when it died, its item, reason, last error and message.
pub(super) fn letter(bytes: Vec<u8>) -> Result<(Item, DeadLetter)> {
    let corrupt = || {
        Error::new(ErrorKind::Corrupt, "redis", "queue.dead_letter").with_detail("a cut off letter")
    };
    let bytes = Bytes::from(bytes);
    let mut rest = Reader(&bytes);
    let mut read = || {
        let died_at = rest.time()?;
        let length = usize::from(u16::from_be_bytes(rest.take(2)?.try_into().ok()?));
        let item = Item::parse(rest.take(length)?)?;
        let reason = rest.text()?;
        let last_error = match rest.byte()? {
            b'1' => Some(rest.text()?),
            _ => None,
        };
        Some((died_at, item, reason, last_error, bytes.len() - rest.0.len()))
    };
    let (died_at, item, reason, last_error, at) = read().ok_or_else(corrupt)?;
    let envelope = Envelope::decode(bytes.slice(at..))?;
    let letter = DeadLetter {
        last_error: last_error.map(Into::into),
        attempts: item.failures + item.crashes,
        deliveries: item.failures + item.uncounted + item.crashes,
        crashes: item.crashes,
        due_at: item.due_at,
        ..DeadLetter::new(Arc::new(envelope), reason, died_at)
    };
    Ok((item, letter))
}

/// What a dedupe key remembers.
pub(super) fn remember(id: JobId, handle: Option<StatusHandle>) -> Vec<u8> {
    let mut value = Id128::from(id).to_bytes().to_vec();
    value.extend(handle.iter().flat_map(|handle| Id128::from(*handle).to_bytes()));
    value
}

/// The message that a dedupe key remembers.
pub(super) fn remembered(value: &[u8]) -> Option<Original> {
    let mut rest = Reader(value);
    let mut id = || Some(Id128::from_bytes(rest.take(16)?.try_into().ok()?));
    Some(Original::new(id()?.into(), id().map(Into::into)))
}

pub(super) fn time(micros: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        time(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}
