//! What the tests are written with.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::redis::{Durability, Redis, RedisConfig};
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
use standfast_core::{Clock, Id128, Result, SystemClock};
use standfast_cron_lock::testkit::{CronLockHarness, async_trait};
use standfast_cron_lock::{
    Claim, ClaimOptions, Claimed, CronLock, CronLockConfig, Owner, RecordQuery, RedisCronConfig,
    RedisCronLock, SettleOutcome, Settlement, TickRecord,
};

pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    format!("test-{}", Id128::random())
}

pub(crate) fn key(namespace: &str, part: &str) -> String {
    format!("standfast:1:cron:{{{namespace}}}:{part}")
}

/// A lock of `namespace`, over connections of its own, that gives up a call after `timeout`.
pub(crate) fn open(
    url: &str,
    namespace: &str,
    timeout: Duration,
    durability: Durability,
) -> RedisCronLock {
    let mut config = RedisCronConfig::default();
    config.durability = durability;
    let mut redis = RedisConfig::from_url(url).unwrap();
    redis.timeout = timeout;
    RedisCronLock::from_parts(Redis::from_config(redis).unwrap(), namespace, config).unwrap()
}

pub(crate) fn lock_in(url: &str, namespace: &str) -> RedisCronLock {
    open(url, namespace, Duration::from_secs(5), Durability::Primary)
}

pub(crate) fn with_rules(url: &str, namespace: &str, rules: CronLockConfig) -> RedisCronLock {
    let mut config = RedisCronConfig::default();
    config.rules = rules;
    RedisCronLock::from_parts(Redis::from_url(url).unwrap(), namespace, config).unwrap()
}

/// A server of the test's own that survives its restart.
pub(crate) async fn lasting() -> Option<RedisServer> {
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    RedisServer::start(config).await
}

/// A server of the test's own that keeps everything in memory.
pub(crate) async fn forgetful() -> Option<RedisServer> {
    RedisServer::start(RedisServerConfig::default()).await
}

/// A tick some minutes ago.
pub(crate) async fn tick(lock: &RedisCronLock) -> DateTime<Utc> {
    let config = lock.capabilities().config;
    config.tick_at(lock.now().await.unwrap()) - config.resolution * 10
}

pub(crate) fn minute() -> ClaimOptions {
    ClaimOptions::new(MINUTE).with_schedules(["sync"])
}

pub(crate) async fn claim(lock: &RedisCronLock, at: DateTime<Utc>, owner: &Owner) -> Claim {
    lock.claim(at, owner, &minute()).await.unwrap()
}

/// A claim that must win.
pub(crate) async fn win(lock: &RedisCronLock, at: DateTime<Utc>) -> Claimed {
    won(claim(lock, at, &Owner::new("web")).await)
}

pub(crate) fn won(claim: Claim) -> Claimed {
    match claim {
        Claim::Claimed(claimed) => claimed,
        other => panic!("the tick was not won: {other:?}"),
    }
}

/// Settles what was won as done.
pub(crate) async fn finish(lock: &RedisCronLock, claimed: &Claimed) {
    let (at, fence) = (claimed.tick.at, claimed.tick.fence);
    let outcome = lock.settle(at, fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Settled);
}

pub(crate) async fn records(lock: &RedisCronLock) -> Vec<TickRecord> {
    lock.records(&RecordQuery::default()).await.unwrap()
}

/// A harness on the server at `url`.
#[derive(Debug)]
pub(crate) struct RedisHarness(String);

impl RedisHarness {
    pub(crate) fn at(url: Option<String>) -> Option<Self> {
        url.map(Self)
    }
}

#[async_trait]
impl CronLockHarness for RedisHarness {
    async fn open(&self, namespace: &str, config: CronLockConfig) -> Result<Arc<dyn CronLock>> {
        let mut rules = RedisCronConfig::default();
        rules.rules = config;
        let redis = Redis::from_url(&self.0)?;
        Ok(Arc::new(RedisCronLock::from_parts(redis, namespace, rules)?))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1200)
    }
}
