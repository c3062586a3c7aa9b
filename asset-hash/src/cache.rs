//! Digests of files that were hashed before and have not changed since.
//!
//! The file begins with a line that names its layout, then come the number of entries and for each:
//! the length of its path as two bytes, the path, size, time of content, time of inode, inode (eight
//! bytes each), digest; and at the end the SHA-256 of all that. Numbers are little-endian. A file
//! that is not so, of another layout or damaged, is as good as none: nothing but time is lost.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use standfast_core::{Id128, Result};

use crate::digest::Digest;
use crate::file::Stamp;
use crate::walk::{Found, io_error};

const LAYOUT: &[u8] = b"standfast asset cache 1\n";

/// A file system's clock may stand still for this long. What changed so shortly before it was read
/// could change again unseen, so its digest is not kept.
const TICK: Duration = Duration::from_secs(2);

/// A cache and the file it is kept in.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    bytes: Vec<u8>,
    /// What is older than this was at rest when the tree was walked.
    at_rest: SystemTime,
}

struct Entry<'a> {
    path: &'a [u8],
    stamp: [u64; 4],
    digest: Digest,
}

fn numbers(stamp: &Stamp) -> [u64; 4] {
    // the bits of a time before 1970 are as good as any
    [stamp.size, stamp.modified as u64, stamp.changed as u64, stamp.inode]
}

impl Cache {
    /// The cache in the file at `path`, empty if there is none that can be used.
    pub(crate) fn load(path: &Path, now: SystemTime) -> Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| io_error(path, error))?,
        };
        let at_rest = now.checked_sub(TICK).unwrap_or(SystemTime::UNIX_EPOCH);
        let sum = bytes.len().saturating_sub(32);
        let is_whole = bytes.starts_with(LAYOUT)
            && Digest::of(&bytes[..sum]).to_bytes().as_slice() == &bytes[sum..];
        let bytes = if is_whole { bytes } else { Vec::new() };
        Ok(Self { path: path.to_owned(), bytes, at_rest })
    }

    /// The digest of each file that is as it was, in order. Both lists ascend by their paths.
    pub(crate) fn recall(&self, found: &[Found]) -> Vec<Option<Digest>> {
        let mut entries = Entries::of(&self.bytes).peekable();
        let known = |file: &Found| {
            let path = file.path.as_bytes();
            while entries.next_if(|entry| entry.path < path).is_some() {}
            let entry = entries.next_if(|entry| entry.path == path)?;
            (entry.stamp == numbers(&file.stamp)).then_some(entry.digest)
        };
        found.iter().map(known).collect()
    }

    /// Keeps the digests for the next time.
    ///
    /// If the process dies before the rename, the old cache is there and a file
    /// `<name>.part-<random>` is left beside it; after the rename, the new one is there.
    pub(crate) fn store(&self, found: &[Found], digests: &[Digest]) -> Result<()> {
        let mut bytes = LAYOUT.to_vec();
        let at_rest = |file: &&(&Found, &Digest)| file.0.stamp.is_older_than(self.at_rest);
        let pairs: Vec<_> = found.iter().zip(digests).collect();
        let kept: Vec<_> = pairs.iter().filter(at_rest).collect();
        bytes.extend((kept.len() as u64).to_le_bytes());
        for (file, digest) in kept {
            // invariant: names::normalize() bounds paths far below 64 KiB
            bytes.extend((file.path.len() as u16).to_le_bytes());
            bytes.extend(file.path.as_bytes());
            numbers(&file.stamp).into_iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            bytes.extend(digest.to_bytes());
        }
        if self.bytes.split_last_chunk::<32>().is_some_and(|(old, _)| old == bytes) {
            return Ok(());
        }
        bytes.extend(Digest::of(&bytes).to_bytes());
        write_whole(&self.path, &bytes).map_err(|error| io_error(&self.path, error))
    }
}

/// Writes a file beside `path` and renames it, so that `path` is the old file or the whole new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".part-{}", Id128::random()));
    let written = fs::File::create_new(&part)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// The entries of a cache whose digest was right.
struct Entries<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> Entries<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let rest = bytes.get(LAYOUT.len()..).unwrap_or_default();
        let mut entries = Self { rest, left: 0 };
        entries.left = entries.number().unwrap_or(0);
        entries
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let len = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        let path = self.take(len.into())?;
        let stamp = [self.number()?, self.number()?, self.number()?, self.number()?];
        let digest = Digest::from_bytes(self.take(32)?.try_into().ok()?);
        Some(Entry { path, stamp, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, changed: i64) -> Found {
        let stamp = Stamp { size: 1, modified: 1, changed, inode: 7, names: 1 };
        Found { path: path.to_owned(), file: PathBuf::new(), stamp }
    }

    #[test]
    fn what_has_not_changed_is_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let young = 98_000_000_000;
        let files = [found("a", 5), found("b", young), found("c", 5), found("d", 5)];
        let digests: Vec<_> = ["a", "b", "c", "d"].map(|name| Digest::of(name.as_bytes())).into();
        let cache = Cache::load(&path, now).unwrap();
        assert_eq!(cache.recall(&files), [None; 4]);
        cache.store(&files, &digests).unwrap();

        let cache = Cache::load(&path, now).unwrap();
        let later = [found("0", 5), found("a", 5), found("b", young), found("d", 6)];
        assert_eq!(cache.recall(&later), [None, Some(digests[0]), None, None]);
        // the same again writes nothing
        fs::remove_file(&path).unwrap();
        cache.store(&files, &digests).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_damaged_or_of_another_layout_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let (files, digests) = ([found("a", 5)], [Digest::of(b"a")]);
        Cache::load(&path, now).unwrap().store(&files, &digests).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(Cache::load(&path, now).unwrap().recall(&files), [None], "byte {at}");
        }
        fs::write(&path, &whole[..20]).unwrap();
        assert_eq!(Cache::load(&path, now).unwrap().recall(&files), [None]);
        fs::write(&path, whole).unwrap();
        assert_eq!(Cache::load(&path, now).unwrap().recall(&files), [Some(digests[0])]);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no part is left behind");
    }
}
