//! Servers that do not take what they are asked to.

use std::time::Duration;

use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::{Error, ErrorKind, Reason};
use standfast_queue::{JobState, RedisStatusStore, StatusHandle, StatusStore};

use crate::support::{DAY, advance, applied, hasty, known, namespace, step, store_in};

const HASTE: Duration = Duration::from_millis(500);

async fn every_call(store: &RedisStatusStore, handle: &StatusHandle) -> Vec<Error> {
    let answers = [
        store.get(handle).await.map(drop),
        store.wait(handle, 7, DAY).await.map(drop),
        advance(store, handle, step(JobState::Queued)).await.map(drop),
        store.request_cancel(handle).await.map(drop),
        store.remove(handle).await.map(drop),
    ];
    answers.into_iter().map(|answer| answer.expect_err("it is refused")).collect()
}

#[tokio::test]
async fn a_wrong_password_is_denied() {
    let mut config = RedisServerConfig::default();
    config.password = Some("right-one".into());
    let Some(server) = RedisServer::start(config).await else { return };
    let url = server.url_as("default", "wrong-one");
    let store = hasty(&url, &namespace(), HASTE);
    for error in every_call(&store, &StatusHandle::random()).await {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(!format!("{error} {error:?} {store:?}").contains("wrong-one"), "{error}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_tell_changes_nothing() {
    let mut config = RedisServerConfig::default();
    config.password = Some("right-one".into());
    config.users.push("mute on >secret ~standfast:* resetchannels +@all".into());
    config.users.push("app on >secret ~standfast:1:* resetchannels &standfast:1:* +@all".into());
    let Some(server) = RedisServer::start(config).await else { return };
    let namespace = namespace();
    let mute = hasty(&server.url_as("mute", "secret"), &namespace, HASTE);
    let app = hasty(&server.url_as("app", "secret"), &namespace, HASTE);
    let handle = StatusHandle::random();
    let error = advance(&mute, &handle, step(JobState::Queued)).await;
    assert!(!error.expect_err("no half a step").is_retryable());
    assert!(app.get(&handle).await.expect("no error").is_none(), "nothing of it is stored");
    let before = applied(&app, &handle, step(JobState::Queued)).await;
    for answer in [
        advance(&mute, &handle, step(JobState::Running)).await.map(drop),
        mute.request_cancel(&handle).await.map(drop),
        mute.remove(&handle).await.map(drop),
    ] {
        assert!(!answer.expect_err("no half a step").is_retryable());
        assert_eq!(known(&app, &handle).await, before, "nothing of it is stored");
    }
}

#[tokio::test]
async fn a_replica_takes_no_steps() {
    let Some(primary) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let mut config = RedisServerConfig::default();
    config.replica_of = Some(primary.port());
    let Some(replica) = RedisServer::start(config).await else { return };
    let namespace = namespace();
    let store = store_in(&primary.url(), &namespace);
    let handle = StatusHandle::random();
    let before = applied(&store, &handle, step(JobState::Queued)).await;
    let wrong = hasty(&replica.url(), &namespace, HASTE);
    let arrived = async {
        while wrong.get(&handle).await.ok().flatten().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await.expect("the replica follows");
    for answer in [
        advance(&wrong, &handle, step(JobState::Running)).await.map(drop),
        wrong.request_cancel(&handle).await.map(drop),
        wrong.remove(&handle).await.map(drop),
    ] {
        let error = answer.expect_err("a replica is read-only");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable(), "after a failover it is the primary: {error}");
    }
    assert_eq!(known(&store, &handle).await, before);
}

#[tokio::test]
async fn a_full_server_takes_no_steps_and_loses_none() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let store = hasty(&server.url(), &namespace(), HASTE);
    let handle = StatusHandle::random();
    let removed = StatusHandle::random();
    let before = applied(&store, &handle, step(JobState::Running)).await;
    applied(&store, &removed, step(JobState::Running)).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let big = step(JobState::Succeeded).result("x".repeat(10_000).into());
    for answer in [
        advance(&store, &handle, big.clone()).await.map(drop),
        advance(&store, &StatusHandle::random(), step(JobState::Queued)).await.map(drop),
        store.request_cancel(&handle).await.map(drop),
    ] {
        let error = answer.expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(error.reason(), Some(Reason::NoSpace), "{error}");
    }
    assert_eq!(known(&store, &handle).await, before, "what is there can be read");
    assert!(store.remove(&removed).await.expect("no error"), "and removed");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    applied(&store, &handle, big).await;
}

#[tokio::test]
async fn a_server_that_wants_replicas_takes_no_steps_without_them() {
    let mut config = RedisServerConfig::default();
    config.extra.push("min-replicas-to-write 1".into());
    let Some(server) = RedisServer::start(config).await else { return };
    let store = hasty(&server.url(), &namespace(), HASTE);
    let handle = StatusHandle::random();
    let error = advance(&store, &handle, step(JobState::Queued)).await;
    let error = error.expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(store.get(&handle).await.expect("no error").is_none());
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    applied(&store, &handle, step(JobState::Queued)).await;
}
