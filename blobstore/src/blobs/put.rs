use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::body::Body;
use crate::checksum::{Crc64, Sha256Digest};
use crate::key::BlobKey;
use crate::meta::{Attributes, BlobMeta, Version, Visibility};
use crate::options::{Expiry, Precondition, PutOptions};
use crate::outcome::PutOutcome;
use crate::store::BlobStore;

/// Marks a [`Put`] that replaces whatever is there; it gives a [`BlobMeta`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Always, Blobs, MemoryBlobStore, Put};
///
/// fn page(put: Put<Always>) -> Put<Always> {
///     put.content_type("text/html").cache_control("no-cache")
/// }
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let meta = page(blobs.put("r/7.html", "<h1>7</h1>")).await?;
/// assert_eq!(meta.size, 10);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Always;

/// Marks a [`Put`] with a precondition; it gives a [`PutOutcome`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore, Put, Result, When};
///
/// async fn won(put: Put<When>) -> Result<bool> {
///     Ok(put.await?.stored().is_some())
/// }
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// assert!(won(blobs.put("leader", "a").if_absent()).await?);
/// assert!(!won(blobs.put("leader", "b").if_absent()).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct When;

/// A put that begins when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore, PutOutcome};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let meta = blobs
///     .put("r/7.csv", "a,b\n")
///     .content_type("text/csv")
///     .metadata("rows", "1")
///     .expires_in(Duration::from_secs(3600))
///     .await?;
/// let outcome = blobs.put("r/7.csv", "a,b,c\n").if_match(&meta.version).await?;
/// assert!(matches!(outcome, PutOutcome::Stored(_)));
/// # Ok(()) }
/// ```
#[must_use = "a put does nothing until it is awaited"]
pub struct Put<C = Always> {
    store: Arc<dyn BlobStore>,
    key: Result<BlobKey>,
    body: Body,
    options: PutOptions,
    condition: PhantomData<C>,
}

impl Put {
    pub(super) fn new(store: Arc<dyn BlobStore>, key: Result<BlobKey>, body: Body) -> Self {
        Self { store, key, body, options: PutOptions::default(), condition: PhantomData }
    }
}

impl<C> Put<C> {
    fn map(mut self, change: impl FnOnce(&mut PutOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Sets the media type.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.map(|options| options.attributes.content_type = Some(value.into()))
    }

    /// Sets how long caches may keep it.
    pub fn cache_control(self, value: impl Into<String>) -> Self {
        self.map(|options| options.attributes.cache_control = Some(value.into()))
    }

    /// Sets whether a browser shows or saves it.
    pub fn content_disposition(self, value: impl Into<String>) -> Self {
        self.map(|options| options.attributes.content_disposition = Some(value.into()))
    }

    /// Adds an entry of the application's own.
    pub fn metadata(self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.map(|options| {
            let attributes = std::mem::take(&mut options.attributes);
            options.attributes = attributes.with_metadata(name, value);
        })
    }

    /// Sets all that is kept beside the bytes.
    pub fn attributes(self, attributes: Attributes) -> Self {
        self.map(|options| options.attributes = attributes)
    }

    /// The blob is gone this long after the store took it.
    pub fn expires_in(self, span: Duration) -> Self {
        self.map(|options| options.expiry = Expiry::In(span))
    }

    /// The blob is gone at this instant.
    pub fn expires_at(self, at: DateTime<Utc>) -> Self {
        self.map(|options| options.expiry = Expiry::At(at))
    }

    /// Everybody may read it.
    pub fn public(self) -> Self {
        self.map(|options| options.visibility = Visibility::Public)
    }

    /// The store takes it only if its bytes have this SHA-256.
    pub fn sha256(self, sha256: Sha256Digest) -> Self {
        self.map(|options| options.sha256 = Some(sha256))
    }

    /// The store takes it only if its bytes have this checksum.
    pub fn crc64(self, crc64: Crc64) -> Self {
        self.map(|options| options.crc64 = Some(crc64))
    }

    /// Stores it only if there is no blob of that key.
    pub fn if_absent(self) -> Put<When> {
        self.when(Precondition::IfAbsent)
    }

    /// Stores it only if the present blob is of `version`.
    pub fn if_match(self, version: &Version) -> Put<When> {
        self.when(Precondition::IfMatch(version.clone()))
    }

    fn when(self, precondition: Precondition) -> Put<When> {
        let Self { store, key, body, options, .. } = self;
        let options = options.with_precondition(precondition);
        Put { store, key, body, options, condition: PhantomData }
    }

    async fn run(self) -> Result<PutOutcome> {
        self.store.put(&self.key?, self.body, &self.options).await
    }
}

impl IntoFuture for Put {
    type Output = Result<BlobMeta>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.run().await?.stored().ok_or_else(|| {
                Error::new(ErrorKind::Unexpected, "blobstore", "blob.put")
                    .with_detail("a put without conditions met one")
            })
        })
    }
}

impl IntoFuture for Put<When> {
    type Output = Result<PutOutcome>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<C> fmt::Debug for Put<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("key", &self.key)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
