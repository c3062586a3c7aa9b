//! Downloads in parts: several at once, and again where an earlier one ended.
//!
//! ```text
//! .<name>.part-<random>    what has come; renamed to <name> when all of it is verified
//! .<name>.part             the same of a resumable download, and
//! .<name>.part.journal     which blob it is, and which parts of it are there with which checksum
//! ```

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use crate::checksum::{Checksums, Crc64};
use crate::file::{PIECE, blocking, detach, hidden, saving};
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::store::BlobStore;

/// How a download in parts is done.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) key: BlobKey,
    pub(crate) path: PathBuf,
    pub(crate) at_once: usize,
    pub(crate) resumable: bool,
    pub(crate) sync: bool,
    pub(crate) verify: bool,
}

/// How many bytes a part has.
const PART: u64 = 8 << 20;

impl Download {
    /// Fetches what is missing, all of one version, verifies the whole and renames it.
    ///
    /// If the process dies before the rename, the file at the path is as it was; after it, the
    /// whole blob is there, and a journal may be left, which the next download finds to belong to
    /// nothing.
    pub(crate) async fn run(self, meta: BlobMeta) -> Result<BlobMeta> {
        let (path, shown) = (self.path.clone(), self.path.display().to_string());
        let (resumable, sync, seen) = (self.resumable, self.sync, meta.clone());
        let opened = blocking(move || {
            if resumable { Target::resume(&path, &seen) } else { Target::new(&path, &seen) }
        });
        let target = opened.await?.map_err(|error| busy(error, &shown))?;
        let open = Open(Arc::new(Mutex::new(target)));
        let target = Arc::clone(&open.0);
        let missing = lock(&target).missing();
        let fetches = stream::iter(missing).map(|at| self.part(&target, &meta, at));
        let fetched = fetches.buffer_unordered(self.at_once).try_collect::<()>().await;
        if let Err(error) = fetched {
            // Whoever sees the error may begin again: nothing is written after it.
            blocking(move || lock(&target).close()).await?;
            return Err(error);
        }
        let whole = lock(&target).whole();
        if self.verify
            && let Some(stored) = meta.crc64
            && stored != whole
        {
            blocking(move || lock(&target).discard()).await?;
            return Err(Error::new(ErrorKind::Checksum, "blobstore", "blob.get")
                .with_retryable(true)
                .with_detail(format!("{:?}: stored {stored}, read {whole}", self.key)));
        }
        let path = self.path;
        let finished = blocking(move || lock(&target).finish(&path, sync));
        finished.await?.map_err(|error| saving(error, &shown))?;
        Ok(meta)
    }

    /// Fetches one part, and notes it when all of it is in the file.
    async fn part(&self, target: &Arc<Mutex<Target>>, meta: &BlobMeta, at: usize) -> Result<()> {
        let range = range(at, meta.size);
        let options =
            GetOptions::default().with_if_match(meta.version.clone()).with_range(range.clone());
        let blob = match self.store.get(&self.key, &options).await? {
            GetOutcome::Found(blob) if blob.range() == range => blob,
            GetOutcome::Missing | GetOutcome::Mismatch => {
                return Err(Error::new(ErrorKind::Conflict, "blobstore", "blob.get")
                    .with_reason(Reason::ChangedDuringRead)
                    .with_retryable(true)
                    .with_detail(format!("{:?} was replaced during its download", self.key)));
            }
            other => {
                return Err(Error::new(ErrorKind::Unexpected, "blobstore", "blob.get")
                    .with_detail(format!("{:?}: {other:?} for a range", self.key)));
            }
        };
        let shown = self.path.display().to_string();
        let (mut stream, mut offset) = (blob.into_stream(), range.start);
        let mut sums = Checksums::new(false);
        let (mut pending, mut held) = (Vec::new(), 0);
        loop {
            let piece = stream.next().await.transpose()?;
            let last = piece.is_none();
            if let Some(piece) = piece {
                held += piece.len();
                sums.update(&piece);
                pending.push(piece);
            }
            if held < PIECE && !last {
                continue;
            }
            let (pieces, target) = (std::mem::take(&mut pending), Arc::clone(target));
            let (from, note) = (offset, last.then(|| sums.crc64()));
            let written = blocking(move || lock(&target).write(from, &pieces, at, note));
            written.await?.map_err(|error| saving(error, &shown))?;
            if last {
                return Ok(());
            }
            offset += held as u64;
            held = 0;
        }
    }
}

