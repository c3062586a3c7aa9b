use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_core::Stream;
use futures_util::stream;
use rustix::fs::OFlags;
use standfast_core::{Error, ErrorKind, Result};

use super::attr;
use super::error::{self, BACKEND, is_missing};
use super::known::Stamp;
use super::name::Place;
use super::root::Root;
use crate::blob::Blob;
use crate::file::{PIECE, blocking};
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::rules::admit_read;

/// How much is read where the caller is: copied in less time than a thread of the blocking pool
/// takes to wake up.
const IN_PLACE: u64 = 64 << 10;

/// A file that lies under a key. Whoever has it open reads that version to its end, whatever is put
/// meanwhile.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    stamp: Stamp,
}

impl Opened {
    fn new(file: File, key: &BlobKey) -> Result<Self> {
        let stat = file.metadata().map_err(|error| error::io("blob.get", error))?;
        if !stat.is_file() {
            return Err(Error::new(ErrorKind::Corrupt, BACKEND, "blob.get")
                .with_detail(format!("{key:?} is no regular file")));
        }
        Ok(Self { file, stamp: Stamp::of(&stat) })
    }

    fn load(&self, root: &Root, key: &BlobKey) -> Result<BlobMeta> {
        let meta = attr::load(&self.file, key, self.stamp.size)?;
        root.known.keep(self.stamp, &meta);
        Ok(meta)
    }
}

fn look_up(root: &Root, key: &BlobKey) -> Result<Option<Opened>> {
    let place = Place::of(key, root.folded);
    // Not to wait for the other end of a pipe that somebody put there.
    match root.open_at(place.path(), OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error::io("blob.get", error)),
        Ok(file) => Opened::new(File::from(file), key).map(Some),
    }
}

/// The file of `key` and what is known of it, expired or not.
pub(super) fn open(root: &Root, key: &BlobKey) -> Result<Option<(BlobMeta, File)>> {
    let Some(opened) = look_up(root, key)? else { return Ok(None) };
    Ok(Some((opened.load(root, key)?, opened.file)))
}

/// The file of `key` if nobody has to wait until it is open.
fn open_in_place(root: &Root, key: &BlobKey) -> Option<Opened> {
    let file = root.open_cached(Place::of(key, root.folded).path())?;
    Opened::new(File::from(file), key).ok()
}

/// What is known of the blob under `key`, expired or not, if no disk has to be asked.
pub(super) fn head_in_place(root: &Root, key: &BlobKey) -> Option<BlobMeta> {
    let opened = open_in_place(root, key)?;
    root.known.find(opened.stamp, key)
}

/// What a read of `key` finds, if it is small and all of it is in memory: the way to the file, its
/// attributes and its bytes. Otherwise the file, as far as it could be opened so.
pub(super) fn get_in_place(
    root: &Root,
    key: &BlobKey,
    options: &GetOptions,
    now: DateTime<Utc>,
) -> Result<Result<GetOutcome>, Option<Opened>> {
    let opened = open_in_place(root, key).ok_or(None)?;
    let Some(meta) = root.known.find(opened.stamp, key) else { return Err(Some(opened)) };
    if !meta.is_live(now) {
        return Ok(Ok(GetOutcome::Missing));
    }
    let range = match admit_read(&meta, options) {
        Ok(range) => range,
        Err(outcome) => return Ok(outcome),
    };
    let Some(bytes) = cached(&opened.file, &range) else { return Err(Some(opened)) };
    let stream = stream::iter([Ok(bytes)]);
    Ok(Ok(GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, stream)))))
}

/// The bytes in `range` if they are few and the kernel has them all in memory.
#[cfg(target_os = "linux")]
fn cached(file: &File, range: &Range<u64>) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};

    let len = usize::try_from((range.end - range.start).min(IN_PLACE + 1)).ok()?;
    if len as u64 > IN_PLACE {
        return None;
    }
    let mut bytes = vec![0; len];
    let slices = &mut [io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, slices, range.start, ReadWriteFlags::NOWAIT);
    (read == Ok(len)).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
fn cached(_: &File, _: &Range<u64>) -> Option<Bytes> {
    None
}

/// What a read of `key` finds, with the first piece already read; in `opened`, if that is it.
pub(super) fn get(
    root: &Root,
    opened: Option<Opened>,
    key: &BlobKey,
    options: &GetOptions,
    now: DateTime<Utc>,
) -> Result<GetOutcome> {
    let opened = match opened {
        Some(opened) => opened,
        None => match look_up(root, key)? {
            Some(opened) => opened,
            None => return Ok(GetOutcome::Missing),
        },
    };
    let meta = match root.known.find(opened.stamp, key) {
        Some(meta) => meta,
        None => opened.load(root, key)?,
    };
    if !meta.is_live(now) {
        return Ok(GetOutcome::Missing);
    }
    let range = match admit_read(&meta, options) {
        Ok(range) => range,
        Err(outcome) => return outcome,
    };
    let mut file = opened.file;
    let failed = |error: io::Error| error::io("blob.get", error);
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    }
    let mut left = range.end - range.start;
    let first = piece(&mut file, &mut left).map_err(failed)?;
    let stream = pieces(file, first, left);
    Ok(GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, stream))))
}

