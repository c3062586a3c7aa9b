//! Redis that goes away and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{Persistence, RedisServerConfig};

use crate::ledger::Ledger;
use crate::support::table::Table;
use crate::support::{Server, within};
use crate::{Fleet, wait_for};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(40);

const PASSWORD: &str = "s3cret";

fn lasting_redis() -> Option<RedisServer> {
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    config.password = Some(PASSWORD.to_owned());
    wait_for(RedisServer::start(config))
}

#[test]
fn what_was_accepted_before_a_crash_of_redis_is_made_after_it() {
    let Some(redis) = lasting_redis() else { return };
    let fleet = Fleet::on(redis.url());
    let servers = [(); 2].map(|()| fleet.serve(&["--patience", "2"]));
    let workers = [(); 3].map(|()| fleet.worker(&["--lease", "5"]));
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for index in 0..4 {
            let (ledger, over, server) = (&ledger, &over, &servers[index % 2]);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    ledger.post(server);
                    sleep(Duration::from_millis(100));
                }
            });
        }
        within(PATIENCE, "they are at it", || ledger.accepted() > 20);
        for _ in 0..2 {
            let refused = ledger.refused();
            redis.kill();
            within(PATIENCE, "requests are refused", || ledger.refused() > refused + 4);
            wait_for(redis.restart());
            let accepted = ledger.accepted();
            within(PATIENCE, "requests are accepted", || ledger.accepted() > accepted + 10);
        }
        over.store(true, Ordering::Relaxed);
    });
    ledger.settle("redis killed twice", &[&servers[0], &servers[1]]);
    for process in servers.iter().chain(&workers) {
        within(PATIENCE, "all is well again", || process.get("/health").status == 200);
    }
}

/// What a server still does without its queue, and what not.
fn assert_serves_what_it_can(server: &Server) {
    for path in ["/live", "/ready", "/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    server.upload(Table { rows: 10, note: 10 });
    let begin = Instant::now();
    assert!(!Ledger::default().post(server));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let health = server.get("/health");
    assert_eq!(health.status, 503, "{}", health.text());
    let parts = health.json()["parts"].clone();
    assert!(parts.as_array().unwrap().iter().any(|part| part["state"] == "failing"), "{parts}");
}

#[test]
fn a_server_without_its_queue_goes_on_saying_how_reports_stand() {
    let (Some(queue), Some(status)) = (lasting_redis(), lasting_redis()) else { return };
    let fleet = Fleet::on(queue.url());
    let at = status.url();
    let server = fleet.serve(&["--status", &at, "--patience", "2"]);
    let _worker = fleet.worker(&["--status", &at]);
    let body = json!({ "data": "sample", "group_by": "region", "sum": "revenue" });
    let poll = server.post_json("/get_report", &[], &body).json()["poll"].clone();
    let poll = poll.as_str().unwrap();
    assert_eq!(server.end_of(poll)["status"], "ready");
    queue.kill();
    assert_serves_what_it_can(&server);
    assert_eq!(server.end_of(poll)["status"], "ready");
    wait_for(queue.restart());
    status.kill();
    let away = server.get(poll);
    assert_eq!(away.status, 503, "{}", away.text());
    assert!(away.header("retry-after").is_some());
    wait_for(status.restart());
    let ledger = Ledger::default();
    within(PATIENCE, "both are back", || ledger.post(&server));
    assert_eq!(server.end_of(poll)["status"], "ready");
    ledger.settle("queue and statuses away in turn", &[&server]);
}

#[test]
fn processes_that_start_before_redis_begin_when_it_is_there() {
    let Some(redis) = lasting_redis() else { return };
    redis.kill();
    let fleet = Fleet::on(redis.url());
    let server = fleet.serve(&["--patience", "2"]);
    let worker = fleet.worker(&[]);
    assert_serves_what_it_can(&server);
    assert_eq!(worker.get("/ready").status, 200);
    wait_for(redis.restart());
    let ledger = Ledger::default();
    within(PATIENCE, "it takes reports", || ledger.post(&server));
    ledger.settle("redis started last", &[&server]);
    let log = server.log();
    assert!(log.contains("not there yet") && !log.contains(PASSWORD), "{log}");
}
