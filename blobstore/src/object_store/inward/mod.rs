//! A store of `object_store` as one of ours.

mod copy;
mod entry;
mod list;
mod put;
mod read;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use ::object_store::path::Path;
use ::object_store::{
    Error as TheirError, ObjectStore, ObjectStoreExt as _, Result as TheirResult,
};
use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Reason, Result, Verdict};

use crate::body::Body;
use crate::key::BlobKey;
use crate::list::{ListOptions, Page};
use crate::meta::{BlobMeta, Visibility};
use crate::options::{CopyOptions, DeleteOptions, GetOptions, Precondition, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::rules::check_batch;
use crate::sign::{SignRequest, SignedUrl};
use crate::store::{BlobCapabilities, BlobStore};

const BACKEND: &str = "object_store";
const MIB: usize = 1 << 20;

/// Any [`ObjectStore`] of the crate `object_store` as a [`BlobStore`]: Google Cloud Storage, Azure,
/// and what else it knows. Clones share the store.
///
/// - [x] atomic puts, streams of any length in bounded memory, attributes, checksums, byte order
/// - [x] conditional puts, where [`with_conditional`](Self::with_conditional) says that the store
///   holds them; of up to [`with_conditional_len`](Self::with_conditional_len) bytes, since
///   `object_store` has no conditional uploads in parts
/// - [ ] conditional deletes, expiry, public blobs, signed URLs: refused as `Unsupported`
///
/// The crate says little of what a store can do, so the least is assumed; say more with the methods
/// below. The store must give ETags and keep attributes with metadata, which excludes
/// `LocalFileSystem` and `HttpStore`; on disk use `FsBlobStore`. Azure takes only words as names of
/// metadata.
///
/// An expired blob could be hidden, but not removed: `object_store` deletes whatever is there,
/// also what somebody put a moment ago. So nothing expires here.
///
/// Beside the bytes lie the checksums, where they were known before the upload began: for bytes in
/// memory, files shorter than a part, and streams that fit in one, or where the put gives them. A
/// longer stream is checked against what the put gave, and read unchecked. A put costs one request
/// more for the time at which the store took it; one `if_match` costs another.
///
/// If the process dies during a put, nothing has changed. The parts of an upload are then left to
/// the lifecycle rules of the bucket, as `object_store` advises.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use object_store::memory::InMemory;
/// use standfast_blobstore::{Blobs, ErrorKind, FromObjectStore, PutOutcome};
/// use std::time::Duration;
///
/// let store = FromObjectStore::new(InMemory::new()).with_conditional(true);
/// let blobs = Blobs::new(store);
/// blobs.put("r/7.html", "<h1>7</h1>").content_type("text/html").await?;
/// assert!(matches!(blobs.put("r/7.html", "late").if_absent().await?, PutOutcome::Exists));
/// assert_eq!(blobs.get_bytes("r/7.html").await?, "<h1>7</h1>");
///
/// let refused = blobs.put("tmp", "").expires_in(Duration::from_secs(60)).await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unsupported);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FromObjectStore {
    store: Arc<dyn ObjectStore>,
    conditional: bool,
    conditional_len: usize,
    durable: bool,
    ordered: bool,
    part_size: usize,
    unique_versions: bool,
}

impl FromObjectStore {
    /// The objects of `store` as blobs.
    pub fn new(store: impl ObjectStore) -> Self {
        Self::from(Arc::new(store) as Arc<dyn ObjectStore>)
    }

    /// Whether the store holds `PutMode::Create` and `PutMode::Update`, as those of Amazon S3,
    /// Google Cloud Storage and Azure and the one in memory do. False unless set.
    #[must_use]
    pub fn with_conditional(mut self, holds: bool) -> Self {
        self.conditional = holds;
        self
    }

    /// The most bytes of a blob that is put under a condition, which are held in memory meanwhile;
    /// 64 MiB unless set. A longer one is refused as `Unsupported`.
    #[must_use]
    pub fn with_conditional_len(mut self, bytes: usize) -> Self {
        self.conditional_len = bytes;
        self
    }

    /// Whether objects outlive the process. False unless set.
    #[must_use]
    pub fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether listings ascend by the bytes of the paths, as those of Amazon S3, Google Cloud Storage
    /// and Azure do. False unless set: then each page is sorted from the whole listing.
    #[must_use]
    pub fn with_ordered_listing(mut self, ascends: bool) -> Self {
        self.ordered = ascends;
        self
    }

    /// The size of parts, 8 MiB unless set. An upload in parts holds up to five in memory.
    #[must_use]
    pub fn with_part_size(mut self, bytes: usize) -> Self {
        self.part_size = bytes.max(1);
        self
    }

    /// Whether each put gives another ETag, even of equal bytes, as with Google Cloud Storage, Azure
    /// and the one in memory. False unless set: on Amazon S3 an ETag names the content.
    #[must_use]
    pub fn with_unique_versions(mut self, unique: bool) -> Self {
        self.unique_versions = unique;
        self
    }

