use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use standfast_core::Result;

use crate::file::digest_file;
use crate::manifest::{AssetFile, Manifest};
use crate::rules::Rules;
use crate::walk::{Found, walk};

/// Hashes all files below `root` that the rules take.
///
/// The result depends on paths and contents alone: not on the order, times, owners or modes that
/// the file system gives them, nor on the number of threads. Memory is bounded by one buffer per
/// thread and the list of files. Blocks; in asynchronous code, call it from a blocking task.
///
/// Died at any point: nothing was written.
///
/// ```
/// use standfast_asset_hash::{Rules, hash_tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("site.css"), "body {}")?;
/// let manifest = hash_tree(root.path(), &Rules::new())?;
/// assert_eq!(manifest.files()[0].path, "site.css");
/// assert_eq!(manifest.id().to_string().len(), 40);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// - `NotFound`, `Denied`, `Unavailable`: something cannot be read.
/// - `Invalid`: what has no place in a set: sockets and devices, links to nothing, out of the root
///   or in a cycle; with [`Reason::InvalidName`] names that are not UTF-8, have control characters
///   or backslashes, are too long, or collide with another one.
/// - `Conflict` with [`Reason::ChangedDuringRead`], retryable: a file changed while it was read.
///
/// [`Reason::InvalidName`]: standfast_core::Reason::InvalidName
/// [`Reason::ChangedDuringRead`]: standfast_core::Reason::ChangedDuringRead
pub fn hash_tree(root: impl AsRef<Path>, rules: &Rules) -> Result<Manifest> {
    let found = walk(root.as_ref(), rules)?;
    let hashed = hash_all(&found, rules.thread_count())?;
    let mut files = Vec::with_capacity(found.len());
    for (found, (size, sha256)) in found.into_iter().zip(hashed) {
        files.push(AssetFile { path: found.path, size, sha256 });
    }
    Ok(Manifest::of_sorted(files))
}

/// Size and digest of each file, in order. Threads take the largest files first, so that none is
/// left with a large one at the end.
fn hash_all(found: &[Found], threads: usize) -> Result<Vec<(u64, crate::Digest)>> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_unstable_by_key(|&index| (std::cmp::Reverse(found[index].size), index));
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut buffer = vec![0; BUFFER];
        let mut done = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let result = digest_file(&found[index].file, &mut buffer, || {});
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let done = thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(found.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for helper in helpers {
            // invariant: nothing in `work` panics; if it does, so does the caller
            done.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    let mut all = done;
    all.sort_unstable_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

const BUFFER: usize = 256 * 1024;
