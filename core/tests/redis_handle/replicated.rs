use std::time::{Duration, Instant};

use standfast_core::redis::{Durability, Request};
use standfast_core::testkit::FaultProxy;
use standfast_core::{ErrorKind, Reason};

use super::support::{LONG, add, get, handle, int, key, pair, set, text};

fn on(replicas: u32, timeout: Duration) -> Durability {
    Durability::Replicated { replicas, timeout }
}

#[tokio::test]
async fn a_replicated_write_is_on_the_replica_when_it_returns() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&primary.url());
    for expected in 1..=20 {
        let request = add("n").durability(on(1, LONG));
        assert_eq!(int(redis.call(request).await), expected);
        assert_eq!(replica.command(&["GET", "n"]).await, expected.to_string());
    }
    // one after the other on one connection of their own, beside the shared one and ours
    let clients = primary.command(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    assert!(clients.lines().count() <= 3, "{clients}");
}

#[tokio::test]
async fn too_few_replicas_are_an_unknown_outcome_that_says_why() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&primary.url());
    replica.pause();
    let began = Instant::now();
    let request = set("k", "v").durability(on(1, Duration::from_millis(300)));
    let error = redis.call(request).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::OutcomeUnknown, Some(Reason::NotReplicated))
    );
    assert!(error.detail().contains("0 of 1 replicas"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(text(redis.call(get("k")).await), "v");

    // a repetition that writes nothing has not replicated the first one either
    let again = Request::command("t", "SETNX", "k").arg("w");
    let again = redis.call(again.durability(on(1, Duration::from_millis(300)))).await.unwrap_err();
    assert_eq!(again.reason(), Some(Reason::NotReplicated));

    replica.resume();
    let request = set("k", "w").durability(on(1, LONG));
    assert_eq!(text(redis.call(request).await), "OK");
    assert_eq!(replica.command(&["GET", "k"]).await, "w");
}

#[tokio::test]
async fn the_time_to_wait_for_replicas_comes_on_top_of_the_deadline() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&format!("{}?timeout_ms=1000", primary.url()));
    replica.pause();
    let resume = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        replica.resume();
    };
    let write = redis.call(set("k", "v").durability(on(1, LONG)));
    assert_eq!(text(tokio::join!(write, resume).0), "OK");
}

#[tokio::test]
async fn writes_that_wait_do_not_hold_up_others() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&primary.url());
    replica.pause();
    let waiting = redis.call(set("k", "v").durability(on(1, Duration::from_secs(3))));
    let others = async {
        let began = Instant::now();
        for _ in 0..100 {
            redis.call(get("k")).await.unwrap();
        }
        began.elapsed()
    };
    let (waited, took) = tokio::join!(waiting, others);
    assert_eq!(waited.unwrap_err().reason(), Some(Reason::NotReplicated));
    assert!(took < Duration::from_secs(2), "{took:?}");
    replica.resume();
}

#[tokio::test]
async fn a_lost_reply_is_no_lack_of_replicas() {
    let Some((primary, _replica)) = pair().await else { return };
    let proxy = FaultProxy::start(primary.address()).await;
    let (redis, key) = (handle(&primary.url_by(proxy.port())), key("n"));
    let request = || add(&key).durability(on(1, LONG));
    assert_eq!(int(redis.call(request()).await), 1);
    proxy.lose_replies_to(1, "EVALSHA");
    let error = redis.call(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::OutcomeUnknown, None), "{error}");
    proxy.lose_replies_to(1, "EVALSHA");
    assert_eq!(int(redis.call(request().repeatable()).await), 4);
    // connections that were kept are found dead and replaced
    proxy.cut();
    assert_eq!(int(redis.call(request()).await), 5);
}