    fn refuse(operation: &'static str, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, BACKEND, operation)
            .with_detail(format!("{what} of an object_store"))
    }

    fn check_condition(&self, operation: &'static str, condition: &Precondition) -> Result<()> {
        if self.conditional || *condition == Precondition::Always {
            return Ok(());
        }
        Err(Self::refuse(operation, "preconditions"))
    }
}

/// A key as a path, as it stands.
fn path(key: &BlobKey) -> Result<Path> {
    Path::parse(key)
        .map_err(|error| Error::new(ErrorKind::Unsupported, BACKEND, "blob.key").with_source(error))
}

/// What went wrong. `object_store` does not tell a busy service from a broken one.
fn failure(operation: &'static str, error: TheirError) -> Error {
    let kind = match &error {
        TheirError::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        TheirError::InvalidPath { .. } => ErrorKind::Invalid,
        TheirError::NotFound { .. } => ErrorKind::NotFound,
        TheirError::NotImplemented { .. } | TheirError::NotSupported { .. } => {
            ErrorKind::Unsupported
        }
        TheirError::PermissionDenied { .. } | TheirError::Unauthenticated { .. } => {
            ErrorKind::Denied
        }
        TheirError::Precondition { .. } => ErrorKind::Conflict,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, BACKEND, operation).with_source(error)
}

fn changed(operation: &'static str, key: &BlobKey) -> Error {
    Error::new(ErrorKind::Conflict, BACKEND, operation)
        .with_reason(Reason::ChangedDuringRead)
        .with_detail(format!("{key:?} was changed meanwhile"))
        .with_retryable(true)
}

impl From<Arc<dyn ObjectStore>> for FromObjectStore {
    fn from(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            conditional: false,
            conditional_len: 64 * MIB,
            durable: false,
            ordered: false,
            part_size: 8 * MIB,
            unique_versions: false,
        }
    }
}

impl fmt::Debug for FromObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromObjectStore")
            .field("store", &format_args!("{}", self.store))
            .field("conditional", &self.conditional)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HealthCheck for FromObjectStore {
    /// Looks for something that is not there.
    async fn health(&self) -> Health {
        let asked = format!("object_store {}", self.store);
        let began = Instant::now();
        let verdict = match self.store.head(&Path::from(BlobKey::RESERVED)).await {
            Ok(_) | Err(TheirError::NotFound { .. }) => Verdict::Healthy,
            Err(error) => Verdict::Failing(error.to_string()),
        };
        Health::since(asked, began, verdict)
    }
}

#[async_trait]
impl BlobStore for FromObjectStore {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities {
            conditional: self.conditional,
            conditional_delete: false,
            durable: self.durable,
            expiry: false,
            unique_versions: self.unique_versions,
            ..BlobCapabilities::default()
        }
    }

    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        self.put_blob(key, body, options).await
    }

    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        self.get_blob(key, options).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.look(key, "blob.head").await?.map(|seen| seen.meta))
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        self.list_page(options).await
    }

    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        self.copy_blob(from, to, options).await
    }

    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        if options.if_match.is_some() {
            return Err(Self::refuse("blob.delete", "conditional deletes"));
        }
        deleted(self.store.delete(&path(key)?).await)
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        check_batch(BACKEND, keys.len(), self.capabilities().max_delete_batch)?;
        let paths = keys.iter().map(path).collect::<Result<Vec<_>>>()?;
        let answers = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        let answers =
            answers.map(|answer| deleted(answer.map(drop)).unwrap_or_else(DeleteOutcome::Failed));
        let silent = || {
            let silent = Error::new(ErrorKind::OutcomeUnknown, BACKEND, "blob.delete_many");
            DeleteOutcome::Failed(silent.with_detail("no answer for this key"))
        };
        let padded = answers.chain(stream::repeat_with(silent));
        Ok(padded.take(keys.len()).collect().await)
    }

    async fn sign(&self, _: &SignRequest) -> Result<SignedUrl> {
        Err(Self::refuse("blob.sign", "signed URLs"))
    }

    async fn public_url(&self, _: &BlobKey) -> Result<Option<String>> {
        Err(Self::refuse("blob.public_url", "public addresses"))
    }

    /// Nothing expires.
    async fn sweep(&self, _: usize) -> Result<Swept> {
        Ok(Swept::new(0, true))
    }
}

fn deleted(answer: TheirResult<()>) -> Result<DeleteOutcome> {
    match answer {
        Ok(()) => Ok(DeleteOutcome::Deleted),
        Err(TheirError::NotFound { .. }) => Ok(DeleteOutcome::Missing),
        Err(error) => Err(failure("blob.delete", error)),
    }
}

/// Refuses what would be seen or gone when it should not be.
fn check_lasting(visibility: Visibility, expires: bool) -> Result<()> {
    if expires {
        return Err(FromObjectStore::refuse("blob.put", "expiry"));
    }
    if visibility == Visibility::Public {
        return Err(FromObjectStore::refuse("blob.put", "public blobs"));
    }
    Ok(())
}
