//! Sets of assets in a blob store.

mod channel;
mod gc;
mod inventory;
mod io;
mod marker;
mod names;
mod pool;
mod profile;
mod publish;
mod resolve;
mod upload;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_blobstore::{BlobStore, Precondition, Version};
use standfast_core::{Clock, Error, ErrorKind, Result, SystemClock};

pub use channel::Release;
pub use gc::{Collected, Gc};
pub use inventory::{Inventory, SetEntry, SetState};
pub use names::{Channel, Commit, SetName};
pub use profile::Profile;
pub use publish::{Previous, Publish, Published};
pub use resolve::{Resolve, Resolved};
pub use verify::{Depth, Problem, Verified, Verify};

use io::{Io, contended};
use marker::{Listed, Marker};

use crate::digest::AssetId;

/// Sets of assets in a blob store: published once, found by commit. Clones share the store.
///
/// # Contract
///
/// 1. Whoever can read a commit's pointer can read the marker of its set and every file in it, byte
///    for byte, until the grace period after the last root to it has passed. A root is a channel,
///    one of its last releases, a young commit, a pin, or what the collector was told.
/// 2. Files first, then the marker, then the pointer; each step is conditional. A publisher may die
///    at any of them: the next one goes on, and nobody sees a part of a set.
/// 3. A commit names one set. Another one for the same commit is refused before anything is
///    uploaded, and the files that differ are named.
/// 4. Any number of publishers and collectors may work at the same time.
///
/// What it rests on: the store's preconditions hold (contract of [`BlobStore`]), and a single
/// request takes less time than the grace period, of which there is at least an hour.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_asset_hash::{AssetStore, Commit, LocalSet};
/// use standfast_blobstore::MemoryBlobStore;
///
/// let assets = AssetStore::new(MemoryBlobStore::new());
/// let set = LocalSet::embedded(&[("css/app.css", b"body {}")])?;
/// let commit = Commit::new("9fceb02")?;
///
/// let published = assets.publish(&set, &commit).await?;       // in the build
/// assert_eq!(published.uploaded, 1);
///
/// let resolved = assets.resolve(commit).await?;               // when an instance starts
/// let urls = resolved.urls("https://cdn.example/{id}/")?;
/// assert!(urls.asset("css/app.css").ends_with("/css/app.css"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AssetStore {
    io: Io,
}

/// From reading that a set is live to having bound something to it. Whoever took longer looks
/// again: a collector may have come and gone. Far shorter than the shortest grace period.
const WINDOW: Duration = Duration::from_secs(600);

/// How long a request is on its way at most. Nothing is deleted sooner than this after others were
/// told, and what may be deleted is not written for as long.
const HOUR: Duration = Duration::from_secs(3600);

/// How often an operation begins again because others changed what it was at.
const ROUNDS: u32 = 20;

impl AssetStore {
    /// The sets in `store`, which holds nothing else.
    pub fn new(store: impl BlobStore) -> Self {
        Self::from(Arc::new(store) as Arc<dyn BlobStore>)
    }

    /// Waits by this clock instead of the operating system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.io.clock = clock;
        self
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn BlobStore> {
        &self.io.store
    }

    fn is_past(&self, seen: Instant) -> bool {
        self.io.clock.instant().saturating_duration_since(seen) >= WINDOW
    }

    /// Whether a delete of a version spares equal bytes that were written since.
    fn has_unique_versions(&self) -> bool {
        self.io.store.capabilities().unique_versions
    }

    /// What time it is by the clock of the store, which is asked by a put.
    async fn time(&self) -> Result<DateTime<Utc>> {
        let put = self.io.put(names::key(names::CLOCK), "what time is it?\n", Precondition::Always);
        // invariant: a put without a condition is done or an error
        Ok(put.await?.expect("a put without a condition").modified_at)
    }

    /// The marker of the set, if there is one, and its version.
    async fn marker(&self, id: AssetId) -> Result<Option<(Marker, Version)>> {
        let Some(text) = self.io.get(&names::marker(id)).await? else { return Ok(None) };
        Ok(Some((Marker::decode(id, &text.bytes)?, text.version)))
    }

    /// What is in the set, which somebody asked for.
    async fn listed(&self, id: AssetId) -> Result<Listed> {
        let marker = self.marker(id).await?.and_then(|(marker, _)| marker.into_listed());
        marker.ok_or_else(|| no_set(id))
    }

    /// Sees to it that the set is live, and says when that was seen. A tombstone is taken back.
    ///
    /// Died before the put: the tombstone stays and whoever comes next takes it back; after it, the
    /// set is live.
    async fn keep_live(&self, id: AssetId) -> Result<(Listed, Instant)> {
        for _ in 0..ROUNDS {
            let seen = self.io.clock.instant();
            let (listed, version) = match self.marker(id).await? {
                Some((Marker::Live(listed), _)) => return Ok((listed, seen)),
                Some((Marker::Tombstone(listed), version)) => (listed, version),
                Some((Marker::Condemned, _)) | None => return Err(no_set(id)),
            };
            let seen = self.io.clock.instant();
            let text = Marker::Live(listed.clone()).encode();
            let put = self.io.put(names::marker(id), text, Precondition::IfMatch(version));
            if put.await?.is_some() {
                return Ok((listed, seen));
            }
        }
        Err(contended(&format!("set {id}")))
    }
}

impl From<Arc<dyn BlobStore>> for AssetStore {
    fn from(store: Arc<dyn BlobStore>) -> Self {
        Self { io: Io { store, clock: Arc::new(SystemClock) } }
    }
}

/// Whether less than `span` has passed since `at`. Times ahead, from a clock that was set back, are
/// young.
fn is_younger(at: DateTime<Utc>, now: DateTime<Utc>, span: Duration) -> bool {
    now.signed_duration_since(at).to_std().map_or(true, |age| age < span)
}

fn no_set(id: AssetId) -> Error {
    failed(ErrorKind::NotFound, "read", format!("there is no set {id}"))
}

fn failed(kind: ErrorKind, operation: &'static str, detail: impl Into<String>) -> Error {
    Error::new(kind, "asset store", operation).with_detail(detail)
}
