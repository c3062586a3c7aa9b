use std::time::{Duration, Instant};

use standfast_core::redis::{Durability, Redis, Request};
use standfast_core::testkit::RedisSentinel;
use standfast_core::testkit::redis::{self, RedisServerConfig};
use standfast_core::{ErrorKind, Verdict};

use super::support::{LONG, add, doubt, get, handle, int, key, message, set, text};

async fn started() -> Option<RedisSentinel> {
    RedisSentinel::start(RedisServerConfig::default()).await
}

async fn publish(redis: &Redis, channel: &str, body: &str) -> i64 {
    let request = Request::command("t.publish", "PUBLISH", channel).arg(body);
    int(redis.call(request.timeout(LONG)).await)
}

#[tokio::test]
async fn the_primary_is_found() {
    let Some(group) = redis::sentinel() else { return };
    let (redis, key) = (handle(&group.url()), key("k"));
    assert_eq!(text(redis.call(set(&key, "v")).await), "OK");
    assert_eq!(text(redis.call(get(&key)).await), "v");
    assert_eq!(redis.check().await, Verdict::Healthy);
    let mut news = redis.subscribe(&key).await;
    assert_eq!(publish(&redis, &key, "hello").await, 1);
    message(&mut news, "hello").await;
}

#[tokio::test]
async fn sentinels_that_are_away_do_not_matter_and_an_unknown_name_does() {
    let Some(group) = redis::sentinel() else { return };
    let url = group.url();
    // discard refuses connections
    let partly = url.replacen("://", "://127.0.0.1:9,", 1);
    assert_eq!(text(handle(&partly).call(set(&key("k"), "v")).await), "OK");
    let (rest, _) = url.rsplit_once('/').unwrap();
    let error = handle(&format!("{rest}/nobody?timeout_ms=300")).call(get("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.detail().contains("no master named `nobody`"), "{error}");
}

#[tokio::test]
async fn a_primary_that_dies_is_replaced_and_subscriptions_follow() {
    let Some(group) = started().await else { return };
    let redis = handle(&group.url());
    let mut news = redis.subscribe("news").await;
    let durable = Durability::Replicated { replicas: 2, timeout: LONG };
    redis.call(set("kept", "v").durability(durable)).await.unwrap();
    let killed = group.kill_master().await;
    let began = Instant::now();
    doubt(&mut news).await;
    assert_eq!(int(redis.call(add("n").timeout(LONG)).await), 1);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(text(redis.call(get("kept")).await), "v");
    // or a busy machine, on which the new one is late and replaced in turn, may lose the count
    let durable = Durability::Replicated { replicas: 1, timeout: LONG };
    redis.call(set("kept", "w").durability(durable)).await.unwrap();
    let heard = async {
        while publish(&redis, "news", "after").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, heard).await.expect("the subscription follows");
    message(&mut news, "after").await;
    // the old one comes back, and is no primary any more
    killed.restart().await;
    group.await_ready().await;
    for expected in 2..=5 {
        assert_eq!(int(redis.call(add("n")).await), expected);
    }
    // its new replica may still be catching up
    let verdict = redis.check().await;
    assert!(!matches!(verdict, Verdict::Failing(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_failover_in_agreement_costs_a_little_time() {
    let Some(group) = started().await else { return };
    let redis = handle(&group.url());
    assert_eq!(int(redis.call(add("n")).await), 1);
    let before = group.master_port().await;
    let after = group.failover().await.port();
    assert_ne!(before, after);
    assert_eq!(int(redis.call(add("n").timeout(LONG)).await), 2);
}

#[tokio::test]
async fn a_process_that_only_asks_for_health_follows_a_failover_too() {
    let Some(group) = started().await else { return };
    let redis = handle(&group.url());
    assert_eq!(redis.check().await, Verdict::Healthy);
    let killed = group.kill_master().await.port();
    let Verdict::Failing(_) = redis.check().await else { panic!("it is failing") };
    group.await_failover(killed).await;
    let healthy = async {
        while matches!(redis.check().await, Verdict::Failing(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, healthy).await.expect("it finds the new primary");
}

#[tokio::test]
async fn a_primary_that_is_cut_off_is_left_for_the_one_that_replaced_it() {
    let config = RedisServerConfig::default();
    let Some(group) = RedisSentinel::start_behind_proxies(config).await else { return };
    let redis = handle(&group.url());
    assert_eq!(int(redis.call(add("n")).await), 1);
    let cut = group.master_port().await;
    let index = group.ports().iter().position(|&port| port == cut).unwrap();
    group.proxies()[index].freeze();
    // the first call only knows that there is no reply
    let began = Instant::now();
    let error = redis.call(add("n").timeout(Duration::from_secs(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    redis.call(set("k", "v").timeout(LONG)).await.unwrap();
    assert_ne!(group.await_failover(cut).await.port(), cut);
    group.proxies()[index].pass();
    group.await_ready().await;
    assert_eq!(text(redis.call(get("k")).await), "v");
}
