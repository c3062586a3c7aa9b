use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_blobstore::{BlobEntry, BlobKey, Precondition, Version};
use standfast_core::{ErrorKind, Result};

use super::marker::Marker;
use super::names::{CHANNELS, COMMITS, Channel, PINS, SETS, inner};
use super::pool::Pool;
use super::{AssetStore, HOUR, failed, is_younger, names};
use crate::digest::AssetId;

/// A collection that begins when it is awaited.
///
/// A set is kept by its *roots*: a channel where it is live or was among the last releases, a commit
/// that was published not long ago, a pin, or being named here. One without roots becomes a
/// tombstone: it still resolves, and whoever publishes or releases it takes it back. After the grace
/// period, if it still has no root, its commits are unbound and its files deleted. Files that
/// nobody finished publishing are condemned after the same period, and deleted an hour later.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// assets.publish(&LocalSet::embedded(&[("a.js", b"1")])?, &Commit::new("v1")?).await?;
/// let collected = assets.gc().dry_run().await?;
/// assert_eq!((collected.kept, collected.tombstoned.len()), (1, 0));
/// # Ok(()) }
/// ```
#[must_use = "nothing is collected until it is awaited"]
pub struct Gc<'a> {
    assets: &'a AssetStore,
    grace: Duration,
    commits: Duration,
    concurrency: usize,
    releases: usize,
    keep: HashSet<AssetId>,
    is_dry: bool,
}

/// What a collection did, or would do.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::AssetStore;
/// use standfast_blobstore::MemoryBlobStore;
///
/// let collected = AssetStore::new(MemoryBlobStore::new()).gc().await?;
/// assert!(collected.deleted.is_empty() && collected.bytes == 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Collected {
    /// How many live sets stay.
    pub kept: usize,
    /// Sets that will be deleted after the grace period, from now on.
    pub tombstoned: Vec<AssetId>,
    /// Sets that are to be deleted once some time has passed.
    pub waiting: Vec<AssetId>,
    /// Tombstones that have a root again and are live again.
    pub revived: Vec<AssetId>,
    /// Sets that are gone.
    pub deleted: Vec<AssetId>,
    /// Sets that nobody finished publishing: what there is of them is condemned from now on, and
    /// deleted by a collection an hour later.
    pub unfinished: Vec<AssetId>,
    /// Sets that something keeps although they are being deleted: publish them again.
    pub broken: Vec<AssetId>,
    /// How many objects were deleted.
    pub objects: usize,
    /// How many bytes they had.
    pub bytes: u64,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl AssetStore {
    /// Deletes what nothing keeps, when awaited.
    ///
    /// # Errors
    ///
    /// `Invalid` for a grace period under an hour, or longer than commits are kept; what the store
    /// met. What was done before an error stays done, and the next collection goes on.
    pub fn gc(&self) -> Gc<'_> {
        Gc {
            assets: self,
            grace: 7 * DAY,
            commits: 30 * DAY,
            concurrency: 32,
            releases: 10,
            keep: HashSet::new(),
            is_dry: false,
        }
    }
}

/// A commit's pointer as it was listed.
struct Pointer {
    key: BlobKey,
    version: Version,
}

/// What was known when the collection began.
struct View {
    now: DateTime<Utc>,
    roots: HashSet<AssetId>,
    /// Pointers that are no roots, by their set.
    pointers: HashMap<AssetId, Vec<Pointer>>,
}

