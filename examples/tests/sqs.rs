//! The queue in SQS, statuses and the rest in Redis: needs both, see `scripts/test`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Id128;
use standfast_core::testkit::{redis, service};
use standfast_queue::{SqsAdmin, SqsQueueSpec};
use support::process::Signal;
use support::table::Table;
use support::{Server, program};
use tempfile::TempDir;

/// A queue of its own with its redrive queue.
fn queue() -> Option<String> {
    let url = service("sqs", "STANDFAST_TEST_SQS")?;
    let (_, query) = url.split_once('?').unwrap();
    let name = format!("app-{}", Id128::random());
    // what the stand-in takes
    let spec = SqsQueueSpec::new(&*name).max_message(256 * 1024);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { SqsAdmin::open(&url).await.unwrap().ensure(&spec).await.unwrap() });
    Some(format!("sqs://{name}?{query}"))
}

#[test]
fn what_a_killed_worker_had_is_made_by_another() {
    let (Some(queue), Some(redis)) = (queue(), redis::single()) else { return };
    let (redis, name) = (redis.url(), format!("test-{}", Id128::random()));
    let home = Arc::new(TempDir::new().unwrap());
    let start = |role: &str| {
        let usual = [role, "--queue", &queue, "--name", &name, "--lease", "3", "--status", &redis];
        let others = ["--sessions", &*redis, "--locks", &*redis];
        Server::in_home(Arc::clone(&home), &[&usual[..], &others].concat())
    };
    let server = start("serve");
    let (quick, long) = (Table { rows: 500, note: 10 }, Table::of_megabytes(20));
    let mut first = start("worker");
    let ready = server.end_of(&server.start_report(&server.upload(quick)));
    assert_eq!(server.totals(&ready), quick.totals());

    let poll = server.start_report(&server.upload(long));
    first.stop_job();
    first.signal(Signal::KILL);
    first.ended_within(Duration::from_secs(10));
    let _second = start("worker");
    let ready = server.end_of(&poll);
    assert_eq!(server.totals(&ready), long.totals());
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn sqs_keeps_the_queue_and_nothing_else() {
    let mut command = program();
    command.args(["worker", "--queue", "sqs://reports"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("--status") && words.contains("--locks"), "{words}");
}
