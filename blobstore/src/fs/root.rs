//! The directory that holds everything: opening it, and finding the way below it.
//!
//! ```text
//! .standfast/format          version of the layout, form of the names
//! .standfast/locks/<00..ff>  locked shared by plain changes, exclusively by checked ones
//! .standfast/tmp/<id>.lock   locked for as long as the store that made it is open
//! .standfast/tmp/<id>/       what that store is writing
//! <name>                     a blob
//! <name>%/                   what lies behind a slash
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, mkdirat, openat};
use rustix::io::Errno;
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use super::error::{self, BACKEND};
use super::known::Known;
use super::{attr, stage};
use crate::checksum::Crc64;
use crate::key::BlobKey;

pub(super) const DIR_MODE: Mode = Mode::from_raw_mode(0o770);
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o660);

/// An open store on disk.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    locks: OwnedFd,
    /// Where this store writes what it has not published.
    pub(super) staging: OwnedFd,
    /// Held until the store is closed or the process dies; then anybody may clear the staging.
    _alive: OwnedFd,
    /// What reads learned.
    pub(super) known: Known,
    /// Whether the file system opens and reads without a disk what is in memory.
    cached: bool,
    /// Whether names are escaped because the file system folds case or normalises text.
    pub(super) folded: bool,
}

impl Root {
    /// Opens the store below `path`, which is made if need be.
    ///
    /// If the process dies in between, what was made is found and used by the next one to open:
    /// each directory is made if it is not there, and the format is linked into place whole.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| error::io("blob.open", error);
        fs::create_dir_all(path).map_err(failed)?;
        let dir = open_dir(CWD, path.as_os_str().as_encoded_bytes()).map_err(failed)?;
        let own = make_dir(&dir, BlobKey::RESERVED.as_bytes()).map_err(failed)?;
        let locks = make_dir(&own, b"locks").map_err(failed)?;
        let tmp = make_dir(&own, b"tmp").map_err(failed)?;
        stage::sweep(&tmp).map_err(failed)?;
        let (staging, alive) = stage::claim(&tmp).map_err(failed)?;
        probe_attributes(&staging)?;
        let folded = format(&own, &staging)?;
        let cached = never_waits(&dir).map_err(failed)?;
        Ok(Self { dir, locks, staging, _alive: alive, known: Known::new(), cached, folded })
    }

    /// Opens what lies at `path` below the root; a symbolic link on the way is an error.
    pub(super) fn open_at(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        open_beneath(&self.dir, path, flags)
    }

    /// Opens the file at `path` if the kernel has in memory all that this takes. `None` where it
    /// would have to ask the disk, cannot say so, or anything else is odd.
    pub(super) fn open_cached(&self, path: &[u8]) -> Option<OwnedFd> {
        if self.cached { open_cached(&self.dir, path) } else { None }
    }

    /// Opens the directory at `path`, making those on the way that are missing.
    ///
    /// If the process dies in between, an empty directory stays, which no listing shows.
    pub(super) fn make_path(&self, path: &[u8], sync: bool) -> io::Result<OwnedFd> {
        match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let mut dir = self.dir.try_clone()?;
        for name in path.split(|byte| *byte == b'/') {
            let next = make_dir(&dir, name)?;
            if sync {
                rustix::fs::fsync(&dir)?;
            }
            dir = next;
        }
        Ok(dir)
    }

    /// Locks the shard of `key` against other changes, in this process and all others. Closing the
    /// descriptor unlocks it, and so does the death of the process.
    pub(super) fn lock(&self, key: &BlobKey, mode: Lock) -> io::Result<OwnedFd> {
        let shard = Crc64::of(key.as_str().as_bytes()).to_u64() & 0xff;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.locks, format!("{shard:02x}"), flags, FILE_MODE)?;
        let operation = match mode {
            Lock::Exclusive => FlockOperation::LockExclusive,
            Lock::Shared => FlockOperation::LockShared,
        };
        retry_interrupted(|| flock(&file, operation))?;
        Ok(file)
    }
}

/// Who else may change blobs of a shard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lock {
    /// Nobody: for a change that looks before it acts.
    Exclusive,
    /// Others that do one atomic step, too.
    Shared,
}

fn retry_interrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

