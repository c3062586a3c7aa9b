use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use standfast_blobstore::{GetOptions, GetOutcome};
use standfast_core::{ErrorKind, Result};

use super::names::SetName;
use super::pool::Pool;
use super::{AssetStore, names};
use crate::digest::{AssetId, Digest};
use crate::manifest::{AssetFile, Manifest};
use crate::progress::Progress;
use crate::urls::{encode, fill};

/// How closely a set is looked at.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, Depth, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// assets.publish(&set, &commit).await?;
/// let verified = assets.verify(commit).depth(Depth::Contents).await?;
/// assert!(verified.is_sound());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Depth {
    /// Each file is asked for the digest that the store compared when it was uploaded; one of which
    /// the store knows none is read.
    #[default]
    Checksums,
    /// Every byte is read.
    Contents,
    /// Names and sizes: one request for a thousand files.
    Listing,
}

/// What is wrong with a file of a set.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet, Problem};
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let store = MemoryBlobStore::new();
/// let assets = AssetStore::new(store.clone());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// let id = assets.publish(&set, &commit).await?.id;
/// Blobs::new(store).delete(format!("{id}/a.js")).await?;
/// let verified = assets.verify(commit).await?;
/// assert_eq!(verified.problems, [Problem::Missing("a.js".into())]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// It has other bytes.
    Content(String),
    /// It is there, and the manifest does not have it.
    Extra(String),
    /// It is not there.
    Missing(String),
    /// It has another size.
    Size(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(path) => write!(f, "{path:?} has other bytes"),
            Self::Extra(path) => write!(f, "{path:?} does not belong to the set"),
            Self::Missing(path) => write!(f, "{path:?} is missing"),
            Self::Size(path) => write!(f, "{path:?} has another size"),
        }
    }
}

/// What a verification found.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// assets.publish(&set, &commit).await?;
/// let verified = assets.verify(commit).await?;
/// assert!(verified.is_sound());
/// assert_eq!((verified.files, verified.bytes), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// The set.
    pub id: AssetId,
    /// How many files were looked at.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is wrong with them, by path.
    pub problems: Vec<Problem>,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A verification that begins when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet, Progress};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// assets.publish(&set, &commit).await?;
/// let progress = Progress::new();
/// assets.verify(commit).progress(progress.clone()).await?;
/// assert_eq!(progress.steps().files, 1);
/// # Ok(()) }
/// ```
#[must_use = "nothing is verified until it is awaited"]
pub struct Verify<'a> {
    assets: &'a AssetStore,
    name: SetName,
    depth: Depth,
    progress: Progress,
}

impl AssetStore {
    /// Compares the files of a set in the store with its manifest, when awaited.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve). What is wrong with a file is a [`Problem`], not an error.
    pub fn verify(&self, set: impl Into<SetName>) -> Verify<'_> {
        let (depth, progress) = (Depth::default(), Progress::new());
        Verify { assets: self, name: set.into(), depth, progress }
    }

    /// Compares what `fetch` gets from the addresses below `base` with the manifest: whether a CDN
    /// serves the set, byte for byte. With `samples`, only so many of its files.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
    /// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
    /// use standfast_blobstore::MemoryBlobStore;
    ///
    /// let assets = AssetStore::new(MemoryBlobStore::new());
    /// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
    /// assets.publish(&set, &commit).await?;
    /// let fetch = |url: String| async move {
    ///     assert!(url.starts_with("https://cdn.example/"));
    ///     Ok("1".into())              // in an application: whichever client it has
    /// };
    /// let verified = assets.verify_via(commit, "https://cdn.example/{id}/", None, fetch).await?;
    /// assert!(verified.is_sound());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for a base without `{id}`, as for [`resolve`](Self::resolve), and what `fetch`
    /// gave; except that `NotFound` is a [`Problem`].
    pub async fn verify_via<F, R>(
        &self,
        set: impl Into<SetName> + Send,
        base: &str,
        samples: Option<usize>,
        fetch: F,
    ) -> Result<Verified>
    where
        F: Fn(String) -> R + Send + Sync,
        R: Future<Output = Result<Bytes>> + Send,
    {
        let id = self.find(&set.into()).await?;
        let manifest = self.listed(id).await?.manifest;
        let base = fill(base, id)?;
        let count = samples.unwrap_or(usize::MAX);
        let (mut files, mut bytes, mut problems) = (0, 0, Vec::new());
        for file in self::samples(&manifest, count) {
            let problem = match fetch(format!("{base}{}", encode(&file.path))).await {
                Ok(body) if body.len() as u64 != file.size => {
                    Some(Problem::Size(file.path.clone()))
                }
                Ok(body) => compare(file, Some(Digest::of(&body))),
                Err(error) if error.kind() == ErrorKind::NotFound => compare(file, None),
                Err(error) => return Err(error),
            };
            problems.extend(problem);
            files += 1;
            bytes += file.size;
        }
        Ok(Verified { id, files, bytes, problems })
    }
}

