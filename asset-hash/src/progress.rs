use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use standfast_core::{ErrorKind, Result};

use crate::failed;

/// How far a long operation has come: counters that it moves and that somebody else reads, as
/// often as they like. Clones share the counters.
///
/// ```
/// use standfast_asset_hash::{AssetTree, Progress};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("site.css"), "body {}")?;
/// let progress = Progress::new();
/// AssetTree::new(root.path()).progress(progress.clone()).read()?;
/// let steps = progress.steps();
/// assert_eq!((steps.files, steps.of_files, steps.bytes, steps.of_bytes), (1, 1, 7, 7));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    of_files: AtomicU64,
    bytes: AtomicU64,
    of_bytes: AtomicU64,
    is_cancelled: AtomicBool,
}

impl Progress {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the operation is.
    pub fn steps(&self) -> Steps {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Steps {
            files: get(&self.0.files),
            of_files: get(&self.0.of_files),
            bytes: get(&self.0.bytes),
            of_bytes: get(&self.0.of_bytes),
        }
    }

    /// Ends the operation that moves these counters at its next step; it fails with `Cancelled`.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Begins a phase of so much work.
    pub(crate) fn begin(&self, files: u64, bytes: u64) {
        let set = |counter: &AtomicU64, to| counter.store(to, Ordering::Relaxed);
        set(&self.0.files, 0);
        set(&self.0.bytes, 0);
        set(&self.0.of_files, files);
        set(&self.0.of_bytes, bytes);
    }

    pub(crate) fn add(&self, files: u64, bytes: u64) {
        self.0.files.fetch_add(files, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.is_cancelled.load(Ordering::Relaxed) {
            return Err(failed(ErrorKind::Cancelled, "asset-hash", "nobody waits for it"));
        }
        Ok(())
    }
}

/// What [`Progress`] has counted.
///
/// ```
/// use standfast_asset_hash::Progress;
///
/// let steps = Progress::new().steps();
/// assert!(steps.of_files == 0, "nothing is known yet");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Steps {
    /// Files that are done.
    pub files: u64,
    /// Files there are; 0 until they are counted.
    pub of_files: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes there are.
    pub of_bytes: u64,
}
