use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use standfast_core::{Clock, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock};

use crate::blob::Blob;
use crate::body::Body;
use crate::checksum::Checksums;
use crate::key::BlobKey;
use crate::list::{BlobEntry, ListOptions, Page, Pager};
use crate::meta::{BlobMeta, Visibility};
use crate::options::{CopyOptions, DeleteOptions, GetOptions, Precondition, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::rules::{admit_read, check_batch, check_sums, copied_meta, new_meta};
use crate::sign::{MAX_SIGN_FOR, SignRequest, SignedMethod, SignedUrl, UrlSigner};
use crate::store::{BlobCapabilities, BlobStore};

/// Blobs in the memory of this process: the reference for every other backend, for tests, and for
/// an application of one process. Clones share what is stored.
///
/// - [x] atomic puts, preconditions, exact expiry in reads and listings
/// - [x] public blobs and signed URLs, with a [`UrlSigner`] and mounted routes
/// - [ ] survives the process
///
/// One lock guards one ordered map; bytes are shared with readers, never copied. If the process
/// dies, before or after a change, everything is gone; there is no state in between.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::sync::Arc;
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
/// use standfast_core::testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let store = MemoryBlobStore::new().with_clock(Arc::new(clock.clone())).with_quota(1 << 20);
/// let blobs = Blobs::new(store);
/// blobs.put("tmp", "soon gone").expires_in(Duration::from_secs(60)).await?;
/// clock.advance(Duration::from_secs(60));
/// assert!(!blobs.exists("tmp").await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryBlobStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    signer: Option<UrlSigner>,
    quota: u64,
}

#[derive(Default)]
struct State {
    // Keyed by bytes, because a listing goes on from bytes that need not be text.
    blobs: BTreeMap<Vec<u8>, Stored>,
    used: u64,
}

#[derive(Clone)]
struct Stored {
    meta: BlobMeta,
    bytes: Bytes,
}

const BACKEND: &str = "memory";

impl MemoryBlobStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Arc::default(), clock: Arc::new(SystemClock), signer: None, quota: u64::MAX }
    }

    /// Takes the time from `clock` instead of the operating system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Signs URLs and gives addresses with `signer`.
    #[must_use]
    pub fn with_signer(mut self, signer: UrlSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Refuses what would make the blobs take more than `bytes` together.
    #[must_use]
    pub fn with_quota(mut self, bytes: u64) -> Self {
        self.quota = bytes;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, state: &State, key: &BlobKey) -> Option<Stored> {
        let stored = state.blobs.get(key.as_str().as_bytes())?;
        stored.meta.is_live(self.clock.now()).then(|| stored.clone())
    }

    /// Whether `precondition` holds, and if not, which outcome says so.
    fn admits(&self, state: &State, key: &BlobKey, precondition: &Precondition) -> Option<Refused> {
        let present = self.live(state, key).map(|stored| stored.meta.version);
        match precondition {
            Precondition::Always => None,
            Precondition::IfAbsent => present.map(|_| Refused::Exists),
            Precondition::IfMatch(version) => {
                (present.as_ref() != Some(version)).then_some(Refused::Mismatch)
            }
        }
    }

    fn insert(&self, state: &mut State, meta: BlobMeta, bytes: Bytes) -> Result<BlobMeta> {
        let name = meta.key.as_str().as_bytes().to_vec();
        let replaced = state.blobs.get(&name).map_or(0, |old| old.bytes.len() as u64);
        let used = state.used - replaced + bytes.len() as u64;
        if used > self.quota {
            return Err(self.over_quota());
        }
        state.used = used;
        state.blobs.insert(name, Stored { meta: meta.clone(), bytes });
        Ok(meta)
    }

    fn remove(state: &mut State, name: &[u8]) {
        if let Some(old) = state.blobs.remove(name) {
            state.used -= old.bytes.len() as u64;
        }
    }

    fn over_quota(&self) -> Error {
        Error::new(ErrorKind::Unavailable, BACKEND, "blob.put")
            .with_reason(Reason::NoSpace)
            .with_retryable(false)
            .with_detail(format!("over the quota of {} bytes", self.quota))
    }

    /// The bytes of `body` in one piece, with their checksums.
    async fn collect(&self, body: Body, options: &PutOptions) -> Result<(Bytes, Checksums)> {
        let mut sums = Checksums::new(options.sha256.is_some());
        let bytes = match body {
            Body::Bytes(bytes) => {
                sums.update(&bytes);
                bytes
            }
            body => {
                let mut pieces = body.into_pieces().await?;
                if pieces.len().is_some_and(|len| len > self.quota) {
                    return Err(self.over_quota());
                }
                let mut all = BytesMut::new();
                while let Some(piece) = pieces.next().await? {
                    sums.update(&piece);
                    all.extend_from_slice(&piece);
                    if all.len() as u64 > self.quota {
                        return Err(self.over_quota());
                    }
                }
                all.freeze()
            }
        };
        Ok((bytes, sums))
    }

    fn signer(&self) -> Result<&UrlSigner> {
        self.signer.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, BACKEND, "blob.sign")
                .with_detail("the store was made without a signer")
        })
    }
}

