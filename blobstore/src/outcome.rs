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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, GetOutcome, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let seen = blobs.put("a", "hello").await?.version;
/// match blobs.get("a").if_none_match(&seen).await? {
///     GetOutcome::Found(blob) => println!("now {} bytes", blob.meta().size),
///     GetOutcome::NotModified => println!("as before"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, CopyOptions, CopyOutcome, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let outcome = blobs.copy_with("gone", "b", &CopyOptions::default()).await?;
/// assert_eq!(outcome, CopyOutcome::SourceMissing);
/// blobs.put("a", "hello").await?;
/// let outcome = blobs.copy_with("a", "b", &CopyOptions::default()).await?;
/// assert_eq!(outcome.stored().unwrap().size, 5);
/// # Ok(()) }
/// ```
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{BlobKey, Blobs, DeleteOutcome, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a", "").await?;
/// let outcomes = blobs.delete_many(&[BlobKey::new("a")?, BlobKey::new("b")?]).await?;
/// assert!(matches!(outcomes[..], [DeleteOutcome::Deleted, DeleteOutcome::Missing]));
/// assert!(outcomes.iter().all(DeleteOutcome::is_gone));
/// # Ok(()) }
/// ```
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use standfast_blobstore::{Blobs, MemoryBlobStore};
/// # use standfast_core::testkit::ManualClock;
/// # let clock = ManualClock::new();
/// # let blobs = Blobs::new(MemoryBlobStore::new().with_clock(Arc::new(clock.clone())));
/// for key in ["tmp/1", "tmp/2", "tmp/3"] {
///     blobs.put(key, "").expires_in(Duration::from_secs(60)).await?;
/// }
/// clock.advance(Duration::from_secs(60));
/// let mut removed = 0;
/// loop {
///     let swept = blobs.sweep(2).await?;
///     removed += swept.removed;
///     if swept.complete { break }
/// }
/// assert_eq!(removed, 3);
/// # Ok(()) }
/// ```
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
