use std::time::Instant;

use standfast_core::testkit::RedisSentinel;
use standfast_core::testkit::redis::{self, RedisServerConfig};

#[tokio::test]
async fn a_replica_takes_over_from_a_killed_primary_which_comes_back_as_its_replica() {
    let mut config = RedisServerConfig::default();
    config.password = Some("a b".to_owned());
    let began = Instant::now();
    let Some(group) = RedisSentinel::start(config).await else { return };
    println!("the sentinels were ready after {:?}", began.elapsed());
    assert!(group.url().starts_with("redis+sentinel://:a%20b@127.0.0.1:"));
    assert!(group.url().ends_with("/mymaster"));
    let first = group.master_port().await;
    assert_eq!(group.servers()[0].port(), first);
    group.command(&["SET", "key", "before"]).await;

    let began = Instant::now();
    let killed = group.kill_master().await;
    assert_eq!(killed.port(), first);
    let second = group.await_failover(first).await;
    println!("a replica had taken over after {:?}", began.elapsed());
    assert_eq!(second.command(&["SET", "key", "after"]).await, "OK");

    killed.restart().await;
    group.await_ready().await;
    assert!(killed.command(&["ROLE"]).await.starts_with("slave\n"));
    assert_eq!(killed.command(&["GET", "key"]).await, "after");
}

#[tokio::test]
async fn a_replica_takes_over_when_told_to_and_when_its_primary_is_paused() {
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let first = group.master_port().await;
    let second = group.failover().await;
    assert_ne!(second.port(), first);
    group.await_ready().await;
    second.pause();
    let third = group.await_failover(second.port()).await;
    assert_ne!(third.port(), second.port());
    second.resume();
    group.await_ready().await;
}

#[tokio::test]
async fn a_primary_that_is_cut_off_is_replaced_and_does_not_know() {
    let started = RedisSentinel::start_behind_proxies(RedisServerConfig::default()).await;
    let Some(group) = started else { return };
    let first = group.master().await;
    let index = group.servers().iter().position(|one| one.port() == first.port()).unwrap();
    group.proxies()[index].freeze();
    let second = group.await_failover(first.port()).await;
    assert_ne!(second.port(), first.port());
    assert!(first.command(&["ROLE"]).await.starts_with("master\n"));
    group.proxies()[index].pass();
    group.await_ready().await;
    assert!(first.command(&["ROLE"]).await.starts_with("slave\n"));
}

#[tokio::test]
async fn a_restarted_group_is_whole_again() {
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let ports = group.ports();
    group.kill();
    group.restart().await;
    assert_eq!(group.ports(), ports);
    group.command(&["SET", "key", "value"]).await;
}

#[tokio::test]
async fn a_shared_group_is_one() {
    let Some(group) = redis::sentinel() else { return };
    assert!(group.url().starts_with("redis+sentinel://"));
    let key = format!("shared:{}", std::process::id());
    group.command(&["SET", &key, "value", "EX", "60"]).await;
    assert_eq!(redis::sentinel().unwrap().command(&["GET", &key]).await, "value");
}
