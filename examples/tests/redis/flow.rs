//! Reports asked for here, made there, fetched elsewhere.

use std::time::Duration;

use standfast_core::testkit::redis;

use crate::ledger::Ledger;
use crate::support::process::Signal;
use crate::support::{Server, eventually};
use crate::{Fleet, redis_job, wait_for};

#[test]
fn any_server_takes_what_any_worker_makes() {
    let Some(redis) = redis::single() else { return };
    flow("two servers and three workers", &Fleet::on(redis.url()), 40);
}

#[test]
fn a_cluster_does_as_well() {
    let Some(redis) = redis::cluster() else { return };
    flow("on a cluster", &Fleet::on(redis.url()), 20);
}

#[test]
fn a_primary_behind_sentinels_does_as_well() {
    let Some(redis) = redis::sentinel() else { return };
    flow("behind sentinels", &Fleet::on(redis.url()), 20);
}

fn flow(what: &str, fleet: &Fleet, reports: usize) {
    let servers = [(); 2].map(|()| fleet.serve(&[]));
    let mut workers = [(); 3].map(|()| fleet.worker(&[]));
    let ledger = Ledger::default();
    for index in 0..reports {
        assert!(ledger.post(&servers[index % 2]));
    }
    ledger.settle(what, &[&servers[0], &servers[1]]);
    for process in servers.iter().chain(&workers) {
        assert_well(process);
    }
    workers.iter().for_each(|worker| worker.signal(Signal::TERM));
    for worker in &mut workers {
        assert_eq!(worker.ended_within(Duration::from_secs(30)).code(), Some(0));
    }
    assert_eq!(ledger.refused(), 0);
}

fn assert_well(process: &Server) {
    for path in ["/live", "/ready"] {
        assert_eq!(process.get(path).status, 200, "{path}");
    }
    let is_well = || process.get("/health").status == 200;
    eventually("it is well", is_well);
    let health = process.get("/health").json();
    let parts = health["parts"].as_array().unwrap();
    assert!(parts.len() >= 3 && parts.iter().all(|part| part["state"] == "healthy"), "{health}");
    assert!(parts.iter().any(|part| part["asked"].as_str().unwrap().contains("redis")), "{health}");
}

#[test]
fn one_process_on_redis_keeps_what_waits_when_it_stops() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let ledger = Ledger::default();
    let mut server = fleet.start("all", &["--jobs", "1"]);
    for _ in 0..20 {
        assert!(ledger.post(&server));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended_within(Duration::from_secs(30)).code(), Some(0));
    let next = fleet.start("all", &[]);
    ledger.settle("one process after another", &[&next]);
}

#[test]
fn the_small_example_factors_its_number() {
    let Some(redis) = redis::single() else { return };
    assert_eq!(wait_for(redis_job::run(&redis.url())).unwrap(), [71, 839, 1471, 6857]);
}
