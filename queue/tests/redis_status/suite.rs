//! The suite, wherever Redis runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::testkit::redis;
use standfast_queue::StatusStore;
use standfast_queue::testkit::StatusHarness;

use crate::support::{namespace, store_in};

standfast_queue::status_conformance!(single, RedisHarness::at(redis::single().map(|it| it.url())));
standfast_queue::status_conformance!(
    cluster,
    RedisHarness::at(redis::cluster().map(|it| it.url()))
);
standfast_queue::status_conformance!(
    sentinel,
    RedisHarness::at(redis::sentinel().map(|it| it.url()))
);

struct RedisHarness {
    url: String,
    namespace: String,
}

impl RedisHarness {
    fn at(url: Option<String>) -> Option<Self> {
        Some(Self { url: url?, namespace: namespace() })
    }
}

#[async_trait]
impl StatusHarness for RedisHarness {
    async fn fresh_store(&self) -> Arc<dyn StatusStore> {
        Arc::new(store_in(&self.url, &self.namespace))
    }

    async fn another(&self, _store: &Arc<dyn StatusStore>) -> Arc<dyn StatusStore> {
        Arc::new(store_in(&self.url, &self.namespace))
    }

    async fn pass_time(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn unit(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(50)
    }
}
