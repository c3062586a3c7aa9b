//! What the tests of the Redis backends share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::JobId;
use standfast_core::redis::Redis;
use standfast_core::testkit::redis;
use standfast_queue::testkit::{QueueHarness, QueueSetup};
use standfast_queue::{Queue, RedisQueue, RedisQueueConfig};

/// Makes queues on one Redis; each handle has connections of its own, as in another process.
pub(crate) struct RedisHarness {
    url: String,
    made: Mutex<HashMap<usize, (String, RedisQueueConfig)>>,
}

impl RedisHarness {
    pub(crate) fn single() -> Option<Self> {
        redis::single().map(|server| Self::at(server.url()))
    }

    pub(crate) fn cluster() -> Option<Self> {
        redis::cluster().map(|server| Self::at(server.url()))
    }

    pub(crate) fn sentinel() -> Option<Self> {
        redis::sentinel().map(|server| Self::at(server.url()))
    }

    pub(crate) fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), made: Mutex::default() }
    }

    fn open(&self, name: String, config: RedisQueueConfig) -> Arc<dyn Queue> {
        let redis = Redis::from_url(&self.url).expect("the server's URL is one");
        let queue = RedisQueue::from_parts(redis, &name, config.clone()).expect("the name is one");
        let queue: Arc<dyn Queue> = Arc::new(queue);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id(&queue), (name, config));
        queue
    }
}

fn id(queue: &Arc<dyn Queue>) -> usize {
    Arc::as_ptr(queue).cast::<()>() as usize
}

#[async_trait]
impl QueueHarness for RedisHarness {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        let mut config = RedisQueueConfig::default();
        config.max_crashes = setup.max_crashes;
        config.max_len = setup.max_len;
        config.max_body = setup.max_body.unwrap_or(config.max_body);
        config.max_dead = setup.max_dead;
        config.keep_dead = setup.keep_dead;
        self.open(JobId::random().to_string(), config)
    }

    async fn another(&self, queue: &Arc<dyn Queue>) -> Arc<dyn Queue> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, config) = made[&id(queue)].clone();
        drop(made);
        self.open(name, config)
    }

    async fn pass_time(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn unit(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(60)
    }
}
