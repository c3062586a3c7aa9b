//! The harnesses that the tests of this crate name.
#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

#[cfg(feature = "s3-url")]
pub(crate) mod careless;
#[cfg(feature = "s3-url")]
pub(crate) mod fault;
#[cfg(feature = "s3-url")]
pub(crate) mod s3;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use standfast_blobstore::testkit::{BlobHarness, serve};
use standfast_blobstore::{
    BlobRoutes, BlobStore, FsBlobStore, MemoryBlobStore, SigningKey, UrlSigner,
};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Id128, SystemClock};

#[derive(Debug)]
pub(crate) struct Harness {
    manual: Option<ManualClock>,
    signer: UrlSigner,
    /// A directory for a store on disk; `None` for one in memory.
    dir: Option<TempDir>,
}

pub(crate) fn memory() -> Harness {
    Harness::new(Some(ManualClock::new()), None)
}

pub(crate) fn memory_in_real_time() -> Harness {
    Harness::new(None, None)
}

pub(crate) fn fs() -> Harness {
    Harness::new(Some(ManualClock::new()), Some(TempDir::new()))
}

pub(crate) fn fs_in_real_time() -> Harness {
    Harness::new(None, Some(TempDir::new()))
}

impl Harness {
    fn new(manual: Option<ManualClock>, dir: Option<TempDir>) -> Self {
        let signer = UrlSigner::new("/blobs", SigningKey::random());
        let mut harness = Self { manual, signer, dir };
        harness.signer = harness.signer.clone().with_clock(harness.clock());
        harness
    }

    fn clock(&self) -> Arc<dyn Clock> {
        match &self.manual {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SystemClock),
        }
    }
}

#[async_trait]
impl BlobHarness for Harness {
    async fn store(&self) -> Arc<dyn BlobStore> {
        let signer = self.signer.clone();
        let Some(dir) = &self.dir else {
            return Arc::new(MemoryBlobStore::new().with_clock(self.clock()).with_signer(signer));
        };
        let path = dir.path().join(Id128::random().to_string());
        let store = FsBlobStore::open(path).await.unwrap();
        Arc::new(store.with_clock(self.clock()).with_signer(signer))
    }

    fn moment(&self) -> Duration {
        match self.manual {
            Some(_) => Duration::from_secs(60),
            None => Duration::from_millis(1500),
        }
    }

    async fn pass_time(&self, span: Duration) {
        match &self.manual {
            Some(clock) => clock.advance(span),
            None => tokio::time::sleep(span).await,
        }
    }

    async fn fetch(
        &self,
        store: &Arc<dyn BlobStore>,
        request: http::Request<Bytes>,
    ) -> http::Response<Bytes> {
        let routes = BlobRoutes::new(Arc::clone(store), self.signer.clone());
        serve(routes.strip_prefix("/blobs"), request).await
    }
}

/// A directory that is removed with its content.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("standfast-blob-{}", Id128::random()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
