//! What the tests are written with.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::Id128;
use standfast_core::redis::{Durability, Redis, RedisConfig};
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
use standfast_session::testkit::{SessionHarness, async_trait};
use standfast_session::{
    Access, CommitOutcome, Patch, RedisSessionConfig, RedisSessionHandler, SessionHandler,
    SessionHandlerExt, SessionInit, SessionToken, Snapshot,
};

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    format!("test-{}", Id128::random())
}

/// A handler in `namespace`, over connections of its own, that gives up a call after `timeout`.
pub(crate) fn open(
    url: &str,
    namespace: &str,
    timeout: Duration,
    durability: Durability,
) -> RedisSessionHandler {
    let mut config = RedisSessionConfig::default();
    config.namespace = namespace.into();
    config.durability = durability;
    let mut redis = RedisConfig::from_url(url).expect("a URL");
    redis.timeout = timeout;
    let redis = Redis::from_config(redis).expect("a configuration");
    RedisSessionHandler::from_parts(redis, config).expect("a namespace")
}

pub(crate) fn handler_in(url: &str, namespace: &str) -> RedisSessionHandler {
    open(url, namespace, Duration::from_secs(5), Durability::Primary)
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

pub(crate) fn key(namespace: &str, token: &SessionToken) -> String {
    format!("standfast:1:session:{{{namespace}.{}}}", token.session())
}

pub(crate) async fn start(handler: &RedisSessionHandler) -> (SessionToken, Access) {
    let token = handler.start(&SessionInit::new()).await.expect("the store answers").token;
    let visitor = Access::bearer(&token);
    (token, visitor)
}

/// A commit that must be applied.
pub(crate) async fn commit(handler: &RedisSessionHandler, access: &Access, patch: Patch) -> u64 {
    match handler.commit(access, &patch).await.expect("the store answers") {
        CommitOutcome::Committed { version, .. } => version,
        other => panic!("{other:?}"),
    }
}

/// The session that must be there.
pub(crate) async fn known(handler: &RedisSessionHandler, access: &Access) -> Snapshot {
    let loaded = handler.load(access).await.expect("the store answers");
    loaded.found().expect("the session is there")
}

/// A harness on the server at `url`.
#[derive(Debug)]
pub(crate) struct RedisHarness {
    url: String,
    namespace: String,
}

impl RedisHarness {
    pub(crate) fn at(url: Option<String>) -> Option<Self> {
        Some(Self { url: url?, namespace: namespace() })
    }
}

#[async_trait]
impl SessionHarness for RedisHarness {
    async fn open(&self) -> Arc<dyn SessionHandler> {
        Arc::new(handler_in(&self.url, &self.namespace))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn unit(&self) -> Duration {
        Duration::from_millis(300)
    }
}
