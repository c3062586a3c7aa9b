//! Servers that die, stall, come back empty-handed or far away in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::redis::{Durability, Redis};
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::{Clock, ErrorKind, HealthCheck, Reason, SystemClock};
use standfast_queue::{
    CancelOutcome, JobState, Progress, RedisStatusConfig, RedisStatusStore, StatusHandle,
    StatusStore,
};

use crate::support::{DAY, advance, applied, hasty, known, lasting, namespace, step, store_in};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_has_every_step() {
    let Some(server) = lasting().await else { return };
    let store = store_in(&server.url(), &namespace());
    let handles = [(); 20].map(|()| StatusHandle::random());
    let mut before = Vec::new();
    for (number, handle) in handles.iter().enumerate() {
        applied(&store, handle, step(JobState::Queued)).await;
        let busy = step(JobState::Running).progress(Progress::new(number as u64, 20));
        before.push(applied(&store, handle, busy.checkpoint("here")).await);
    }
    server.kill();
    let error = store.get(&handles[0]).await;
    let error = error.expect_err("there is no server");
    // it may have been asked with the last breath of the connection
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    assert!(error.is_retryable(), "{error}");
    assert!(!store.health().await.is_usable(), "the health tells");
    server.restart().await;
    for (handle, before) in handles.iter().zip(&before) {
        assert_eq!(&known(&store, handle).await, before);
        let ended = applied(&store, handle, step(JobState::Succeeded)).await;
        assert!(ended.version > before.version);
    }
    assert!(store.health().await.is_usable(), "it is well again");
}

