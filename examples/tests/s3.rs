//! Files in a bucket: needs S3, see `scripts/test`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use standfast_core::Id128;
use standfast_core::testkit::service;
use support::http::{Answer, request};
use support::process::Signal;
use support::table::{Table, read_totals};
use support::{Server, within};

/// A prefix of the tests' bucket that nobody else uses.
fn place() -> Option<String> {
    let url = service("s3", "STANDFAST_TEST_S3")?;
    let (bucket, query) = url.split_once('?').unwrap_or((&url, ""));
    Some(format!("{}/{}?{query}", bucket.trim_end_matches('/'), Id128::random()))
}

/// Fetches from the service itself, as a browser that follows the link.
fn fetch(link: &str) -> Answer {
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let service = host.to_socket_addrs().unwrap().next().unwrap();
    request(service, "GET", &format!("/{path}"), &[], b"").unwrap()
}

#[test]
fn reports_are_private_and_links_to_them_end() {
    let Some(place) = place() else { return };
    let options = ["--blobs", &*place, "--links", "5"];
    let mut server = Server::with(&options);
    let table = Table { rows: 2_000, note: 10 };
    let data = server.upload(table);
    let body = json!({ "data": data, "group_by": "region", "sum": "amount" });
    let key = [("Idempotency-Key", "one")];
    let ask = |server: &Server| server.post_json("/get_report", &key, &body).json()["poll"].clone();
    let poll = ask(&server).as_str().unwrap().to_owned();
    let ready = server.end_of(&poll);
    let link = ready["totals_url"].as_str().unwrap().to_owned();
    let totals = fetch(&link);
    assert_eq!(totals.status, 200, "{}", totals.text());
    assert_eq!(read_totals(&totals.body, "region,amount"), table.totals());
    let as_file = totals.header("content-disposition").unwrap();
    assert!(as_file.contains("totals.csv"), "{as_file}");
    let page = fetch(ready["url"].as_str().unwrap());
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));

    let (bare, query) = link.split_once('?').unwrap();
    assert_eq!(fetch(bare).status, 403, "nobody sees it without a signature");
    let forged = format!("{}?{query}", bare.replace("totals.csv", "report.html"));
    assert_eq!(fetch(&forged).status, 403, "a link is good for one file");
    within(Duration::from_secs(30), "the link has ended", || fetch(&link).status == 403);
    let anew = server.get(&poll).json()["totals_url"].as_str().unwrap().to_owned();
    assert_eq!(fetch(&anew).status, 200, "each answer has a fresh one");

    // nothing that matters was in the process but the queue and the statuses
    server.signal(Signal::KILL);
    server.ended_within(Duration::from_secs(10));
    let next = Server::in_home(Arc::clone(&server.home), &options);
    assert_eq!(ask(&next), poll, "all who share the files share the secret");
    assert_eq!(next.end_of(&poll)["status"], "ready");
    assert!(!next.home.path().join("blobs").exists(), "none of it is on this machine");
    assert_eq!(next.get("/health").status, 200);
}
