//! Clusters and groups watched by sentinels, whose primary is lost or whose slots move.

use std::time::{Duration, Instant};

use standfast_core::redis::{Durability, slot};
use standfast_core::testkit::redis::{RedisCluster, RedisSentinel, RedisServerConfig};

use crate::ledger::Sums;
use crate::load::{opener, under_load};

/// How soon work goes on after a primary was lost: until somebody has noticed and another one is
/// chosen, what was held has run out, and a busy machine has added to it.
const BACK: Duration = Duration::from_secs(15);

const REPLICATED: Durability =
    Durability::Replicated { replicas: 1, timeout: Duration::from_secs(1) };

fn the_slot() -> u16 {
    slot("standfast:1:queue:{ledger}:bodies")
}

fn nothing_is_lost(what: &str, sums: &Sums) {
    assert_eq!(sums.lost, 0, "{what}: {sums}");
    goes_on(what, sums);
}

fn goes_on(what: &str, sums: &Sums) {
    assert!(sums.send_again <= BACK && sums.ack_again <= BACK, "{what} goes on soon: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_keeps_what_was_replicated() {
    let what = "cluster primary killed, WAIT 1";
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&cluster.url(), REPLICATED), async {
        let killed = cluster.kill_master_of(the_slot()).await;
        cluster.await_ready().await;
        // its replica has taken over and has none itself until the killed one is back
        tokio::time::sleep(Duration::from_millis(500)).await;
        killed.restart().await;
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_goes_on() {
    let what = "cluster primary killed, no WAIT";
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&cluster.url(), Durability::Primary), async {
        cluster.kill_master_of(the_slot()).await;
        Instant::now()
    })
    .await;
    // what was acknowledged and not yet replicated may be gone: the ledger counts it
    goes_on(what, &sums);
    assert!(sums.lost * 20 < sums.sent, "at most the last moments: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_primary_hands_over_loses_nothing() {
    let what = "cluster failover by hand, twice";
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&cluster.url(), Durability::Primary), async {
        for _ in 0..2 {
            cluster.failover(the_slot()).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_loses_nothing() {
    let what = "slot moved four times";
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&cluster.url(), Durability::Primary), async {
        let home = cluster.node_of_slot(the_slot()).await;
        let mut other = None;
        for slot in (0..16384).step_by(1024) {
            let node = cluster.node_of_slot(slot).await;
            if node.port() != home.port() {
                other = Some(node);
            }
        }
        let other = other.expect("there are three primaries");
        for _ in 0..2 {
            for node in [other, home] {
                cluster.migrate_slot(the_slot(), node).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
    assert_eq!(sums.errors, 0, "nobody notices: {}", sums.last_error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_lose_a_primary_keep_what_was_replicated() {
    let what = "sentinel primary killed, WAIT 1";
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&group.url(), REPLICATED), async {
        group.kill_master().await;
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_lose_a_primary_go_on() {
    let what = "sentinel primary killed, no WAIT";
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&group.url(), Durability::Primary), async {
        group.kill_master().await;
        Instant::now()
    })
    .await;
    goes_on(what, &sums);
    assert!(sums.lost * 20 < sums.sent, "at most the last moments: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_fail_over_by_hand_lose_nothing_that_was_replicated() {
    let what = "sentinel failover by hand";
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&group.url(), REPLICATED), async {
        group.failover().await;
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_die_first_are_not_missed_until_they_are_needed() {
    let what = "two sentinels killed";
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let sums = under_load(what, opener(&group.url(), Durability::Primary), async {
        for sentinel in &group.sentinels()[..2] {
            sentinel.kill();
        }
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}