/// The next piece, as long as it can be, in as few calls as it takes.
fn piece(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let want = PIECE.min(usize::try_from(*left).unwrap_or(PIECE));
    let mut piece = vec![0; want];
    let mut len = 0;
    while len < want {
        match file.read(&mut piece[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(len);
    *left -= len as u64;
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

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use standfast_core::{Clock as _, Id128, SystemClock};

    use super::*;
    use crate::{Blobs, ByteRange, FsBlobStore};

    const KEY: &str = "d/a";

    struct Store {
        blobs: Blobs,
        root: Arc<Root>,
    }

    impl Store {
        fn get(&self, options: &GetOptions) -> Result<GetOutcome, Option<Opened>> {
            let key = BlobKey::new(KEY).unwrap();
            get_in_place(&self.root, &key, options, SystemClock.now()).map(Result::unwrap)
        }

        /// Reads until the next read needs nobody.
        async fn settle(&self) {
            let began = Instant::now();
            while self.get(&GetOptions::default()).is_err() {
                assert!(began.elapsed() < Duration::from_secs(30), "it is never remembered");
                self.blobs.get_bytes(KEY).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn text(outcome: Result<GetOutcome, Option<Opened>>) -> Bytes {
        let GetOutcome::Found(blob) = outcome.unwrap() else { panic!("it is there") };
        blob.bytes(100).await.unwrap()
    }

    async fn changes_are_seen(dir: &Path) {
        let store = FsBlobStore::open(dir).await.unwrap();
        let (root, blobs) = (Arc::clone(&store.root), Blobs::new(store));
        if root.open_cached(b".").is_none() {
            eprintln!("skipped: reads in place; set TMPDIR to a directory on ext4, XFS or Btrfs");
            return;
        }
        let store = Store { blobs: blobs.clone(), root };
        let all = GetOptions::default();
        blobs.put(KEY, "one").metadata("n", "1").await.unwrap();
        assert!(store.get(&all).is_err(), "nothing is known of what was never read");
        store.settle().await;
        assert_eq!(text(store.get(&all)).await, "one");
        let range = GetOptions { range: Some(ByteRange::from(1..3)), ..GetOptions::default() };
        assert_eq!(text(store.get(&range)).await, "ne");

        // other bytes of the same length
        blobs.put(KEY, "two").metadata("n", "1").await.unwrap();
        assert!(matches!(store.get(&all), Err(Some(_))), "opened, and unknown");
        assert_eq!(blobs.get_bytes(KEY).await.unwrap(), "two");
        store.settle().await;

        // other attributes, by somebody else
        let file = dir.join("d%/a");
        let (opened, key) = (File::open(&file).unwrap(), BlobKey::new(KEY).unwrap());
        let mut meta = attr::load(&opened, &key, 3).unwrap();
        meta.attributes = meta.attributes.with_metadata("n", "2");
        attr::store(&opened, &meta).unwrap();
        assert!(store.get(&all).is_err());
        let seen = blobs.head(KEY).await.unwrap().unwrap();
        assert_eq!(seen.attributes.metadata["n"], "2");
        store.settle().await;
        let seen = blobs.head(KEY).await.unwrap().unwrap();
        assert_eq!(seen.attributes.metadata["n"], "2");

        // the same file under another name, and a link in its place
        std::fs::hard_link(&file, dir.join("other")).unwrap();
        store.settle().await;
        let other = BlobKey::new("other").unwrap();
        let outcome = get_in_place(&store.root, &other, &all, SystemClock.now());
        assert!(matches!(outcome, Err(Some(_))), "it is the blob of another key");
        std::fs::remove_file(&file).unwrap();
        symlink(dir.join("other"), &file).unwrap();
        assert!(matches!(store.get(&all), Err(None)), "not even opened");
        assert_eq!(blobs.get(KEY).await.unwrap_err().kind(), ErrorKind::Denied);
        std::fs::rename(dir.join("other"), &file).unwrap();
        store.settle().await;

        blobs.delete(KEY).await.unwrap();
        assert!(store.get(&all).is_err());
        assert_eq!(blobs.get(KEY).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_read_in_place_is_never_what_was() {
        let dir = std::env::temp_dir().join(format!("standfast-read-{}", Id128::random()));
        changes_are_seen(&dir).await;
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn what_expired_is_not_read_in_place_either() {
        let dir = std::env::temp_dir().join(format!("standfast-read-{}", Id128::random()));
        let store = FsBlobStore::open(&dir).await.unwrap();
        let (root, blobs) = (Arc::clone(&store.root), Blobs::new(store));
        let store = Store { blobs: blobs.clone(), root };
        let lives = Duration::from_secs(3600);
        let until = blobs.put(KEY, "1").expires_in(lives).await.unwrap().expires_at.unwrap();
        if store.root.open_cached(b".").is_some() {
            store.settle().await;
            let key = BlobKey::new(KEY).unwrap();
            let read = |now| get_in_place(&store.root, &key, &GetOptions::default(), now);
            let before = read(until - Duration::from_micros(1)).unwrap();
            assert!(matches!(before, Ok(GetOutcome::Found(_))));
            assert!(matches!(read(until).unwrap(), Ok(GetOutcome::Missing)));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
