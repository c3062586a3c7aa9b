//! A store that counts requests, can be watched, and fails on demand.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use standfast_asset_hash::{Commit, LocalSet};
use standfast_blobstore::{
    BlobCapabilities, BlobKey, BlobMeta, BlobStore, Body, CopyOptions, CopyOutcome, DeleteOptions,
    DeleteOutcome, GetOptions, GetOutcome, ListOptions, MemoryBlobStore, Page, PutOptions,
    PutOutcome, SignRequest, SignedUrl, Swept,
};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result};

/// What happens to a request: before it, and after it.
#[async_trait]
pub trait Gate: std::fmt::Debug + Send + Sync + 'static {
    /// Called with the request's name and key; an error is its answer, and it is not done.
    async fn before(&self, what: &str, key: &str) -> Result<()>;
    /// Called when it is done; an error replaces its answer.
    fn after(&self, _what: &str, _key: &str) -> Result<()> {
        Ok(())
    }
}

/// A store in memory behind a gate.
#[derive(Clone, Debug)]
pub struct Gated {
    pub store: MemoryBlobStore,
    pub gate: Arc<dyn Gate>,
}

impl Gated {
    async fn pass<T: Send>(
        &self,
        what: &str,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.gate.before(what, key).await?;
        let answer = request.await;
        self.gate.after(what, key)?;
        answer
    }
}

#[async_trait]
impl HealthCheck for Gated {
    async fn health(&self) -> Health {
        self.store.health().await
    }
}

#[async_trait]
impl BlobStore for Gated {
    fn capabilities(&self) -> BlobCapabilities {
        self.store.capabilities()
    }
    async fn put(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
        self.pass("put", key.as_str(), self.store.put(key, body, how)).await
    }
    async fn get(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
        self.pass("get", key.as_str(), self.store.get(key, how)).await
    }
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        self.pass("head", key.as_str(), self.store.head(key)).await
    }
    async fn list(&self, how: &ListOptions) -> Result<Page> {
        self.pass("list", &how.prefix, self.store.list(how)).await
    }
    async fn copy(&self, from: &BlobKey, to: &BlobKey, how: &CopyOptions) -> Result<CopyOutcome> {
        self.pass("copy", to.as_str(), self.store.copy(from, to, how)).await
    }
    async fn delete(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
        self.pass("delete", key.as_str(), self.store.delete(key, how)).await
    }
    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        self.pass("delete_many", "", self.store.delete_many(keys)).await
    }
    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        self.store.sign(request).await
    }
    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        self.store.public_url(key).await
    }
    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.store.sweep(max).await
    }
}

/// Counts requests, and answers some of them with errors.
#[derive(Debug, Default)]
pub struct Counter {
    pub counts: Mutex<BTreeMap<String, usize>>,
    /// Errors for the next requests, which are not done.
    pub before: Mutex<Vec<Error>>,
    /// The first answer to each request of this kind is lost.
    lossy: Mutex<Option<(&'static str, BTreeSet<String>)>>,
}

impl Counter {
    /// How many requests there were since the last time, of each kind.
    pub fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    /// From now on, the first answer to a request of this kind for each key is lost.
    pub fn lose_answers_to(&self, what: &'static str) {
        *self.lossy.lock().unwrap() = Some((what, BTreeSet::new()));
    }

    pub fn total(&self) -> usize {
        self.take().values().sum()
    }
}

#[async_trait]
impl Gate for Arc<Counter> {
    async fn before(&self, what: &str, _: &str) -> Result<()> {
        *self.counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
        self.before.lock().unwrap().pop().map_or(Ok(()), Err)
    }
    fn after(&self, what: &str, key: &str) -> Result<()> {
        let mut lossy = self.lossy.lock().unwrap();
        let Some((kind, seen)) = &mut *lossy else { return Ok(()) };
        if *kind != what || !seen.insert(key.to_owned()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::OutcomeUnknown, "test", "test"))
    }
}

pub fn commit(name: &str) -> Commit {
    Commit::new(name).unwrap()
}

/// A set of `count` small files, of which those in `changed` are unlike in other sets.
pub fn set(count: usize, changed: &[(usize, &'static str)]) -> LocalSet {
    const BYTES: &[u8] = b"the same in every set ............................................";
    let files: Vec<(String, &'static [u8])> = (0..count)
        .map(|number| {
            let own = changed.iter().find(|(at, _)| *at == number);
            let bytes = own.map_or(&BYTES[..number % 60 + 1], |(_, text)| text.as_bytes());
            (format!("js/{number:04}.js"), bytes)
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(path, bytes)| (&**path, *bytes)).collect();
    LocalSet::embedded(&files).unwrap()
}
