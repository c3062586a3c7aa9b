use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ::object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use ::object_store::path::Path;
use ::object_store::{
    CopyMode, CopyOptions as TheirCopyOptions, Extensions, GetOptions as TheirGetOptions,
    GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions as TheirPutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result as TheirResult,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_core::{Error, ErrorKind};

use super::convert::{
    body, exists, failure, generic, key, key_of_old, meta, mismatch, not_found, path, put_options,
    put_result, unsupported, version,
};
use super::delete::delete_stream;
use super::read;
use super::upload::Upload;
use crate::key::BlobKey;
use crate::list::{ListOptions, Page, PageToken};
use crate::options::{CopyOptions, DeleteOptions, Precondition};
use crate::outcome::{CopyOutcome, DeleteOutcome};
use crate::store::BlobStore;

/// Any [`BlobStore`] as an [`ObjectStore`] of the crate `object_store`, for what is built on that
/// one. Clones share the store.
///
/// - [x] conditional puts, copies and reads; attributes on every backend, as they went
/// - [x] uploads in parts, nowhere before they are complete, left behind by nobody
/// - [x] listings in the order of the bytes, in pages with any delimiter ([`PaginatedListStore`])
/// - [ ] versions beside the present one, tags, storage classes: refused as `NotSupported`
/// - [ ] uploads that another process goes on with (`MultipartStore`)
///
/// A path is a key as it stands; nothing is encoded. Under a path that can be no key there is
/// nothing to read, and writing to it fails. The ETag of an object is the version of the blob in
/// quotes. What a put does not say, such as a content type, is not there.
///
/// What `object_store` has no words for travels in its `extensions`: puts take an
/// [`Expiry`](crate::Expiry) and a [`Visibility`](crate::Visibility), and the results of puts and
/// reads carry the [`BlobMeta`](crate::BlobMeta). The source of an error is an
/// [`Error`](crate::Error) where the store met one; it knows whether a retry may help.
///
/// # Uploads in parts
///
/// An upload is one put of a stream in a task of its own, so it needs a runtime of tokio. Its parts
/// may be of any size, and their futures awaited in any order or all at once; a part's future is
/// done when the store has taken the part over, so in memory are the parts whose futures are not,
/// and what a put of a stream takes. On S3 all uploads share the upload memory: where somebody feeds
/// more uploads in turn than that has parts (eight, unless configured), they wait for each other
/// for ever, so `S3Config::with_upload_memory` is to have one for each. A part whose future was
/// dropped before it was done makes `complete` fail, since nobody can tell whether it was meant to
/// be there. An upload that is aborted or dropped, or whose process dies, changes nothing; a
/// `complete` that is dropped may have stored all.
///
/// # Renames
///
/// A rename copies, then deletes: if the process dies between the two, both are there. It copies
/// and deletes one version, where the store can: what somebody puts meanwhile stays.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use object_store::path::Path;
/// use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
/// use standfast_blobstore::{AsObjectStore, BlobMeta, MemoryBlobStore};
///
/// let store = AsObjectStore::new(MemoryBlobStore::new());
/// let path = Path::from("tables/rows.csv");
/// store.put(&path, "a,1".into()).await?;
///
/// let read = store.get(&path).await?;
/// assert!(read.extensions.get::<BlobMeta>().unwrap().crc64.is_some());
/// let seen = PutMode::Update(UpdateVersion { e_tag: read.meta.e_tag, version: None });
/// store.put_opts(&path, "a,2".into(), seen.clone().into()).await?;
/// let late = store.put_opts(&path, "a,3".into(), seen.into()).await;
/// assert!(matches!(late, Err(Error::Precondition { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AsObjectStore {
    store: Arc<dyn BlobStore>,
}

