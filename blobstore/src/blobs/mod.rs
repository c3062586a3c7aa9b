//! What applications call: one handle, and a builder for each call that has options.

mod get;
mod put;
mod sign;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::stream;
use standfast_core::{Error, ErrorKind, Health, HealthCheck as _, Result};

use crate::body::Body;
use crate::key::{BlobKey, IntoKey};
use crate::list::{BlobEntry, ListOptions, Page};
use crate::meta::{BlobMeta, Version};
use crate::options::{CopyOptions, DeleteOptions, Expiry, ExpiryChange};
use crate::outcome::{CopyOutcome, DeleteOutcome, Swept};
use crate::store::{BlobCapabilities, BlobStore};

pub use get::{Get, GetBytes, GetToFile};
pub use put::{Always, Put, When};
pub use sign::{SignGet, SignPut};

/// A store in the hands of an application. Clones share the store.
///
/// A blob that the caller named and that is not there is [`ErrorKind::NotFound`] where its content
/// was asked for, and `None` or `false` where the question was whether it is there.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("r/7.html", "<h1>7</h1>").content_type("text/html").await?;
/// assert_eq!(blobs.get_bytes("r/7.html").await?, "<h1>7</h1>");
/// blobs.delete("r/7.html").await?;
/// assert!(!blobs.exists("r/7.html").await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn BlobStore>,
}

impl Blobs {
    /// A handle on `store`.
    pub fn new(store: impl BlobStore) -> Self {
        Self { store: Arc::new(store) }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn BlobStore> {
        &self.store
    }

    /// What the store can do.
    pub fn capabilities(&self) -> BlobCapabilities {
        self.store.capabilities()
    }

    /// Asks whether the store works.
    pub async fn health(&self) -> Health {
        self.store.health().await
    }

    /// Stores `body` under `key` when awaited, and replaces what was there.
    ///
    /// # Cancellation
    ///
    /// A dropped future has stored all or nothing.
    pub fn put(&self, key: impl IntoKey, body: impl Into<Body>) -> Put {
        Put::new(Arc::clone(&self.store), key.into_key(), body.into())
    }

    /// Stores the file at `path` under `key` when awaited.
    pub fn put_file(&self, key: impl IntoKey, path: impl Into<PathBuf>) -> Put {
        self.put(key, Body::file(path))
    }

    /// Reads the blob under `key` as a stream when awaited.
    pub fn get(&self, key: impl IntoKey) -> Get {
        Get::new(Arc::clone(&self.store), key.into_key())
    }

    /// Reads the blob under `key` into memory when awaited, if it has at most 64 MiB.
    pub fn get_bytes(&self, key: impl IntoKey) -> GetBytes {
        GetBytes::new(self.get(key))
    }

    /// Saves the blob under `key` as the file `path` when awaited. Whoever looks at `path` sees
    /// what was there before or the whole, verified blob, never a part of it.
    pub fn get_to_file(&self, key: impl IntoKey, path: impl Into<PathBuf>) -> GetToFile {
        GetToFile::new(self.get(key), path.into())
    }

    /// What is known of the blob under `key`.
    ///
    /// # Errors
    ///
    /// `Invalid` for text that is no key, and what the store met. So for all the following.
    pub async fn head(&self, key: impl IntoKey + Send) -> Result<Option<BlobMeta>> {
        let key = key.into_key()?;
        self.store.head(&key).await
    }

    /// Whether there is a blob under `key`.
    ///
    /// # Errors
    ///
    /// As for [`head`](Self::head).
    pub async fn exists(&self, key: impl IntoKey + Send) -> Result<bool> {
        Ok(self.head(key).await?.is_some())
    }

    /// Deletes the blob under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`head`](Self::head).
    pub async fn delete(&self, key: impl IntoKey + Send) -> Result<()> {
        let key = key.into_key()?;
        let _gone = self.store.delete(&key, &DeleteOptions::default()).await?;
        Ok(())
    }

    /// Deletes the blob under `key` if it is of `version`.
    ///
    /// # Errors
    ///
    /// As for [`head`](Self::head).
    pub async fn delete_if(
        &self,
        key: impl IntoKey + Send,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let key = key.into_key()?;
        self.store.delete(&key, &DeleteOptions::default().with_if_match(version.clone())).await
    }

    /// Deletes the blobs under `keys`, in as many requests as the store needs; one outcome for
    /// each key, in order.
    ///
    /// # Errors
    ///
    /// What stopped a whole request; the keys of earlier requests are gone then.
    pub async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for batch in keys.chunks(self.capabilities().max_delete_batch.max(1)) {
            outcomes.extend(self.store.delete_many(batch).await?);
        }
        Ok(outcomes)
    }

