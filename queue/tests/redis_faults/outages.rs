//! A single server that is paused, killed, cut off, or has forgotten its scripts.

use std::time::{Duration, Instant};

use standfast_core::redis::Durability;
use standfast_core::testkit::FaultProxy;
use standfast_core::testkit::redis::{Persistence, RedisServer, RedisServerConfig};
use standfast_queue::{
    Envelope, OutgoingMessage, Queue as _, ReceiveOptions, SettleOutcome, Settlement,
};

use crate::ledger::Sums;
use crate::load::{LEASE, opener, under_load};

/// How soon work goes on after the fault is over: what was held comes back after its lease, and a
/// busy machine may add to it.
const BACK: Duration = Duration::from_secs(LEASE.as_secs() + 1);

fn config(persistence: Persistence) -> RedisServerConfig {
    let mut config = RedisServerConfig::default();
    config.persistence = persistence;
    config
}

fn nothing_is_lost(what: &str, sums: &Sums) {
    assert_eq!(sums.lost, 0, "{what}: {sums}");
    assert!(sums.send_again <= BACK && sums.ack_again <= BACK, "{what} goes on soon: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_for_2_s_loses_nothing() {
    paused("hangs for 2 s", Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_for_40_s_loses_nothing() {
    paused("hangs for 40 s", Duration::from_secs(40)).await;
}

async fn paused(what: &str, span: Duration) {
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let sums = under_load(what, opener(&server.url(), Durability::Primary), async {
        server.pause();
        tokio::time::sleep(span).await;
        server.resume();
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_with_every_write_on_disk_loses_nothing() {
    let what = "killed, AOF always";
    let Some(server) = RedisServer::start(config(Persistence::Always)).await else { return };
    let sums = under_load(what, opener(&server.url(), Durability::Primary), async {
        server.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.restart().await;
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_with_writes_in_the_page_cache_loses_nothing() {
    // what the process has written survives its death; only a loss of power takes the last second
    let what = "killed, AOF everysec";
    let Some(server) = RedisServer::start(config(Persistence::EverySecond)).await else { return };
    let sums = under_load(what, opener(&server.url(), Durability::Primary), async {
        server.kill();
        server.restart().await;
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_are_lost_lose_no_message() {
    let what = "100 replies lost";
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let sums = under_load(what, opener(&server.url_by(proxy.port()), Durability::Primary), async {
        for _ in 0..10 {
            // the scripts run, and nobody is told
            proxy.lose_replies_to(10, "EVALSHA");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        proxy.pass();
        Instant::now()
    })
    .await;
    assert!(proxy.traffic().replies_lost > 20, "{:?}", proxy.traffic());
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing() {
    let what = "cut 20 times";
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let sums = under_load(what, opener(&server.url_by(proxy.port()), Durability::Primary), async {
        for _ in 0..20 {
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_loses_nothing() {
    let what = "black hole for 5 s";
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let sums = under_load(what, opener(&server.url_by(proxy.port()), Durability::Primary), async {
        proxy.black_hole();
        tokio::time::sleep(Duration::from_secs(5)).await;
        proxy.pass();
        Instant::now()
    })
    .await;
    // connections that the hole has swallowed are given up after their deadline of 3 s
    assert_eq!(sums.lost, 0, "{what}: {sums}");
    assert!(sums.ack_again <= BACK + Duration::from_secs(3), "{what} goes on soon: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_its_scripts_is_taught_again() {
    let what = "50 script flushes";
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let sums = under_load(what, opener(&server.url(), Durability::Primary), async {
        for _ in 0..50 {
            server.command(&["SCRIPT", "FLUSH", "SYNC"]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Instant::now()
    })
    .await;
    nothing_is_lost(what, &sums);
    assert_eq!(sums.errors, 0, "nobody notices: {}", sums.last_error);
    assert_eq!(sums.duplicated, 0, "nothing is done twice: {sums}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_with_nothing_on_disk_loses_what_it_held_and_goes_on() {
    let Some(server) = RedisServer::start(config(Persistence::None)).await else { return };
    let queue = opener(&server.url(), Durability::Primary)();
    let message = || OutgoingMessage::new(Envelope::new("ledger", "some body"));
    queue.send(&[message(), message()]).await.expect("sent");
    let held = queue.receive(&ReceiveOptions::new(1)).await.expect("received").deliveries.remove(0);
    server.kill();
    server.restart().await;
    let stats = queue.stats().await.expect("it is back");
    assert_eq!((stats.ready, stats.leased), (0, 0), "memory is gone, as the matrix says");
    let outcome = queue.settle(&[(held.receipt, Settlement::Ack)]).await.expect("it answers");
    assert!(matches!(outcome[0], SettleOutcome::Stale), "nobody is told that it is acked");
    queue.send(&[message()]).await.expect("sent");
    assert_eq!(queue.stats().await.expect("counted").ready, 1, "work goes on");
}