impl AsObjectStore {
    /// The blobs of `store` as objects.
    pub fn new(store: impl BlobStore) -> Self {
        Self { store: Arc::new(store) }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn BlobStore> {
        &self.store
    }

    /// The pages of a listing, until it ends or fails.
    fn pages(&self, options: ListOptions) -> impl Stream<Item = TheirResult<Page>> + Send + use<> {
        let store = Arc::clone(&self.store);
        stream::try_unfold(Some(options), move |next| {
            let store = Arc::clone(&store);
            async move {
                let Some(options) = next else { return Ok(None) };
                let mut page = list(&*store, &options).await?;
                let next = page.next.take().map(|token| options.with_token(token));
                Ok(Some((page, next)))
            }
        })
    }

    fn listed(&self, options: ListOptions) -> BoxStream<'static, TheirResult<ObjectMeta>> {
        self.pages(options).map_ok(|page| stream::iter(objects(page))).try_flatten().boxed()
    }

    /// Copies what is under `from`, if it is of the version that `copy` names.
    async fn copied(
        &self,
        (from, source): (&Path, &BlobKey),
        (to, target): (&Path, &BlobKey),
        copy: &CopyOptions,
    ) -> TheirResult<Copied> {
        let outcome = self.store.copy(source, target, copy).await;
        match outcome.map_err(|error| failure(to, error))? {
            CopyOutcome::Exists => Err(exists(to)),
            CopyOutcome::Mismatch => Err(mismatch(to)),
            CopyOutcome::SourceMissing => Err(not_found(from)),
            CopyOutcome::SourceMismatch => Ok(Copied::Changed),
            CopyOutcome::Stored(_) => Ok(Copied::Done),
        }
    }

    /// Deletes the original of a rename, unless somebody replaced it meanwhile.
    async fn leave(&self, from: &Path, key: &BlobKey, seen: DeleteOptions) -> TheirResult<()> {
        let held = self.store.capabilities().conditional_delete;
        let how = if held { seen } else { DeleteOptions::default() };
        match self.store.delete(key, &how).await.map_err(|error| failure(from, error))? {
            DeleteOutcome::Failed(error) => Err(failure(from, error)),
            _ => Ok(()),
        }
    }
}

enum Copied {
    /// The original is of another version by now.
    Changed,
    Done,
}

async fn list(store: &dyn BlobStore, options: &ListOptions) -> TheirResult<Page> {
    let page = store.list(options).await;
    page.map_err(|error| failure(&Path::from(options.prefix.as_str()), error))
}

fn objects(page: Page) -> Vec<TheirResult<ObjectMeta>> {
    page.blobs.into_iter().map(|entry| Ok(meta(path(entry.key.as_str())?, entry))).collect()
}

/// What is below a path, not what begins with its text.
fn below(prefix: Option<&Path>) -> ListOptions {
    match prefix {
        Some(prefix) if !prefix.is_root() => ListOptions::prefix(format!("{prefix}/")),
        _ => ListOptions::all(),
    }
}

fn gather(all: &mut ListResult, page: Page) -> TheirResult<()> {
    for common in &page.prefixes {
        all.common_prefixes.push(path(common)?);
    }
    for object in objects(page) {
        all.objects.push(object?);
    }
    Ok(())
}

fn nothing() -> ListResult {
    ListResult { common_prefixes: vec![], objects: vec![], extensions: Extensions::new() }
}