/// The file that is being filled, and what is known of its parts.
#[derive(Debug)]
struct Target {
    file: File,
    path: PathBuf,
    journal: Option<Journal>,
    size: u64,
    parts: Vec<Option<Crc64>>,
    /// Whether nothing may be written any more.
    closed: bool,
    /// Whether there is no file to be removed any more.
    done: bool,
}

/// Closes the target when it is dropped, whatever is still being written on the blocking pool.
struct Open(Arc<Mutex<Target>>);

impl Drop for Open {
    fn drop(&mut self) {
        let target = Arc::clone(&self.0);
        detach(move || lock(&target).close());
    }
}

/// Where a resumable download notes what it has. Locked for as long as the download lasts.
#[derive(Debug)]
struct Journal {
    file: File,
    path: PathBuf,
}

impl Target {
    fn new(path: &Path, meta: &BlobMeta) -> io::Result<Self> {
        let part = hidden(path, &format!(".part-{}", Id128::random()))?;
        let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        Self::empty(file, part, meta, None)
    }

    fn empty(
        file: File,
        path: PathBuf,
        meta: &BlobMeta,
        journal: Option<Journal>,
    ) -> io::Result<Self> {
        file.set_len(meta.size)?;
        let parts = vec![None; usize::try_from(meta.size.div_ceil(PART)).unwrap_or(usize::MAX)];
        Ok(Self { file, path, journal, size: meta.size, parts, closed: false, done: false })
    }

    /// Opens what an earlier download of the same version left, or begins anew.
    ///
    /// If the process dies between the journal's end and its new beginning, it is empty, and the
    /// next one begins anew as well. A note that was cut short is no note, and one about bytes that
    /// the disk lost or changed is none either: each part is read again.
    fn resume(path: &Path, meta: &BlobMeta) -> io::Result<Self> {
        let part = hidden(path, ".part")?;
        let at = hidden(path, ".part.journal")?;
        let mut journal = Journal::open(at)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&part)?;
        let head = head(meta);
        let mut text = String::new();
        let read = io::Read::by_ref(&mut journal.file).take(64 << 20).read_to_string(&mut text);
        let notes = text.strip_prefix(&head).filter(|_| read.is_ok());
        if let Some(notes) = notes
            && file.metadata()?.len() == meta.size
        {
            let mut kept = head.len() as u64;
            let mut target = Self::empty(file, part, meta, None)?;
            for line in notes.split_inclusive('\n') {
                let Some((at, crc64)) = parse(line) else { break };
                if at >= target.parts.len() {
                    break;
                }
                let there = target.read(at)? == crc64;
                target.parts[at] = there.then_some(crc64);
                kept += line.len() as u64;
            }
            journal.file.set_len(kept)?;
            journal.file.seek(SeekFrom::Start(kept))?;
            target.journal = Some(journal);
            return Ok(target);
        }
        journal.file.set_len(0)?;
        journal.file.seek(SeekFrom::Start(0))?;
        file.set_len(0)?;
        let mut target = Self::empty(file, part, meta, None)?;
        journal.file.write_all(head.as_bytes())?;
        target.journal = Some(journal);
        Ok(target)
    }

    /// The checksum of what the file has of a part.
    fn read(&mut self, at: usize) -> io::Result<Crc64> {
        let range = range(at, self.size);
        self.file.seek(SeekFrom::Start(range.start))?;
        let (mut sums, mut buffer) = (Checksums::new(false), vec![0; PIECE]);
        let mut left = io::Read::by_ref(&mut self.file).take(range.end - range.start);
        loop {
            match left.read(&mut buffer)? {
                0 => return Ok(sums.crc64()),
                read => sums.update(&buffer[..read]),
            }
        }
    }

    fn missing(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|at| self.parts[*at].is_none()).collect()
    }

    /// Writes pieces from `offset` on, and notes the part if `crc64` says that it is complete.
    fn write(
        &mut self,
        offset: u64,
        pieces: &[Bytes],
        at: usize,
        crc64: Option<Crc64>,
    ) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.file.seek(SeekFrom::Start(offset))?;
        pieces.iter().try_for_each(|piece| self.file.write_all(piece))?;
        let Some(crc64) = crc64 else { return Ok(()) };
        if let Some(journal) = &mut self.journal {
            journal.file.write_all(format!("done {at} {crc64}\n").as_bytes())?;
        }
        self.parts[at] = Some(crc64);
        Ok(())
    }

    /// The checksum of all parts together.
    fn whole(&self) -> Crc64 {
        let parts = self.parts.iter().enumerate();
        parts.fold(Crc64::of(b""), |all, (at, part)| {
            let range = range(at, self.size);
            // invariant: it is asked for when every part has come
            all.then(part.expect("every part has come"), range.end - range.start)
        })
    }

    /// Lets nobody write any more, and others go on.
    fn close(&mut self) {
        self.closed = true;
        if let Some(journal) = &self.journal {
            // It may have been given back already; closing the file does so in any case.
            _ = journal.file.unlock();
        }
    }

    /// Forgets what came: it is not what was stored.
    fn discard(&mut self) {
        self.done = true;
        if let Some(journal) = &self.journal {
            _ = fs::remove_file(&journal.path);
        }
        _ = fs::remove_file(&self.path);
    }

    fn finish(&mut self, path: &Path, sync: bool) -> io::Result<()> {
        if sync {
            self.file.sync_all()?;
        }
        fs::rename(&self.path, path)?;
        self.done = true;
        if let Some(journal) = &self.journal {
            fs::remove_file(&journal.path)?;
        }
        Ok(())
    }
}

