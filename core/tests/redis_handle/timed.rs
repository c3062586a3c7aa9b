//! Requests that are answered with the time of the server.

use std::time::Duration;

use standfast_core::redis::{Durability, Redis, Reply, Request, Script, slot};
use standfast_core::testkit::redis::{RedisServerConfig, cluster, sentinel, single};
use standfast_core::testkit::{FaultProxy, RedisCluster, RedisServer};
use standfast_core::{ErrorKind, Result};

use super::support::{LONG, get, handle, key, pair, set, started};

fn read(key: &str) -> Request {
    get(key).timed().timeout(LONG)
}

/// The time in microseconds, and the reply.
fn both(reply: Result<Reply>) -> (i64, Reply) {
    let [time, reply] = reply.unwrap().into_fields("test").unwrap();
    (time.into_int("test").unwrap(), reply)
}

fn bytes(text: &str) -> Reply {
    Reply::Bytes(text.into())
}

/// The clock of the server, which is that of this machine.
fn clock() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

async fn write(redis: &Redis, key: &str, value: &str) {
    redis.call(set(key, value).timeout(LONG)).await.unwrap();
}

#[tokio::test]
async fn the_time_comes_with_the_reply_whatever_the_servers_are() {
    for server in [single(), cluster(), sentinel()].into_iter().flatten() {
        let (redis, key) = (handle(&server.url()), key("k"));
        assert_eq!(both(redis.call(read(&key)).await).1, Reply::Nil);
        write(&redis, &key, "v").await;
        let before = clock();
        let (time, reply) = both(redis.call(read(&key)).await);
        let (second, _) = both(redis.call(read(&key)).await);
        assert_eq!(reply, bytes("v"));
        assert!(before <= time && time < second && second <= clock(), "{before} {time} {second}");
    }
}

#[tokio::test]
async fn a_hash_is_read_as_it_is_without_the_time() {
    let Some(server) = single() else { return };
    let (redis, key) = (handle(&server.url()), key("hash"));
    let all = Request::command("test", "HGETALL", &key);
    assert_eq!(both(redis.call(all.clone().timed()).await).1, Reply::Array(vec![]));
    let fields = (0..300).map(|n| n.to_string());
    redis.call(Request::command("test", "HSET", &key).args(fields)).await.unwrap();
    let plain = redis.call(all.clone()).await.unwrap();
    assert_eq!(both(redis.call(all.timed()).await).1, plain);
    assert_eq!(plain.into_array("test").unwrap().len(), 300);
}

#[tokio::test]
async fn it_is_one_round_trip_and_a_script_is_taught_before() {
    static ECHO: Script = Script::new("return ARGV[1]");
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = handle(&server.url_by(proxy.port()));
    let echo = || ECHO.on("test", &["k"]).arg("v").timed();
    assert_eq!(both(redis.call(echo()).await).1, bytes("v"));
    let before = proxy.traffic().requests;
    both(redis.call(echo()).await);
    both(redis.call(read("k")).await);
    assert_eq!(proxy.traffic().requests, before + 2);
}

#[tokio::test]
async fn an_error_is_that_of_the_request() {
    let Some(server) = single() else { return };
    let (redis, key) = (handle(&server.url()), key("list"));
    redis.call(Request::command("test", "LPUSH", &key).arg("x")).await.unwrap();
    let error = redis.call(read(&key)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Conflict, "test.get"), "{error}");
    write(&redis, &key, "v").await;
    assert_eq!(both(redis.call(read(&key)).await).1, bytes("v"), "the connection goes on");
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_time_is_denied_it() {
    let configure = |config: &mut RedisServerConfig| {
        config.users.push("punctual on >s3cret ~test:* +get +time".into());
        config.users.push("timeless on >s3cret ~test:* +get".into());
    };
    let Some(server) = started(configure).await else { return };
    let key = key("k");
    write(&handle(&server.url()), &key, "v").await;
    let punctual = handle(&server.url_as("punctual", "s3cret"));
    assert_eq!(both(punctual.call(read(&key)).await).1, bytes("v"));
    let timeless = handle(&server.url_as("timeless", "s3cret"));
    let error = timeless.call(read(&key)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert_eq!(timeless.call(get(&key)).await.unwrap(), bytes("v"), "what is allowed goes on");
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_time() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = handle(&server.url_by(proxy.port()));
    write(&redis, "k", "v").await;
    proxy.lose_replies_to(2, "TIME");
    let before = clock();
    let (time, reply) = both(redis.call(read("k")).await);
    assert_eq!((reply, proxy.traffic().replies_lost), (bytes("v"), 2));
    assert!(before <= time && time <= clock(), "{before} {time}");
}

#[tokio::test]
async fn replicas_are_waited_for_as_well() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&primary.url());
    let on = |timeout| Durability::Replicated { replicas: 1, timeout };
    let write = |timeout| set("k", "v").timed().durability(on(timeout));
    assert_eq!(both(redis.call(write(LONG)).await).1, bytes("OK"));
    assert_eq!(replica.command(&["GET", "k"]).await, "v");
    replica.pause();
    let error = redis.call(write(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    replica.resume();
}

/// How often a server was asked for the time.
async fn asked(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).await;
    let time = stats.lines().find_map(|line| line.strip_prefix("cmdstat_time:calls="));
    time.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_node_that_a_redirect_names_is_asked_for_the_time() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let redis = handle(&cluster.url());
    let (stays, new, slot) = ("moving:{s}:1", "moving:{s}:2", slot("moving:{s}:1"));
    write(&redis, stays, "v").await;
    let from = cluster.node_of_slot(slot).await;
    let mut others = Vec::new();
    for other in (0..16384).step_by(1000) {
        others.push(cluster.node_of_slot(other).await);
    }
    let to = others.into_iter().find(|node| node.port() != from.port()).unwrap();

    // ASK: what is not there yet is at the new node, if anywhere
    cluster.begin_migration(slot, to).await;
    let so_far = (asked(from).await, asked(to).await);
    assert_eq!(both(redis.call(read(stays)).await).1, bytes("v"));
    assert_eq!((asked(from).await, asked(to).await), (so_far.0 + 1, so_far.1));
    assert_eq!(both(redis.call(read(new)).await).1, Reply::Nil);
    assert_eq!((asked(from).await, asked(to).await), (so_far.0 + 2, so_far.1 + 1));
    write(&redis, new, "w").await;
    assert_eq!(both(redis.call(read(new)).await).1, bytes("w"));

    // MOVED, and once more without
    cluster.migrate_key(stays, from, to).await;
    cluster.finish_migration(slot, to).await;
    let so_far = asked(to).await;
    assert_eq!(both(redis.call(read(stays)).await).1, bytes("v"));
    assert_eq!(both(redis.call(read(new)).await).1, bytes("w"));
    assert_eq!(asked(to).await, so_far + 2);
}