#[tokio::test]
async fn who_waits_survives_a_restart() {
    let Some(server) = lasting().await else { return };
    let namespace = namespace();
    // gives up a call long before the server is back
    let waits = hasty(&server.url(), &namespace, Duration::from_millis(300));
    let store = store_in(&server.url(), &namespace);
    let handle = StatusHandle::random();
    let seen = applied(&store, &handle, step(JobState::Queued)).await.version;
    let waiter = {
        let waits = waits.clone();
        tokio::spawn(async move { waits.wait(&handle, seen, DAY).await })
    };
    let brief = {
        let waits = waits.clone();
        let brief = Duration::from_secs(1);
        tokio::spawn(async move { waits.wait(&handle, seen, brief).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let late = brief.await.expect("it does not panic").expect_err("the outage outlasts it");
    assert!(late.is_retryable(), "{late}");
    assert!(!waiter.is_finished(), "it waits on");
    server.restart().await;
    applied(&store, &handle, step(JobState::Running)).await;
    let woken = tokio::time::timeout(SOON, waiter).await.expect("it is woken");
    let status = woken.expect("it does not panic").expect("no error").expect("it is known");
    assert_eq!(status.state, JobState::Running);
}

#[tokio::test]
async fn a_server_that_stalls_for_two_seconds_is_waited_for() {
    let Some(server) = lasting().await else { return };
    let store = store_in(&server.url(), &namespace());
    let handle = StatusHandle::random();
    let seen = applied(&store, &handle, step(JobState::Queued)).await.version;
    let waiter = {
        let store = store.clone();
        tokio::spawn(async move { store.wait(&handle, seen, DAY).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.pause();
    let stalled = {
        let store = store.clone();
        tokio::spawn(async move { advance(&store, &handle, step(JobState::Succeeded)).await })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!stalled.is_finished(), "nobody answered");
    server.resume();
    let answer = tokio::time::timeout(SOON, stalled).await.expect("it is answered");
    let answer = answer.expect("it does not panic").expect("it is stored");
    assert!(answer.is_applied(), "once, however often it was sent: {answer:?}");
    assert_eq!(answer.status().version, seen + 1);
    let woken = tokio::time::timeout(SOON, waiter).await.expect("it is woken");
    let status = woken.expect("it does not panic").expect("no error").expect("it is known");
    assert_eq!(status.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_server_that_stalls_for_longer_holds_nobody() {
    let Some(server) = lasting().await else { return };
    let store = hasty(&server.url(), &namespace(), Duration::from_millis(500));
    let handle = StatusHandle::random();
    applied(&store, &handle, step(JobState::Queued)).await;
    server.pause();
    let began = Instant::now();
    let error = advance(&store, &handle, step(JobState::Running)).await;
    let error = error.expect_err("nobody answers");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout, "sent, and nobody knows: {error}");
    server.resume();
    // repeating it is harmless
    let again = advance(&store, &handle, step(JobState::Running)).await;
    assert!(again.expect("it answers").is_applied());
    assert_eq!(known(&store, &handle).await.state, JobState::Running);
}

#[tokio::test]
async fn a_server_that_forgets_the_scripts_learns_them_again() {
    let Some(server) = lasting().await else { return };
    let store = store_in(&server.url(), &namespace());
    let handle = StatusHandle::random();
    for (number, state) in [JobState::Queued, JobState::Running].into_iter().enumerate() {
        applied(&store, &handle, step(state)).await;
        server.command(&["SCRIPT", "FLUSH"]).await;
        let seen = known(&store, &handle).await.version;
        let wait = store.wait(&handle, seen, Duration::from_millis(50)).await;
        assert_eq!(wait.expect("no error").expect("it is known").version, seen, "{number}");
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    let outcome = store.request_cancel(&handle).await.expect("no error");
    assert_eq!(outcome, CancelOutcome::Requested);
    server.command(&["SCRIPT", "FLUSH"]).await;
    assert!(store.remove(&handle).await.expect("no error"));
}

/// A clock of somebody who is an hour off.
#[derive(Debug)]
struct Wrong(TimeDelta);

#[async_trait]
impl Clock for Wrong {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.0
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    async fn sleep_until(&self, deadline: Instant) {
        SystemClock.sleep_until(deadline).await;
    }
}

#[tokio::test]
async fn a_client_whose_clock_is_an_hour_off_changes_nothing() {
    let Some(server) = lasting().await else { return };
    let handle = StatusHandle::random();
    let namespace = namespace();
    let mut versions = Vec::new();
    let states = [JobState::Queued, JobState::Running, JobState::Succeeded];
    for (state, hours) in states.into_iter().zip([-1, 1, -1]) {
        let mut config = RedisStatusConfig::default();
        config.namespace.clone_from(&namespace);
        config.clock = Arc::new(Wrong(TimeDelta::hours(hours)));
        let redis = Redis::from_url(&server.url()).expect("a URL");
        let store = RedisStatusStore::from_parts(redis, config).expect("a namespace");
        let brief = Duration::from_millis(600);
        let answer = store.advance(&handle, &step(state), brief).await.expect("no error");
        let status = answer.status();
        assert!(answer.is_applied(), "{answer:?}");
        let off = (SystemClock.now() - status.updated_at).abs();
        assert!(off < TimeDelta::seconds(30), "the server's time: {off}");
        versions.push(status.version);
        let wait = store.wait(&handle, status.version, Duration::from_millis(50)).await;
        assert!(wait.expect("no error").is_some(), "it is there, and the wait ends in time");
    }
    assert!(versions.is_sorted(), "{versions:?}");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let store = store_in(&server.url(), &namespace);
    assert!(store.get(&handle).await.expect("no error").is_none(), "kept as long as told");
}

fn replicated(server: &RedisServer, namespace: &str) -> RedisStatusStore {
    let mut config = RedisStatusConfig::default();
    config.namespace = namespace.into();
    config.durability = Durability::Replicated { replicas: 1, timeout: Duration::from_secs(1) };
    let redis = Redis::from_url(&server.url()).expect("a URL");
    RedisStatusStore::from_parts(redis, config).expect("a namespace")
}

#[tokio::test]
async fn a_step_that_must_be_replicated_is() {
    let Some(primary) = lasting().await else { return };
    let mut config = RedisServerConfig::default();
    config.replica_of = Some(primary.port());
    let Some(replica) = RedisServer::start(config).await else { return };
    let linked = async {
        // the primary counts a replica once that has reported what it has
        while primary.command(&["WAIT", "1", "100"]).await != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, linked).await.expect("the replica follows");
    let namespace = namespace();
    let store = replicated(&primary, &namespace);
    let handle = StatusHandle::random();
    let queued = advance(&store, &handle, step(JobState::Queued)).await.expect("it is stored");
    assert!(queued.is_applied());
    let copy = store_in(&replica.url(), &namespace);
    assert_eq!(&known(&copy, &handle).await, queued.status(), "a replica has it");

    replica.pause();
    // the second time, everything is as it was asked for on the primary: and still on it alone
    for round in 0..2 {
        // another process, whose connections have written nothing yet
        let store = replicated(&primary, &namespace);
        let error = advance(&store, &handle, step(JobState::Succeeded)).await;
        let error = error.expect_err("no replica has it");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{round}: {error}");
        assert_eq!(error.reason(), Some(Reason::NotReplicated), "{round}: {error}");
        let store = replicated(&primary, &namespace);
        let error = store.request_cancel(&handle).await.expect_err("nor that it has ended");
        assert_eq!(error.reason(), Some(Reason::NotReplicated), "{round}: {error}");
    }
    replica.resume();
    let again = advance(&store, &handle, step(JobState::Succeeded)).await.expect("it answers");
    assert!(!again.is_applied(), "it was stored before");
    assert_eq!(known(&copy, &handle).await.state, JobState::Succeeded, "a replica has it now");
    assert_eq!(store.request_cancel(&handle).await.expect("no error"), CancelOutcome::Finished);
}
