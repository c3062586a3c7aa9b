//! The suite of queues through `Archived`, alone and around a `ClaimCheck`.
#![cfg(feature = "blobstore")]

use std::sync::Arc;
use std::time::Duration;

use standfast_blobstore::{BlobStore, MemoryBlobStore};
use standfast_queue::Queue;
use standfast_queue::testkit::MemoryHarness;
use standfast_queue::wrap::{ArchiveConfig, Archived, ClaimCheck, ClaimCheckConfig};

fn archived(queue: impl Queue, linger: Duration) -> Arc<dyn Queue> {
    let mut config = ArchiveConfig::default();
    config.linger = linger;
    config.outcomes = true;
    let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new());
    Arc::new(Archived::with_config(queue, store, config).expect("the configuration is valid"))
}

standfast_queue::queue_conformance!(
    archived_at_once,
    MemoryHarness::manual().wrapping(|queue| archived(queue, Duration::ZERO))
);
standfast_queue::queue_conformance!(
    archived_together_in_real_time,
    MemoryHarness::real().wrapping(|queue| archived(queue, Duration::from_millis(1)))
);
standfast_queue::queue_conformance!(
    archived_around_a_claim_check,
    MemoryHarness::manual().wrapping(|queue| {
        let mut config = ClaimCheckConfig::default();
        config.threshold = 0;
        let store = Arc::new(MemoryBlobStore::new());
        let claims = ClaimCheck::with_config(queue, store, config);
        archived(claims.expect("the configuration is valid"), Duration::ZERO)
    })
);
