//! Load on a queue in Redis.

use std::time::{Duration, Instant};

use standfast_core::redis::{Durability, Redis, RedisConfig};
use standfast_queue::{RedisQueue, RedisQueueConfig};

use crate::ledger::{self, Sums};

/// The lease of the workers: what they hold when they die is back after it.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Opens the queue of the test, each time with connections of its own.
pub(crate) fn opener(url: &str, durability: Durability) -> impl Fn() -> RedisQueue {
    move || {
        let mut redis = RedisConfig::from_url(url).expect("the server's URL is one");
        redis.timeout = Duration::from_secs(3);
        let redis = Redis::from_config(redis).expect("the configuration is one");
        let mut config = RedisQueueConfig::default();
        config.durability = durability;
        RedisQueue::from_parts(redis, "ledger", config).expect("the name is one")
    }
}

pub(crate) async fn under_load(
    what: &str,
    open: impl Fn() -> RedisQueue,
    fault: impl Future<Output = Instant>,
) -> Sums {
    ledger::under_load(what, LEASE, open, fault).await
}
