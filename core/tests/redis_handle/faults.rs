use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use standfast_core::redis::Request;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
use standfast_core::testkit::{FaultProxy, RedisServer};
use standfast_core::{Error, ErrorKind};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::support::{LONG, add, get, handle, int, key, set, started, text};

/// The deadline of every call, and some more for a slow machine.
const DEADLINE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(4);

fn is_typed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Timeout | ErrorKind::Unavailable)
}

#[tokio::test]
async fn calls_go_on_across_a_kill_and_a_restart_and_nothing_happens_twice() {
    let configure = |config: &mut RedisServerConfig| {
        config.persistence = Persistence::Always;
    };
    let Some(server) = started(configure).await else { return };
    let (redis, key, stop) = (handle(&server.url()), key("n"), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for _ in 0..8 {
        let (redis, key, stop) = (redis.clone(), key.clone(), Arc::clone(&stop));
        callers.push(tokio::spawn(async move {
            let (mut done, mut unknown) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                match redis.call(add(&key)).await {
                    Ok(_) => done += 1,
                    Err(error) if error.kind() == ErrorKind::OutcomeUnknown => unknown += 1,
                    Err(error) => assert!(is_typed(&error), "{error}"),
                }
                assert!(began.elapsed() < DEADLINE + SLACK, "{:?}", began.elapsed());
            }
            (done, unknown)
        }));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart().await;
        // back within a second or so of the server
        let began = Instant::now();
        while redis.call(get(&key)).await.is_err() {}
        assert!(began.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut unknown) = (0, 0);
    for caller in callers {
        let (more, less) = caller.await.unwrap();
        done += more;
        unknown += less;
    }
    let stored = text(redis.call(get(&key)).await).parse::<i64>().unwrap();
    assert!(done > 100, "{done}");
    assert!((done..=done + unknown).contains(&stored), "{stored} of {done} and {unknown}");
}

#[tokio::test]
async fn a_server_that_restarts_while_nobody_calls_is_not_noticed() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    for value in ["1", "2", "3"] {
        // not repeatable, so a connection that is only found dead now must not make it unknown
        assert_eq!(text(redis.call(set("k", value)).await), "OK");
        server.restart().await;
    }
}

