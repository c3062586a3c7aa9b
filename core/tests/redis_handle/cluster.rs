use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use standfast_core::redis::{Durability, Redis, Request, Script, slot};
use standfast_core::testkit::redis::{self, RedisServerConfig};
use standfast_core::testkit::{RedisCluster, RedisServer};
use standfast_core::{ErrorKind, Verdict};

use super::support::{LONG, add, doubt, get, handle, int, key, message, set, text};

async fn started() -> Option<RedisCluster> {
    RedisCluster::start(RedisServerConfig::default()).await
}

/// A primary that does not have `slot`.
async fn another(cluster: &RedisCluster, slot: u16) -> &RedisServer {
    let owner = cluster.node_of_slot(slot).await.port();
    for other in (0..16384).step_by(1000) {
        let node = cluster.node_of_slot(other).await;
        if node.port() != owner {
            return node;
        }
    }
    panic!("a cluster has several primaries");
}

#[tokio::test]
async fn keys_go_to_the_nodes_that_own_them() {
    let Some(cluster) = redis::cluster() else { return };
    let redis = handle(&cluster.url());
    let keys: Vec<String> = (0..100).map(|n| key(&n.to_string())).collect();
    assert!(keys.iter().map(|key| slot(key)).collect::<HashSet<_>>().len() > 50);
    for key in &keys {
        assert_eq!(int(redis.call(add(key)).await), 1);
        assert_eq!(cluster.command(&["GET", key]).await, "1");
    }
    assert_eq!(redis.check().await, Verdict::Healthy);
}

#[tokio::test]
async fn one_seed_is_enough_and_dead_ones_do_not_matter() {
    let Some(cluster) = redis::cluster() else { return };
    let url = cluster.url();
    let (_, nodes) = url.split_once("://").unwrap();
    let last = nodes.rsplit(',').next().unwrap();
    // discard refuses connections
    for url in [format!("redis+cluster://{last}"), format!("redis+cluster://127.0.0.1:9,{last}")] {
        let redis = handle(&url);
        for n in 0..20 {
            assert_eq!(text(redis.call(set(&key(&n.to_string()), "v")).await), "OK");
        }
    }
}

#[tokio::test]
async fn a_url_of_the_wrong_kind_is_told_the_right_one() {
    let Some(cluster) = redis::cluster() else { return };
    let single = cluster.url().replace("redis+cluster://", "redis://");
    let single = handle(single.split(',').next().unwrap());
    let mut errors = Vec::new();
    for n in 0..20 {
        errors.extend(single.call(set(&key(&n.to_string()), "v")).await.err());
    }
    assert!(!errors.is_empty());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.detail().contains("redis+cluster://"), "{error}");
    }
    let Some(server) = redis::single() else { return };
    let url = server.url().replace("redis://", "redis+cluster://") + "?timeout_ms=300";
    let error = handle(&url).call(get("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.detail().contains("luster"), "{error}");
}

#[tokio::test]
async fn a_slot_that_moves_under_way_is_followed_and_no_call_fails() {
    static PAIR: Script =
        Script::new("redis.call('INCR', KEYS[1]); return redis.call('INCR', KEYS[2])");
    let Some(cluster) = started().await else { return };
    let redis = handle(&cluster.url());
    let (first, second) = ("moving:{s}:1", "moving:{s}:2");
    let slot = slot(first);
    let (from, to) = (cluster.node_of_slot(slot).await, another(&cluster, slot).await);
    assert_eq!(int(redis.call(add(first)).await), 1);
    assert_eq!(int(redis.call(PAIR.on("t", &[first, second])).await), 1);

    // ASK: what is not there yet is made at the new node, which does not know the script
    cluster.begin_migration(slot, to).await;
    assert_eq!(int(redis.call(add("moving:{s}:new")).await), 1);
    assert_eq!(int(redis.call(add("moving:{s}:new")).await), 2);
    assert_eq!(int(redis.call(add(first)).await), 3);

    // TRYAGAIN: one of two keys has gone; the call waits until both have
    cluster.migrate_key(second, from, to).await;
    let finish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.finish_migration(slot, to).await;
    };
    let both = PAIR.on("t", &[first, second]).timeout(LONG);
    let (reply, ()) = tokio::join!(redis.call(both), finish);
    assert_eq!(int(reply), 2);

    // MOVED, and MOVED back
    assert_eq!(int(redis.call(add(first)).await), 5);
    cluster.migrate_slot(slot, from).await;
    assert_eq!(int(redis.call(add(first)).await), 6);
    assert_eq!(text(redis.call(get("moving:{s}:new")).await), "2");
}

#[tokio::test]
async fn calls_go_on_while_slots_move_and_each_happens_once() {
    let Some(cluster) = started().await else { return };
    let (redis, stop) = (handle(&cluster.url()), Arc::new(AtomicBool::new(false)));
    let keys: Vec<String> = (0..8).map(|n| format!("busy:{n}")).collect();
    let mut callers = Vec::new();
    for key in keys.clone() {
        let (redis, stop) = (redis.clone(), Arc::clone(&stop));
        callers.push(tokio::spawn(async move {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                done += 1;
                assert_eq!(int(redis.call(add(&key).timeout(LONG)).await), done);
            }
            done
        }));
    }
    for _ in 0..2 {
        for key in &keys {
            let slot = slot(key);
            cluster.migrate_slot(slot, another(&cluster, slot).await).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 10);
    }
}

