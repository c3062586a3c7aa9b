//! Clusters and groups watched by sentinels that lose a primary under load. What was acknowledged
//! and is gone is counted; what was ended before stays ended, where replicas were waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use standfast_core::redis::{Durability, slot};
use standfast_core::testkit::redis::{RedisCluster, RedisSentinel, RedisServerConfig};
use standfast_session::{
    Access, CommitOutcome, DestroyOutcome, LoadOutcome, Patch, RedisSessionHandler, SessionHandler,
    SessionToken,
};

use crate::support::{SOON, key, namespace, open, start};

const REPLICATED: Durability =
    Durability::Replicated { replicas: 1, timeout: Duration::from_secs(1) };

/// What became of a session to which increments were written while something failed.
#[derive(Debug)]
struct Sums {
    acknowledged: i64,
    unknown: i64,
    failed: i64,
    kept: i64,
}

impl Sums {
    /// Acknowledged increments that are gone, at least.
    fn lost(&self) -> i64 {
        (self.acknowledged - self.kept).max(0)
    }
}

async fn under_load(
    what: &str,
    handler: &RedisSessionHandler,
    visitor: &Access,
    fault: impl Future<Output = ()>,
) -> Sums {
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (handler, visitor, stop) = (handler.clone(), visitor.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut sums = Sums { acknowledged: 0, unknown: 0, failed: 0, kept: 0 };
            let patch = Patch::new().increment("n", 1);
            while !stop.load(Ordering::Relaxed) {
                match handler.commit(&visitor, &patch).await {
                    Ok(CommitOutcome::Committed { .. }) => sums.acknowledged += 1,
                    Ok(other) => panic!("{other:?}"),
                    Err(error) if error.is_retryable() => sums.failed += 1,
                    Err(_) => sums.unknown += 1,
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            sums
        })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    fault.await;
    let back = async {
        while handler.commit(visitor, &Patch::new()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, back).await.expect("it goes on soon");
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut sums = writer.await.expect("no writer ends by itself");
    let session = handler.load(visitor).await.expect("it answers").found().expect("it is there");
    sums.kept = session.counter("n");
    println!("{what}: {sums:?}, lost {}", sums.lost());
    assert!(sums.acknowledged > 50, "{what}: there was load: {sums:?}");
    assert!(sums.kept <= sums.acknowledged + sums.unknown + sums.failed, "{what}: {sums:?}");
    sums
}

/// A handler, a session to write to, and one in the same slot that was ended.
async fn prepare(
    url: &str,
    durability: Durability,
) -> (RedisSessionHandler, String, SessionToken, Access, Access) {
    let namespace = namespace();
    let handler = open(url, &namespace, Duration::from_secs(3), durability);
    let (token, visitor) = start(&handler).await;
    let (_, ended) = start(&handler).await;
    assert_eq!(handler.destroy(&ended).await.expect("ok"), DestroyOutcome::Destroyed);
    (handler, namespace, token, visitor, ended)
}

async fn stays_ended(handler: &RedisSessionHandler, ended: &Access) {
    let late = handler.commit(ended, &Patch::new().set("user", "7")).await.expect("ok");
    assert_eq!(late, CommitOutcome::Gone);
    assert_eq!(handler.load(ended).await.expect("ok"), LoadOutcome::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_keeps_what_was_replicated() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let (handler, namespace, token, visitor, ended) = prepare(&cluster.url(), REPLICATED).await;
    let at = slot(&key(&namespace, &token));
    let sums = under_load("cluster primary killed, WAIT 1", &handler, &visitor, async {
        let killed = cluster.kill_master_of(at).await;
        cluster.await_ready().await;
        killed.restart().await;
    })
    .await;
    assert_eq!(sums.lost(), 0, "{sums:?}");
    stays_ended(&handler, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_goes_on() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let primary = Durability::Primary;
    let (handler, namespace, token, visitor, ended) = prepare(&cluster.url(), primary).await;
    let at = slot(&key(&namespace, &token));
    let sums = under_load("cluster primary killed, no WAIT", &handler, &visitor, async {
        cluster.kill_master_of(at).await;
    })
    .await;
    assert!(sums.lost() * 20 < sums.acknowledged, "at most the last moments: {sums:?}");
    stays_ended(&handler, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_lose_a_primary_keep_what_was_replicated() {
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let (handler, _, _, visitor, ended) = prepare(&group.url(), REPLICATED).await;
    let sums = under_load("sentinel primary killed, WAIT 1", &handler, &visitor, async {
        group.kill_master().await;
    })
    .await;
    assert_eq!(sums.lost(), 0, "{sums:?}");
    stays_ended(&handler, &ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_loses_nothing() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let primary = Durability::Primary;
    let (handler, namespace, token, visitor, ended) = prepare(&cluster.url(), primary).await;
    let at = slot(&key(&namespace, &token));
    let sums = under_load("slot moved", &handler, &visitor, async {
        let home = cluster.node_of_slot(at).await;
        for other in [0, 5461, 10923] {
            let node = cluster.node_of_slot(other).await;
            if node.port() != home.port() {
                cluster.migrate_slot(at, node).await;
            }
        }
    })
    .await;
    assert_eq!((sums.lost(), sums.unknown, sums.failed), (0, 0, 0), "nobody notices: {sums:?}");
    stays_ended(&handler, &ended).await;
}