pub(super) fn open_dir<Fd: std::os::fd::AsFd>(at: Fd, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// Opens the directory `name`, making it if it is missing.
pub(super) fn make_dir(at: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    // A few rounds, because a delete may remove an empty directory between the two calls.
    for _ in 0..16 {
        match mkdirat(at, name, DIR_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(at, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[cfg(target_os = "linux")]
fn open_beneath(root: &OwnedFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        // Linux before 5.6 does not know the call, and older container runtimes forbid it.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_stepwise(root, path, flags),
        opened => Ok(opened?),
    }
}

/// Without the time of the last access, whose update may wait for the journal. Linux before 5.12
/// does not know the flag and refuses it.
#[cfg(target_os = "linux")]
fn open_cached(root: &OwnedFd, path: &[u8]) -> Option<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::CACHED
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), resolve).ok()
}

/// Whether the directory lies on ext4, XFS or Btrfs. Behind others there may be a network or another
/// process, which the flag does not speak of.
#[cfg(target_os = "linux")]
fn never_waits(dir: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(dir)?.f_type as u32;
    Ok([0xEF53, 0x5846_5342, 0x9123_683E].contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn open_cached(_: &OwnedFd, _: &[u8]) -> Option<OwnedFd> {
    None
}

#[cfg(not(target_os = "linux"))]
fn never_waits(_: &OwnedFd) -> io::Result<bool> {
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(root: &OwnedFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    open_stepwise(root, path, flags)
}

fn open_stepwise(root: &OwnedFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    let mut dir = root.try_clone()?;
    while let Some(name) = names.next() {
        let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let flags = if names.peek().is_some() { step } else { flags };
        dir = openat(&dir, name, flags, Mode::empty())?;
    }
    Ok(dir)
}

fn probe_attributes(staging: &OwnedFd) -> Result<()> {
    let probe = || -> io::Result<rustix::io::Result<()>> {
        let file = stage::create(staging, "probe")?;
        let kept = attr::probe(&file);
        rustix::fs::unlinkat(staging, "probe", AtFlags::empty())?;
        Ok(kept)
    };
    match probe().map_err(|error| error::io("blob.open", error))? {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::NOSYS) => {
            Err(Error::new(ErrorKind::Unsupported, BACKEND, "blob.open")
                .with_detail("the file system does not keep extended attributes of 4 KB"))
        }
        Err(errno) => Err(error::io("blob.open", errno.into())),
    }
}

const LAYOUT: &str = "standfast blobs 1";

/// Reads the format of the store, writing it if the store is new; whether names are folded.
fn format(own: &OwnedFd, staging: &OwnedFd) -> Result<bool> {
    let failed = |error: io::Error| error::io("blob.open", error);
    if let Some(text) = read_format(own).map_err(failed)? {
        return parse_format(&text);
    }
    let names = if folds(staging).map_err(failed)? { "folded" } else { "exact" };
    // Of two that open a new store at once one links its format and both read it.
    let write = || -> io::Result<()> {
        let mut file = stage::create(staging, "format")?;
        write!(file, "{LAYOUT}\nnames {names}\n")?;
        file.sync_all()?;
        match linkat(staging, "format", own, "format", AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(rustix::fs::unlinkat(staging, "format", AtFlags::empty())?)
    };
    write().map_err(failed)?;
    parse_format(&read_format(own).map_err(failed)?.unwrap_or_default())
}

fn read_format(own: &OwnedFd) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match openat(own, "format", flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn parse_format(text: &str) -> Result<bool> {
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(LAYOUT), Some("names exact")) => Ok(false),
        (Some(LAYOUT), Some("names folded")) => Ok(true),
        (Some(layout), _) if layout.starts_with("standfast blobs ") && layout != LAYOUT => {
            Err(Error::new(ErrorKind::Unsupported, BACKEND, "blob.open")
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("the directory holds {layout:?}")))
        }
        _ => Err(Error::new(ErrorKind::Corrupt, BACKEND, "blob.open")
            .with_detail("the format of the store cannot be read")),
    }
}

/// Whether the file system takes two names that differ in case, or in how an accent is composed,
/// for one.
fn folds(staging: &OwnedFd) -> io::Result<bool> {
    let id = Id128::random();
    let mut folds = false;
    for (name, other) in
        [(format!("A{id}"), format!("a{id}")), (format!("é{id}"), format!("e\u{301}{id}"))]
    {
        drop(stage::create(staging, &name)?);
        match rustix::fs::statat(staging, &other, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => folds = true,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        rustix::fs::unlinkat(staging, &name, AtFlags::empty())?;
    }
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_a_newer_layout_is_not_opened() {
        assert!(!parse_format("standfast blobs 1\nnames exact\n").unwrap());
        assert!(parse_format("standfast blobs 1\nnames folded\n").unwrap());
        let newer = parse_format("standfast blobs 2\nnames exact\n").unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        assert_eq!(parse_format("").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
