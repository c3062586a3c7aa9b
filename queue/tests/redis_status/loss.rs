//! Networks that lose replies, connections and messages.

use std::time::{Duration, Instant};

use standfast_core::ErrorKind;
use standfast_core::redis::Redis;
use standfast_core::testkit::{FaultProxy, RedisServer};
use standfast_queue::{
    CancelOutcome, JobState, Progress, RedisStatusConfig, RedisStatusStore, StatusHandle,
    StatusStore,
};

use crate::support::{DAY, advance, applied, key, known, lasting, namespace, step, store_in};

const SOON: Duration = Duration::from_secs(30);

/// A server, what is between it and a store, that store, and one with a way of its own.
struct Lossy {
    server: RedisServer,
    proxy: FaultProxy,
    store: RedisStatusStore,
    direct: RedisStatusStore,
    namespace: String,
}

impl Lossy {
    async fn start() -> Option<Self> {
        let server = lasting().await?;
        let proxy = FaultProxy::start(server.address()).await;
        let namespace = namespace();
        let store = store_in(&server.url_by(proxy.port()), &namespace);
        let direct = store_in(&server.url(), &namespace);
        Some(Self { server, proxy, store, direct, namespace })
    }

    /// Loses the reply to the next request about `handle`.
    fn lose(&self, handle: &StatusHandle) {
        self.proxy.lose_replies_to(1, handle.to_string());
    }

    fn lost(&self, so_far: u64) {
        assert_eq!(self.proxy.traffic().replies_lost, so_far, "the reply was lost");
    }
}

#[tokio::test]
async fn a_step_whose_reply_is_lost_is_answered_as_the_first_time() {
    let Some(net) = Lossy::start().await else { return };
    let handle = StatusHandle::random();
    // connected, and the script is known: the first reply about the handle is that of the step
    applied(&net.store, &StatusHandle::random(), step(JobState::Queued)).await;
    let updates = [
        step(JobState::Queued),
        step(JobState::Running),
        step(JobState::Running).progress(Progress::new(3, 9)),
        step(JobState::Succeeded).result("done".into()),
    ];
    let mut last = None;
    for (number, update) in updates.into_iter().enumerate() {
        net.lose(&handle);
        let status = applied(&net.store, &handle, update).await;
        net.lost(number as u64 + 1);
        if let Some(last) = last {
            assert_eq!(status.version, last + 1, "it happened once");
        }
        assert_eq!(known(&net.direct, &handle).await, status);
        last = Some(status.version);
    }
}

#[tokio::test]
async fn a_request_to_cancel_whose_reply_is_lost_is_answered_as_the_first_time() {
    let Some(net) = Lossy::start().await else { return };
    let (queued, running) = (StatusHandle::random(), StatusHandle::random());
    applied(&net.store, &queued, step(JobState::Queued)).await;
    applied(&net.store, &running, step(JobState::Running)).await;
    net.store.request_cancel(&StatusHandle::random()).await.expect("no error");
    for (number, (handle, outcome)) in
        [(queued, CancelOutcome::Cancelled), (running, CancelOutcome::Requested)]
            .into_iter()
            .enumerate()
    {
        let before = known(&net.direct, &handle).await.version;
        net.lose(&handle);
        assert_eq!(net.store.request_cancel(&handle).await.expect("no error"), outcome);
        net.lost(number as u64 + 1);
        assert_eq!(known(&net.direct, &handle).await.version, before + 1, "it happened once");
    }
}

#[tokio::test]
async fn a_removal_whose_reply_is_lost_says_so() {
    let Some(net) = Lossy::start().await else { return };
    let handle = StatusHandle::random();
    applied(&net.store, &handle, step(JobState::Queued)).await;
    net.store.remove(&StatusHandle::random()).await.expect("no error");
    net.lose(&handle);
    let error = net.store.remove(&handle).await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(!net.store.remove(&handle).await.expect("no error"), "it had happened");
}

#[tokio::test]
async fn a_read_whose_reply_is_lost_is_read_again() {
    let Some(net) = Lossy::start().await else { return };
    let handle = StatusHandle::random();
    let status = applied(&net.store, &handle, step(JobState::Queued)).await;
    net.lose(&handle);
    assert_eq!(known(&net.store, &handle).await, status);
    net.lost(1);
}

#[tokio::test]
async fn connections_that_are_cut_are_made_again() {
    let Some(net) = Lossy::start().await else { return };
    let handle = StatusHandle::random();
    applied(&net.store, &handle, step(JobState::Queued)).await;
    for done in 0..10 {
        net.proxy.cut();
        let busy = step(JobState::Running).progress(Progress::new(done, 10));
        let status = applied(&net.store, &handle, busy).await;
        net.proxy.cut();
        assert_eq!(known(&net.store, &handle).await, status);
    }
}

