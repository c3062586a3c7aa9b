use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_core::Result;

use super::channel::Release;
use super::marker::Marker;
use super::names::{CHANNELS, COMMITS, Channel, Commit, PINS, SETS, inner};
use super::{AssetStore, names};
use crate::digest::AssetId;

/// How it is with a set.
///
/// ```
/// use standfast_asset_hash::SetState;
///
/// assert_eq!(SetState::Live.to_string(), "live");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SetState {
    /// It is being deleted.
    Condemned,
    /// All files are there, and stay.
    Live,
    /// All files are there, and will be deleted after the grace period.
    Tombstone,
}

impl std::fmt::Display for SetState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Condemned => "condemned",
            Self::Live => "live",
            Self::Tombstone => "tombstone",
        })
    }
}

/// A set in a store, and what names it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// assets.publish(&set, &commit).await?;
/// let entry = assets.inventory().await?.sets.remove(0);
/// assert_eq!((entry.files, entry.bytes, entry.commits), (1, 1, vec![commit]));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetEntry {
    /// The set.
    pub id: AssetId,
    /// How it is with it.
    pub state: SetState,
    /// Since when, by the clock of the store.
    pub since: DateTime<Utc>,
    /// How many files it has; none are known of a condemned one.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// The commits that are bound to it.
    pub commits: Vec<Commit>,
    /// The channels where it is live.
    pub channels: Vec<Channel>,
    /// Why it is pinned, if it is.
    pub pin: Option<String>,
}

/// What is in a store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::AssetStore;
/// use standfast_blobstore::MemoryBlobStore;
///
/// let inventory = AssetStore::new(MemoryBlobStore::new()).inventory().await?;
/// assert!(inventory.sets.is_empty() && inventory.dangling.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Inventory {
    /// The sets, the newest first.
    pub sets: Vec<SetEntry>,
    /// The channels and what is live there.
    pub channels: BTreeMap<Channel, Release>,
    /// Commits that name a set which is not there: somebody deleted it past the collector.
    pub dangling: Vec<Commit>,
}

impl AssetStore {
    /// Reads what is in the store: a request for each set, commit, channel and pin.
    ///
    /// # Errors
    ///
    /// What the store met, and what cannot be read.
    pub async fn inventory(&self) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        let sets = self.io.list(SETS).await?;
        let sets = sets
            .into_iter()
            .filter_map(|entry| Some((inner(&entry.key, SETS, ".txt")?, entry.modified_at)));
        let reads = sets.map(|(id, since)| async move {
            let marker = self.marker(id).await?.map(|(marker, _)| marker);
            Ok::<_, standfast_core::Error>(marker.map(|marker| entry(id, since, &marker)))
        });
        let sets: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        inventory.sets = sets.into_iter().flatten().collect();
        inventory.sets.sort_by_key(|set| std::cmp::Reverse((set.since, set.id)));

        let reads = self.io.list(COMMITS).await?.into_iter().filter_map(|entry| {
            let commit: Commit = inner(&entry.key, COMMITS, ".txt")?;
            Some(async move {
                let text = self.io.get(&entry.key).await?;
                let id = text.map(|text| names::pointed(&entry.key, &text.bytes)).transpose()?;
                Ok::<_, standfast_core::Error>(id.map(|id| (commit, id)))
            })
        });
        let commits: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        for (commit, id) in commits.into_iter().flatten() {
            match inventory.sets.iter_mut().find(|set| set.id == id) {
                Some(set) => set.commits.push(commit),
                None => inventory.dangling.push(commit),
            }
        }
        for entry in self.io.list(CHANNELS).await? {
            let Some(name) = inner::<Channel>(&entry.key, CHANNELS, ".json") else { continue };
            let Some((state, _)) = self.channel(&name).await? else { continue };
            let release = state.live().clone();
            let mut sets = inventory.sets.iter_mut();
            if let Some(set) = sets.find(|set| set.id == release.id) {
                set.channels.push(name.clone());
            }
            inventory.channels.insert(name, release);
        }
        for entry in self.io.list(PINS).await? {
            let Some(id) = inner::<AssetId>(&entry.key, PINS, ".txt") else { continue };
            let Some(text) = self.io.get(&entry.key).await? else { continue };
            let reason = String::from_utf8_lossy(&text.bytes).trim_end().to_owned();
            if let Some(set) = inventory.sets.iter_mut().find(|set| set.id == id) {
                set.pin = Some(reason);
            }
        }
        Ok(inventory)
    }
}

fn entry(id: AssetId, since: DateTime<Utc>, marker: &Marker) -> SetEntry {
    let manifest = marker.listed().map(|listed| &listed.manifest);
    SetEntry {
        id,
        state: match marker {
            Marker::Condemned => SetState::Condemned,
            Marker::Live(_) => SetState::Live,
            Marker::Tombstone(_) => SetState::Tombstone,
        },
        since,
        files: manifest.map_or(0, |manifest| manifest.files().len()),
        bytes: manifest.map_or(0, crate::Manifest::total_size),
        commits: Vec::new(),
        channels: Vec::new(),
        pin: None,
    }
}

const AT_ONCE: usize = 16;
