//! The suite of queues through `ClaimCheck`: every body elsewhere, some of them, on memory, files
//! and Redis.
#![cfg(feature = "blobstore")]

#[cfg(feature = "redis")]
#[allow(dead_code, reason = "one topology will do")]
mod redis_support;

use std::sync::Arc;

use standfast_blobstore::{BlobStore, FsBlobStore, MemoryBlobStore};
use standfast_queue::Queue;
use standfast_queue::testkit::MemoryHarness;
use standfast_queue::wrap::{ClaimCheck, ClaimCheckConfig};

fn claim_check(
    queue: Arc<dyn Queue>,
    store: Arc<dyn BlobStore>,
    threshold: usize,
) -> Arc<dyn Queue> {
    let mut config = ClaimCheckConfig::default();
    config.threshold = threshold;
    let claims = ClaimCheck::with_config(queue, store, config);
    Arc::new(claims.expect("the configuration is valid"))
}

fn memory(harness: MemoryHarness, threshold: usize) -> MemoryHarness {
    let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new());
    harness.wrapping(move |queue| claim_check(queue, Arc::clone(&store), threshold))
}

/// A directory of its own; `None` where the temporary directory keeps no attributes.
struct Files {
    store: Arc<dyn BlobStore>,
    _dir: tempfile::TempDir,
}

async fn files() -> Files {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = FsBlobStore::open(dir.path()).await.expect("the directory takes blobs");
    Files { store: Arc::new(store), _dir: dir }
}

fn on_files() -> MemoryHarness {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // opened on a thread of its own, since the suite's runtime runs already
    let open = std::thread::spawn(|| runtime.expect("a runtime").block_on(files()));
    let files = Arc::new(open.join().expect("the store opens"));
    MemoryHarness::manual().wrapping(move |queue| claim_check(queue, Arc::clone(&files.store), 0))
}

standfast_queue::queue_conformance!(every_body, memory(MemoryHarness::manual(), 0));
standfast_queue::queue_conformance!(every_body_in_real_time, memory(MemoryHarness::real(), 0));
standfast_queue::queue_conformance!(some_bodies, memory(MemoryHarness::manual(), 1));
standfast_queue::queue_conformance!(bodies_in_files, on_files());

#[cfg(feature = "redis")]
mod on_redis {
    use std::time::{Duration, Instant};

    use async_trait::async_trait;
    use standfast_queue::testkit::{QueueHarness, QueueSetup};

    use super::redis_support::RedisHarness;
    use super::*;

    struct Claimed {
        redis: RedisHarness,
        store: Arc<dyn BlobStore>,
        inner: std::sync::Mutex<std::collections::HashMap<usize, Arc<dyn Queue>>>,
    }

    impl Claimed {
        fn around(&self, queue: Arc<dyn Queue>) -> Arc<dyn Queue> {
            let claimed = claim_check(Arc::clone(&queue), Arc::clone(&self.store), 0);
            self.inner.lock().expect("no panic").insert(id(&claimed), queue);
            claimed
        }
    }

    fn id(queue: &Arc<dyn Queue>) -> usize {
        Arc::as_ptr(queue).cast::<()>() as usize
    }

    #[async_trait]
    impl QueueHarness for Claimed {
        async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
            self.around(self.redis.fresh_queue(setup).await)
        }

        async fn another(&self, queue: &Arc<dyn Queue>) -> Arc<dyn Queue> {
            let inner = Arc::clone(&self.inner.lock().expect("no panic")[&id(queue)]);
            self.around(self.redis.another(&inner).await)
        }

        async fn pass_time(&self, span: Duration) {
            self.redis.pass_time(span).await;
        }

        fn now(&self) -> Instant {
            self.redis.now()
        }

        fn unit(&self) -> Duration {
            self.redis.unit()
        }

        fn can_pass(&self, span: Duration) -> bool {
            self.redis.can_pass(span)
        }

        fn idle(&self) -> Duration {
            self.redis.idle()
        }
    }

    standfast_queue::queue_conformance!(
        single,
        RedisHarness::single().map(|redis| Claimed {
            redis,
            store: Arc::new(MemoryBlobStore::new()),
            inner: std::sync::Mutex::default(),
        })
    );
}