    /// Deletes every blob whose key begins with `prefix`, page by page; how many there were. What
    /// is put meanwhile may stay.
    ///
    /// # Errors
    ///
    /// The first failure, after its page was tried to the end.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let mut options = ListOptions::prefix(prefix);
        let mut deleted = 0;
        loop {
            let page = self.store.list(&options).await?;
            let keys: Vec<_> = page.blobs.into_iter().map(|entry| entry.key).collect();
            let mut failed = None;
            for outcome in self.delete_many(&keys).await? {
                match outcome {
                    DeleteOutcome::Failed(error) => failed = failed.or(Some(error)),
                    _ => deleted += 1,
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            let Some(token) = page.next else { return Ok(deleted) };
            options = options.with_token(token);
        }
    }

    /// Copies the blob under `from` to `to` with everything kept beside it.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no blob under `from`.
    pub async fn copy(
        &self,
        from: impl IntoKey + Send,
        to: impl IntoKey + Send,
    ) -> Result<BlobMeta> {
        let (from, to) = (from.into_key()?, to.into_key()?);
        let outcome = self.store.copy(&from, &to, &CopyOptions::default()).await?;
        copied(outcome, &from)
    }

    /// Copies the blob under `from` to `to` as `options` say.
    ///
    /// # Errors
    ///
    /// As for a put.
    pub async fn copy_with(
        &self,
        from: impl IntoKey + Send,
        to: impl IntoKey + Send,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        let (from, to) = (from.into_key()?, to.into_key()?);
        self.store.copy(&from, &to, options).await
    }

    /// Makes the blob under `key` one that never expires.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is gone; `Conflict` if somebody put another one meanwhile.
    pub async fn keep(&self, key: impl IntoKey + Send) -> Result<BlobMeta> {
        let key = key.into_key()?;
        let outcome = self.store.copy(&key, &key, &lasting()).await?;
        copied(outcome, &key)
    }

    /// Moves a temporary blob to where it stays: copies it without its expiry, then deletes the
    /// original. If the process dies between the two, both are there, and the temporary one
    /// expires by itself; a repeated call does the rest.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no blob under `from`.
    pub async fn promote(
        &self,
        from: impl IntoKey + Send,
        to: impl IntoKey + Send,
    ) -> Result<BlobMeta> {
        let (from, to) = (from.into_key()?, to.into_key()?);
        if from == to {
            return self.keep(from).await;
        }
        let meta = copied(self.store.copy(&from, &to, &lasting()).await?, &from)?;
        let _gone = self.store.delete(&from, &DeleteOptions::default()).await?;
        Ok(meta)
    }

    /// The blobs whose keys begin with `prefix`, in ascending order, a page at a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use standfast_blobstore::{Blobs, MemoryBlobStore};
    ///
    /// let blobs = Blobs::new(MemoryBlobStore::new());
    /// for key in ["r/2", "r/1", "s/1"] {
    ///     blobs.put(key, "").await?;
    /// }
    /// let found: Vec<_> = blobs.list("r/").map_ok(|blob| blob.key.to_string()).try_collect().await?;
    /// assert_eq!(found, ["r/1", "r/2"]);
    /// # Ok(()) }
    /// ```
    pub fn list(&self, prefix: impl Into<String>) -> BoxStream<'static, Result<BlobEntry>> {
        let start = Listing {
            store: Arc::clone(&self.store),
            next: Some(ListOptions::prefix(prefix)),
            ready: Vec::new().into_iter(),
        };
        Box::pin(stream::unfold(start, |mut listing| async {
            let entry = listing.entry().await.transpose()?;
            if entry.is_err() {
                listing.next = None;
            }
            Some((entry, listing))
        }))
    }

