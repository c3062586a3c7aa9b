use std::io;

use rustix::io::Errno;
use standfast_core::{Error, ErrorKind, Reason};

pub(super) const BACKEND: &str = "fs";

/// What an error of the file system means to the caller: the one table of this backend.
pub(super) fn io(operation: &'static str, error: io::Error) -> Error {
    let of = |kind| Error::new(kind, BACKEND, operation);
    let errno = Errno::from_io_error(&error);
    let mapped = match errno {
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => of(ErrorKind::Denied),
        Some(Errno::LOOP) => {
            of(ErrorKind::Denied).with_detail("a symbolic link, which is never followed")
        }
        Some(Errno::DQUOT | Errno::NOSPC) => {
            of(ErrorKind::Unavailable).with_reason(Reason::NoSpace).with_retryable(false)
        }
        Some(Errno::FBIG) => of(ErrorKind::TooLarge),
        Some(Errno::IO | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::STALE) => {
            of(ErrorKind::Unavailable)
        }
        Some(Errno::OPNOTSUPP | Errno::NOSYS) => of(ErrorKind::Unsupported),
        _ => of(ErrorKind::Unexpected),
    };
    mapped.with_source(error)
}

/// Whether nothing lies at the path: a name that is not there, or a file where a directory is
/// asked for.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}