impl Gc<'_> {
    /// How long a set without roots can still be resolved and taken back; seven days unless set. It
    /// must exceed the longest time that a page is open or cached.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// How long a commit keeps its set from when it was last published; 30 days unless set.
    pub fn keep_commits_for(self, commits: Duration) -> Self {
        Self { commits, ..self }
    }

    /// How many releases before the live one a channel keeps; ten unless set.
    pub fn keep_releases(self, releases: usize) -> Self {
        Self { releases, ..self }
    }

    /// Keeps these sets, too: such as those that running instances report.
    pub fn keep(mut self, sets: impl IntoIterator<Item = AssetId>) -> Self {
        self.keep.extend(sets);
        self
    }

    /// How many commits are read, or files deleted, at the same time; 32 unless set.
    pub fn concurrency(self, requests: usize) -> Self {
        Self { concurrency: requests.max(1), ..self }
    }

    /// Changes nothing, and tells what would be done, by this machine's clock.
    pub fn dry_run(self) -> Self {
        Self { is_dry: true, ..self }
    }

    async fn run(self) -> Result<Collected> {
        if self.grace < HOUR || self.commits < self.grace {
            let detail = "the grace period is an hour at least, and commits are kept no shorter";
            return Err(failed(ErrorKind::Invalid, "gc", detail));
        }
        let view = self.look().await?;
        let sets = self.assets.io.list(SETS).await?;
        let mut collected = Collected::default();
        let mut known = HashSet::new();
        for entry in sets {
            let Some(id) = inner(&entry.key, SETS, ".txt") else { continue };
            known.insert(id);
            self.judge(id, &entry, &view, &mut collected).await?;
        }
        for folder in self.assets.io.folders().await? {
            let Ok(id) = folder.trim_end_matches('/').parse::<AssetId>() else { continue };
            if !known.contains(&id) && !view.roots.contains(&id) {
                self.condemn_unfinished(id, &view, &mut collected).await?;
            }
        }
        Ok(collected)
    }

    /// Reads the roots. The time is read before them: a tombstone that is older than the grace
    /// period by then was there long before whatever could have been bound to it.
    async fn look(&self) -> Result<View> {
        let io = &self.assets.io;
        let now = if self.is_dry { io.clock.now() } else { self.assets.time().await? };
        let mut roots = self.keep.clone();
        for entry in io.list(PINS).await? {
            roots.extend(inner::<AssetId>(&entry.key, PINS, ".txt"));
        }
        for entry in io.list(CHANNELS).await? {
            let Some(name) = inner::<Channel>(&entry.key, CHANNELS, ".json") else { continue };
            if let Some((state, _)) = self.assets.channel(&name).await? {
                roots.extend(state.roots(self.releases));
            }
        }
        let reads = io.list(COMMITS).await?.into_iter().map(|entry| async move {
            let text = io.get(&entry.key).await?;
            let read =
                text.map(|text| Ok((names::pointed(&entry.key, &text.bytes)?, text.version)));
            Ok::<_, standfast_core::Error>((entry, read.transpose()?))
        });
        let mut reads = stream::iter(reads).buffer_unordered(self.concurrency);
        let mut pointers: HashMap<_, Vec<_>> = HashMap::new();
        while let Some((entry, read)) = reads.try_next().await? {
            let Some((id, version)) = read else { continue };
            let BlobEntry { key, modified_at, .. } = entry;
            // one that was written since it was listed is as young as can be
            if version != entry.version || is_younger(modified_at, now, self.commits) {
                roots.insert(id);
            } else {
                pointers.entry(id).or_default().push(Pointer { key, version });
            }
        }
        Ok(View { now, roots, pointers })
    }

    async fn judge(
        &self,
        id: AssetId,
        entry: &BlobEntry,
        view: &View,
        collected: &mut Collected,
    ) -> Result<()> {
        let Some((marker, version)) = self.assets.marker(id).await? else { return Ok(()) };
        let is_root = view.roots.contains(&id);
        let is_young = |span| is_younger(entry.modified_at, view.now, span);
        match marker {
            Marker::Live(_) if is_root => collected.kept += 1,
            // its commit may be bound in a moment
            Marker::Live(_) if is_young(HOUR) => collected.kept += 1,
            Marker::Live(listed) => {
                if self.set(id, &Marker::Tombstone(listed), &version).await? {
                    collected.tombstoned.push(id);
                }
            }
            Marker::Tombstone(listed) if is_root => {
                if self.set(id, &Marker::Live(listed), &version).await? {
                    collected.revived.push(id);
                }
            }
            Marker::Tombstone(_) if version != entry.version || is_young(self.grace) => {
                collected.waiting.push(id);
            }
            Marker::Condemned if is_root => collected.broken.push(id),
            // a publisher may not have noticed yet, or another collector be at it
            Marker::Condemned if version != entry.version || is_young(HOUR) => {
                collected.waiting.push(id);
            }
            _ if self.assets.has_unique_versions() => {
                self.unbind(id, view, collected).await?;
                if self.delete(id, version, collected).await? {
                    collected.deleted.push(id);
                }
            }
            marker => {
                let is_condemned = marker == Marker::Condemned;
                self.delete_in_time(id, version, is_condemned, view, collected).await?;
            }
        }
        Ok(())
    }

    /// Changes the marker, unless somebody else has.
    ///
    /// Died before it: as it was; after it: a tombstone is taken back or collected by others.
    async fn set(&self, id: AssetId, marker: &Marker, version: &Version) -> Result<bool> {
        if self.is_dry {
            return Ok(true);
        }
        let precondition = Precondition::IfMatch(version.clone());
        let put = self.assets.io.put(names::marker(id), marker.encode(), precondition);
        Ok(put.await?.is_some())
    }

    /// Deletes the pointers to a set, before anything else of it: whoever can read one can read the
    /// set. One that was written since stays.
    ///
    /// Died in between: the rest of them still resolve, and the next collection goes on.
    async fn unbind(&self, id: AssetId, view: &View, collected: &mut Collected) -> Result<()> {
        for pointer in view.pointers.get(&id).into_iter().flatten() {
            if !self.is_dry {
                self.assets.io.delete(&pointer.key, &pointer.version).await?;
            }
            collected.objects += 1;
        }
        Ok(())
    }

    /// Deletes the files of a set and then its marker; whether it was ours to delete.
    ///
    /// The files are listed first, then the marker says that they are condemned, and then exactly
    /// the listed versions are deleted. A publisher that saw the marker before fails to write it;
    /// one that sees it now writes all files anew, and what it writes has other versions.
    ///
    /// Died in between: the marker stays condemned, and the next collection lists what is left and
    /// condemns it anew, so that a publisher who began in between begins again.
    async fn delete(
        &self,
        id: AssetId,
        version: Version,
        collected: &mut Collected,
    ) -> Result<bool> {
        let io = &self.assets.io;
        let files = io.list(&format!("{id}/")).await?;
        if !self.is_dry {
            let Some(condemned) = self.condemn(id, Precondition::IfMatch(version)).await? else {
                return Ok(false);
            };
            let mut pool = Pool::new(self.concurrency);
            for file in &files {
                pool.add(io.delete(&file.key, &file.version)).await?;
            }
            while pool.next().await?.is_some() {}
            io.delete(&names::marker(id), &condemned).await?;
        }
        collected.objects += files.len();
        collected.bytes += files.iter().map(|file| file.size).sum::<u64>();
        Ok(true)
    }

    /// The same where a delete of a version can hit equal bytes that somebody wrote since.
    ///
    /// Time divides the two: things are deleted only for some minutes after the marker was
    /// condemned, or condemned anew; and written only when it has been that for an hour, so that no
    /// delete is on its way any more. Therefore the pointers go after the marker was condemned,
    /// and the marker itself stays until a collection finds nothing else: by then the last
    /// delete is an hour old.
    ///
    /// Died in between: as above.
    async fn delete_in_time(
        &self,
        id: AssetId,
        version: Version,
        is_condemned: bool,
        view: &View,
        collected: &mut Collected,
    ) -> Result<()> {
        let io = &self.assets.io;
        let files = io.list(&format!("{id}/")).await?;
        let pointers = view.pointers.get(&id).map_or(&[][..], Vec::as_slice);
        if is_condemned && files.is_empty() && pointers.is_empty() {
            if !self.is_dry {
                io.delete(&names::marker(id), &version).await?;
            }
            return Ok(());
        }
        if !self.is_dry {
            let pointers = pointers.iter().map(|pointer| (&pointer.key, &pointer.version));
            let files = files.iter().map(|file| (&file.key, &file.version));
            let mut since = io.clock.instant();
            let mut condemned = self.condemn(id, Precondition::IfMatch(version)).await?;
            let mut pool = Pool::new(self.concurrency);
            for (key, seen) in pointers.chain(files) {
                if self.assets.is_past(since)
                    && let Some(before) = condemned
                {
                    while pool.next().await?.is_some() {}
                    since = io.clock.instant();
                    condemned = self.condemn(id, Precondition::IfMatch(before)).await?;
                }
                if condemned.is_none() {
                    break;
                }
                pool.add(io.delete(key, seen)).await?;
            }
            while pool.next().await?.is_some() {}
            if condemned.is_none() {
                // somebody took it back, or collects it as well
                return Ok(());
            }
        }
        collected.objects += pointers.len() + files.len();
        collected.bytes += files.iter().map(|file| file.size).sum::<u64>();
        collected.deleted.push(id);
        Ok(())
    }

    /// Marks a set as condemned, unless somebody else has changed its marker.
    async fn condemn(&self, id: AssetId, precondition: Precondition) -> Result<Option<Version>> {
        let text = Marker::Condemned.encode();
        let put = self.assets.io.put(names::marker(id), text, precondition);
        Ok(put.await?.map(|meta| meta.version))
    }

    /// Condemns files that no marker names and nobody has added to for the grace period. They are
    /// deleted an hour later at the soonest: a publisher who saw that there is no marker, and then
    /// all files, writes the marker within that time and fails now.
    ///
    /// Died after it: as it should be.
    async fn condemn_unfinished(
        &self,
        id: AssetId,
        view: &View,
        collected: &mut Collected,
    ) -> Result<()> {
        let files = self.assets.io.list(&format!("{id}/")).await?;
        if files.iter().any(|file| is_younger(file.modified_at, view.now, self.grace)) {
            return Ok(());
        }
        if self.is_dry || self.condemn(id, Precondition::IfAbsent).await?.is_some() {
            collected.unfinished.push(id);
        }
        Ok(())
    }
}

impl<'a> IntoFuture for Gc<'a> {
    type Output = Result<Collected>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Gc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gc").field("grace", &self.grace).finish_non_exhaustive()
    }
}
