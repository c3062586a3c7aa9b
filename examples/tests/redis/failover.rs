//! Primaries that die and are replaced while reports are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use standfast_core::redis::slot;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::testkit::{RedisCluster, RedisSentinel};

use crate::ledger::Ledger;
use crate::support::within;
use crate::{Fleet, wait_for};

#[test]
fn a_primary_that_dies_behind_sentinels_costs_patience_and_nothing_else() {
    let config = RedisServerConfig::default();
    let Some(group) = wait_for(RedisSentinel::start(config)) else { return };
    let fleet = Fleet::on(group.url());
    under_load("failover by sentinels", &fleet, || {
        wait_for(async {
            let killed = group.kill_master().await.port();
            group.await_failover(killed).await;
        });
    });
}

#[test]
fn a_primary_that_dies_in_a_cluster_costs_patience_and_nothing_else() {
    let config = RedisServerConfig::default();
    let Some(cluster) = wait_for(RedisCluster::start(config)) else { return };
    let fleet = Fleet::on(cluster.url());
    under_load("failover in a cluster", &fleet, || {
        wait_for(async {
            // the one that has the queue
            let killed = cluster.kill_master_of(slot(&format!("{{{}}}", fleet.name))).await;
            cluster.await_ready().await;
            // back as the replica that the new one needs
            killed.restart().await;
        });
    });
}

fn under_load(what: &str, fleet: &Fleet, fail_over: impl Fn()) {
    let options = ["--replicas", "1", "--patience", "50"];
    let servers = [(); 2].map(|()| fleet.serve(&options));
    let _workers = [(); 2].map(|()| fleet.worker(&["--replicas", "1", "--lease", "5"]));
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ledger.post(server);
                    sleep(Duration::from_millis(100));
                }
            });
        }
        within(Duration::from_secs(40), "they are at it", || ledger.accepted() > 10);
        fail_over();
        let accepted = ledger.accepted();
        within(Duration::from_secs(40), "requests are accepted", || {
            ledger.accepted() > accepted + 10
        });
        over.store(true, Ordering::Relaxed);
    });
    ledger.settle(what, &[&servers[0], &servers[1]]);
    assert_eq!(ledger.refused(), 0);
}
