//! `AsObjectStore` while somebody else changes the store between two of its requests, and over a
//! store that fails.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use object_store::path::Path;
use object_store::{Error as TheirError, ObjectStore as _, ObjectStoreExt as _};
use standfast_blobstore::{
    AsObjectStore, BlobCapabilities, BlobKey, BlobMeta, BlobStore, Body, CopyOptions, CopyOutcome,
    DeleteOptions, DeleteOutcome, Error, ErrorKind, GetOptions, GetOutcome, ListOptions,
    MemoryBlobStore, Page, PutOptions, PutOutcome, Result, SignRequest, SignedUrl, Swept,
};
use standfast_core::{Health, HealthCheck};

/// When somebody puts something, or what goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    AfterCopy,
    AfterGet,
    AfterHead,
    /// A put takes one piece and fails.
    PutFails,
    /// A put takes nothing for ever.
    PutHangs,
}

#[derive(Debug)]
struct Meddled {
    inner: MemoryBlobStore,
    moments: Mutex<Vec<(Moment, &'static str)>>,
}

impl Meddled {
    /// Somebody puts under `key` what is planned for this moment, once.
    async fn reach(&self, moment: Moment, key: &BlobKey) {
        let planned = {
            let mut moments = self.moments.lock().unwrap();
            let at = moments.iter().position(|(planned, _)| *planned == moment);
            at.map(|at| moments.remove(at).1)
        };
        if let Some(news) = planned {
            let put = self.inner.put(key, Body::from(news), &PutOptions::default()).await;
            put.unwrap().stored().unwrap();
        }
    }

    fn is_planned(&self, moment: Moment) -> bool {
        self.moments.lock().unwrap().iter().any(|(planned, _)| *planned == moment)
    }
}

#[async_trait]
impl HealthCheck for Meddled {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[async_trait]
impl BlobStore for Meddled {
    fn capabilities(&self) -> BlobCapabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
        if self.is_planned(Moment::PutHangs) {
            std::future::pending::<()>().await;
        }
        if self.is_planned(Moment::PutFails) {
            body.into_pieces().await?.next().await?;
            return Err(Error::new(ErrorKind::Unavailable, "meddled", "blob.put"));
        }
        self.inner.put(key, body, how).await
    }

    async fn get(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
        let found = self.inner.get(key, how).await;
        self.reach(Moment::AfterGet, key).await;
        found
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        let found = self.inner.head(key).await;
        self.reach(Moment::AfterHead, key).await;
        found
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        self.inner.list(options).await
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey, how: &CopyOptions) -> Result<CopyOutcome> {
        let copied = self.inner.copy(from, to, how).await;
        self.reach(Moment::AfterCopy, from).await;
        copied
    }

    async fn delete(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
        self.inner.delete(key, how).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        self.inner.delete_many(keys).await
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        self.inner.sign(request).await
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        self.inner.public_url(key).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.inner.sweep(max).await
    }
}

/// A store with "old" under `a`.
async fn store(moments: &[(Moment, &'static str)]) -> AsObjectStore {
    let inner = MemoryBlobStore::new();
    AsObjectStore::new(inner.clone()).put(&Path::from("a"), "old".into()).await.unwrap();
    AsObjectStore::new(Meddled { inner, moments: Mutex::new(moments.to_vec()) })
}

async fn read(store: &AsObjectStore, path: &str) -> Option<Bytes> {
    match store.get(&Path::from(path)).await {
        Ok(found) => Some(found.bytes().await.unwrap()),
        Err(TheirError::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_rename_moves_what_is_there_when_it_copies() {
    let store = store(&[(Moment::AfterHead, "new"), (Moment::AfterHead, "newer")]).await;
    store.rename(&Path::from("a"), &Path::from("b")).await.unwrap();
    assert_eq!((read(&store, "a").await, read(&store, "b").await), (None, Some("newer".into())));
}

#[tokio::test]
async fn a_rename_leaves_what_somebody_put_after_it_copied() {
    let store = store(&[(Moment::AfterCopy, "new")]).await;
    store.rename(&Path::from("a"), &Path::from("b")).await.unwrap();
    let both = (read(&store, "a").await, read(&store, "b").await);
    assert_eq!(both, (Some("new".into()), Some("old".into())));
}

#[tokio::test]
async fn a_rename_of_what_keeps_changing_gives_up() {
    let store = store(&[(Moment::AfterHead, "new"); 100]).await;
    let changing = store.rename(&Path::from("a"), &Path::from("b")).await;
    assert!(matches!(changing, Err(TheirError::Generic { .. })), "{changing:?}");
    assert_eq!((read(&store, "a").await, read(&store, "b").await), (Some("new".into()), None));
}

/// Although those that are far apart are read one by one.
#[tokio::test]
async fn several_ranges_are_of_one_version() {
    let (ones, twos) = ("1".repeat(4_000_000), "2".repeat(4_000_000));
    let store = store(&[(Moment::AfterGet, ones.leak()), (Moment::AfterGet, twos.leak())]).await;
    let path = Path::from("a");
    store.get(&path).await.unwrap();
    let both = store.get_ranges(&path, &[0..2, 3_000_000..3_000_002]).await.unwrap();
    assert_eq!(both, ["22", "22"]);
}

/// So that whoever sends parts stops, and knows whether to begin anew.
#[tokio::test]
async fn the_parts_of_an_upload_that_failed_say_why() {
    let store = store(&[(Moment::PutFails, "")]).await;
    let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
    let parts = [upload.put_part("one".into()), upload.put_part("two".into())];
    for part in parts {
        let Err(TheirError::Generic { source, .. }) = part.await else { panic!("it was stored") };
        assert!(source.downcast_ref::<Error>().unwrap().is_retryable());
    }
    let Err(TheirError::Generic { source, .. }) = upload.complete().await else {
        panic!("it was stored")
    };
    assert_eq!(source.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Unavailable);
    upload.abort().await.unwrap();
    assert_eq!(read(&store, "a").await.unwrap(), "old");
}

/// Whoever waits for each part before the next one holds one in memory.
#[tokio::test]
async fn a_part_is_done_when_the_store_has_taken_it() {
    let store = store(&[(Moment::PutHangs, "")]).await;
    let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
    let mut part = upload.put_part("one".into());
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!((&mut part).now_or_never().is_none());
    }
}
