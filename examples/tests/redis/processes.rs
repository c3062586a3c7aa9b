//! Workers and servers that are killed or stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use standfast_core::testkit::redis;

use crate::ledger::Ledger;
use crate::support::process::{Signal, is_alive};
use crate::support::table::Table;
use crate::support::{Server, eventually, within};
use crate::{Fleet, fetch, note, stop_job_of};

const LEASE: Duration = Duration::from_secs(3);
/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Starts a report that takes long enough to be met.
fn long_report(server: &Server) -> (String, Table) {
    let table = Table::of_megabytes(20);
    (server.start_report(&server.upload(table)), table)
}

#[test]
fn what_a_killed_worker_had_is_made_by_another() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let server = fleet.serve(&[]);
    let workers = [(); 2].map(|()| fleet.worker(&["--lease", "3"]));
    let (poll, table) = long_report(&server);
    let (whose, job) = stop_job_of(&[&workers[0], &workers[1]]);
    server.until(&poll, |answer| answer["state"] == "running");
    workers[whose].signal(Signal::KILL);
    let killed = Instant::now();
    let end = server.end_of(&poll);
    let took = killed.elapsed();
    note(&format!("a worker killed: made by another after {took:.1?}, lease {LEASE:?}"));
    assert_eq!(server.totals(&end), table.totals());
    assert!(took < LEASE + Duration::from_secs(12), "{took:?}");
    eventually("its job process went with it", || !is_alive(job));
}

#[test]
fn a_worker_that_stops_gives_back_what_it_cannot_finish() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let server = fleet.serve(&[]);
    // whatever is not given back is made long after this test has given up
    let options = ["--lease", "600", "--grace", "1"];
    let mut first = fleet.worker(&options);
    let (poll, table) = long_report(&server);
    stop_job_of(&[&first]);
    server.until(&poll, |answer| answer["state"] == "running");
    let _second = fleet.worker(&options);
    first.signal(Signal::TERM);
    assert_eq!(first.ended_within(Duration::from_secs(20)).code(), Some(0));
    let end = server.end_of(&poll);
    assert_eq!(server.totals(&end), table.totals());
}

#[test]
fn stopping_workers_under_load_fails_nothing() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let servers = [(); 2].map(|()| fleet.serve(&[]));
    let mut workers = [(); 3].map(|()| fleet.worker(&[]));
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert!(ledger.post(server));
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        within(PATIENCE, "they are at it", || ledger.accepted() > 10);
        for worker in &mut workers {
            worker.signal(Signal::TERM);
            let status = worker.ended_within(Duration::from_secs(30));
            *worker = fleet.worker(&[]);
            assert_eq!(status.code(), Some(0));
        }
        over.store(true, Ordering::Relaxed);
    });
    ledger.settle("workers stopped in turn", &[&servers[0], &servers[1]]);
    assert_eq!(ledger.refused(), 0);
}

#[test]
fn the_other_server_answers_for_one_that_is_killed() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let [first, second] = [(); 2].map(|()| fleet.serve(&[]));
    let post = json!({ "data": "sample", "group_by": "region", "sum": "revenue" });
    let key = [("Idempotency-Key", "one")];
    let ask = |server: &Server| {
        let answer = server.post_json("/get_report", &key, &post);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["poll"].as_str().unwrap().to_owned()
    };
    let ledger = Ledger::default();
    for _ in 0..10 {
        assert!(ledger.post(&first));
    }
    let poll = ask(&first);
    let waiting = second.begin("GET", &format!("{poll}&wait=50s"), &[]);
    first.signal(Signal::KILL);
    assert_eq!(ask(&second), poll, "a request that is repeated elsewhere is the same");
    let _worker = fleet.worker(&[]);
    let ready = waiting.answer().unwrap().json();
    assert_eq!(ready["status"], "ready", "{ready}");
    fetch(&second, ready["url"].as_str().unwrap());
    ledger.settle("a server killed", &[&second]);
}

#[test]
fn a_server_that_stops_gives_notice() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let [mut leaving, staying] = [(); 2].map(|()| fleet.serve(&["--notice", "4"]));
    let ledger = Ledger::default();
    assert!(ledger.post(&leaving));
    leaving.signal(Signal::TERM);
    eventually("it says that it stops", || leaving.get("/ready").status == 503);
    assert!(ledger.post(&leaving), "those who have not noticed are served");
    assert_eq!(leaving.get("/live").status, 200);
    assert_eq!(leaving.ended_within(PATIENCE).code(), Some(0));
    let _worker = fleet.worker(&[]);
    ledger.settle("a server stopped", &[&staying]);
}
