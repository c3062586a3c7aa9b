use std::time::{Duration, Instant};

use standfast_core::Verdict;
use standfast_core::testkit::redis::RedisServerConfig;

use super::support::{handle, pair, set, started};

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Degraded(why) => format!("degraded: {why}"),
        Verdict::Failing(why) => format!("failing: {why}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_degraded_and_told_what_to_do() {
    let configure = |config: &mut RedisServerConfig| {
        config.maxmemory_policy = Some("allkeys-lru".into());
    };
    let Some(server) = started(configure).await else { return };
    let redis = handle(&server.url());
    let verdict = words(redis.check().await);
    assert!(verdict.starts_with("degraded: ") && verdict.contains("noeviction"), "{verdict}");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert_eq!(redis.check().await, Verdict::Healthy);
}

#[tokio::test]
async fn a_replica_and_a_dead_server_are_failing() {
    let Some((primary, replica)) = pair().await else { return };
    let verdict = words(handle(&replica.url()).check().await);
    assert!(verdict.starts_with("failing: ") && verdict.contains("replica"), "{verdict}");
    let redis = handle(&primary.url());
    assert_eq!(redis.check().await, Verdict::Healthy);
    primary.kill();
    let verdict = words(redis.check().await);
    assert!(verdict.starts_with("failing: ") && verdict.contains(&primary.address()), "{verdict}");
}

#[tokio::test]
async fn a_paused_server_is_failing_within_seconds() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    redis.call(set("k", "v")).await.unwrap();
    server.pause();
    let began = Instant::now();
    assert!(words(redis.check().await).starts_with("failing: "));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.resume();
}

#[tokio::test]
async fn a_replica_that_is_behind_is_mentioned() {
    let Some((primary, replica)) = pair().await else { return };
    let redis = handle(&primary.url());
    assert_eq!(redis.check().await, Verdict::Healthy);
    replica.pause();
    redis.call(set("k", &"x".repeat(3 << 20))).await.unwrap();
    let verdict = words(redis.check().await);
    assert!(verdict.starts_with("degraded: ") && verdict.contains("bytes behind"), "{verdict}");
    replica.resume();
}
