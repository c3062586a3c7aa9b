//! What the tests are written with.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::redis::{Redis, RedisConfig};
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
use standfast_core::{Id128, Result};
use standfast_queue::{
    Advance, JobState, JobStatus, RedisStatusConfig, RedisStatusStore, StatusHandle, StatusStore,
    StatusUpdate,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    format!("test-{}", Id128::random())
}

/// A store in `namespace`, over connections of its own.
pub(crate) fn store_in(url: &str, namespace: &str) -> RedisStatusStore {
    let mut config = RedisStatusConfig::default();
    config.namespace = namespace.into();
    let redis = Redis::from_url(url).expect("a URL");
    RedisStatusStore::from_parts(redis, config).expect("a namespace")
}

/// The same, that gives up a call after `timeout`.
pub(crate) fn hasty(url: &str, namespace: &str, timeout: Duration) -> RedisStatusStore {
    let mut config = RedisStatusConfig::default();
    config.namespace = namespace.into();
    let mut redis = RedisConfig::from_url(url).expect("a URL");
    redis.timeout = timeout;
    let redis = Redis::from_config(redis).expect("a configuration");
    RedisStatusStore::from_parts(redis, config).expect("a namespace")
}

/// A server of the test's own that survives its restart.
pub(crate) async fn lasting() -> Option<RedisServer> {
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    RedisServer::start(config).await
}

pub(crate) fn key(namespace: &str, handle: &StatusHandle) -> String {
    format!("standfast:1:status:{{{namespace}.{handle}}}")
}

pub(crate) fn step(state: JobState) -> StatusUpdate {
    StatusUpdate::new("report", state)
}

pub(crate) async fn advance(
    store: &RedisStatusStore,
    handle: &StatusHandle,
    update: StatusUpdate,
) -> Result<Advance> {
    store.advance(handle, &update, DAY).await
}

/// A step that must be applied.
pub(crate) async fn applied(
    store: &RedisStatusStore,
    handle: &StatusHandle,
    update: StatusUpdate,
) -> Arc<JobStatus> {
    match advance(store, handle, update).await.expect("the step is stored") {
        Advance::Applied(status) => status,
        other => panic!("{other:?}"),
    }
}

/// The status that must be there.
pub(crate) async fn known(store: &RedisStatusStore, handle: &StatusHandle) -> Arc<JobStatus> {
    store.get(handle).await.expect("the store answers").expect("the handle is known")
}
