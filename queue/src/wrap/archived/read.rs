//! Reading an archive in the order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use standfast_blobstore::{BlobKey, BlobStore, GetOptions, GetOutcome, ListOptions, PageToken};
use standfast_core::{Error, ErrorKind, Result};

use super::check_prefix;
use super::filter::ReplayFilter;
use super::record::{ArchiveRecord, Next, Order};
use super::replay::Replay;
use super::segment::{Name, SegmentReader};

/// The archive that [`Archived`](super::Archived) queues have written under one prefix.
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_blobstore::MemoryBlobStore;
/// use standfast_queue::wrap::Archive;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let store = Arc::new(MemoryBlobStore::new());
/// let mut records = Archive::new(store, "archive")?.records(None, None);
/// while let Some(record) = records.next().await? {
///     println!("{} {} {}", record.at, record.event.as_str(), record.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) prefix: String,
}

impl Archive {
    /// The archive under `prefix` of `store`. Does no I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a prefix that no key can begin with.
    pub fn new(store: Arc<dyn BlobStore>, prefix: impl Into<String>) -> Result<Self> {
        let prefix = prefix.into();
        check_prefix(&prefix)?;
        Ok(Self { store, prefix })
    }

    /// The records from `since` on and before `until`, in the order of time.
    ///
    /// In memory is one segment for each process that wrote at the same time, times four if it
    /// wrote as fast as it could, and one record.
    pub fn records(
        &self,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
    ) -> ArchiveRecords {
        ArchiveRecords {
            archive: self.clone(),
            since,
            until,
            listed: VecDeque::new(),
            listing: Listing::Begin,
            open: HashMap::new(),
            heads: BinaryHeap::new(),
            next: 0,
            segments: 0,
            damaged: 0,
            truncated: 0,
        }
    }

    /// Sends messages of the archive again. The name is that of the undertaking: run again under
    /// the same name, it goes on where it was interrupted.
    pub fn replay(&self, name: impl Into<String>, filter: ReplayFilter) -> Replay {
        Replay::new(self.clone(), name.into(), filter)
    }
}

/// Records of an [`Archive`] as they are read.
///
/// What cannot be read is counted, logged and left out: single records whose checksum is wrong, and
/// the end of segments that were cut off.
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_blobstore::MemoryBlobStore;
/// # use standfast_queue::wrap::Archive;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut records = Archive::new(Arc::new(MemoryBlobStore::new()), "archive")?.records(None, None);
/// assert!(records.next().await?.is_none());
/// assert_eq!((records.segments(), records.damaged(), records.truncated()), (0, 0, 0));
/// # Ok(()) }
/// ```
pub struct ArchiveRecords {
    archive: Archive,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// Segments that are still to be opened, in the order of their first records.
    listed: VecDeque<Name>,
    listing: Listing,
    open: HashMap<u64, Open>,
    /// The next record of each open segment.
    heads: BinaryHeap<Reverse<(Order, u64)>>,
    next: u64,
    segments: u64,
    damaged: u64,
    truncated: u64,
}

enum Listing {
    Begin,
    At(PageToken),
    End,
}

struct Open {
    key: BlobKey,
    reader: SegmentReader,
    head: ArchiveRecord,
}

impl ArchiveRecords {
    /// How many segments were opened so far.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// How many records could not be read so far.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How many segments could not be read to their end so far.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The next record; `None` at the end.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost; the next call goes on.
    ///
    /// # Errors
    ///
    /// `Unsupported` with `NewerVersion` for a segment of a newer library; what the store meets.
    /// The next call tries again.
    pub async fn next(&mut self) -> Result<Option<ArchiveRecord>> {
        loop {
            // whatever may come before the next record has to be open
            while let Some(name) = self.upcoming().await? {
                let is_due =
                    self.heads.peek().is_none_or(|Reverse((head, _))| name.first <= head.0);
                if !is_due {
                    break;
                }
                self.open(&name).await?;
                self.listed.pop_front();
            }
            let Some(Reverse((_, number))) = self.heads.pop() else { return Ok(None) };
            let Some(open) = self.open.remove(&number) else { continue };
            let Open { key, reader, head } = open;
            self.advance(number, key, reader);
            if self.until.is_some_and(|until| head.at >= until) {
                continue;
            }
            return Ok(Some(head));
        }
    }

    /// The segment that is to be opened next.
    async fn upcoming(&mut self) -> Result<Option<Name>> {
        loop {
            if let Some(name) = self.listed.front() {
                if self.until.is_some_and(|until| name.first >= until) {
                    (self.listing, self.listed) = (Listing::End, VecDeque::new());
                    return Ok(None);
                }
                return Ok(Some(name.clone()));
            }
            let mut options = ListOptions::prefix(format!("{}/segments/", self.archive.prefix));
            match &self.listing {
                Listing::Begin => {
                    if let Some(since) = self.since {
                        options =
                            options.with_start_after(Name::before(&self.archive.prefix, since));
                    }
                }
                Listing::At(token) => options = options.with_token(token.clone()),
                Listing::End => return Ok(None),
            }
            let page = self.archive.store.list(&options).await?;
            let mut listed = VecDeque::new();
            for entry in page.blobs {
                match Name::parse(&entry.key)? {
                    Some(name) if self.since.is_none_or(|since| name.last >= since) => {
                        listed.push_back(name);
                    }
                    Some(_) => {}
                    None => tracing::warn!(key = %entry.key, "no segment of an archive"),
                }
            }
            self.listed = listed;
            self.listing = page.next.map_or(Listing::End, Listing::At);
        }
    }

    async fn open(&mut self, name: &Name) -> Result<()> {
        // the records have checksums of their own, and what is damaged may be readable in part
        let options = GetOptions::default().with_skip_verify();
        let GetOutcome::Found(blob) = self.archive.store.get(&name.key, &options).await? else {
            tracing::debug!(key = %name.key, "a segment has expired meanwhile");
            return Ok(());
        };
        let (mut bytes, mut is_whole) = (BytesMut::new(), true);
        let mut pieces = blob.into_stream();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) if is_damage(&error) => is_whole = false,
                Err(error) => return Err(error),
            }
        }
        let reader = SegmentReader::new(bytes.freeze(), is_whole)?;
        self.segments += 1;
        match reader {
            Some(reader) => {
                let number = self.next;
                self.next += 1;
                self.advance(number, name.key.clone(), reader);
            }
            None => self.cut_off(&name.key),
        }
        Ok(())
    }

    /// Reads the next record of a segment, or closes it.
    fn advance(&mut self, number: u64, key: BlobKey, mut reader: SegmentReader) {
        loop {
            match reader.next() {
                Next::Record(head) if self.since.is_some_and(|since| head.at < since) => {}
                Next::Record(head) => {
                    self.heads.push(Reverse((head.order(), number)));
                    self.open.insert(number, Open { key, reader, head: *head });
                    return;
                }
                Next::Damaged => {
                    tracing::error!(%key, "a record of the archive is damaged");
                    self.damaged += 1;
                }
                Next::Truncated => return self.cut_off(&key),
                Next::End => return,
            }
        }
    }

    fn cut_off(&mut self, key: &BlobKey) {
        tracing::error!(%key, "a segment of the archive cannot be read to its end");
        self.truncated += 1;
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Checksum | ErrorKind::Corrupt)
}

impl fmt::Debug for ArchiveRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveRecords")
            .field("archive", &self.archive)
            .field("since", &self.since)
            .field("until", &self.until)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}