#[async_trait]
impl ObjectStore for AsObjectStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: TheirPutOptions,
    ) -> TheirResult<PutResult> {
        let put = put_options(&options.tags, &options.attributes, &options.extensions)?;
        let put = put.with_precondition(precondition(options.mode)?);
        let outcome = self.store.put(&key(location)?, body(payload), &put).await;
        put_result(location, outcome)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> TheirResult<Box<dyn MultipartUpload>> {
        let put = put_options(&options.tags, &options.attributes, &options.extensions)?;
        let (store, path) = (Arc::clone(&self.store), location.clone());
        Ok(Box::new(Upload::begin(store, path, key(location)?, put)))
    }

    async fn get_opts(&self, location: &Path, options: TheirGetOptions) -> TheirResult<GetResult> {
        read::get(&*self.store, location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> TheirResult<Vec<Bytes>> {
        read::get_ranges(&*self.store, location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, TheirResult<Path>>,
    ) -> BoxStream<'static, TheirResult<Path>> {
        delete_stream(&self.store, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, TheirResult<ObjectMeta>> {
        self.listed(below(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, TheirResult<ObjectMeta>> {
        self.listed(below(prefix).with_start_after(offset.as_ref()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> TheirResult<ListResult> {
        let mut pages = std::pin::pin!(self.pages(below(prefix).with_delimiter("/")));
        let mut all = nothing();
        while let Some(page) = pages.try_next().await? {
            gather(&mut all, page)?;
        }
        Ok(all)
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: TheirCopyOptions,
    ) -> TheirResult<()> {
        let (source, target) = (key_of_old(from)?, key(to)?);
        let copy = CopyOptions::default().with_precondition(free(options.mode));
        match self.copied((from, &source), (to, &target), &copy).await? {
            Copied::Done => Ok(()),
            Copied::Changed => Err(generic("a copy of any version found another one")),
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> TheirResult<()> {
        let (source, target) = (key_of_old(from)?, key(to)?);
        let mode = match options.target_mode {
            RenameTargetMode::Create => CopyMode::Create,
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
        };
        // Each round after the first means that the original was replaced meanwhile.
        for _ in 0..16 {
            let found = self.store.head(&source).await.map_err(|error| failure(from, error))?;
            let seen = found.ok_or_else(|| not_found(from))?.version;
            if source == target {
                return if mode == CopyMode::Create { Err(exists(to)) } else { Ok(()) };
            }
            let copy = CopyOptions::default().with_precondition(free(mode));
            let copy = copy.with_source(seen.clone());
            if let Copied::Done = self.copied((from, &source), (to, &target), &copy).await? {
                return self
                    .leave(from, &source, DeleteOptions::default().with_if_match(seen))
                    .await;
            }
        }
        Err(generic(
            Error::new(ErrorKind::Conflict, "blobstore", "blob.rename")
                .with_detail(format!("{source:?} kept changing"))
                .with_retryable(true),
        ))
    }
}

fn precondition(mode: PutMode) -> TheirResult<Precondition> {
    Ok(match mode {
        PutMode::Overwrite => Precondition::Always,
        PutMode::Create => Precondition::IfAbsent,
        PutMode::Update(seen) if seen.version.is_some() => {
            return Err(unsupported("updates of versions that are not named by an ETag"));
        }
        PutMode::Update(seen) => match seen.e_tag {
            Some(e_tag) => Precondition::IfMatch(version(&e_tag)),
            None => return Err(generic("an update names no ETag")),
        },
    })
}

fn free(mode: CopyMode) -> Precondition {
    match mode {
        CopyMode::Create => Precondition::IfAbsent,
        CopyMode::Overwrite => Precondition::Always,
    }
}

#[async_trait]
impl PaginatedListStore for AsObjectStore {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> TheirResult<PaginatedListResult> {
        let mut ours = ListOptions::prefix(prefix.unwrap_or_default());
        ours.start_after = options.offset;
        ours.delimiter = options.delimiter.map(Into::into);
        ours.limit = options.max_keys.unwrap_or(ours.limit);
        ours.token = options.page_token.map(PageToken::new);
        let mut page = list(&*self.store, &ours).await?;
        let page_token = page.next.take().map(|token| token.to_string());
        let mut result = nothing();
        gather(&mut result, page)?;
        Ok(PaginatedListResult { result, page_token })
    }
}

impl From<Arc<dyn BlobStore>> for AsObjectStore {
    fn from(store: Arc<dyn BlobStore>) -> Self {
        Self { store }
    }
}

impl fmt::Display for AsObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for AsObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsObjectStore").field(&self.store).finish()
    }
}
