//! Downloads in parts that are cut, dropped, raced and resumed.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use standfast_blobstore::*;
use standfast_core::{Health, HealthCheck, random};
use support::TempDir;

const MIB: u64 = 1 << 20;
const PART: u64 = 8 * MIB;

/// A store whose reads all break once it has given so many bytes.
#[derive(Clone, Debug)]
struct Breaking {
    inner: MemoryBlobStore,
    left: Arc<AtomicU64>,
    given: Arc<AtomicU64>,
    /// Whether it gives other bytes than were stored.
    wrong: Arc<AtomicBool>,
}

impl Breaking {
    fn new() -> Self {
        let left = Arc::new(AtomicU64::new(u64::MAX));
        Self { inner: MemoryBlobStore::new(), left, given: Arc::default(), wrong: Arc::default() }
    }

    /// Breaks after so many bytes more, and counts from here.
    fn after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
        self.given.store(0, Ordering::SeqCst);
    }

    fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HealthCheck for Breaking {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[async_trait]
impl BlobStore for Breaking {
    fn capabilities(&self) -> BlobCapabilities {
        self.inner.capabilities()
    }
    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        self.inner.put(key, body, options).await
    }
    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        let found = match self.inner.get(key, options).await? {
            GetOutcome::Found(blob) => blob,
            other => return Ok(other),
        };
        let (meta, range) = (found.meta().clone(), found.range());
        let (left, given) = (Arc::clone(&self.left), Arc::clone(&self.given));
        let mut bytes = found.bytes(u64::MAX).await?.to_vec();
        if self.wrong.load(Ordering::SeqCst) {
            bytes[0] ^= 1;
        }
        let pieces: Vec<_> = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
        let stream = futures_util::stream::iter(pieces).then(move |piece| {
            let len = piece.len() as u64;
            let take = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(len))
            });
            let whole = take.unwrap() >= len;
            given.fetch_add(if whole { len } else { 0 }, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                let broken = || Error::new(ErrorKind::Unavailable, "test", "blob.get");
                if whole { Ok(piece) } else { Err(broken()) }
            }
        });
        Ok(GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, stream))))
    }
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        self.inner.head(key).await
    }
    async fn list(&self, options: &ListOptions) -> Result<Page> {
        self.inner.list(options).await
    }
    async fn copy(&self, from: &BlobKey, to: &BlobKey, how: &CopyOptions) -> Result<CopyOutcome> {
        self.inner.copy(from, to, how).await
    }
    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        self.inner.delete(key, options).await
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

fn noise(len: u64) -> Bytes {
    let seed = u64::from_le_bytes(random::bytes());
    let words = (0..len / 8 + 1).flat_map(|at| {
        (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed)
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            .to_le_bytes()
    });
    words.take(len as usize).collect()
}

