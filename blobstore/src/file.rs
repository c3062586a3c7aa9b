use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt as _;
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use crate::blob::Blob;
use crate::meta::BlobMeta;

/// How much of a file is read or written in one visit to the blocking pool.
pub(crate) const PIECE: usize = 1 << 20;

/// A file read piece by piece without blocking the runtime.
pub(crate) struct FilePieces {
    file: Option<File>,
    len: u64,
    left: u64,
}

impl FilePieces {
    pub(crate) async fn open(path: PathBuf, range: Option<Range<u64>>) -> Result<Self> {
        let shown = path.display().to_string();
        blocking(move || open_range(&path, range))
            .await?
            .map(|(file, len)| Self { file: Some(file), len, left: len })
            .map_err(|error| local("blob.put", &error).with_detail(shown).with_source(error))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The next piece; fewer bytes than announced in all if the file shrank.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut file) = self.file.take().filter(|_| self.left > 0) else { return Ok(None) };
        let want = PIECE.min(usize::try_from(self.left).unwrap_or(PIECE));
        let (file, piece) = blocking(move || {
            let mut piece = Vec::with_capacity(want);
            let read = Read::by_ref(&mut file).take(want as u64).read_to_end(&mut piece);
            (file, read.map(|_| piece))
        })
        .await?;
        let piece = piece.map_err(|error| local("blob.put", &error).with_source(error))?;
        self.left -= piece.len() as u64;
        self.file = Some(file);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

pub(crate) fn open_range(path: &Path, range: Option<Range<u64>>) -> io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let len = match range {
        None => meta.len(),
        Some(range) if range.start <= range.end && range.end <= meta.len() => {
            file.seek(SeekFrom::Start(range.start))?;
            range.end - range.start
        }
        Some(range) => {
            let why = format!("bytes {range:?} of a file of {} bytes", meta.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    };
    Ok((file, len))
}

/// Writes `blob` to a new file beside `path` and renames it when all of it is there and verified.
///
/// If the process dies before the rename, `path` is as it was and `.<name>.part-<random>` is left
/// beside it; after the rename, `path` is the whole blob. A dropped future removes the part,
/// unless the rename had begun.
pub(crate) async fn save_as(blob: Blob, path: PathBuf, sync: bool) -> Result<BlobMeta> {
    let meta = blob.meta().clone();
    let mut part = Part::create(path, sync).await?;
    let mut stream = blob.into_stream();
    let mut pending: Vec<Bytes> = Vec::new();
    let mut held = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        held += piece.len();
        pending.push(piece);
        if held >= PIECE {
            part = part.write(std::mem::take(&mut pending)).await?;
            held = 0;
        }
    }
    part.write(pending).await?.finish().await?;
    Ok(meta)
}

/// The hidden file beside `path` whose name ends so.
pub(crate) fn hidden(path: &Path, end: &str) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(end);
    Ok(path.with_file_name(name))
}

struct Part {
    file: File,
    part: PathBuf,
    path: PathBuf,
    sync: bool,
    done: bool,
}

impl Part {
    async fn create(path: PathBuf, sync: bool) -> Result<Self> {
        let shown = path.display().to_string();
        let created = blocking(move || {
            let part = hidden(&path, &format!(".part-{}", Id128::random()))?;
            let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
            Ok(Self { file, part, path, sync, done: false })
        })
        .await?;
        created.map_err(|error: io::Error| saving(error, &shown))
    }

    async fn write(mut self, pieces: Vec<Bytes>) -> Result<Self> {
        let shown = self.path.display().to_string();
        blocking(move || {
            for piece in pieces {
                self.file.write_all(&piece)?;
            }
            Ok(self)
        })
        .await?
        .map_err(|error: io::Error| saving(error, &shown))
    }

    async fn finish(self) -> Result<()> {
        let shown = self.path.display().to_string();
        blocking(move || {
            // The whole of it moves in here: a field alone would be set on a copy.
            let mut part = self;
            if part.sync {
                part.file.sync_all()?;
            }
            fs::rename(&part.part, &part.path)?;
            part.done = true;
            Ok(())
        })
        .await?
        .map_err(|error: io::Error| saving(error, &shown))
    }
}

impl Drop for Part {
    // The one name to unlink is known here and nowhere else, and nobody else would ever remove it.
    fn drop(&mut self) {
        if !self.done {
            let part = std::mem::take(&mut self.part);
            detach(move || _ = fs::remove_file(part));
        }
    }
}

/// Runs `work` on the blocking pool where there is a runtime, else right here.
pub(crate) fn detach(work: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

/// Runs `work` on the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let kind = if error.is_cancelled() { ErrorKind::Cancelled } else { ErrorKind::Unexpected };
        Error::new(kind, "blobstore", "blob.io").with_source(error)
    })
}

pub(crate) fn saving(error: io::Error, path: &str) -> Error {
    local("blob.get", &error).with_detail(format!("saving as {path}: {error}")).with_source(error)
}

/// What an error of the local file system means to the caller.
pub(crate) fn local(operation: &'static str, error: &io::Error) -> Error {
    let error_of = |kind| Error::new(kind, "file", operation);
    match error.kind() {
        io::ErrorKind::NotFound => error_of(ErrorKind::NotFound),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            error_of(ErrorKind::Denied)
        }
        io::ErrorKind::InvalidInput
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => error_of(ErrorKind::Invalid),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            error_of(ErrorKind::Unavailable).with_reason(Reason::NoSpace).with_retryable(false)
        }
        io::ErrorKind::FileTooLarge => error_of(ErrorKind::TooLarge),
        _ => error_of(ErrorKind::Unexpected),
    }
}
