use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use standfast_blobstore::{Precondition, Version};
use standfast_core::{Backoff, Error, ErrorKind, Result};

use super::io::{Text, contended};
use super::marker::{Listed, Marker};
use super::names::{Channel, Commit};
use super::profile::Profile;
use super::{AssetStore, HOUR, ROUNDS, failed, is_younger, names};
use crate::digest::{AssetId, Digest};
use crate::local::LocalSet;
use crate::manifest::Manifest;
use crate::progress::Progress;

/// Whose files are copied inside the store instead of uploaded.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet, Previous};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let old = LocalSet::embedded(&[("a.js", b"1"), ("b.js", b"2")])?;
/// let new = LocalSet::embedded(&[("a.js", b"1"), ("b.js", b"3")])?;
/// assets.publish(&old, &Commit::new("v1")?).await?;
/// let v2 = assets.publish(&new, &Commit::new("v2")?).previous(Previous::Newest).await?;
/// assert_eq!((v2.copied, v2.uploaded), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Previous {
    /// That of the set that was published last.
    #[default]
    Newest,
    /// Nobody's: every file is uploaded.
    None,
    /// That of this set.
    Set(AssetId),
}

/// A publication that begins when it is awaited.
///
/// Died at any step: what is uploaded stays and is used by the next attempt; the marker is only
/// there when all files are; the commit is only bound when the marker is there. What nobody
/// finishes is collected.
///
/// # Cancellation
///
/// As if it had died.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Channel, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let set = LocalSet::embedded(&[("a.js", b"1")])?;
/// let commit = Commit::new("v1")?;
/// let tried = assets.publish(&set, &commit).dry_run().await?;
/// assert_eq!(tried.uploaded, 1, "it would be");
/// let published = assets.publish(&set, &commit).channel(Channel::new("production")?).await?;
/// let again = assets.publish(&set, &commit).await?;
/// assert!(published.is_new && !again.is_new);
/// # Ok(()) }
/// ```
#[must_use = "nothing is published until it is awaited"]
pub struct Publish<'a> {
    pub(super) assets: &'a AssetStore,
    pub(super) set: &'a LocalSet,
    commit: Commit,
    channel: Option<Channel>,
    pub(super) concurrency: usize,
    pub(super) is_dry: bool,
    is_rebind: bool,
    is_reprofile: bool,
    pub(super) previous: Previous,
    pub(super) profile: Profile,
    pub(super) progress: Progress,
}

/// What a publication did, or would do.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let set = LocalSet::embedded(&[("a.js", b"1")])?;
/// let published = assets.publish(&set, &Commit::new("v1")?).await?;
/// assert_eq!(published.id, set.manifest().id());
/// assert_eq!((published.uploaded, published.uploaded_bytes, published.skipped), (1, 1, 0));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// The id of the set.
    pub id: AssetId,
    /// Its whole digest.
    pub digest: Digest,
    /// Whether its marker was written: it was not there, or was to be deleted.
    pub is_new: bool,
    /// Files that were uploaded.
    pub uploaded: usize,
    /// Bytes that were uploaded.
    pub uploaded_bytes: u64,
    /// Files that were copied inside the store.
    pub copied: usize,
    /// Files that were there already.
    pub skipped: usize,
    /// Whether the set is there with other headers than these, which were left as they are.
    pub has_other_profile: bool,
    /// Which set the commit was bound to before it was bound anew.
    pub rebound: Option<AssetId>,
}

impl AssetStore {
    /// Publishes the set as that of the commit, when awaited.
    ///
    /// # Errors
    ///
    /// - `Conflict`: the commit is bound to another set; the detail names files that differ. With
    ///   [`ChangedDuringRead`](standfast_core::Reason::ChangedDuringRead), retryable: a file is not
    ///   as it was hashed. Retryable without that reason: others kept changing the same set; or it
    ///   is being deleted, and the store could not tell its new files from the old ones.
    /// - `Checksum`, `Corrupt`: the marker in the store was tampered with.
    /// - `Unsupported`: the store keeps nothing public; or a newer release wrote it.
    /// - What the store met.
    ///
    /// After an error nothing new is bound to the commit, unless it is `OutcomeUnknown`.
    pub fn publish<'a>(&'a self, set: &'a LocalSet, commit: &Commit) -> Publish<'a> {
        Publish {
            assets: self,
            set,
            commit: commit.clone(),
            channel: None,
            concurrency: 32,
            is_dry: false,
            is_rebind: false,
            is_reprofile: false,
            previous: Previous::default(),
            profile: Profile::default(),
            progress: Progress::new(),
        }
    }
}