fn below(most: u64) -> u64 {
    u64::from_le_bytes(random::bytes()) % most
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_cut_at_any_offset_goes_on_and_is_exact() {
    let store = Breaking::new();
    let (blobs, dir, all) = (Blobs::new(store.clone()), TempDir::new(), noise(64 * MIB));
    blobs.put("a", all.clone()).await.unwrap();
    let path = dir.path().join("a.bin");
    let mut spared = 0;
    for round in 0..20 {
        std::fs::write(&path, "what was there").unwrap();
        let (at_once, cut) = (1 + round % 5, below(64 * MIB));
        store.after(cut);
        let broken = blobs.get_to_file("a", &path).at_once(at_once).resumable().await;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(std::fs::read(&path).unwrap(), b"what was there");
        assert_eq!(names(dir.path()), [".a.bin.part", ".a.bin.part.journal", "a.bin"]);
        store.after(u64::MAX);
        let meta = blobs.get_to_file("a", &path).at_once(at_once).resumable().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == all, "cut at {cut}");
        assert_eq!((meta.size, names(dir.path())), (64 * MIB, vec!["a.bin".to_owned()]));
        // Only parts that were not complete come again, and no more of those than were under way.
        let again = (store.given() + cut).saturating_sub(64 * MIB);
        assert!(again <= at_once as u64 * PART, "{again} bytes came again after {cut}");
        spared += 64 * MIB - store.given();
    }
    assert!(spared > 0, "in twenty rounds no part was spared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_download_goes_on_only_if_it_was_to_be_resumed() {
    let (blobs, dir, all) = (Blobs::new(Breaking::new()), TempDir::new(), noise(40 * MIB));
    blobs.put("a", all.clone()).await.unwrap();
    let path = dir.path().join("a");
    let plain = blobs.get_to_file("a", &path).at_once(3).into_future();
    assert!(tokio::time::timeout(Duration::from_millis(5), plain).await.is_err());
    for _ in 0..500 {
        if names(dir.path()).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(names(dir.path()), [""; 0], "its part is removed");
    for wait in 1.. {
        let download = blobs.get_to_file("a", &path).at_once(3).resumable().into_future();
        match tokio::time::timeout(Duration::from_millis(wait * 3), download).await {
            Ok(Ok(_)) => break,
            // The dropped one may still be writing its last pieces, under its lock.
            Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict),
            // Its last step may have begun, and nothing takes that back.
            Err(_) if path.exists() => break,
            Err(_) => {}
        }
    }
    assert!(std::fs::read(&path).unwrap() == all);
}

#[tokio::test]
async fn what_is_left_of_another_version_is_not_used() {
    let store = Breaking::new();
    let (blobs, dir) = (Blobs::new(store.clone()), TempDir::new());
    let path = dir.path().join("a");
    blobs.put("a", noise(30 * MIB)).await.unwrap();
    store.after(20 * MIB);
    blobs.get_to_file("a", &path).resumable().await.unwrap_err();
    let new = noise(20 * MIB);
    store.after(u64::MAX);
    blobs.put("a", new.clone()).await.unwrap();
    blobs.get_to_file("a", &path).resumable().await.unwrap();
    assert!(std::fs::read(&path).unwrap() == new);
    assert_eq!(store.given(), 20 * MIB);
}

#[tokio::test]
async fn a_blob_that_is_replaced_meanwhile_is_no_mixture() {
    let store = Breaking::new();
    let (blobs, dir) = (Blobs::new(store.clone()), TempDir::new());
    let path = dir.path().join("a");
    blobs.put("a", noise(32 * MIB)).await.unwrap();
    let put = {
        let (blobs, store) = (blobs.clone(), store.clone());
        tokio::spawn(async move {
            while store.given() < 9 * MIB {
                tokio::task::yield_now().await;
            }
            blobs.put("a", noise(32 * MIB)).await.unwrap();
        })
    };
    let error = blobs.get_to_file("a", &path).at_once(2).await.unwrap_err();
    put.await.unwrap();
    assert_eq!(error.reason(), Some(Reason::ChangedDuringRead));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_torn_journal_and_a_damaged_part_are_found_out() {
    let store = Breaking::new();
    let (blobs, dir, all) = (Blobs::new(store.clone()), TempDir::new(), noise(30 * MIB));
    let path = dir.path().join("a");
    let [part, journal] = [".a.part", ".a.part.journal"].map(|name| dir.path().join(name));
    blobs.put("a", all.clone()).await.unwrap();
    let half = async || {
        store.after(20 * MIB);
        blobs.get_to_file("a", &path).resumable().await.unwrap_err();
        store.after(u64::MAX);
    };
    half().await;
    let notes = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(notes.lines().filter(|line| line.starts_with("done")).count(), 2);
    std::fs::write(&journal, &notes[..notes.len() - 3]).unwrap();
    blobs.get_to_file("a", &path).resumable().await.unwrap();
    assert!(std::fs::read(&path).unwrap() == all);
    assert_eq!(store.given(), 22 * MIB, "the part whose note was torn came again");
    // A journal without its file, as a death between the last two steps leaves it.
    std::fs::write(&journal, &notes).unwrap();
    blobs.get_to_file("a", &path).resumable().await.unwrap();
    assert!(std::fs::read(&path).unwrap() == all);
    // Bytes that the disk lost come again, and nothing else.
    half().await;
    let mut damaged = std::fs::read(&part).unwrap();
    damaged[100] ^= 1;
    std::fs::write(&part, damaged).unwrap();
    blobs.get_to_file("a", &path).resumable().await.unwrap();
    assert!(std::fs::read(&path).unwrap() == all);
    assert_eq!(store.given(), 22 * MIB);
}

#[tokio::test]
async fn wrong_bytes_never_get_the_name_and_are_not_kept() {
    let store = Breaking::new();
    let (blobs, dir, all) = (Blobs::new(store.clone()), TempDir::new(), noise(20 * MIB));
    let path = dir.path().join("a");
    blobs.put("a", all.clone()).await.unwrap();
    store.wrong.store(true, Ordering::SeqCst);
    let error = blobs.get_to_file("a", &path).at_once(2).resumable().await.unwrap_err();
    assert_eq!((error.kind(), names(dir.path())), (ErrorKind::Checksum, vec![]));
    store.wrong.store(false, Ordering::SeqCst);
    blobs.get_to_file("a", &path).at_once(2).resumable().await.unwrap();
    assert!(std::fs::read(&path).unwrap() == all);
}

#[tokio::test]
async fn empty_small_and_missing_blobs_are_no_exception() {
    let (blobs, dir) = (Blobs::new(MemoryBlobStore::new()), TempDir::new());
    let path = dir.path().join("a");
    for len in [0, 1, PART, PART + 1] {
        let all = noise(len);
        blobs.put("a", all.clone()).await.unwrap();
        blobs.get_to_file("a", &path).at_once(4).sync().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == all);
        blobs.get_to_file("a", &path).resumable().sync().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == all);
    }
    let error = blobs.get_to_file("b", dir.path().join("b")).resumable().await.unwrap_err();
    assert_eq!((error.kind(), names(dir.path())), (ErrorKind::NotFound, vec!["a".to_owned()]));
}

#[cfg(feature = "s3-url")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_from_s3_that_is_dropped_again_and_again_is_exact() {
    let Some(service) = support::s3::Service::find() else { return };
    let blobs = Blobs::new(service.store(S3Config::default()).await.0);
    let (dir, all) = (TempDir::new(), noise(64 * MIB));
    blobs.put("a", all.clone()).await.unwrap();
    let path = dir.path().join("a");
    let mut dropped = 0;
    loop {
        let download = blobs.get_to_file("a", &path).at_once(4).resumable().into_future();
        let wait = Duration::from_millis(20 + below(200) + dropped * 20);
        match tokio::time::timeout(wait, download).await {
            Ok(Ok(_)) => break,
            Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            Err(_) => dropped += 1,
        }
    }
    assert!(std::fs::read(&path).unwrap() == all, "dropped {dropped} times");
    assert_eq!(blobs.list("").count().await, 1);
}
