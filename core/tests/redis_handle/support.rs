use std::time::Duration;

use standfast_core::redis::{Redis, Reply, Request, Script, Signal, Subscription};
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::{Id128, Result};
use tokio::time::timeout;

/// More than anything takes that goes right, however slow the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Counts how often it ran.
pub(crate) static ADD: Script = Script::new(include_str!("add.lua"));

pub(crate) async fn started(configure: impl FnOnce(&mut RedisServerConfig)) -> Option<RedisServer> {
    let mut config = RedisServerConfig::default();
    configure(&mut config);
    RedisServer::start(config).await
}

pub(crate) fn handle(url: &str) -> Redis {
    Redis::from_url(url).unwrap()
}

/// A key that no other test has.
pub(crate) fn key(name: &str) -> String {
    format!("test:{{{}}}:{name}", Id128::random())
}

pub(crate) fn get(key: &str) -> Request {
    Request::command("test.get", "GET", key).repeatable()
}

pub(crate) fn set(key: &str, value: &str) -> Request {
    Request::command("test.set", "SET", key).arg(value)
}

pub(crate) fn add(key: &str) -> Request {
    ADD.on("test.add", &[key]).int(1)
}

pub(crate) fn text(reply: Result<Reply>) -> String {
    reply.unwrap().into_text("test").unwrap()
}

pub(crate) fn int(reply: Result<Reply>) -> i64 {
    reply.unwrap().into_int("test").unwrap()
}

/// Waits until a message with this body comes; doubts may come before it.
pub(crate) async fn message(subscription: &mut Subscription, body: &str) {
    let wanted = Signal::Message(body.as_bytes().to_vec());
    let coming = async { while subscription.next().await != wanted {} };
    timeout(LONG, coming).await.unwrap_or_else(|_| panic!("{body:?} did not come"));
}

pub(crate) async fn doubt(subscription: &mut Subscription) {
    let coming = async { while subscription.next().await != Signal::Doubt {} };
    timeout(LONG, coming).await.expect("a doubt comes");
}

/// A primary with one replica that is in step.
pub(crate) async fn pair() -> Option<(RedisServer, RedisServer)> {
    let primary = started(|_| {}).await?;
    let replica = started(|config| config.replica_of = Some(primary.port())).await?;
    while !primary.command(&["INFO", "replication"]).await.contains("state=online") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some((primary, replica))
}