fn compare(file: &AssetFile, found: Option<Digest>) -> Option<Problem> {
    match found {
        Some(digest) if digest == file.sha256 => None,
        Some(_) => Some(Problem::Content(file.path.clone())),
        None => Some(Problem::Missing(file.path.clone())),
    }
}

/// How many files are looked at at the same time.
const AT_ONCE: usize = 16;

/// Up to `count` files from all over the set.
pub(super) fn samples(manifest: &Manifest, count: usize) -> impl Iterator<Item = &AssetFile> {
    let files = manifest.files();
    let count = count.min(files.len());
    (0..count).map(move |number| &files[number * files.len() / count])
}

impl Verify<'_> {
    /// How closely to look.
    pub fn depth(self, depth: Depth) -> Self {
        Self { depth, ..self }
    }

    /// Tells how far it has come, and can be stopped, through these counters.
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    async fn run(self) -> Result<Verified> {
        let id = self.assets.find(&self.name).await?;
        let manifest = self.assets.listed(id).await?.manifest;
        let (files, bytes) = (manifest.files().len(), manifest.total_size());
        self.progress.begin(files as u64, bytes);
        let prefix = format!("{id}/");
        let mut sizes: HashMap<String, u64> = HashMap::new();
        for entry in self.assets.io.list(&prefix).await? {
            // invariant: the store lists what begins with the prefix
            sizes.insert(entry.key.as_str()[prefix.len()..].to_owned(), entry.size);
        }
        let (mut problems, mut present) = (Vec::new(), Vec::new());
        for file in manifest.files() {
            match sizes.remove(&file.path) {
                None => problems.push(Problem::Missing(file.path.clone())),
                Some(size) if size != file.size => problems.push(Problem::Size(file.path.clone())),
                Some(_) => present.push(file),
            }
        }
        problems.extend(sizes.into_keys().map(Problem::Extra));
        if self.depth == Depth::Listing {
            self.progress.add(files as u64, bytes);
        } else {
            let mut pool = Pool::new(AT_ONCE);
            for file in present {
                problems.extend(pool.add(self.look(id, file)).await?.flatten());
            }
            while let Some(found) = pool.next().await? {
                problems.extend(found);
            }
        }
        problems.sort_by_cached_key(|problem| match problem {
            Problem::Content(path)
            | Problem::Extra(path)
            | Problem::Missing(path)
            | Problem::Size(path) => path.clone(),
        });
        Ok(Verified { id, files, bytes, problems })
    }

    async fn look(&self, id: AssetId, file: &AssetFile) -> Result<Option<Problem>> {
        self.progress.check()?;
        let key = &names::file(id, &file.path);
        let (io, store) = (&self.assets.io, &self.assets.io.store);
        if self.depth == Depth::Checksums {
            let meta = io.again(|| store.head(key)).await?;
            let known = match meta {
                None => Some(None),
                Some(meta) => meta.sha256.map(|sha256| Some(Digest::from_bytes(sha256.to_bytes()))),
            };
            if let Some(known) = known {
                self.progress.add(1, file.size);
                return Ok(compare(file, known));
            }
        }
        let read = io.again(|| async move {
            let GetOutcome::Found(blob) = store.get(key, &GetOptions::default()).await? else {
                return Ok(None);
            };
            let (mut hash, mut pieces) = (Sha256::new(), blob.into_stream());
            while let Some(piece) = pieces.next().await {
                hash.update(piece?);
            }
            Ok(Some(Digest::from_bytes(hash.finalize().into())))
        });
        let found = match read.await {
            // its own checksum says that it is not what was put
            Err(error) if matches!(error.kind(), ErrorKind::Checksum | ErrorKind::Corrupt) => {
                Some(Digest::from_bytes([0; 32]))
            }
            read => read?,
        };
        self.progress.add(1, file.size);
        Ok(compare(file, found))
    }
}

impl<'a> IntoFuture for Verify<'a> {
    type Output = Result<Verified>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Verify<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify")
            .field("name", &self.name)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}
