//! What is being written and nobody can see yet.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;
use standfast_core::Id128;

use super::root::{DIR_MODE, FILE_MODE, Root, open_dir};
use crate::checksum::Checksums;
use crate::file::detach;

/// A file in the staging directory, with the checksums of what was written to it.
///
/// If the process dies, the lock on its staging directory is released and the next store to open
/// clears it.
#[derive(Debug)]
pub(super) struct Staged {
    root: Arc<Root>,
    pub(super) name: String,
    pub(super) file: File,
    pub(super) sums: Checksums,
    /// Set once the name is gone from the staging directory.
    pub(super) moved: bool,
}

impl Staged {
    pub(super) fn create(root: &Arc<Root>, with_sha256: bool) -> io::Result<Self> {
        let name = Id128::random().to_string();
        let file = create(&root.staging, &name)?;
        let sums = Checksums::new(with_sha256);
        Ok(Self { root: Arc::clone(root), name, file, sums, moved: false })
    }

    pub(super) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        pieces.iter().try_for_each(|piece| self.write_slice(piece))
    }

    pub(super) fn write_slice(&mut self, piece: &[u8]) -> io::Result<()> {
        self.sums.update(piece);
        self.file.write_all(piece)
    }

    /// Takes the name out of the staging directory.
    pub(super) fn unlink(&mut self) -> io::Result<()> {
        self.moved = true;
        Ok(unlinkat(&self.root.staging, &self.name, AtFlags::empty())?)
    }
}

impl Drop for Staged {
    // A dropped upload would otherwise occupy the disk for as long as this process lives.
    fn drop(&mut self) {
        if !self.moved {
            let (root, name) = (Arc::clone(&self.root), std::mem::take(&mut self.name));
            detach(move || {
                if let Err(errno) = unlinkat(&root.staging, &name, AtFlags::empty()) {
                    tracing::warn!(name, error = %errno, "a temporary file stays until the next start");
                }
            });
        }
    }
}

pub(super) fn create(staging: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(openat(staging, name, flags, FILE_MODE)?))
}

/// Makes a staging directory of one's own, and the lock that says that somebody lives in it.
///
/// If the process dies after the lock file is made, or after the directory is, nobody holds the
/// lock and [`sweep`] removes both.
pub(super) fn claim(tmp: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    for _ in 0..16 {
        let name = Id128::random().to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let lock = openat(tmp, format!("{name}.lock"), flags, FILE_MODE)?;
        // A sweep that came between the two calls may hold the lock, or have removed the file.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if fstat(&lock)?.st_nlink > 0 => {
                mkdirat(tmp, &name, DIR_MODE)?;
                return Ok((open_dir(tmp, name.as_bytes())?, lock));
            }
            Ok(()) | Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Clears the staging directories whose owners are dead: whose lock can be had.
///
/// If the process dies in between, the lock file is still there, since it goes last, and the next
/// sweep does the rest.
pub(super) fn sweep(tmp: &OwnedFd) -> io::Result<()> {
    for name in names(tmp)? {
        let Some(id) = name.strip_suffix(b".lock") else { continue };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = match openat(tmp, &name[..], flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened?,
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        match open_dir(tmp, id) {
            Ok(dead) => {
                for left in names(&dead)? {
                    ignore_missing(unlinkat(&dead, &left[..], AtFlags::empty()))?;
                }
                ignore_missing(unlinkat(tmp, id, AtFlags::REMOVEDIR))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        ignore_missing(unlinkat(tmp, &name[..], AtFlags::empty()))?;
    }
    Ok(())
}

fn ignore_missing(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => Ok(result?),
    }
}

fn names<Fd: AsFd>(dir: Fd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