#[tokio::test]
async fn what_changed_while_the_connection_was_away_is_seen() {
    let Some(net) = Lossy::start().await else { return };
    let handle = StatusHandle::random();
    let mut seen = applied(&net.direct, &handle, step(JobState::Queued)).await.version;
    for done in 0..3 {
        let store = net.store.clone();
        let waiter = tokio::spawn(async move { store.wait(&handle, seen, DAY).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        match done {
            // it is known to be gone, silently gone, and gone for a moment
            0 => {
                net.proxy.refuse();
                net.proxy.cut();
            }
            1 => net.proxy.black_hole(),
            _ => net.proxy.cut(),
        }
        let busy = step(JobState::Running).progress(Progress::new(done, 3));
        let changed = applied(&net.direct, &handle, busy).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        net.proxy.pass();
        let woken = tokio::time::timeout(SOON, waiter).await.expect("it is woken");
        let status = woken.expect("it does not panic").expect("no error");
        assert_eq!(status, Some(changed), "round {done}");
        seen = status.expect("it is known").version;
    }
}

#[tokio::test]
async fn what_nobody_told_is_found_out() {
    let Some(net) = Lossy::start().await else { return };
    let mut config = RedisStatusConfig::default();
    config.namespace.clone_from(&net.namespace);
    config.look_every = Duration::from_millis(300);
    let redis = Redis::from_url(&net.server.url()).expect("a URL");
    let store = RedisStatusStore::from_parts(redis, config).expect("a namespace");
    let handle = StatusHandle::random();
    let seen = applied(&store, &handle, step(JobState::Queued)).await.version;
    let waiter = tokio::spawn(async move { store.wait(&handle, seen, DAY).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // as an eviction does
    net.server.command(&["DEL", &key(&net.namespace, &handle)]).await;
    let woken = tokio::time::timeout(SOON, waiter).await.expect("it looks by itself");
    assert_eq!(woken.expect("it does not panic").expect("no error"), None);
}

#[tokio::test]
async fn each_call_is_one_round_trip() {
    let Some(net) = Lossy::start().await else { return };
    let warm = StatusHandle::random();
    applied(&net.store, &warm, step(JobState::Queued)).await;
    net.store.request_cancel(&warm).await.expect("no error");
    net.store.remove(&warm).await.expect("no error");
    let handle = StatusHandle::random();
    let trips = || net.proxy.traffic().requests;
    for _ in 0..3 {
        let mut so_far = trips();
        let mut one = |what: &str| {
            so_far += 1;
            assert_eq!(trips(), so_far, "{what} is one round trip");
        };
        advance(&net.store, &handle, step(JobState::Queued)).await.expect("no error");
        one("advance");
        net.store.get(&handle).await.expect("no error");
        one("get");
        net.store.wait(&handle, 0, DAY).await.expect("no error");
        one("a wait for any version");
        net.store.request_cancel(&handle).await.expect("no error");
        one("request_cancel");
        net.store.remove(&handle).await.expect("no error");
        one("remove");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiters_hold_one_connection() {
    let Some(net) = Lossy::start().await else { return };
    const WAITERS: usize = 10_000;
    let mut waiters = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..WAITERS {
        handles.push(StatusHandle::random());
    }
    for handles in handles.chunks(100) {
        let all = handles.iter().map(|handle| applied(&net.direct, handle, step(JobState::Queued)));
        for (handle, status) in handles.iter().zip(futures_util::future::join_all(all).await) {
            let (store, handle) = (net.store.clone(), *handle);
            waiters
                .push(tokio::spawn(async move { store.wait(&handle, status.version, DAY).await }));
        }
    }
    let subscribed = async {
        let wanted = format!("sub={WAITERS} ");
        while !net.server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.contains(&wanted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, subscribed).await.expect("all wait on one connection");
    let clients = net.server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    assert_eq!(clients.trim().lines().count(), 1, "{clients}");
    assert!(net.proxy.traffic().open <= 2, "and share another for what they ask");
    let began = Instant::now();
    for handles in handles.chunks(100) {
        let all =
            handles.iter().map(|handle| applied(&net.direct, handle, step(JobState::Running)));
        futures_util::future::join_all(all).await;
    }
    for waiter in waiters {
        let woken = tokio::time::timeout(SOON, waiter).await.expect("nobody sleeps on");
        let status = woken.expect("it does not panic").expect("no error").expect("it is known");
        assert_eq!(status.state, JobState::Running);
    }
    println!("{WAITERS} statuses changed and waiters woken in {:?}", began.elapsed());
}