impl Publish<'_> {
    /// Makes the set the live one there, too, once it is published.
    pub fn channel(self, channel: Channel) -> Self {
        Self { channel: Some(channel), ..self }
    }

    /// How many files are uploaded at the same time; 32 unless set.
    pub fn concurrency(self, files: usize) -> Self {
        Self { concurrency: files.max(1), ..self }
    }

    /// Writes nothing, and tells what would be done.
    pub fn dry_run(self) -> Self {
        Self { is_dry: true, ..self }
    }

    /// Binds the commit to this set although it is bound to another one.
    pub fn rebind(self) -> Self {
        Self { is_rebind: true, ..self }
    }

    /// Gives the files of a set that is there the headers of this profile.
    pub fn reprofile(self) -> Self {
        Self { is_reprofile: true, ..self }
    }

    /// Whose files are copied inside the store.
    pub fn previous(self, previous: Previous) -> Self {
        Self { previous, ..self }
    }

    /// With which headers the files are published.
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// Tells how far it has come, and can be stopped, through these counters.
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        self.set.manifest()
    }

    async fn run(self) -> Result<Published> {
        self.check()?;
        let manifest = self.manifest();
        let mut done = Published {
            id: manifest.id(),
            digest: manifest.digest(),
            is_new: false,
            uploaded: 0,
            uploaded_bytes: 0,
            copied: 0,
            skipped: 0,
            has_other_profile: false,
            rebound: None,
        };
        for round in 1..=ROUNDS {
            if self.attempt(&mut done).await? {
                // after a second round a file may have been uploaded twice
                let files = manifest.files().len();
                done.skipped = files.saturating_sub(done.uploaded + done.copied);
                if let Some(channel) = self.channel.as_ref().filter(|_| !self.is_dry) {
                    self.assets.promote_as(channel, done.id, Some(&self.commit)).await?;
                }
                return Ok(done);
            }
            self.assets.io.clock.sleep(BETWEEN.next(round)).await;
        }
        Err(contended(&format!("set {} or commit {}", done.id, self.commit)))
    }

    /// Refuses what no attempt can bring about, before the first request.
    fn check(&self) -> Result<()> {
        let public = self.profile.visibility() == standfast_blobstore::Visibility::Public;
        if public && !self.assets.store().capabilities().public {
            let detail = "the store keeps nothing public; publish with a private profile";
            return Err(failed(ErrorKind::Unsupported, "publish", detail));
        }
        let files = self.manifest().files();
        files.iter().try_for_each(|file| self.profile.attributes(&file.path).check())
    }

    /// One way through the protocol; false if others changed what it was at.
    ///
    /// Three requests when the set is there: the pointer is read, the marker is read, the pointer
    /// is written. It is written although it is there, since its age makes it a root.
    async fn attempt(&self, done: &mut Published) -> Result<bool> {
        let (io, id) = (&self.assets.io, done.id);
        self.progress.check()?;
        let pointer = names::pointer(&self.commit);
        let bound = match io.get(&pointer).await? {
            None => None,
            Some(text) => Some((names::pointed(&pointer, &text.bytes)?, text)),
        };
        if let Some((other, _)) = &bound
            && *other != id
        {
            if !self.is_rebind {
                return Err(self.taken(*other).await);
            }
            done.rebound = Some(*other);
        }
        let mut seen = io.clock.instant();
        let marker = self.assets.marker(id).await?;
        let profile = self.profile.digest(self.manifest());
        match &marker {
            Some((Marker::Live(listed), version)) => {
                self.same(listed)?;
                done.has_other_profile = listed.profile != profile;
                if done.has_other_profile && self.is_reprofile && !self.is_dry {
                    if !self.give_profile(profile, version).await? {
                        return Ok(false);
                    }
                    done.has_other_profile = false;
                }
            }
            other => {
                if let Some(listed) = other.as_ref().and_then(|(marker, _)| marker.listed()) {
                    self.same(listed)?;
                }
                if let Some((Marker::Condemned, version)) = other {
                    self.stand_back(version).await?;
                }
                if !self.fill(other.as_ref(), done).await? {
                    return Ok(false);
                }
                done.is_new = true;
                if !self.is_dry {
                    // that there was no marker, and then all files, is only good for some time: a
                    // collector may have condemned and deleted them since. Once more finds them all.
                    if other.is_none() && self.assets.is_past(seen) {
                        return Ok(false);
                    }
                    seen = io.clock.instant();
                    let version = other.as_ref().map(|(_, version)| version);
                    if !self.mark(version, profile).await? {
                        return Ok(false);
                    }
                }
            }
        }
        if self.is_dry {
            return Ok(true);
        }
        // looked at before, so as not to name what may be gone; and after, so as to look again
        let before = bound.map(|(_, text)| text);
        Ok(!self.assets.is_past(seen) && self.bind(before).await? && !self.assets.is_past(seen))
    }

    /// Whether a set of the same id is the same set.
    fn same(&self, listed: &Listed) -> Result<()> {
        if listed.manifest.digest() == self.manifest().digest() {
            return Ok(());
        }
        let detail = format!("set {} in the store has another digest", listed.manifest.id());
        Err(failed(ErrorKind::Checksum, "publish", detail))
    }

    /// Refuses to write what a collector may delete in this moment, where it could not tell what is
    /// written from what it listed.
    async fn stand_back(&self, condemned: &Version) -> Result<()> {
        let (assets, id) = (self.assets, self.manifest().id());
        if assets.has_unique_versions() {
            return Ok(());
        }
        // one that was condemned anew fails at the marker, and comes here again
        let marker = &names::marker(id);
        let head = assets.io.again(|| assets.io.store.head(marker)).await?;
        let Some(meta) = head.filter(|meta| meta.version == *condemned) else { return Ok(()) };
        let now = if self.is_dry { assets.io.clock.now() } else { assets.time().await? };
        if !is_younger(meta.modified_at, now, HOUR) {
            return Ok(());
        }
        let age = now.signed_duration_since(meta.modified_at).to_std().unwrap_or_default();
        let detail = format!("set {id} is being deleted; it can be published anew in an hour");
        Err(failed(ErrorKind::Conflict, "publish", detail)
            .with_retryable(true)
            .with_retry_after(HOUR - age))
    }

    /// Writes the marker: from here on the set is there.
    ///
    /// Died before it: the files are there without a marker, and are used by the next attempt or
    /// collected. After it: the set is complete and nothing names it, so the next attempt binds it
    /// or it is collected.
    async fn mark(&self, seen: Option<&Version>, profile: Digest) -> Result<bool> {
        let listed = Listed { manifest: self.manifest().clone(), profile };
        // another publisher may have been first, or a collector come between
        let precondition = condition(seen);
        let key = names::marker(self.manifest().id());
        let put = self.assets.io.put(key, Marker::Live(listed).encode(), precondition);
        Ok(put.await?.is_some())
    }

    /// Binds the commit. Died before it: the set is there and nothing names it; after it: done.
    async fn bind(&self, before: Option<Text>) -> Result<bool> {
        let precondition = condition(before.as_ref().map(|text| &text.version));
        let text = format!("{}\n", self.manifest().id());
        let key = names::pointer(&self.commit);
        Ok(self.assets.io.put(key, text, precondition).await?.is_some())
    }

    /// Gives the files of a live set the headers of the profile, then notes it in the marker.
    ///
    /// Died in between: some files have the new headers, the marker names the old ones, and the
    /// next attempt does the rest.
    async fn give_profile(&self, profile: Digest, version: &Version) -> Result<bool> {
        self.rewrite().await?;
        self.mark(Some(version), profile).await
    }

    /// Says that the commit is bound to another set, and how they differ.
    async fn taken(&self, other: AssetId) -> Error {
        let commit = &self.commit;
        let mut detail = format!("commit {commit} is bound to set {other}");
        if let Ok(listed) = self.assets.listed(other).await {
            let diff = listed.manifest.diff(self.manifest());
            let lists =
                [("added", diff.added), ("changed", diff.changed), ("removed", diff.removed)];
            for (what, paths) in lists.iter().filter(|(_, paths)| !paths.is_empty()) {
                let shown = paths.iter().take(SHOWN).map(|path| format!("{path:?}"));
                detail += &format!("; {what}: {}", shown.collect::<Vec<_>>().join(", "));
                if paths.len() > SHOWN {
                    detail += &format!(" and {} more", paths.len() - SHOWN);
                }
            }
        }
        failed(ErrorKind::Conflict, "publish", detail)
    }
}

/// Nothing may have changed since this version, or the absence of any, was seen.
fn condition(seen: Option<&Version>) -> Precondition {
    seen.map_or(Precondition::IfAbsent, |version| Precondition::IfMatch(version.clone()))
}

/// How many paths of each kind an error names.
const SHOWN: usize = 20;
const BETWEEN: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<Published>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("set", self.set)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}
