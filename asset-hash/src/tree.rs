use std::path::{Path, PathBuf};

use standfast_core::{Clock as _, Error, ErrorKind, Result, SystemClock};

use crate::cache::Cache;
use crate::digest::Digest;
use crate::failed;
use crate::hash::hash_all;
use crate::local::LocalSet;
use crate::manifest::{AssetFile, Manifest};
use crate::progress::Progress;
use crate::rules::Rules;
use crate::walk::{Found, walk};

/// Hashes all files below `root` that the rules take: [`AssetTree`] without its options.
///
/// # Errors
///
/// As for [`AssetTree::read`].
pub fn hash_tree(root: impl AsRef<Path>, rules: &Rules) -> Result<Manifest> {
    let set = AssetTree::new(root.as_ref()).rules(rules.clone()).read()?;
    Ok(set.into_manifest())
}

/// A directory whose files are to be a set of assets.
///
/// The result depends on paths and contents alone: not on the order, times, owners or modes that
/// the file system gives them, nor on the number of threads. Memory is bounded by two buffers of
/// 128 KiB for each thread and the list of files.
///
/// ```
/// use standfast_asset_hash::{AssetTree, Rules};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let root = dir.path().join("dist");
/// std::fs::create_dir(&root)?;
/// std::fs::write(root.join("site.css"), "body {}")?;
/// std::fs::write(root.join("site.css.map"), "{}")?;
///
/// let tree = AssetTree::new(&root)
///     .rules(Rules::new().exclude("**/*.map")?)
///     .cache(dir.path().join("assets.cache"));
/// let set = tree.read()?;
/// assert_eq!(set.manifest().files()[0].path, "site.css");
/// assert_eq!(set.manifest().id().to_string().len(), 40);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a tree is not looked at until it is read"]
pub struct AssetTree {
    pub(crate) root: PathBuf,
    pub(crate) rules: Rules,
    cache: Option<PathBuf>,
    pub(crate) progress: Progress,
}

impl AssetTree {
    /// All files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let progress = Progress::new();
        Self { root: root.into(), rules: Rules::new(), cache: None, progress }
    }

    /// Takes only the files that the rules take.
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Keeps digests in the file at `path`, and does not read files again whose size, times and
    /// inode are those of the last time.
    ///
    /// What changed within two seconds before is read again, because a file system's clock may not
    /// tell two changes apart. The file may be deleted at any time; one that is damaged or of
    /// another version counts as none. Leave it out where a server's clock is seconds behind this
    /// machine's, and keep it out of the tree.
    pub fn cache(self, path: impl Into<PathBuf>) -> Self {
        Self { cache: Some(path.into()), ..self }
    }

    /// Tells how far it has come, and can be stopped, through these counters.
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Hashes the files. Blocks; [`read_async`](Self::read_async) does not.
    ///
    /// Died at any point: the tree is as it was; the cache is the old or the new one, and a file
    /// `<cache>.part-<random>` may be left beside it.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `Denied`, `Unavailable`: something cannot be read, or the cache not written.
    /// - `Invalid`: what has no place in a set: sockets and devices, links to nothing, out of the
    ///   root or in a cycle; with [`Reason::InvalidName`] names that are not UTF-8, have control
    ///   characters or backslashes, are too long, or collide with another one.
    /// - `Conflict` with [`Reason::ChangedDuringRead`], retryable: a file changed while it was read.
    /// - `Cancelled`: by [`Progress::cancel`].
    ///
    /// [`Reason::InvalidName`]: standfast_core::Reason::InvalidName
    /// [`Reason::ChangedDuringRead`]: standfast_core::Reason::ChangedDuringRead
    pub fn read(&self) -> Result<LocalSet> {
        let now = SystemClock.now().into();
        let cache = self.cache.as_ref().map(|path| Cache::load(path, now)).transpose()?;
        let found = walk(&self.root, &self.rules, &self.progress)?;
        let known = match &cache {
            Some(cache) => cache.recall(&found),
            None => vec![None; found.len()],
        };
        let wanted: Vec<usize> = (0..found.len()).filter(|&at| known[at].is_none()).collect();
        let bytes = wanted.iter().map(|&at| found[at].stamp.size).sum();
        self.progress.begin(wanted.len() as u64, bytes);
        let hashed = hash_all(&found, &wanted, self.rules.thread_count(), &self.progress)?;
        let digests = merge(known, hashed);
        if let Some(cache) = cache {
            cache.store(&found, &digests)?;
        }
        Ok(set(found, digests))
    }

    /// Hashes the files on threads that may block.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    ///
    /// # Cancellation
    ///
    /// When the future is dropped, hashing ends within a few files.
    pub async fn read_async(self) -> Result<LocalSet> {
        let mut dropped = CancelOnDrop(Some(self.progress.clone()));
        let read = tokio::task::spawn_blocking(move || self.read()).await;
        dropped.0 = None;
        read.unwrap_or_else(|error| Err(lost(error)))
    }
}

/// Stops what nobody waits for any more.
struct CancelOnDrop(Option<Progress>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(progress) = &self.0 {
            progress.cancel();
        }
    }
}

fn lost(error: tokio::task::JoinError) -> Error {
    let kind = if error.is_cancelled() { ErrorKind::Cancelled } else { ErrorKind::Unexpected };
    failed(kind, "asset-hash.read", "the thread that hashed ended").with_source(error)
}

/// The known digests, with the new ones where there was none.
fn merge(known: Vec<Option<Digest>>, new: Vec<Digest>) -> Vec<Digest> {
    let mut new = new.into_iter();
    // invariant: a digest was computed for each file without one
    let next = |known: Option<Digest>| known.or_else(|| new.next()).expect("one for each file");
    known.into_iter().map(next).collect()
}

fn set(found: Vec<Found>, digests: Vec<Digest>) -> LocalSet {
    let (mut files, mut places) = (Vec::with_capacity(found.len()), Vec::new());
    for (found, sha256) in found.into_iter().zip(digests) {
        files.push(AssetFile { path: found.path, size: found.stamp.size, sha256 });
        places.push(found.file);
    }
    LocalSet::of_files(Manifest::of_sorted(files), places)
}
