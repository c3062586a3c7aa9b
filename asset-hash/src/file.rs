//! Reading one file.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind as Io, Read};
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use standfast_core::{ErrorKind, Reason, Result};

use crate::digest::Digest;
use crate::failed;
use crate::walk::io_error;

/// What tells that a file is as it was.
#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            // the time of the last change of the inode notices writers that put the old time back
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Size and digest of the file, read through `buffer`. `between` runs after each read.
///
/// A file that changed meanwhile is an error, not a digest of something that never existed. A
/// change within the resolution of the file system's clock goes unseen here; a store that verifies
/// the digest of what is uploaded sees it.
pub(crate) fn digest_file(
    path: &Path,
    buffer: &mut [u8],
    mut between: impl FnMut(),
) -> Result<(u64, Digest)> {
    let fail = |error| io_error(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let before = Stamp::of(&file.metadata().map_err(fail)?);
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == Io::Interrupted => continue,
            Err(error) => return Err(fail(error)),
        }
        between();
    }
    let after = Stamp::of(&file.metadata().map_err(fail)?);
    // by its name too: it may have been replaced while the old one was read
    let named = Stamp::of(&fs::metadata(path).map_err(fail)?);
    if before != after || after != named || size != after.size {
        let detail = format!("{} changed while it was read", path.display());
        return Err(failed(ErrorKind::Conflict, "asset-hash.read", detail)
            .with_reason(Reason::ChangedDuringRead)
            .with_retryable(true));
    }
    Ok((size, Digest::from_bytes(hash.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let error = digest_file(&path, &mut [0; 2], || {
                if !std::mem::replace(&mut changed, true) {
                    change();
                }
            })
            .unwrap_err();
            assert_eq!(error.reason(), Some(Reason::ChangedDuringRead));
            assert!(error.is_retryable());
        }
        fs::write(&path, "abcd").unwrap();
        let calm = digest_file(&path, &mut [0; 3], || {}).unwrap();
        assert_eq!(calm, (4, Digest::of(b"abcd")));
    }
}
