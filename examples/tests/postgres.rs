//! Sessions and the record in a database: needs PostgreSQL, see `scripts/test`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use standfast_core::testkit::service;
use support::process::Signal;
use support::visitor::Visitor;
use support::{Server, program};

fn migrate(url: &str) {
    let done = program().args(["migrate", "--sessions", url, "--business", url]).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(told, "the tables of --sessions and --business are up to date\n");
}

#[test]
fn what_is_in_a_database_outlives_the_process() {
    let Some(url) = service("postgres", "STANDFAST_TEST_POSTGRES") else { return };
    migrate(&url);
    migrate(&url);
    let options = ["--sessions", &*url, "--business", &*url];
    let mut server = Server::with(&options);
    let mut visitor = Visitor::of(&server);
    let body = json!({ "data": "sample", "group_by": "region", "sum": "revenue" });
    let poll = visitor.post("/get_report", &body).json()["poll"].as_str().unwrap().to_owned();
    assert_eq!(visitor.get(&format!("{poll}&wait=40s")).json()["status"], "ready");
    let (cookie, before) = (visitor.cookie().to_owned(), visitor.get("/history").json());
    assert_eq!(before["events"].as_array().unwrap().len(), 2, "{before}");

    server.signal(Signal::KILL);
    server.ended_within(Duration::from_secs(10));
    let next = Server::in_home(Arc::clone(&server.home), &options);
    let mut back = Visitor::with(&next, &cookie);
    assert_eq!(back.get("/my_reports").json()["reports"].as_array().unwrap().len(), 1);
    let after = back.get("/history").json();
    assert_eq!(after, before);
    assert_eq!(after["is_sound"], true);
    let health = next.get("/health");
    assert_eq!(health.status, 200, "{}", health.text());
}

#[test]
fn nothing_to_migrate_is_said() {
    let done = program().arg("migrate").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("give --sessions or --business"));
}