impl Drop for Target {
    // The one name to unlink is known here and nowhere else; what can be resumed stays.
    fn drop(&mut self) {
        if !self.done && self.journal.is_none() {
            let path = std::mem::take(&mut self.path);
            detach(move || _ = fs::remove_file(path));
        }
    }
}

impl Journal {
    /// Opens and locks the journal at `path`. Whoever finishes removes it, so it may be gone by the
    /// time that its lock can be had: then another one is made.
    fn open(path: PathBuf) -> io::Result<Self> {
        for _ in 0..16 {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if is_at(&file, &path)? {
                return Ok(Self { file, path });
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Whether `file` is what lies at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// An open file cannot be removed there.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

fn lock(target: &Mutex<Target>) -> std::sync::MutexGuard<'_, Target> {
    target.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a part.
fn range(at: usize, size: u64) -> Range<u64> {
    let start = at as u64 * PART;
    start..size.min(start + PART)
}

/// What a journal begins with: its layout, and which bytes it is about.
fn head(meta: &BlobMeta) -> String {
    let mut head = format!("standfast download 1\nversion {}\nsize {}\n", meta.version, meta.size);
    if let Some(crc64) = meta.crc64 {
        // invariant: a string takes everything
        writeln!(head, "crc64nvme {crc64}").expect("a string takes everything");
    }
    head + &format!("parts of {PART}\n")
}

/// A note: the part, and its checksum.
fn parse(line: &str) -> Option<(usize, Crc64)> {
    let (at, crc64) = line.strip_suffix('\n')?.strip_prefix("done ")?.split_once(' ')?;
    Some((at.parse().ok()?, crc64.parse().ok()?))
}

fn busy(error: io::Error, path: &str) -> Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return saving(error, path);
    }
    Error::new(ErrorKind::Conflict, "file", "blob.get")
        .with_retryable(true)
        .with_detail(format!("somebody else is downloading to {path}"))
}