#[tokio::test]
async fn a_pause_within_the_deadline_is_waited_for() {
    let Some(server) = started(|_| {}).await else { return };
    let (connected, fresh) = (handle(&server.url()), handle(&server.url()));
    connected.call(set("k", "v")).await.unwrap();
    server.pause();
    let began = Instant::now();
    let resume = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.resume();
    };
    let (added, got, set_fresh, ()) = tokio::join!(
        connected.call(add("n")),
        connected.call(get("k")),
        fresh.call(set("fresh", "v")),
        resume
    );
    assert_eq!(int(added), 1);
    assert_eq!(text(got), "v");
    assert_eq!(text(set_fresh), "OK");
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_ends_at_the_deadline() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&format!("{}?timeout_ms=500", server.url()));
    let fresh = redis.clone();
    redis.call(set("k", "v")).await.unwrap();
    server.pause();
    let began = Instant::now();
    let (write, read) = tokio::join!(redis.call(set("k", "w")), redis.call(get("k")));
    assert_eq!(write.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Timeout);
    // by now there is no connection, so this one is known not to have happened
    let error = fresh.call(set("k", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(began.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", began.elapsed());
    server.resume();
    let read = redis.call(get("k").timeout(LONG)).await;
    // the first write arrived after all, the last one did not
    assert_eq!(text(read), "w");
}

#[tokio::test]
async fn a_black_hole_ends_at_the_deadline_and_the_next_call_connects_anew() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = handle(&server.url_by(proxy.port()));
    redis.call(set("k", "v")).await.unwrap();
    proxy.black_hole();
    for request in [set("k", "w"), get("k"), add("n")] {
        let began = Instant::now();
        let error = redis.call(request.timeout(Duration::from_millis(400))).await.unwrap_err();
        assert!(is_typed(&error), "{error}");
        assert!(began.elapsed() < Duration::from_millis(400) + SLACK, "{:?}", began.elapsed());
    }
    proxy.pass();
    assert_eq!(text(redis.call(get("k").timeout(LONG)).await), "v");
}

/// In front of `server`: the first connection is answered one PING and nothing more, as one is
/// that a firewall has forgotten; the others are passed on.
async fn forgetful(server: &RedisServer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, server) = (listener.local_addr().unwrap().port(), server.address());
    tokio::spawn(async move {
        let (mut forgotten, _) = listener.accept().await.unwrap();
        forgotten.write_all(b"+PONG\r\n").await.unwrap();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            // ends with either side
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_died_silently_costs_a_read_half_of_its_time() {
    let Some(server) = started(|_| {}).await else { return };
    let began = Instant::now();
    let redis = handle(&server.url_by(forgetful(&server).await));
    let read = redis.call(get("k").timeout(Duration::from_secs(3))).await;
    assert!(read.unwrap().is_nil());
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());

    // what must not be repeated waits to the end, and the next call connects anew
    let redis = handle(&server.url_by(forgetful(&server).await));
    let write = redis.call(add("n").timeout(Duration::from_secs(1))).await;
    assert_eq!(write.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(int(redis.call(add("n")).await), 1);
}

#[tokio::test]
async fn a_lost_reply_is_unknown_or_repeated_but_never_repeated_unasked() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let (redis, key) = (handle(&server.url_by(proxy.port())), key("n"));
    assert_eq!(int(redis.call(add(&key)).await), 1);

    proxy.lose_replies_to(1, "EVALSHA");
    let error = redis.call(add(&key)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(!error.is_retryable());
    // it happened, once
    assert_eq!(text(redis.call(get(&key)).await), "2");

    proxy.lose_replies_to(2, "EVALSHA");
    assert_eq!(int(redis.call(add(&key).repeatable()).await), 5);
    assert_eq!(proxy.traffic().replies_lost, 3);

    // in flight with it, on the same connection: unknown too, or known not to have been written
    proxy.lose_replies_to(1, "EVALSHA");
    let other = Request::command("t", "SET", "other").arg("v");
    let (lost, other) = tokio::join!(redis.call(add(&key)), redis.call(other));
    lost.unwrap_err();
    if let Err(error) = other {
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_comes_within_the_deadline_is_waited_for() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    proxy.refuse();
    let redis = handle(&server.url_by(proxy.port()));
    let back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxy.accept();
    };
    let calls = async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let redis = redis.clone();
            calls.spawn(async move { int(redis.call(add("n")).await) });
        }
        calls.join_all().await.len()
    };
    assert_eq!(tokio::join!(calls, back).0, 50);
    // fifty callers, but one at a time tried
    assert_eq!(proxy.traffic().connections, 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_the_connection_to_the_others() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    redis.call(set("k", "v")).await.unwrap();
    for _ in 0..100 {
        let call = redis.call(get("k"));
        // dropped after at most one poll
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
    }
    assert_eq!(text(redis.call(get("k")).await), "v");
    let stats = server.command(&["INFO", "stats"]).await;
    let connections =
        stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    assert!(connections.unwrap().parse::<u32>().unwrap() < 20, "{stats}");
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    let configure = |config: &mut RedisServerConfig| {
        config.persistence = Persistence::Always;
        // a key takes 2 ms to load
        config.extra.push("key-load-delay 2000".into());
        config.extra.push("enable-debug-command yes".into());
    };
    let Some(server) = started(configure).await else { return };
    let redis = handle(&server.url());
    server.command(&["DEBUG", "POPULATE", "300"]).await;
    server.command(&["BGREWRITEAOF"]).await;
    while server.command(&["INFO", "persistence"]).await.contains("aof_rewrite_in_progress:1")
        || server.command(&["INFO", "persistence"]).await.contains("aof_rewrite_scheduled:1")
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let loading = async {
        let ready = set("k", "v").timeout(LONG);
        redis.call(ready).await
    };
    let (reply, ()) = tokio::join!(loading, server.restart());
    assert_eq!(text(reply), "OK");
}
