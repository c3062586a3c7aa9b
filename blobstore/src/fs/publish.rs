//! The steps that change what readers see. Each is one system call on one name.

use std::fs::File;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, OFlags, fsync, linkat, renameat, unlinkat};
use rustix::io::Errno;
use standfast_core::{Error, ErrorKind, Result};

use super::error::{self, BACKEND, is_missing};
use super::name::Place;
use super::root::{Lock, Root};
use super::stage::Staged;
use super::{attr, read};
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version};
use crate::options::Precondition;
use crate::outcome::DeleteOutcome;

pub(super) enum Published {
    Done,
    Exists,
    Mismatch,
}

/// Makes `staged` the blob that `meta` describes, if `precondition` holds.
///
/// If the process dies before the rename or link, nobody sees anything and the staged file is
/// cleared by the next start. Both are one step: after it, the whole new blob is there with all
/// its attributes. Between a link and the removal of the staged name, the same bytes have two
/// names, of which the staged one is cleared by the next start.
pub(super) fn publish(
    root: &Arc<Root>,
    mut staged: Staged,
    meta: &BlobMeta,
    precondition: &Precondition,
    sync: bool,
    now: DateTime<Utc>,
) -> Result<Published> {
    let failed = |error: io::Error| error::io("blob.put", error);
    attr::store(&staged.file, meta).map_err(failed)?;
    if sync {
        staged.file.sync_all().map_err(failed)?;
    }
    let place = Place::of(&meta.key, root.folded);
    // A delete may remove an empty directory between its making and its use: then once more.
    for _ in 0..64 {
        let parent = match root.make_path(place.parent(), sync) {
            Err(error) if is_missing(&error) => {
                std::thread::yield_now();
                continue;
            }
            made => made.map_err(failed)?,
        };
        let step = match precondition {
            Precondition::Always => {
                let _shard = root.lock(&meta.key, Lock::Shared).map_err(failed)?;
                rename(root, &mut staged, &parent, &place)
            }
            Precondition::IfAbsent => {
                match link_if_absent(root, &mut staged, &parent, &place, &meta.key, now)? {
                    Ok(false) => return Ok(Published::Exists),
                    Ok(true) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Precondition::IfMatch(version) => {
                let _shard = root.lock(&meta.key, Lock::Exclusive).map_err(failed)?;
                if present(root, &meta.key, now)?.as_ref() != Some(version) {
                    return Ok(Published::Mismatch);
                }
                rename(root, &mut staged, &parent, &place)
            }
        };
        match step {
            Ok(()) => {
                if sync {
                    fsync(&parent).map_err(|errno| unknown(errno.into()))?;
                }
                return Ok(Published::Done);
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Error::new(ErrorKind::Unavailable, BACKEND, "blob.put")
        .with_detail("the directory kept disappearing"))
}

fn unknown(error: io::Error) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, BACKEND, "blob.put")
        .with_detail("stored, but the disk did not confirm it")
        .with_source(error)
}

fn rename(
    root: &Root,
    staged: &mut Staged,
    parent: &std::os::fd::OwnedFd,
    place: &Place,
) -> io::Result<()> {
    renameat(&root.staging, &staged.name, parent, place.leaf())?;
    staged.moved = true;
    Ok(())
}

/// Links `staged` into place if nothing live is there; whether it did. The inner error is one of
/// the step itself.
///
/// A link fails if the name is taken, so among any number of processes one wins. A name taken by
/// an expired blob is replaced under the exclusive lock, which keeps plain puts out between the
/// look and the rename.
fn link_if_absent(
    root: &Root,
    staged: &mut Staged,
    parent: &std::os::fd::OwnedFd,
    place: &Place,
    key: &BlobKey,
    now: DateTime<Utc>,
) -> Result<io::Result<bool>> {
    let failed = |error: io::Error| error::io("blob.put", error);
    for mode in [Lock::Shared, Lock::Exclusive] {
        let _shard = root.lock(key, mode).map_err(failed)?;
        match linkat(&root.staging, &staged.name, parent, place.leaf(), AtFlags::empty()) {
            Ok(()) => {
                // The blob is stored: a staged name that stays does no harm.
                if let Err(error) = staged.unlink() {
                    tracing::warn!(%error, "a temporary file stays until the next start");
                }
                return Ok(Ok(true));
            }
            Err(Errno::EXIST) if present(root, key, now)?.is_some() => return Ok(Ok(false)),
            Err(Errno::EXIST) if mode == Lock::Exclusive => {
                return Ok(rename(root, staged, parent, place).map(|()| true));
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Ok(Err(errno.into())),
        }
    }
    Ok(Ok(false))
}

/// The version of the live blob under `key`.
fn present(root: &Root, key: &BlobKey, now: DateTime<Utc>) -> Result<Option<Version>> {
    Ok(read::open(root, key)?.filter(|(meta, _)| meta.is_live(now)).map(|(meta, _)| meta.version))
}

/// Removes the blob under `key`, if it is of `if_match`.
///
/// If the process dies before the unlink, the blob is there; after it, the blob is gone, and empty
/// directories may stay, which no listing shows and the next put uses.
pub(super) fn delete(
    root: &Root,
    key: &BlobKey,
    if_match: Option<&Version>,
    sync: bool,
    now: DateTime<Utc>,
) -> Result<DeleteOutcome> {
    let failed = |error: io::Error| error::io("blob.delete", error);
    let mode = if if_match.is_some() { Lock::Exclusive } else { Lock::Shared };
    let _shard = root.lock(key, mode).map_err(failed)?;
    match read::open(root, key) {
        Ok(Some((meta, _))) if !meta.is_live(now) => return Ok(DeleteOutcome::Missing),
        Ok(Some((meta, _))) if if_match.is_some_and(|version| *version != meta.version) => {
            return Ok(DeleteOutcome::Mismatch);
        }
        Ok(None) => return Ok(DeleteOutcome::Missing),
        // What cannot be read can still be deleted, but has no version to compare.
        Err(error) if error.kind() != ErrorKind::Corrupt || if_match.is_some() => {
            return Err(error);
        }
        _ => {}
    }
    let removed = unlink(root, key, sync).map_err(failed)?;
    Ok(if removed { DeleteOutcome::Deleted } else { DeleteOutcome::Missing })
}

/// Removes the file of `key` if it has expired; whether it was there and had.
///
/// The exclusive lock keeps everybody else from putting a live blob between the look and the
/// unlink. If the process dies before the unlink, the next sweep finds the file again.
pub(super) fn collect(root: &Root, key: &BlobKey, now: DateTime<Utc>) -> Result<bool> {
    let failed = |error: io::Error| error::io("blob.sweep", error);
    let _shard = root.lock(key, Lock::Exclusive).map_err(failed)?;
    match read::open(root, key)? {
        Some((meta, _)) if !meta.is_live(now) => unlink(root, key, false).map_err(failed),
        _ => Ok(false),
    }
}

fn unlink(root: &Root, key: &BlobKey, sync: bool) -> io::Result<bool> {
    let place = Place::of(key, root.folded);
    let open = |path: &[u8]| root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY);
    let parent = match open(place.parent()) {
        Err(error) if is_missing(&error) => return Ok(false),
        opened => opened?,
    };
    match unlinkat(&parent, place.leaf(), AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        removed => removed?,
    }
    if sync {
        fsync(&parent)?;
    }
    for (at, name) in place.directories() {
        let Ok(at) = open(at) else { break };
        if unlinkat(&at, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
    }
    Ok(true)
}

/// Copies the bytes of `source` behind what is staged, inside the kernel where it can.
pub(super) fn fill(staged: &mut Staged, source: &mut File) -> io::Result<u64> {
    io::copy(source, &mut staged.file)
}
