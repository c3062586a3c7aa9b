use standfast_core::Error;

use crate::blob::Blob;
use crate::meta::BlobMeta;

/// What became of a put.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore, PutOutcome};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// assert!(matches!(blobs.put("once", "1").if_absent().await?, PutOutcome::Stored(_)));
/// assert!(matches!(blobs.put("once", "2").if_absent().await?, PutOutcome::Exists));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum PutOutcome {
    /// `IfAbsent`: there is a blob of that key; nothing changed.
    Exists,
    /// `IfMatch`: the blob is of another version or missing; nothing changed.
    Mismatch,
    /// The new blob is what everybody sees.
    Stored(Box<BlobMeta>),
}

impl PutOutcome {
    /// What was stored, if something was.
    pub fn stored(self) -> Option<BlobMeta> {
        match self {
            Self::Stored(meta) => Some(*meta),
            _ => None,
        }
    }
}

/// What a read found.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum GetOutcome {
    /// The blob.
    Found(Box<Blob>),
    /// `if_match`: the blob is of another version.
    Mismatch,
    /// No blob of that key, or no longer.
    Missing,
    /// `if_none_match`: the blob is of that version.
    NotModified,
}

impl GetOutcome {
    /// The blob, if it was found.
    pub fn found(self) -> Option<Blob> {
        match self {
            Self::Found(blob) => Some(*blob),
            _ => None,
        }
    }
}

/// What became of a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum CopyOutcome {
    /// `IfAbsent`: there is a blob of the new key; nothing changed.
    Exists,
    /// `IfMatch`: the blob of the new key is of another version or missing; nothing changed.
    Mismatch,
    /// There is no original, or no longer.
    SourceMissing,
    /// The original is of another version; nothing changed.
    SourceMismatch,
    /// The copy is what everybody sees.
    Stored(Box<BlobMeta>),
}

impl CopyOutcome {
    /// What was stored, if something was.
    pub fn stored(self) -> Option<BlobMeta> {
        match self {
            Self::Stored(meta) => Some(*meta),
            _ => None,
        }
    }
}

/// What became of one key of a delete.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum DeleteOutcome {
    /// There is none now. S3 answers this for a blob that never was, too.
    Deleted,
    /// Whether it is gone is not known.
    Failed(Error),
    /// `if_match`: the blob is of another version; it stays.
    Mismatch,
    /// There was none.
    Missing,
}

impl DeleteOutcome {
    /// Whether there is no such blob now.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Deleted | Self::Missing)
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Swept {
    /// Whether nothing expired is left.
    pub complete: bool,
    /// How many expired blobs were removed from the disk or the memory they lay in.
    pub removed: u64,
}

impl Swept {
    /// A sweep that removed this many and did or did not see everything.
    pub const fn new(removed: u64, complete: bool) -> Self {
        Self { complete, removed }
    }
}
