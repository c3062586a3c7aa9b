//! A store that counts requests, can be watched, and fails on demand.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

#[cfg(feature = "s3")]
pub mod bucket;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use standfast_asset_hash::{Commit, LocalSet};
use standfast_blobstore::{
    Blob, BlobCapabilities, BlobKey, BlobMeta, BlobStore, Body, CopyOptions, CopyOutcome,
    DeleteOptions, DeleteOutcome, GetOptions, GetOutcome, ListOptions, MemoryBlobStore, Page,
    Precondition, PutOptions, PutOutcome, SignRequest, SignedUrl, Swept, Version,
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
    /// Whether versions name contents, as those of S3 do.
    pub by_content: bool,
}

impl Gated {
    pub fn new(store: MemoryBlobStore, gate: Arc<dyn Gate>) -> Self {
        Self { store, gate, by_content: false }
    }

    /// The version that is shown of what was put.
    fn shown(&self, mut meta: BlobMeta) -> BlobMeta {
        if self.by_content {
            meta.version = Version::new(format!("{:?}", meta.crc64));
        }
        meta
    }

    /// The store's own version of what is there, if it is the one that was shown; else one that
    /// nothing has.
    async fn own(&self, key: &BlobKey, shown: &Version) -> Result<Version> {
        if !self.by_content {
            return Ok(shown.clone());
        }
        let there = self.store.head(key).await?;
        let there = there.filter(|meta| self.shown(meta.clone()).version == *shown);
        Ok(there.map_or_else(|| Version::new("gone"), |meta| meta.version))
    }

    async fn own_condition(&self, key: &BlobKey, shown: &Precondition) -> Result<Precondition> {
        Ok(match shown {
            Precondition::IfMatch(version) => Precondition::IfMatch(self.own(key, version).await?),
            other => other.clone(),
        })
    }

    async fn put_now(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
        let condition = self.own_condition(key, &how.precondition).await?;
        let how = how.clone().with_precondition(condition);
        Ok(match self.store.put(key, body, &how).await? {
            PutOutcome::Stored(meta) => PutOutcome::Stored(Box::new(self.shown(*meta))),
            refused => refused,
        })
    }

    async fn get_now(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
        Ok(match self.store.get(key, how).await? {
            GetOutcome::Found(blob) => {
                let (meta, range) = (self.shown(blob.meta().clone()), blob.range());
                GetOutcome::Found(Box::new(Blob::new(meta, range, true, blob.into_stream())))
            }
            other => other,
        })
    }

    async fn list_now(&self, how: &ListOptions) -> Result<Page> {
        let mut page = self.store.list(how).await?;
        for entry in &mut page.blobs {
            if let Some(meta) = self.store.head(&entry.key).await? {
                entry.version = self.shown(meta).version;
            }
        }
        Ok(page)
    }

    async fn copy_now(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        how: &CopyOptions,
    ) -> Result<CopyOutcome> {
        let condition = self.own_condition(to, &how.precondition).await?;
        let mut own = how.clone().with_precondition(condition);
        if let Some(version) = &how.source {
            own = own.with_source(self.own(from, version).await?);
        }
        Ok(match self.store.copy(from, to, &own).await? {
            CopyOutcome::Stored(meta) => CopyOutcome::Stored(Box::new(self.shown(*meta))),
            other => other,
        })
    }

    async fn delete_now(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
        let mut own = how.clone();
        if let Some(version) = &how.if_match {
            own = own.with_if_match(self.own(key, version).await?);
        }
        self.store.delete(key, &own).await
    }

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
        let mut capabilities = self.store.capabilities();
        capabilities.unique_versions &= !self.by_content;
        capabilities
    }
    async fn put(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
        self.pass("put", key.as_str(), self.put_now(key, body, how)).await
    }
    async fn get(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
        self.pass("get", key.as_str(), self.get_now(key, how)).await
    }
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        let head = async { Ok(self.store.head(key).await?.map(|meta| self.shown(meta))) };
        self.pass("head", key.as_str(), head).await
    }
    async fn list(&self, how: &ListOptions) -> Result<Page> {
        self.pass("list", &how.prefix, self.list_now(how)).await
    }
    async fn copy(&self, from: &BlobKey, to: &BlobKey, how: &CopyOptions) -> Result<CopyOutcome> {
        self.pass("copy", to.as_str(), self.copy_now(from, to, how)).await
    }
    async fn delete(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
        self.pass("delete", key.as_str(), self.delete_now(key, how)).await
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

/// Lets everything pass.
#[derive(Debug)]
pub struct Open;

#[async_trait]
impl Gate for Open {
    async fn before(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
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