enum Refused {
    Exists,
    Mismatch,
}

impl Default for MemoryBlobStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryBlobStore")
            .field("blobs", &state.blobs.len())
            .field("bytes", &state.used)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HealthCheck for MemoryBlobStore {
    async fn health(&self) -> Health {
        Health::healthy("memory blob store")
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities {
            max_len: self.quota,
            max_sign_for: self.signer.as_ref().map(|_| MAX_SIGN_FOR),
            sign_at_most: true,
            public: true,
            exact_listing: true,
            unique_versions: true,
            reports_missing: true,
            ..BlobCapabilities::default()
        }
    }

    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        options.check()?;
        options.expiry.resolve(self.clock.now())?;
        let (bytes, sums) = self.collect(body, options).await?;
        check_sums(BACKEND, &sums, options)?;
        let mut state = self.state();
        match self.admits(&state, key, &options.precondition) {
            Some(Refused::Exists) => return Ok(PutOutcome::Exists),
            Some(Refused::Mismatch) => return Ok(PutOutcome::Mismatch),
            None => {}
        }
        let meta = new_meta(key, &sums, options, self.clock.now())?;
        Ok(PutOutcome::Stored(Box::new(self.insert(&mut state, meta, bytes)?)))
    }

    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        let found = self.live(&self.state(), key);
        let Some(Stored { meta, bytes }) = found else { return Ok(GetOutcome::Missing) };
        let range = match admit_read(&meta, options) {
            Ok(range) => range,
            Err(outcome) => return outcome,
        };
        // invariant: the range lies within bytes that are in memory
        let piece = bytes.slice(range.start as usize..range.end as usize);
        let stream = stream::iter([Ok(piece)]);
        Ok(GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, stream))))
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.live(&self.state(), key).map(|stored| stored.meta))
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        let mut pager = Pager::new(options, self.capabilities().max_page)?;
        let (state, now) = (self.state(), self.clock.now());
        while let Some(lower) = pager.lower() {
            let mut from = state.blobs.range::<[u8], _>((Bound::Included(lower), Bound::Unbounded));
            let Some((_, next)) = from.find(|(_, stored)| stored.meta.is_live(now)) else { break };
            pager.offer(BlobEntry::from(next.meta.clone()));
        }
        Ok(pager.finish())
    }

    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        options.check()?;
        let mut state = self.state();
        let Some(source) = self.live(&state, from) else { return Ok(CopyOutcome::SourceMissing) };
        if options.source.as_ref().is_some_and(|version| *version != source.meta.version) {
            return Ok(CopyOutcome::SourceMismatch);
        }
        match self.admits(&state, to, &options.precondition) {
            Some(Refused::Exists) => return Ok(CopyOutcome::Exists),
            Some(Refused::Mismatch) => return Ok(CopyOutcome::Mismatch),
            None => {}
        }
        let meta = copied_meta(&source.meta, to, options, self.clock.now())?;
        Ok(CopyOutcome::Stored(Box::new(self.insert(&mut state, meta, source.bytes)?)))
    }

    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        let mut state = self.state();
        let Some(stored) = self.live(&state, key) else { return Ok(DeleteOutcome::Missing) };
        if options.if_match.as_ref().is_some_and(|version| *version != stored.meta.version) {
            return Ok(DeleteOutcome::Mismatch);
        }
        Self::remove(&mut state, key.as_str().as_bytes());
        Ok(DeleteOutcome::Deleted)
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        check_batch(BACKEND, keys.len(), self.capabilities().max_delete_batch)?;
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let outcome = self.delete(key, &DeleteOptions::default()).await;
            outcomes.push(outcome.unwrap_or_else(DeleteOutcome::Failed));
        }
        Ok(outcomes)
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        let signer = self.signer()?;
        let reads = matches!(request.method, SignedMethod::Get | SignedMethod::Head);
        let found = self.head(&request.key).await?.filter(|_| reads);
        signer.sign(request, found.and_then(|meta| meta.expires_at))
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        let signer = self.signer()?;
        let found = self.head(key).await?;
        let public = found.is_some_and(|meta| meta.visibility == Visibility::Public);
        Ok(public.then(|| signer.address(key)))
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        let (mut state, now) = (self.state(), self.clock.now());
        let gone = state.blobs.iter().filter(|(_, stored)| !stored.meta.is_live(now));
        let mut names: Vec<_> =
            gone.map(|(name, _)| name.clone()).take(max.saturating_add(1)).collect();
        let complete = names.len() <= max;
        names.truncate(max);
        names.iter().for_each(|name| Self::remove(&mut state, name));
        Ok(Swept::new(names.len() as u64, complete))
    }
}