    /// One page of keys.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty delimiter, a limit of zero or a token that is none.
    pub async fn list_page(&self, options: ListOptions) -> Result<Page> {
        self.store.list(&options).await
    }

    /// A URL that lets whoever has it read the blob under `key` for `span`, when awaited.
    pub fn signed_url(&self, key: impl IntoKey, span: Duration) -> SignGet {
        SignGet::new(Arc::clone(&self.store), key.into_key(), span)
    }

    /// A URL that lets whoever has it store a blob under `key` for `span`, when awaited.
    pub fn signed_put(&self, key: impl IntoKey, span: Duration) -> SignPut {
        SignPut::new(Arc::clone(&self.store), key.into_key(), span)
    }

    /// A form with which a browser stores a blob under `key` within `span`, straight at the service,
    /// when awaited. Its fields are [`fields`](crate::SignedUrl::fields); the file comes last, in a
    /// field `file`. Only where the capability `sign_form` says so.
    pub fn signed_form(&self, key: impl IntoKey, span: Duration) -> SignPut {
        SignPut::form(Arc::clone(&self.store), key.into_key(), span)
    }

    /// The lasting address of the blob under `key`, if it is there and public.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the store has no addresses.
    pub async fn public_url(&self, key: impl IntoKey + Send) -> Result<Option<String>> {
        let key = key.into_key()?;
        self.store.public_url(&key).await
    }

    /// The lasting address of a public blob, or a URL signed for `span`.
    ///
    /// # Errors
    ///
    /// As for [`signed_url`](Self::signed_url).
    pub async fn url(&self, key: impl IntoKey + Send, span: Duration) -> Result<String> {
        let key = key.into_key()?;
        if self.capabilities().public
            && let Some(url) = self.store.public_url(&key).await?
        {
            return Ok(url);
        }
        Ok(self.signed_url(key, span).await?.into_string())
    }

    /// Frees what up to `max` expired blobs occupy; for a schedule to call.
    ///
    /// # Errors
    ///
    /// What the store met.
    pub async fn sweep(&self, max: usize) -> Result<Swept> {
        self.store.sweep(max).await
    }
}

struct Listing {
    store: Arc<dyn BlobStore>,
    next: Option<ListOptions>,
    ready: std::vec::IntoIter<BlobEntry>,
}

impl Listing {
    async fn entry(&mut self) -> Result<Option<BlobEntry>> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Ok(Some(entry));
            }
            let Some(options) = self.next.take() else { return Ok(None) };
            let page = self.store.list(&options).await?;
            self.ready = page.blobs.into_iter();
            self.next = page.next.map(|token| options.with_token(token));
        }
    }
}

fn lasting() -> CopyOptions {
    CopyOptions::default().with_expiry(ExpiryChange::Set(Expiry::Never))
}

fn copied(outcome: CopyOutcome, from: &BlobKey) -> Result<BlobMeta> {
    match outcome {
        CopyOutcome::Stored(meta) => Ok(*meta),
        CopyOutcome::SourceMissing => Err(missing("blob.copy", from)),
        _ => Err(Error::new(ErrorKind::Unexpected, "blobstore", "blob.copy")
            .with_detail("a copy without conditions met one")),
    }
}

fn missing(operation: &'static str, key: &BlobKey) -> Error {
    Error::new(ErrorKind::NotFound, "blobstore", operation).with_detail(format!("{key:?}"))
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blobs").field(&self.store).finish()
    }
}

impl From<Arc<dyn BlobStore>> for Blobs {
    fn from(store: Arc<dyn BlobStore>) -> Self {
        Self { store }
    }
}
