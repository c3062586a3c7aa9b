use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_core::Stream;
use futures_util::stream;
use rustix::fs::OFlags;
use standfast_core::{Error, ErrorKind, Result};

use super::attr;
use super::error::{self, BACKEND, is_missing};
use super::name::Place;
use super::root::Root;
use crate::blob::Blob;
use crate::file::{PIECE, blocking};
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::rules::admit_read;

/// The file of `key` and what is known of it, expired or not. Whoever has the file open reads that
/// version to its end, whatever is put meanwhile.
pub(super) fn open(root: &Root, key: &BlobKey) -> Result<Option<(BlobMeta, File)>> {
    let place = Place::of(key, root.folded);
    // Not to wait for the other end of a pipe that somebody put there.
    let file = match root.open_at(place.path(), OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(error) if is_missing(&error) => return Ok(None),
        opened => File::from(opened.map_err(|error| error::io("blob.get", error))?),
    };
    if !file.metadata().map_err(|error| error::io("blob.get", error))?.is_file() {
        return Err(Error::new(ErrorKind::Corrupt, BACKEND, "blob.get")
            .with_detail(format!("{key:?} is no regular file")));
    }
    Ok(Some((attr::load(&file, key)?, file)))
}

/// What a read of `key` finds, with the first piece already read.
pub(super) fn get(
    root: &Root,
    key: &BlobKey,
    options: &GetOptions,
    now: DateTime<Utc>,
) -> Result<GetOutcome> {
    let Some((meta, mut file)) = open(root, key)?.filter(|(meta, _)| meta.is_live(now)) else {
        return Ok(GetOutcome::Missing);
    };
    let range = match admit_read(&meta, options) {
        Ok(range) => range,
        Err(outcome) => return outcome,
    };
    let failed = |error: io::Error| error::io("blob.get", error);
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    }
    let mut left = range.end - range.start;
    let first = piece(&mut file, &mut left).map_err(failed)?;
    let stream = pieces(file, first, left);
    Ok(GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, stream))))
}

fn piece(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let want = PIECE.min(usize::try_from(*left).unwrap_or(PIECE));
    let mut piece = Vec::with_capacity(want);
    file.by_ref().take(want as u64).read_to_end(&mut piece)?;
    *left -= piece.len() as u64;
    Ok(piece.into())
}

/// The pieces of `file` one visit to the blocking pool at a time, so one piece is in memory.
fn pieces(
    file: File,
    first: Bytes,
    left: u64,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let start = (Some(first), file, left);
    stream::try_unfold(start, |(ready, mut file, mut left)| async move {
        if let Some(ready) = ready {
            return Ok(Some((ready, (None, file, left))));
        }
        if left == 0 {
            return Ok(None);
        }
        let (read, file, left) = blocking(move || {
            let read = piece(&mut file, &mut left);
            (read, file, left)
        })
        .await?;
        let read = read.map_err(|error| error::io("blob.get", error))?;
        // A file cut short ends the stream here; the blob's reader knows how many are missing.
        Ok((!read.is_empty()).then_some((read, (None, file, left))))
    })
}
