//! Blobs as files below one directory of one host, shared by its processes.

mod attr;
mod error;
mod known;
mod name;
mod publish;
mod read;
mod root;
mod stage;
mod walk;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use standfast_core::{
    Clock, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock, Verdict,
};
use tokio::task::coop::consume_budget;

use self::error::BACKEND;
use self::publish::Published;
use self::root::Root;
use self::stage::Staged;
use self::walk::Walk;
use crate::body::{Body, FileBody};
use crate::file::{PIECE, blocking, local, open_range};
use crate::key::BlobKey;
use crate::list::{BlobEntry, ListOptions, Page, Pager};
use crate::meta::{BlobMeta, Visibility};
use crate::options::{CopyOptions, DeleteOptions, GetOptions, Precondition, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::rules::{check_batch, check_sums, copied_meta, new_meta};
use crate::sign::{MAX_SIGN_FOR, SignRequest, SignedMethod, SignedUrl, UrlSigner};
use crate::store::{BlobCapabilities, BlobStore};

/// Blobs as files below one directory, for all processes of one host. Clones share the directory.
///
/// - [x] atomic puts and preconditions among all processes of the host
/// - [x] exact expiry in reads and listings; [`sweep`](BlobStore::sweep) frees the disk
/// - [x] public blobs and signed URLs, with a [`UrlSigner`] and mounted routes
/// - [x] survives a killed process; with [`with_fsync`](Self::with_fsync) a lost power supply, too
/// - [ ] network file systems: their locks and links are not tested
///
/// A blob is written to a staging directory, gets its attributes as one extended attribute, and is
/// renamed or linked into place: one step, so readers in any process see the old blob or the whole
/// new one. The segments of a key become the names of directories and of the file; symbolic links
/// below the root are refused. Back the directory up with a tool that keeps extended attributes
/// (`tar --xattrs`, `rsync -X`, `cp -a`); a file without them is not a blob.
///
/// Reads of up to 64 KiB of a blob that was read before and lies in the page cache of ext4, XFS or
/// Btrfs happen where the caller is; everything else runs on tokio's blocking pool.
///
/// A listing reads each directory on its way and sorts it. Keys that spread over directories of a
/// few thousand names each list fastest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, FsBlobStore};
///
/// # let dir = std::env::temp_dir().join(format!("standfast-fs-doc-{}", std::process::id()));
/// let blobs = Blobs::new(FsBlobStore::open(&dir).await?);
/// blobs.put("r/7.html", "<h1>7</h1>").await?;
/// assert_eq!(std::fs::read(dir.join("r%/7.html")).unwrap(), b"<h1>7</h1>");
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FsBlobStore {
    root: Arc<Root>,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    signer: Option<UrlSigner>,
    sync: bool,
}

impl FsBlobStore {
    /// Opens the store below `path`, making the directory if it is missing, and clears what dead
    /// processes were writing.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the file system keeps no extended attributes, or (with `NewerVersion`)
    /// where a newer release made the store; `Denied` where the directory cannot be written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let at = path.clone();
        let root = Arc::new(blocking(move || Root::open(&at)).await??);
        Ok(Self { root, path, clock: Arc::new(SystemClock), signer: None, sync: false })
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

    /// Answers a put or delete only when the disk has confirmed it.
    #[must_use]
    pub fn with_fsync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    fn signer(&self) -> Result<&UrlSigner> {
        self.signer.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, BACKEND, "blob.sign")
                .with_detail("the store was made without a signer")
        })
    }

    /// Runs `work` on the blocking pool with a store of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        blocking(move || work(&store)).await?
    }

    /// Writes `last` behind what is staged, and makes it all the blob under `key`.
    fn finish(
        &self,
        staged: Option<Staged>,
        last: &[Bytes],
        key: &BlobKey,
        options: &PutOptions,
    ) -> Result<PutOutcome> {
        let mut staged = match staged {
            Some(staged) => staged,
            None => self.stage(options)?,
        };
        staged.write(last).map_err(|error| error::io("blob.put", error))?;
        self.publish(staged, key, options)
    }

    fn stage(&self, options: &PutOptions) -> Result<Staged> {
        Staged::create(&self.root, options.sha256.is_some())
            .map_err(|error| error::io("blob.put", error))
    }

    fn publish(&self, staged: Staged, key: &BlobKey, options: &PutOptions) -> Result<PutOutcome> {
        check_sums(BACKEND, &staged.sums, options)?;
        let now = self.clock.now();
        let meta = new_meta(key, &staged.sums, options, now)?;
        match publish::publish(&self.root, staged, &meta, &options.precondition, self.sync, now)? {
            Published::Done => Ok(PutOutcome::Stored(Box::new(meta))),
            Published::Exists => Ok(PutOutcome::Exists),
            Published::Mismatch => Ok(PutOutcome::Mismatch),
        }
    }

    /// Stages pieces as they come, a mebibyte at a time: so much is in memory, and no thread waits
    /// for a slow sender.
    async fn put_pieces(
        &self,
        key: BlobKey,
        body: Body,
        options: PutOptions,
    ) -> Result<PutOutcome> {
        let mut pieces = body.into_pieces().await?;
        let mut staged: Option<Staged> = None;
        let (mut pending, mut held) = (Vec::new(), 0);
        while let Some(piece) = pieces.next().await? {
            held += piece.len();
            pending.push(piece);
            if held >= PIECE {
                let (ready, before) = (std::mem::take(&mut pending), staged.take());
                let put = options.clone();
                let written = self.blocking(move |store| {
                    let mut staged = match before {
                        Some(staged) => staged,
                        None => store.stage(&put)?,
                    };
                    staged.write(&ready).map_err(|error| error::io("blob.put", error))?;
                    Ok(staged)
                });
                staged = Some(written.await?);
                held = 0;
            }
        }
        self.blocking(move |store| store.finish(staged, &pending, &key, &options)).await
    }

    /// Stages a file of this host in one visit to the blocking pool, which ends early if the
    /// caller went away.
    async fn put_file(
        &self,
        key: BlobKey,
        file: FileBody,
        options: PutOptions,
    ) -> Result<PutOutcome> {
        let gone = Gone(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&gone.0);
        let outcome = self.blocking(move |store| {
            let shown = file.path.display().to_string();
            let source = |error| local("blob.put", &error).with_detail(&shown).with_source(error);
            let (mut from, len) = open_range(&file.path, file.range).map_err(source)?;
            let mut staged = store.stage(&options)?;
            let mut buffer = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE)).max(1)];
            let mut left = len;
            while left > 0 {
                if flag.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Cancelled, BACKEND, "blob.put"));
                }
                let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let read = std::io::Read::read(&mut from, &mut buffer[..want]).map_err(source)?;
                if read == 0 {
                    return Err(Error::new(ErrorKind::Invalid, BACKEND, "blob.put")
                        .with_reason(Reason::LengthMismatch)
                        .with_detail(format!("{shown} shrank by {left} of {len} bytes")));
                }
                staged.write_slice(&buffer[..read]).map_err(|e| error::io("blob.put", e))?;
                left -= read as u64;
            }
            if flag.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Cancelled, BACKEND, "blob.put"));
            }
            store.publish(staged, &key, &options)
        });
        let outcome = outcome.await;
        drop(gone);
        outcome
    }

    fn copy_once(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        let now = self.clock.now();
        let found = read::open(&self.root, from)?.filter(|(meta, _)| meta.is_live(now));
        let Some((source, mut file)) = found else { return Ok(CopyOutcome::SourceMissing) };
        if options.source.as_ref().is_some_and(|version| *version != source.version) {
            return Ok(CopyOutcome::SourceMismatch);
        }
        // Onto itself, a copy must not bring back what somebody replaced while it was copying.
        let precondition = match &options.precondition {
            Precondition::Always if from == to => Precondition::IfMatch(source.version.clone()),
            precondition => precondition.clone(),
        };
        let meta = copied_meta(&source, to, options, now)?;
        let mut staged = self.stage(&PutOptions::default())?;
        let copied = publish::fill(&mut staged, &mut file);
        if copied.map_err(|error| error::io("blob.copy", error))? != source.size {
            return Err(Error::new(ErrorKind::Corrupt, BACKEND, "blob.copy")
                .with_reason(Reason::LengthMismatch)
                .with_detail(format!("{from:?} was cut short")));
        }
        let published = publish::publish(&self.root, staged, &meta, &precondition, self.sync, now)?;
        Ok(match published {
            Published::Done => CopyOutcome::Stored(Box::new(meta)),
            Published::Exists => CopyOutcome::Exists,
            Published::Mismatch => CopyOutcome::Mismatch,
        })
    }
}

