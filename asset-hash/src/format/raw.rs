//! The files of a tree as they lie there, names as bytes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use standfast_core::{Error, Result};

use crate::file::{Reading, Stamp};
use crate::hash::on_threads;
use crate::lanes::BUFFER;
use crate::progress::Progress;
use crate::rules::Rules;
use crate::walk::{Found, invalid, io_error};

/// What is hashed, and how.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) root: &'a Path,
    pub(super) rules: &'a Rules,
    pub(super) progress: &'a Progress,
}

/// One name of a directory.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) path: PathBuf,
    pub(super) kind: fs::FileType,
}

/// What is in a directory, in no order.
pub(super) fn entries(dir: &Path) -> Result<Vec<Entry>> {
    let failed = |error| io_error(dir, error);
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().as_encoded_bytes().to_vec();
        let kind = entry.file_type().map_err(failed)?;
        all.push(Entry { name, path: entry.path(), kind });
    }
    Ok(all)
}

/// The file at `path`, to be hashed.
pub(super) fn found(path: PathBuf) -> Result<Found> {
    let metadata = fs::metadata(&path).map_err(|error| io_error(&path, error))?;
    if !metadata.is_file() {
        return Err(invalid(&path, "is no file and no directory"));
    }
    // these are not known by a path of a set
    Ok(Found { path: String::new(), file: path, stamp: Stamp::of(&metadata) })
}

/// All names below the root that are no directories, with `/` between them, and their files, in
/// the order of the bytes of the names.
pub(super) fn all_files(
    tree: &Tree<'_>,
    takes: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(Vec<u8>, Found)>> {
    let root = tree.root;
    if !fs::metadata(root).map_err(|error| io_error(root, error))?.is_dir() {
        return Err(invalid(root, "is no directory"));
    }
    let mut open = vec![(Vec::new(), root.to_owned())];
    let mut files = Vec::new();
    while let Some((parent, dir)) = open.pop() {
        tree.progress.check()?;
        for entry in entries(&dir)? {
            let name = [&parent[..], &entry.name].concat();
            if entry.kind.is_dir() {
                open.push(([&name[..], b"/"].concat(), entry.path));
            } else if takes(&name) {
                files.push((name, found(entry.path)?));
            }
        }
    }
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// Reads every file through `begin`, `update` and `end` on all cores; what they gave, in order.
pub(super) fn digest_all<D, T: Send>(
    tree: &Tree<'_>,
    files: &[Found],
    begin: impl Fn(&Found) -> D + Sync,
    update: impl Fn(&mut D, &[u8]) + Sync,
    end: impl Fn(D) -> T + Sync,
) -> Result<Vec<T>> {
    tree.progress.begin(files.len() as u64, files.iter().map(|file| file.stamp.size).sum());
    let next = AtomicUsize::new(0);
    let work = |stop: &std::sync::atomic::AtomicBool| {
        let (mut buffer, mut done) = (vec![0; BUFFER], Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(found) = files.get(at) else { break };
            let mut reading = Reading::open(&found.file, found.stamp)?;
            let mut digest = begin(found);
            loop {
                tree.progress.check()?;
                let read = reading.read(&found.file, &mut buffer)?;
                if read == 0 {
                    break;
                }
                update(&mut digest, &buffer[..read]);
                tree.progress.add(0, read as u64);
            }
            tree.progress.add(1, 0);
            done.push((at, end(digest)));
        }
        Ok(done)
    };
    let mut all = Vec::with_capacity(files.len());
    on_threads(tree.rules.thread_count(), work, |done| all.extend(done))?;
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, digest)| digest).collect())
}

/// The bytes of the target of a link.
pub(super) fn target(path: &Path) -> Result<Vec<u8>> {
    let target = fs::read_link(path).map_err(|error| io_error(path, error))?;
    Ok(OsStr::as_encoded_bytes(target.as_os_str()).to_vec())
}

pub(super) fn refused(name: &[u8], why: &str) -> Error {
    invalid(Path::new(&*String::from_utf8_lossy(name)), why)
}
