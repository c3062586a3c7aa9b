//! Finding the files of a tree, on all cores.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use standfast_core::{Error, ErrorKind, Result};

use crate::file::Stamp;
use crate::hash::on_threads;
use crate::progress::Progress;
use crate::rules::{Rules, Symlinks};
use crate::{failed, names};

/// A file that belongs to the set, not yet read.
#[derive(Debug)]
pub(crate) struct Found {
    /// Relative, `/` between names, NFC.
    pub(crate) path: String,
    /// Where it is.
    pub(crate) file: PathBuf,
    /// How it was when it was found.
    pub(crate) stamp: Stamp,
}

/// The directories on the way from the root, without links, so that a cycle is noticed.
struct Way {
    real: PathBuf,
    from: Option<Arc<Self>>,
}

impl Way {
    fn passes(&self, real: &Path) -> bool {
        self.real == real || self.from.as_ref().is_some_and(|from| from.passes(real))
    }
}

/// All files of the tree that the rules take, in the order of their paths.
pub(crate) fn walk(root: &Path, rules: &Rules, progress: &Progress) -> Result<Vec<Found>> {
    let real_root = root.canonicalize().map_err(|error| io_error(root, error))?;
    if !real_root.is_dir() {
        return Err(invalid(root, "is no directory"));
    }
    let start = Way { real: real_root.clone(), from: None };
    let queue = Queue::new((String::new(), Arc::new(start)));
    let walk = Walk { real_root, rules, progress, queue };
    let mut found = Vec::new();
    on_threads(rules.thread_count(), |stop| walk.some(stop), |some| found.extend(some))?;
    // the files of each directory are in order already: long runs, which a stable sort merges
    found.sort_by(|a, b| a.path.cmp(&b.path));
    names::check_collisions(found.iter().map(|f| &*f.path), rules.allows_case_collisions)?;
    Ok(found)
}

/// A directory to look into: its path in the set, and where it is.
type Open = (String, Arc<Way>);

/// The directories that nobody has looked into, and how many are being looked into.
struct Queue {
    state: Mutex<(Vec<Open>, usize)>,
    changed: Condvar,
}

impl Queue {
    fn new(first: Open) -> Self {
        Self { state: Mutex::new((vec![first], 0)), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, (Vec<Open>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory to look into; waits while others may still find some.
    fn take(&self, stop: &AtomicBool) -> Option<Open> {
        let mut state = self.state();
        loop {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(open) = state.0.pop() {
                state.1 += 1;
                return Some(open);
            }
            if state.1 == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whoever took a directory found these below it. Called after an error, too: others wait.
    fn done(&self, below: Vec<Open>) {
        let mut state = self.state();
        state.0.extend(below);
        state.1 -= 1;
        self.changed.notify_all();
    }
}

struct Walk<'a> {
    real_root: PathBuf,
    rules: &'a Rules,
    progress: &'a Progress,
    queue: Queue,
}

impl Walk<'_> {
    fn some(&self, stop: &AtomicBool) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        while let Some((parent, way)) = self.queue.take(stop) {
            let (mut below, before) = (Vec::new(), found.len());
            let looked = self
                .progress
                .check()
                .and_then(|()| self.look(&parent, &way, &mut found, &mut below));
            if looked.is_err() {
                // before the others wake up and look for more
                stop.store(true, Ordering::Relaxed);
            }
            self.queue.done(below);
            looked?;
            found[before..].sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        Ok(found)
    }

    fn look(
        &self,
        parent: &str,
        way: &Arc<Way>,
        found: &mut Vec<Found>,
        below: &mut Vec<Open>,
    ) -> Result<()> {
        for entry in fs::read_dir(&way.real).map_err(|error| io_error(&way.real, error))? {
            let entry = entry.map_err(|error| io_error(&way.real, error))?;
            // left out before it is looked at: an excluded name may be anything
            let name = entry.file_name();
            let path = match names::normalize(parent, &name) {
                Ok(path) if self.rules.excludes(&path) => continue,
                path => path?,
            };
            let kind = entry.file_type().map_err(|error| io_error(&entry.path(), error))?;
            let (file, metadata) = if kind.is_symlink() {
                let file = resolve(&entry.path(), &self.real_root, self.rules)?;
                let metadata = fs::metadata(&file).map_err(|error| io_error(&file, error))?;
                (file, metadata)
            } else {
                let file = entry.path();
                // by way of the open directory, which is quicker than by path
                let metadata = entry.metadata().map_err(|error| io_error(&file, error))?;
                (file, metadata)
            };
            if metadata.is_dir() {
                if way.passes(&file) {
                    return Err(invalid(&entry.path(), "is a link in a cycle"));
                }
                below.push((path, Arc::new(Way { real: file, from: Some(Arc::clone(way)) })));
            } else if !metadata.is_file() {
                return Err(invalid(&file, "is neither a file nor a directory"));
            } else if self.rules.includes(&path) {
                found.push(Found { path, file, stamp: Stamp::of(&metadata) });
            }
        }
        Ok(())
    }
}

fn resolve(link: &Path, real_root: &Path, rules: &Rules) -> Result<PathBuf> {
    if rules.symlinks == Symlinks::Reject {
        return Err(invalid(link, "is a symbolic link"));
    }
    let real = link.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => io_error(link, error),
        _ => invalid(link, "is a link that leads nowhere").with_source(error),
    })?;
    if !real.starts_with(real_root) {
        return Err(invalid(link, "is a link out of the root"));
    }
    Ok(real)
}

pub(crate) fn invalid(path: &Path, why: &str) -> Error {
    failed(ErrorKind::Invalid, "asset-hash.walk", format!("{} {why}", path.display()))
}

pub(crate) fn io_error(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    failed(kind, "asset-hash.read", format!("{}: {error}", path.display())).with_source(error)
}
