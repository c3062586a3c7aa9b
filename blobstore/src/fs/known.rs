//! What earlier reads learned of files, so that the next one need not ask the disk.
//!
//! The kernel can open a file and read it only if that takes no disk, but has no such call for an
//! extended attribute. So attributes are remembered, with a stamp that the file loses with every
//! change. Whoever opens a key still opens what lies there now: what is remembered saves the
//! attribute, never the look.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use standfast_core::{Clock as _, SystemClock};

use crate::key::BlobKey;
use crate::meta::BlobMeta;

/// How many files are remembered at most. A file's place is its number, and the last one has it.
const SLOTS: usize = 4096;

/// How many seconds ago a file must have changed last. Its times are those of a clock that may tick
/// once in a second, and in one tick a file can be removed and another one get its number.
const SETTLED: i64 = 2;

/// The attributes of files that were read.
#[derive(Debug)]
pub(super) struct Known {
    slots: Box<[Slot]>,
}

type Slot = Mutex<Option<Box<(Stamp, BlobMeta)>>>;

/// What tells a file from all others, and from itself before a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    dev: u64,
    ino: u64,
    /// Nobody can set this time, and it follows every change of bytes, attributes and names.
    changed: (i64, i64),
    pub(super) size: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Metadata) -> Self {
        let changed = (stat.ctime(), stat.ctime_nsec());
        Self { dev: stat.dev(), ino: stat.ino(), changed, size: stat.size() }
    }
}

impl Known {
    pub(super) fn new() -> Self {
        Self { slots: std::iter::repeat_with(Mutex::default).take(SLOTS).collect() }
    }

    /// What is known of the file with this stamp, if it is the one of `key`.
    pub(super) fn find(&self, stamp: Stamp, key: &BlobKey) -> Option<BlobMeta> {
        let slot = self.slot(stamp.ino).lock().unwrap_or_else(PoisonError::into_inner);
        let known = slot.as_ref().filter(|known| known.0 == stamp && known.1.key == *key)?;
        Some(known.1.clone())
    }

    /// Remembers `meta`. It was read after the stamp was, so if the file was changed in between,
    /// no file has that stamp any more.
    pub(super) fn keep(&self, stamp: Stamp, meta: &BlobMeta) {
        if SystemClock.now().timestamp() - stamp.changed.0 < SETTLED {
            return;
        }
        let known = Box::new((stamp, meta.clone()));
        *self.slot(stamp.ino).lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    fn slot(&self, ino: u64) -> &Slot {
        &self.slots[(ino % SLOTS as u64) as usize]
    }
}