/// Says, when it is dropped, that nobody waits for the outcome.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for FsBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsBlobStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl HealthCheck for FsBlobStore {
    async fn health(&self) -> Health {
        let (asked, began) = (format!("a write below {}", self.path.display()), Instant::now());
        let written = self.blocking(|store| {
            let mut staged = store.stage(&PutOptions::default())?;
            staged
                .write(&[Bytes::from_static(b"health")])
                .and_then(|()| staged.unlink())
                .map_err(|error| error::io("blob.health", error))
        });
        let verdict = match written.await {
            Ok(()) => Verdict::Healthy,
            Err(error) => Verdict::Failing(error.to_string()),
        };
        Health::since(asked, began, verdict)
    }
}

#[async_trait]
impl BlobStore for FsBlobStore {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities {
            max_sign_for: self.signer.as_ref().map(|_| MAX_SIGN_FOR),
            sign_at_most: true,
            public: true,
            exact_listing: true,
            unique_versions: true,
            reports_missing: true,
            durable: true,
            ..BlobCapabilities::default()
        }
    }

    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        options.check()?;
        options.expiry.resolve(self.clock.now())?;
        let (key, options) = (key.clone(), options.clone());
        match body {
            Body::Bytes(bytes) => {
                self.blocking(move |store| store.finish(None, &[bytes], &key, &options)).await
            }
            Body::File(file) => self.put_file(key, file, options).await,
            body => self.put_pieces(key, body, options).await,
        }
    }

    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        let opened = match read::get_in_place(&self.root, key, options, self.clock.now()) {
            Ok(outcome) => {
                // Nothing had to be waited for; others of the thread have their turn all the same.
                consume_budget().await;
                return outcome;
            }
            Err(opened) => opened,
        };
        let (key, options) = (key.clone(), options.clone());
        self.blocking(move |store| {
            read::get(&store.root, opened, &key, &options, store.clock.now())
        })
        .await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        if let Some(meta) = read::head_in_place(&self.root, key) {
            consume_budget().await;
            return Ok(Some(meta).filter(|meta| meta.is_live(self.clock.now())));
        }
        let key = key.clone();
        self.blocking(move |store| {
            let now = store.clock.now();
            let found = read::open(&store.root, &key)?;
            Ok(found.map(|(meta, _)| meta).filter(|meta| meta.is_live(now)))
        })
        .await
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        let mut pager = Pager::new(options, self.capabilities().max_page)?;
        self.blocking(move |store| {
            let prefix = pager.prefix().to_vec();
            let opened = Walk::new(&store.root, &prefix);
            let mut walk = opened.map_err(|error| error::io("blob.list", error))?;
            let now = store.clock.now();
            while let Some(lower) = pager.lower() {
                let Some(meta) = walk.next_live(lower, now)? else { break };
                pager.offer(BlobEntry::from(meta));
            }
            Ok(pager.finish())
        })
        .await
    }

    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        options.check()?;
        let (from, to, options) = (from.clone(), to.clone(), options.clone());
        self.blocking(move |store| {
            for _ in 0..16 {
                match store.copy_once(&from, &to, &options)? {
                    CopyOutcome::Mismatch
                        if from == to && options.precondition == Precondition::Always => {}
                    outcome => return Ok(outcome),
                }
            }
            Err(Error::new(ErrorKind::Conflict, BACKEND, "blob.copy")
                .with_detail(format!("{from:?} kept changing")))
        })
        .await
    }

    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        let (key, options) = (key.clone(), options.clone());
        self.blocking(move |store| {
            let (version, now) = (options.if_match.as_ref(), store.clock.now());
            publish::delete(&store.root, &key, version, store.sync, now)
        })
        .await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        check_batch(BACKEND, keys.len(), self.capabilities().max_delete_batch)?;
        let keys = keys.to_vec();
        self.blocking(move |store| {
            let now = store.clock.now();
            let delete = |key| publish::delete(&store.root, key, None, store.sync, now);
            Ok(keys.iter().map(|key| delete(key).unwrap_or_else(DeleteOutcome::Failed)).collect())
        })
        .await
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        let signer = self.signer()?;
        let reads = matches!(request.method, SignedMethod::Get | SignedMethod::Head);
        let found = if reads { self.head(&request.key).await? } else { None };
        signer.sign(request, found.and_then(|meta| meta.expires_at))
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        let signer = self.signer()?;
        let found = self.head(key).await?;
        let public = found.is_some_and(|meta| meta.visibility == Visibility::Public);
        Ok(public.then(|| signer.address(key)))
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.blocking(move |store| {
            let opened = Walk::new(&store.root, b"");
            let mut walk = opened.map_err(|error| error::io("blob.sweep", error))?;
            let now = store.clock.now();
            let (mut removed, mut lower) = (0, Vec::new());
            while let Some((key, file)) = walk.next(&lower)? {
                match walk::load(&file, &key) {
                    Ok(meta) if meta.is_live(now) => {}
                    Ok(_) if removed == max as u64 => return Ok(Swept::new(removed, false)),
                    Ok(_) => removed += u64::from(publish::collect(&store.root, &key, now)?),
                    Err(error) => walk::skipped(&key, &error),
                }
                lower = key.as_str().as_bytes().to_vec();
                lower.push(0);
            }
            Ok(Swept::new(removed, true))
        })
        .await
    }
}
