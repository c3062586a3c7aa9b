//! Job processes that die, hang, or are not wanted any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::process::{Signal, descendants, is_alive, signal};
use crate::support::table::Table;
use crate::support::{Server, eventually};

const TABLE: Table = Table { rows: 20_000, note: 250 };

#[test]
fn a_job_process_that_is_killed_is_followed_by_another() {
    let server = Server::start();
    let poll = server.start_report(&server.upload(TABLE));
    signal(server.stop_job(), Signal::KILL);
    let retry = server.until(&poll, |answer| !answer["error"].is_null());
    let error = retry["error"].as_str().unwrap();
    assert!(error.contains("killed by SIGKILL"), "{error}");
    let again = server.until(&poll, |answer| answer["attempt"] == 2 || answer["status"] != "wait");
    assert_ne!(again["status"], "failed", "{again}");
    assert_eq!(server.totals(&server.end_of(&poll)), TABLE.totals());
    assert!(server.staged().is_empty());
}

#[test]
fn a_job_that_hangs_is_ended_and_fails_after_its_attempts() {
    let server = Server::with(&["--time-limit", "1"]);
    let poll = server.start_report(&server.upload(TABLE));
    let over = Arc::new(AtomicBool::new(false));
    let stopped = thread::scope(|scope| {
        let stopper = scope.spawn(|| {
            let mut stopped = Vec::new();
            while stopped.len() < 3 && !over.load(Ordering::Relaxed) {
                let job = server.stop_job();
                stopped.push(job);
                eventually("the hung job is ended", || !is_alive(job));
            }
            stopped
        });
        let retry = server.until(&poll, |answer| !answer["error"].is_null());
        assert_eq!(
            (&retry["error"], &retry["attempt"]),
            (&json!("took longer than 1s"), &json!(2))
        );
        let failed = server.end_of(&poll);
        over.store(true, Ordering::Relaxed);
        assert_eq!(failed["status"], "failed");
        assert!(failed["error"].as_str().unwrap().contains("took longer than 1s"), "{failed}");
        stopper.join().unwrap()
    });
    assert_eq!(stopped.len(), 3);
    eventually("nothing is left", || descendants(server.pid()).is_empty());
    eventually("nothing is staged", || server.staged().is_empty());
}

#[test]
fn a_report_that_is_cancelled_stops_at_once() {
    let server = Server::start();
    let poll = server.start_report(&server.upload(Table::of_megabytes(20)));
    let job = server.stop_job();
    let handle = poll.split_once('=').unwrap().1;
    server.until(&poll, |answer| answer["state"] == "running");
    let cancel = format!("/cancel?handle={handle}");
    assert_eq!(server.post(&cancel, &[], b"").status, 202);
    let begin = Instant::now();
    signal(job, Signal::CONT);
    let end = server.end_of(&poll);
    assert_eq!(end["status"], "cancelled", "{end}");
    assert!(!is_alive(job) && begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(server.post(&cancel, &[], b"").status, 409);
    eventually("nothing is left", || descendants(server.pid()).is_empty());
    eventually("nothing is staged", || server.staged().is_empty());
}

#[test]
fn a_server_that_is_killed_takes_its_jobs_along() {
    let mut server = Server::start();
    server.start_report(&server.upload(Table::of_megabytes(20)));
    let job = server.stop_job();
    let all = descendants(server.pid());
    assert!(all.contains(&job) && all.len() > 1, "a job and what watches over it: {all:?}");
    server.signal(Signal::KILL);
    server.ended_within(Duration::from_secs(5));
    signal(job, Signal::CONT);
    eventually("all of it is gone", || !all.iter().any(|pid| is_alive(*pid)));
    assert_eq!(server.staged().len(), 1, "the directory of the job is abandoned");
    let next = Server::in_home(Arc::clone(&server.home), &[]);
    assert_eq!(next.staged().len(), 0);
    assert_eq!(next.job_bases().len(), 1);
}
