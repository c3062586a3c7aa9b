//! A blob store that fails on demand and remembers what it was asked.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use standfast_blobstore::{
    BlobCapabilities, BlobKey, BlobMeta, BlobStore, Blobs, Body, CopyOptions, CopyOutcome,
    DeleteOptions, DeleteOutcome, GetOptions, GetOutcome, ListOptions, MemoryBlobStore, Page,
    PutOptions, PutOutcome, SignRequest, SignedUrl, Swept,
};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result};
use standfast_queue::testkit::Gate;

/// What goes wrong with one operation.
#[derive(Clone, Debug)]
pub(crate) enum BlobFault {
    /// It does not happen.
    Before(ErrorKind),
    /// It happens, and its answer is lost.
    After(ErrorKind),
    /// It waits until the gate opens.
    Hold(Gate),
    /// Nothing.
    None,
}

/// Clones share the script and the store.
#[derive(Clone, Debug)]
pub(crate) struct FaultyBlobs {
    store: MemoryBlobStore,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<(&'static str, BlobFault)>,
    always: Vec<(&'static str, BlobFault)>,
    calls: Vec<String>,
}

impl FaultyBlobs {
    pub(crate) fn new() -> Self {
        Self::on(MemoryBlobStore::new())
    }

    pub(crate) fn on(store: MemoryBlobStore) -> Self {
        Self { store, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next call of `operation`, after those scripted before.
    pub(crate) fn next(&self, operation: &'static str, fault: BlobFault) {
        self.state().script.push_back((operation, fault));
    }

    /// What happens to every call of `operation` that nothing is scripted for.
    pub(crate) fn always(&self, operation: &'static str, fault: BlobFault) {
        self.state().always.push((operation, fault));
    }

    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.script.clear();
        state.always.clear();
    }

    /// How many calls of `operation` there were.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state().calls.iter().filter(|call| *call == operation).count()
    }

    /// The keys that are there.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let listed = Blobs::new(self.store.clone()).list("").map_ok(|entry| entry.key.to_string());
        listed.try_collect().await.expect("memory lists")
    }

    /// Deletes a blob behind everybody's back.
    pub(crate) async fn lose(&self, key: &str) {
        Blobs::new(self.store.clone()).delete(key).await.expect("memory deletes");
    }

    pub(crate) fn inner(&self) -> &MemoryBlobStore {
        &self.store
    }

    async fn run<T: Send>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fault = {
            let mut state = self.state();
            state.calls.push(operation.to_owned());
            let scripted = state.script.iter().position(|(of, _)| *of == operation);
            match scripted.and_then(|at| state.script.remove(at)) {
                Some((_, fault)) => fault,
                None => {
                    let always = state.always.iter().rev().find(|(of, _)| *of == operation);
                    always.map_or(BlobFault::None, |(_, fault)| fault.clone())
                }
            }
        };
        match fault {
            BlobFault::None => call.await,
            BlobFault::Before(kind) => Err(Error::new(kind, "faulty", "blob")),
            BlobFault::After(kind) => {
                call.await?;
                Err(Error::new(kind, "faulty", "blob"))
            }
            BlobFault::Hold(gate) => {
                gate.pass().await;
                call.await
            }
        }
    }
}

#[async_trait]
impl HealthCheck for FaultyBlobs {
    async fn health(&self) -> Health {
        self.store.health().await
    }
}

#[async_trait]
impl BlobStore for FaultyBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        self.run("put", self.store.put(key, body, options)).await
    }

    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        self.run("get", self.store.get(key, options)).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        self.run("head", self.store.head(key)).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        self.run("list", self.store.list(options)).await
    }

    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        self.run("copy", self.store.copy(from, to, options)).await
    }

    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        self.run("delete", self.store.delete(key, options)).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        self.run("delete_many", self.store.delete_many(keys)).await
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        self.store.sign(request).await
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        self.store.public_url(key).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.run("sweep", self.store.sweep(max)).await
    }
}