#[tokio::test]
async fn a_primary_that_dies_is_replaced_and_others_go_on() {
    let Some(cluster) = started().await else { return };
    let redis = handle(&cluster.url());
    let (dead, alive) = ("k:{a}", "k:{b}");
    redis.call(set(dead, "v").durability(replicated(1))).await.unwrap();
    redis.call(set(alive, "v")).await.unwrap();
    let victim = cluster.kill_master_of(slot(dead)).await;
    assert_ne!(victim.port(), cluster.node_of_slot(slot(alive)).await.port());
    // until the others agree, its slots are away; one with patience sees it through
    let began = Instant::now();
    let patient = async {
        let reply = redis.call(add("n:{a}").timeout(LONG)).await;
        (int(reply), began.elapsed())
    };
    let verdicts = async {
        let mut worst = Verdict::Healthy;
        while began.elapsed() < Duration::from_secs(3) {
            let verdict = redis.check().await;
            if verdict != Verdict::Healthy {
                worst = verdict;
            }
        }
        worst
    };
    let ((n, took), worst) = tokio::join!(patient, verdicts);
    assert_eq!(n, 1);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_ne!(worst, Verdict::Healthy);
    assert_eq!(text(redis.call(get(dead)).await), "v");
    assert_eq!(text(redis.call(get(alive)).await), "v");
    // the old one comes back as a replica, and nobody is confused
    victim.restart().await;
    cluster.await_ready().await;
    assert_eq!(int(redis.call(add("n:{a}")).await), 2);
}

#[tokio::test]
async fn a_failover_in_agreement_costs_moments() {
    let Some(cluster) = started().await else { return };
    let redis = handle(&cluster.url());
    assert_eq!(int(redis.call(add("n")).await), 1);
    cluster.failover(slot("n")).await;
    let began = Instant::now();
    assert_eq!(int(redis.call(add("n")).await), 2);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_node_that_is_cut_off_ends_calls_at_the_deadline_and_other_nodes_go_on() {
    let Some(cluster) = RedisCluster::start_behind_proxies(RedisServerConfig::default()).await
    else {
        return;
    };
    let redis = handle(&format!("{}?timeout_ms=700", cluster.url()));
    let (cut, fine) = ("k:{a}", "k:{b}");
    for key in [cut, fine] {
        redis.call(set(key, "v")).await.unwrap();
    }
    let owner = cluster.node_of_slot(slot(cut)).await.port();
    assert_ne!(owner, cluster.node_of_slot(slot(fine)).await.port());
    let index = cluster.ports().iter().position(|&port| port == owner).unwrap();
    cluster.proxies()[index].black_hole();
    let began = Instant::now();
    redis.call(set(cut, "w")).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(text(redis.call(get(fine).timeout(LONG)).await), "v");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    cluster.proxies()[index].pass();
    redis.call(set(cut, "x").timeout(LONG)).await.unwrap();
}

fn replicated(replicas: u32) -> Durability {
    Durability::Replicated { replicas, timeout: LONG }
}

async fn subscribed_node(cluster: &RedisCluster, channel: &str) -> usize {
    loop {
        for (index, node) in cluster.nodes().iter().enumerate() {
            let count = node.try_command(&["PUBSUB", "NUMSUB", channel]).await;
            if count == Ok(format!("{channel}\n1")) {
                return index;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn publish(redis: &Redis, channel: &str, body: &str) {
    let request = Request::command("t.publish", "PUBLISH", channel).arg(body);
    redis.call(request.timeout(LONG)).await.unwrap();
}

#[tokio::test]
async fn a_subscription_hears_every_node_and_moves_when_its_own_dies() {
    let Some(cluster) = started().await else { return };
    let redis = handle(&cluster.url());
    let mut news = redis.subscribe("news").await;
    for node in cluster.nodes() {
        node.command(&["PUBLISH", "news", &node.address()]).await;
        message(&mut news, &node.address()).await;
    }
    let victim = &cluster.nodes()[subscribed_node(&cluster, "news").await];
    victim.kill();
    doubt(&mut news).await;
    let next = tokio::time::timeout(LONG, subscribed_node(&cluster, "news")).await.unwrap();
    assert_ne!(cluster.nodes()[next].port(), victim.port());
    cluster.await_ready().await;
    publish(&redis, "news", "after").await;
    message(&mut news, "after").await;
}

#[tokio::test]
async fn all_nodes_may_restart() {
    let Some(cluster) = started().await else { return };
    let redis = handle(&cluster.url());
    let mut news = redis.subscribe("news").await;
    redis.call(set("k", "v")).await.unwrap();
    cluster.kill();
    doubt(&mut news).await;
    let error = redis.call(set("k", "v").timeout(Duration::from_millis(500))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let Verdict::Failing(_) = redis.check().await else { panic!("it is failing") };
    cluster.restart().await;
    redis.call(set("k", "v").timeout(LONG)).await.unwrap();
    subscribed_node(&cluster, "news").await;
    publish(&redis, "news", "back").await;
    message(&mut news, "back").await;
}
