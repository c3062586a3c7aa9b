use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use standfast_blobstore::{Precondition, Version};
use standfast_core::{ErrorKind, Reason, Result};

use super::io::contended;
use super::names::{Channel, Commit, SetName};
use super::{AssetStore, ROUNDS, failed, names};
use crate::digest::{AssetId, Digest};
use crate::manifest::Manifest;

/// A set that is or was live in a channel.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Channel, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let channel = Channel::new("production")?;
/// for (commit, set) in [("v1", &[("a.js", &b"1"[..])]), ("v2", &[("a.js", b"2")])] {
///     let (commit, set) = (Commit::new(commit)?, LocalSet::embedded(set)?);
///     assets.publish(&set, &commit).channel(channel.clone()).await?;
/// }
/// let release = assets.rollback(&channel, None).await?;
/// assert_eq!(release.commit.as_deref(), Some("v1"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Release {
    /// The set.
    #[serde(with = "text")]
    pub id: AssetId,
    /// Which commit it was released for, if it was for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When, by the clock of whoever released it.
    pub at: DateTime<Utc>,
}

mod text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::digest::AssetId;

    pub(super) fn serialize<S: Serializer>(id: &AssetId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AssetId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What `channels/<name>.json` says: the releases, the newest first, and which one is live.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct State {
    v: u32,
    /// Counted from the newest; more than 0 after a rollback.
    live: usize,
    pub(super) releases: Vec<Release>,
}

const VERSION: u32 = 1;

/// How many releases a channel remembers.
const REMEMBERED: usize = 100;

#[derive(Deserialize)]
struct Head {
    v: u32,
}

impl State {
    pub(super) fn decode(channel: &str, text: &[u8]) -> Result<Self> {
        let refused = |kind, why: &str| failed(kind, "read", format!("channel {channel} {why}"));
        let corrupt = |error: serde_json::Error| {
            refused(ErrorKind::Corrupt, "cannot be read").with_source(error)
        };
        let Head { v } = serde_json::from_slice(text).map_err(corrupt)?;
        if v > VERSION {
            return Err(refused(ErrorKind::Unsupported, "was written by a newer release")
                .with_reason(Reason::NewerVersion));
        }
        let state: Self = serde_json::from_slice(text).map_err(corrupt)?;
        if state.releases.get(state.live).is_none() {
            return Err(refused(ErrorKind::Corrupt, "has no live release"));
        }
        Ok(state)
    }

    fn encode(&self) -> String {
        // invariant: strings, numbers and times always encode
        serde_json::to_string(self).expect("a channel is JSON") + "\n"
    }

    pub(super) fn live(&self) -> &Release {
        // invariant: decode() and the changes below keep it within
        &self.releases[self.live]
    }

    /// Puts a release in front. What a rollback left behind is forgotten: nobody wants to roll back
    /// to what was rolled back.
    fn promote(&mut self, release: Release) {
        self.releases.drain(..self.live);
        self.live = 0;
        if self.releases.first().is_some_and(|newest| newest.id == release.id) {
            self.releases.remove(0);
        }
        self.releases.insert(0, release);
        self.releases.truncate(REMEMBERED);
    }

    /// The roots among the releases: the live one, what a rollback left, and `last` before it.
    pub(super) fn roots(&self, last: usize) -> impl Iterator<Item = AssetId> {
        self.releases.iter().take(self.live + 1 + last).map(|release| release.id)
    }
}

impl AssetStore {
    /// Makes the set live in the channel.
    ///
    /// Died before the channel is written: it is as it was; after it: the set is live.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such set, and what the store met.
    pub async fn promote(
        &self,
        channel: &Channel,
        set: impl Into<SetName> + Send,
    ) -> Result<Release> {
        let name = set.into();
        let commit = match &name {
            SetName::Commit(commit) => Some(commit.clone()),
            _ => None,
        };
        let id = self.find(&name).await?;
        self.promote_as(channel, id, commit.as_ref()).await
    }

    pub(super) async fn promote_as(
        &self,
        channel: &Channel,
        id: AssetId,
        commit: Option<&Commit>,
    ) -> Result<Release> {
        let commit = commit.map(|commit| commit.as_str().to_owned());
        self.change(channel, |state, at| {
            let release = Release { id, commit: commit.clone(), at };
            let state = match state {
                Some(mut state) => {
                    state.promote(release);
                    state
                }
                None => State { v: VERSION, live: 0, releases: vec![release] },
            };
            Ok(state)
        })
        .await
    }

    /// Makes an earlier release of the channel live again: the one before the live one, or the last
    /// of set `to`. Its files are still there, so nothing is uploaded; that they are right is
    /// checked by reading some.
    ///
    /// Died before the channel is written: it is as it was; after it: the earlier release is live.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such release or its set is gone, `Checksum` where a file of it
    /// is not what it was, and what the store met.
    pub async fn rollback(&self, channel: &Channel, to: Option<AssetId>) -> Result<Release> {
        self.change(channel, |state, _| {
            let none = || {
                failed(
                    ErrorKind::NotFound,
                    "rollback",
                    format!("channel {channel} has no such release"),
                )
            };
            let mut state = state.ok_or_else(none)?;
            let earlier = state.releases.iter().enumerate().skip(state.live + 1);
            let found = earlier
                .map(|(at, release)| (at, release.id))
                .find(|(_, id)| to.is_none_or(|to| to == *id));
            state.live = found.ok_or_else(none)?.0;
            Ok(state)
        })
        .await
    }

    /// The releases of the channel, the live one first.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such channel.
    pub async fn releases(&self, channel: &Channel) -> Result<Vec<Release>> {
        let state = self.channel(channel).await?.map(|(state, _)| state);
        let missing =
            || failed(ErrorKind::NotFound, "read", format!("there is no channel {channel}"));
        let mut state = state.ok_or_else(missing)?;
        Ok(state.releases.split_off(state.live))
    }

    pub(super) async fn channel(&self, channel: &Channel) -> Result<Option<(State, Version)>> {
        let Some(text) = self.io.get(&names::channel(channel)).await? else { return Ok(None) };
        Ok(Some((State::decode(channel.as_str(), &text.bytes)?, text.version)))
    }

    /// Changes the channel to what `next` makes of it, once the set that becomes live is certain to
    /// be there.
    async fn change(
        &self,
        channel: &Channel,
        next: impl Fn(Option<State>, DateTime<Utc>) -> Result<State> + Send + Sync,
    ) -> Result<Release> {
        let mut wrote = None;
        for _ in 0..ROUNDS {
            let (before, version) = self.channel(channel).await?.unzip();
            // the put may have been done although its answer was lost
            if let Some(state) = before.as_ref().filter(|state| wrote == Some(state.encode())) {
                return Ok(state.live().clone());
            }
            let state = next(before, self.io.clock.now())?;
            let release = state.live().clone();
            let (listed, seen) = self.keep_live(release.id).await?;
            self.check_samples(&listed.manifest).await?;
            if self.is_past(seen) {
                continue;
            }
            let text = state.encode();
            wrote = Some(text.clone());
            let precondition = version.map_or(Precondition::IfAbsent, Precondition::IfMatch);
            if self.io.put(names::channel(channel), text, precondition).await?.is_some() {
                if self.is_past(seen) {
                    self.keep_live(release.id).await?;
                }
                return Ok(release);
            }
        }
        Err(contended(&format!("channel {channel}")))
    }

    /// Reads a few files and compares their digests.
    async fn check_samples(&self, manifest: &Manifest) -> Result<()> {
        for file in super::verify::samples(manifest, 3) {
            let key = names::file(manifest.id(), &file.path);
            let found = self.io.get(&key).await?.map(|text| Digest::of(&text.bytes));
            match found {
                Some(digest) if digest == file.sha256 => {}
                Some(_) => {
                    return Err(failed(
                        ErrorKind::Checksum,
                        "verify",
                        format!("{key} has other bytes"),
                    ));
                }
                None => {
                    return Err(failed(ErrorKind::NotFound, "verify", format!("{key} is missing")));
                }
            }
        }
        Ok(())
    }

    /// Keeps the set from being collected until it is [unpinned](Self::unpin). The reason is for
    /// people to read.
    ///
    /// Died before the pin is written: nothing changed; after it: the set is pinned.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such set, and what the store met.
    pub async fn pin(&self, id: AssetId, reason: &str) -> Result<()> {
        let (_, seen) = self.keep_live(id).await?;
        let text = format!("{reason}\n");
        let _stored = self.io.put(names::pin(id), text, Precondition::Always).await?;
        if self.is_past(seen) {
            self.keep_live(id).await?;
        }
        Ok(())
    }

    /// Lets the set be collected again once nothing else keeps it.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such pin, and what the store met.
    pub async fn unpin(&self, id: AssetId) -> Result<()> {
        let key = names::pin(id);
        let Some(text) = self.io.get(&key).await? else {
            return Err(failed(ErrorKind::NotFound, "unpin", format!("set {id} is not pinned")));
        };
        self.io.delete(&key, &text.version).await
    }
}
