use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use standfast_core::{Error, ErrorKind, Result};

use super::missing;
use super::put::{Always, When};
use crate::blob::Blob;
use crate::download::Download;
use crate::file::save_as;
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version};
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::range::ByteRange;
use crate::store::BlobStore;

/// A read that begins when it is awaited, and gives the blob as a stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, GetOutcome, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let seen = blobs.put("a", "hello").await?.version;
/// assert_eq!(blobs.get("a").range(1..3).await?.bytes(9).await?, "el");
/// assert!(matches!(blobs.get("a").if_none_match(&seen).await?, GetOutcome::NotModified));
/// # Ok(()) }
/// ```
#[must_use = "a read does nothing until it is awaited"]
pub struct Get<C = Always> {
    store: Arc<dyn BlobStore>,
    key: Result<BlobKey>,
    options: GetOptions,
    condition: std::marker::PhantomData<C>,
}

impl Get {
    pub(super) fn new(store: Arc<dyn BlobStore>, key: Result<BlobKey>) -> Self {
        let options = GetOptions::default();
        Self { store, key, options, condition: std::marker::PhantomData }
    }
}

impl<C> Get<C> {
    /// Reads only these bytes.
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.options.range = Some(range.into());
        self
    }

    /// Leaves the checksum unchecked.
    pub fn skip_verify(mut self) -> Self {
        self.options.skip_verify = true;
        self
    }

    /// Reads it only if it is of this version.
    pub fn if_match(mut self, version: &Version) -> Get<When> {
        self.options.if_match = Some(version.clone());
        self.when()
    }

    /// Reads it only if it is of another version.
    pub fn if_none_match(mut self, version: &Version) -> Get<When> {
        self.options.if_none_match = Some(version.clone());
        self.when()
    }

    fn when(self) -> Get<When> {
        let Self { store, key, options, .. } = self;
        Get { store, key, options, condition: std::marker::PhantomData }
    }

    async fn run(self) -> Result<(GetOutcome, BlobKey)> {
        let key = self.key?;
        Ok((self.store.get(&key, &self.options).await?, key))
    }
}

impl IntoFuture for Get {
    type Output = Result<Blob>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.run().await? {
                (GetOutcome::Found(blob), _) => Ok(*blob),
                (GetOutcome::Missing, key) => Err(missing("blob.get", &key)),
                _ => Err(Error::new(ErrorKind::Unexpected, "blobstore", "blob.get")
                    .with_detail("a read without conditions met one")),
            }
        })
    }
}

impl IntoFuture for Get<When> {
    type Output = Result<GetOutcome>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.run().await?.0) })
    }
}

impl<C> fmt::Debug for Get<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get")
            .field("key", &self.key)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A read into memory that begins when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, ErrorKind, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a", "hello").await?;
/// assert_eq!(blobs.get_bytes("a").await?, "hello");
/// assert_eq!(blobs.get_bytes("a").at_most(4).await.unwrap_err().kind(), ErrorKind::TooLarge);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a read does nothing until it is awaited"]
pub struct GetBytes {
    get: Get,
    at_most: u64,
}

impl GetBytes {
    pub(super) fn new(get: Get) -> Self {
        Self { get, at_most: 64 << 20 }
    }

    /// Refuses more than this many bytes instead of 64 MiB.
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.at_most = bytes;
        self
    }

    /// Reads only these bytes.
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.get = self.get.range(range);
        self
    }
}

impl IntoFuture for GetBytes {
    type Output = Result<Bytes>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.get.await?.bytes(self.at_most).await })
    }
}

/// A download to a file that begins when it is awaited.
///
/// If the process dies before the file is renamed into place, what was there stays, and a file
/// `.<name>.part-<random>` is left beside it; after the rename the whole blob is there.
///
/// A [`resumable`](Self::resumable) download keeps what has come as `.<name>.part`, with a journal
/// beside it, whatever ends it; the next one with the same path goes on there if the blob is of the
/// same version, and begins anew if it is not. Only one at a time downloads to a path so.
///
/// # Errors
///
/// `NotFound`; `Checksum` for other bytes than were stored; `Conflict` with `ChangedDuringRead`
/// where a blob was replaced while it was read in parts, without it where somebody else downloads
/// to the path; what the store and the file system met.
///
/// # Cancellation
///
/// A dropped future leaves what was there, unless the rename had begun: then the whole blob may be
/// there a moment later. Its partial file is removed, or kept to be resumed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a", "hello").await?;
/// let path = std::env::temp_dir().join(format!("standfast-doc-{}", std::process::id()));
/// blobs.get_to_file("a", &path).await?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
/// blobs.get_to_file("a", &path).at_once(4).resumable().await?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a download does nothing until it is awaited"]
pub struct GetToFile {
    get: Get,
    path: PathBuf,
    at_once: usize,
    resumable: bool,
    sync: bool,
}

impl GetToFile {
    pub(super) fn new(get: Get, path: PathBuf) -> Self {
        Self { get, path, at_once: 1, resumable: false, sync: false }
    }

    /// Reads so many parts of 8 MiB at a time, all of one version; one stream unless set. Each part
    /// takes a mebibyte or two of memory.
    pub fn at_once(mut self, parts: usize) -> Self {
        self.at_once = parts.max(1);
        self
    }

    /// Goes on where an earlier download to this path ended, part by part.
    pub fn resumable(mut self) -> Self {
        self.resumable = true;
        self
    }

    /// Has the disk confirm the bytes before the file takes its name.
    pub fn sync(mut self) -> Self {
        self.sync = true;
        self
    }
}

impl IntoFuture for GetToFile {
    type Output = Result<BlobMeta>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { get, path, at_once, resumable, sync } = self;
        Box::pin(async move {
            if at_once == 1 && !resumable {
                return save_as(get.await?, path, sync).await;
            }
            let (store, key, verify) = (get.store, get.key?, !get.options.skip_verify);
            let meta = store.head(&key).await?.ok_or_else(|| missing("blob.get", &key))?;
            Download { store, key, path, at_once, resumable, sync, verify }.run(meta).await
        })
    }
}
