use std::fmt;
use std::fs;
use std::future::IntoFuture;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use standfast_core::{Backoff, ErrorKind, Result, saturating_add};

use super::marker::Marker;
use super::names::SetName;
use super::{AssetStore, failed, names, no_set};
use crate::cache::write_whole;
use crate::digest::AssetId;
use crate::manifest::Manifest;
use crate::urls::AssetUrls;

/// A question which set that is; it begins when it is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let commit = Commit::new("v1")?;
/// assets.publish(&LocalSet::embedded(&[("a.js", b"1")])?, &commit).await?;
/// let dir = tempfile::tempdir()?;
/// let resolved = assets
///     .resolve(commit)
///     .wait(Duration::from_secs(60))                  // the build may still be publishing
///     .cache(dir.path().join("assets.json"))          // for a restart while the store is away
///     .await?;
/// assert!(!resolved.is_cached);
/// # Ok(()) }
/// ```
#[must_use = "nothing is resolved until it is awaited"]
pub struct Resolve<'a> {
    assets: &'a AssetStore,
    name: SetName,
    wait: Duration,
    cache: Option<PathBuf>,
}

/// A set that was found.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let (set, commit) = (LocalSet::embedded(&[("a.js", b"1")])?, Commit::new("v1")?);
/// assets.publish(&set, &commit).await?;
/// let resolved = assets.resolve(commit).await?;
/// assert_eq!(resolved.manifest.id(), resolved.id);
/// let urls = resolved.urls("/assets/{id}/")?;
/// assert_eq!(urls.base(), format!("/assets/{}/", resolved.id));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Resolved {
    /// The id of the set.
    pub id: AssetId,
    /// What is in it.
    pub manifest: Manifest,
    /// Whether the store could not be asked, and this is what it said last time.
    pub is_cached: bool,
    /// Whether the set is to be deleted after the grace period, because nothing keeps it.
    pub is_tombstoned: bool,
}

impl Resolved {
    /// The addresses of the files below `base`, in which `{id}` stands for the id.
    ///
    /// # Errors
    ///
    /// `Invalid` for a base without `{id}`.
    pub fn urls(&self, base: &str) -> Result<AssetUrls> {
        AssetUrls::new(base, self.manifest.clone())
    }
}

impl AssetStore {
    /// Finds the set of this name, when awaited. Never answers with another set than that.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such set, `Checksum` and `Corrupt` where its marker was
    /// tampered with, `Unsupported` where a newer release wrote it, and what the store met.
    ///
    /// # Cancellation
    ///
    /// A dropped future has changed nothing.
    pub fn resolve(&self, set: impl Into<SetName>) -> Resolve<'_> {
        Resolve { assets: self, name: set.into(), wait: Duration::ZERO, cache: None }
    }

    /// The id of the set of this name.
    pub(super) async fn find(&self, name: &SetName) -> Result<AssetId> {
        let missing = || failed(ErrorKind::NotFound, "resolve", format!("there is no {name}"));
        match name {
            SetName::Id(id) => Ok(*id),
            SetName::Commit(commit) => {
                let key = names::pointer(commit);
                let text = self.io.get(&key).await?.ok_or_else(missing)?;
                names::pointed(&key, &text.bytes)
            }
            SetName::Channel(channel) => {
                let (state, _) = self.channel(channel).await?.ok_or_else(missing)?;
                Ok(state.live().id)
            }
        }
    }
}

impl Resolve<'_> {
    /// Keeps asking for so long where there is no such set, or the store does not answer.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Remembers the answer in the file at `path`, and answers with it where the store still does
    /// not answer at the end of the wait. An answer to another question counts as none.
    pub fn cache(self, path: impl Into<PathBuf>) -> Self {
        Self { cache: Some(path.into()), ..self }
    }

    async fn run(self) -> Result<Resolved> {
        let clock = &self.assets.io.clock;
        let deadline = saturating_add(clock.instant(), self.wait);
        let mut attempt = 1;
        loop {
            let error = match self.once().await {
                Ok(found) => {
                    self.remember(&found).await;
                    return Ok(found);
                }
                Err(error) => error,
            };
            let now = clock.instant();
            if now >= deadline || !(error.is_retryable() || error.kind() == ErrorKind::NotFound) {
                let remembered = if error.is_retryable() { self.recall().await } else { None };
                return remembered.ok_or(error);
            }
            let next = saturating_add(now, BACKOFF.next(attempt));
            clock.sleep_until(next.min(deadline)).await;
            attempt += 1;
        }
    }

    async fn once(&self) -> Result<Resolved> {
        let id = self.assets.find(&self.name).await?;
        let Some((marker, _)) = self.assets.marker(id).await? else { return Err(no_set(id)) };
        let is_tombstoned = matches!(marker, Marker::Tombstone(_));
        let listed = marker.into_listed().ok_or_else(|| no_set(id))?;
        Ok(Resolved { id, manifest: listed.manifest, is_cached: false, is_tombstoned })
    }

    /// Died before the rename: the old answer is there; after it: the new one.
    async fn remember(&self, found: &Resolved) {
        let Some(path) = self.cache.clone() else { return };
        let name = serde_json::Value::from(self.name.to_string());
        let text =
            format!("{{\"v\":1,\"name\":{name},\"manifest\":{}}}\n", found.manifest.to_json());
        let kept = blocking(move || write_whole(&path, text.as_bytes())).await;
        // the set was found: an instance that cannot write here starts all the same
        if let Err(error) = kept {
            tracing::warn!(%error, "which set to use could not be remembered");
        }
    }

    async fn recall(&self) -> Option<Resolved> {
        let path = self.cache.clone()?;
        let text = blocking(move || fs::read(&path)).await.ok()?;
        let Kept { v: 1, name, manifest } = serde_json::from_slice(&text).ok()? else {
            return None;
        };
        if name != self.name.to_string() {
            return None;
        }
        let manifest = Manifest::from_json(manifest.get().as_bytes()).ok()?;
        tracing::warn!(name, "the store does not answer; the last known set is used");
        Some(Resolved { id: manifest.id(), manifest, is_cached: true, is_tombstoned: false })
    }
}

#[derive(Deserialize)]
struct Kept {
    v: u32,
    name: String,
    manifest: Box<RawValue>,
}

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl<'a> IntoFuture for Resolve<'a> {
    type Output = Result<Resolved>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Resolve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolve").field("name", &self.name).finish_non_exhaustive()
    }
}
