//! Reading one file, and telling whether it stayed as it was.

use std::fs::{File, Metadata};
use std::io::{ErrorKind as Io, Read as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::failed;
use crate::walk::io_error;

/// What tells that a file is as it was. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) modified: i64,
    /// When the inode last changed: notices writers that put the old time of the content back.
    pub(crate) changed: i64,
    pub(crate) inode: u64,
    /// A file that was replaced while it was open has one name less.
    pub(crate) names: u64,
}

impl Stamp {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
        Self {
            size: metadata.len(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            names: metadata.nlink(),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let nanos = modified.and_then(|span| i64::try_from(span.as_nanos()).ok()).unwrap_or(0);
        // without a time of change nothing is old enough to be trusted from a cache
        Self { size: metadata.len(), modified: nanos, changed: i64::MAX, inode: 0, names: 1 }
    }

    /// Whether no later change can have left this stamp: both times lie before `since`.
    pub(crate) fn is_older_than(&self, since: std::time::SystemTime) -> bool {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        self.modified < since && self.changed < since
    }
}

/// A file that is read from its beginning to its end, as it was when it was found.
#[derive(Debug)]
pub(crate) struct Reading {
    file: File,
    expected: Stamp,
    read: u64,
}

impl Reading {
    pub(crate) fn open(path: &Path, expected: Stamp) -> Result<Self> {
        let file = File::open(path).map_err(|error| io_error(path, error))?;
        Ok(Self { file, expected, read: 0 })
    }

    /// Reads the next bytes; none when all were read and the file is as it was.
    ///
    /// A file that changed meanwhile is an error, not a digest of something that never existed. A
    /// change within the resolution of the file system's clock goes unseen here; a store that
    /// verifies the digest of what is uploaded sees it.
    pub(crate) fn read(&mut self, path: &Path, space: &mut [u8]) -> Result<usize> {
        let left = self.expected.size - self.read;
        if left > 0 {
            let most = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = loop {
                match self.file.read(&mut space[..most]) {
                    Err(error) if error.kind() == Io::Interrupted => {}
                    read => break read.map_err(|error| io_error(path, error))?,
                }
            };
            self.read += read as u64;
            return if read == 0 { Err(changed(path)) } else { Ok(read) };
        }
        let now = self.file.metadata().map_err(|error| io_error(path, error))?;
        if Stamp::of(&now) == self.expected { Ok(0) } else { Err(changed(path)) }
    }

    /// Whether all bytes were read, so that the next read only looks for changes.
    pub(crate) fn is_at_end(&self) -> bool {
        self.read == self.expected.size
    }
}

pub(crate) fn changed(path: &Path) -> Error {
    let detail = format!("{} changed while it was read", path.display());
    failed(ErrorKind::Conflict, "asset-hash.read", detail)
        .with_reason(Reason::ChangedDuringRead)
        .with_retryable(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(path: &Path, mut between: impl FnMut()) -> Result<Vec<u8>> {
        let mut reading = Reading::open(path, Stamp::of(&fs::metadata(path).unwrap()))?;
        let (mut all, mut space) = (Vec::new(), [0; 2]);
        loop {
            match reading.read(path, &mut space)? {
                0 => return Ok(all),
                read => all.extend_from_slice(&space[..read]),
            }
            between();
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let other = dir.path().join("b");
        type Change<'a> = &'a dyn Fn();
        let grows: Change<'_> = &|| fs::write(&path, "abcdef").unwrap();
        let shrinks: Change<'_> = &|| fs::write(&path, "").unwrap();
        let is_replaced: Change<'_> = &|| {
            fs::write(&other, "abcd").unwrap();
            fs::rename(&other, &path).unwrap();
        };
        for change in [grows, shrinks, is_replaced] {
            fs::write(&path, "abcd").unwrap();
            let mut changed = false;
            let error = read(&path, || {
                if !std::mem::replace(&mut changed, true) {
                    change();
                }
            })
            .unwrap_err();
            assert_eq!(error.reason(), Some(Reason::ChangedDuringRead));
            assert!(error.is_retryable());
        }
        fs::write(&path, "abcd").unwrap();
        assert_eq!(read(&path, || {}).unwrap(), b"abcd");
    }
}
