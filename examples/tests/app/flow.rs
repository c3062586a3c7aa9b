//! Asking for a report, and getting it.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::thread;

use serde_json::{Value, json};

use crate::support::process::{Signal, signal};
use crate::support::table::{Table, read_totals, sample_totals};
use crate::support::visitor::Visitor;
use crate::support::{Server, eventually};

const SMALL: Table = Table { rows: 2_000, note: 10 };

fn sample() -> Value {
    json!({ "data": "sample", "group_by": "region", "sum": "revenue" })
}

#[test]
fn an_upload_becomes_a_report_that_can_be_downloaded() {
    let server = Server::start();
    let data = server.upload(SMALL);
    let body = json!({ "data": data, "group_by": "region", "sum": "amount" });
    let accepted = server.post_json("/get_report", &[], &body);
    assert_eq!(accepted.status, 202);
    let poll = accepted.json()["poll"].as_str().unwrap().to_owned();
    assert!(poll.starts_with("/is_ready?handle="), "{poll}");
    assert_eq!(accepted.header("location"), Some(&*poll));
    assert!(accepted.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    let ready = server.end_of(&poll);
    assert_eq!(server.totals(&ready), SMALL.totals());
    let page = server.download(ready["url"].as_str().unwrap());
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<svg") && page.text().contains("Übersee"));
    assert!(server.staged().is_empty());
}

#[test]
fn a_form_and_a_long_poll_do_as_well() {
    let server = Server::start();
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let accepted = server.post("/get_report", &[kind], b"data=sample&group_by=region&sum=revenue");
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let poll = accepted.json()["poll"].as_str().unwrap().to_owned();
    let ready = server.get(&format!("{poll}&wait=20s"));
    assert_eq!(ready.header("retry-after"), None);
    let totals = server.download(ready.json()["totals_url"].as_str().unwrap());
    assert_eq!(read_totals(&totals.body, "region,revenue"), sample_totals());
}

#[test]
fn a_report_on_its_way_says_when_to_ask_again() {
    let server = Server::start();
    let poll = server.start_report(&server.upload(Table::of_megabytes(20)));
    let job = server.stop_job();
    let answer = server.get(&poll);
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("wait")));
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    signal(job, Signal::CONT);
    let running = server.until(&poll, |answer| {
        answer["status"] != "wait" || answer["progress"]["total"].as_u64() > Some(0)
    });
    assert!(running["status"] == "ready" || running["state"] == "running", "{running}");
    assert_eq!(server.end_of(&poll)["status"], "ready");
}

#[test]
fn events_tell_each_step_to_the_end() {
    let server = Server::start();
    let poll = server.start_report(&server.upload(Table::of_megabytes(5)));
    let handle = poll.split_once('=').unwrap().1;
    let head =
        server.begin("GET", &format!("/is_ready/events?handle={handle}"), &[]).head().unwrap();
    assert_eq!(head.status, 200);
    let lines = BufReader::new(head.body).lines().map(Result::unwrap);
    let told: Vec<Value> = lines
        .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
        .collect();
    let (last, before) = told.split_last().unwrap();
    assert_eq!(last["status"], "ready");
    assert!(before.iter().all(|event| event["status"] == "wait") && !before.is_empty());
    let versions: Vec<_> = told.iter().map(|event| event["version"].as_u64()).collect();
    assert!(versions.is_sorted());
}

#[test]
fn a_repeated_request_is_one_report() {
    let server = Server::start();
    let ask = |key: &str, headers: &[(&str, &str)], body: &Value| {
        let headers = [headers, &[("Idempotency-Key", key)]].concat();
        let answer = server.post_json("/get_report", &headers, body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["poll"].as_str().unwrap().to_owned()
    };
    let at_once: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| ask("k1", &[], &sample()))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let first = &at_once[0];
    assert!(at_once.iter().all(|poll| poll == first));
    server.end_of(first);
    assert_eq!(ask("k1", &[], &sample()), *first, "also when it has ended");

    let other = json!({ "data": "sample", "group_by": "product", "sum": "revenue" });
    let polls = [
        first.clone(),
        ask("k2", &[], &sample()),
        ask("k1", &[], &other),
        ask("k1", &[("Cookie", &visitor(&server))], &sample()),
        server.post_json("/get_report", &[], &sample()).json()["poll"].as_str().unwrap().to_owned(),
        server.post_json("/get_report", &[], &sample()).json()["poll"].as_str().unwrap().to_owned(),
    ];
    assert_eq!(polls.iter().collect::<HashSet<_>>().len(), polls.len());
    let reports = || server.stored().iter().filter(|path| path.ends_with("report.html")).count();
    eventually("each is made", || reports() == polls.len());
}

/// The cookie of a new visitor.
fn visitor(server: &Server) -> String {
    Visitor::of(server).cookie().to_owned()
}

#[test]
fn a_visitors_report_is_shown_to_nobody_else() {
    let server = Server::start();
    let (own, foreign) = (visitor(&server), visitor(&server));
    assert_eq!(server.get_as("/", &own).header("set-cookie"), None);
    let accepted = server.post_json("/get_report", &[("Cookie", &own)], &sample());
    let poll = accepted.json()["poll"].as_str().unwrap().to_owned();
    let handle = poll.split_once('=').unwrap().1;
    assert_eq!(server.get_as(&poll, &own).status, 200);
    let unknown = server.get("/is_ready?handle=00000000000000000000000000000000");
    assert_eq!(unknown.status, 404);
    for refused in [server.get(&poll), server.get_as(&poll, &foreign)] {
        assert_eq!((refused.status, refused.body), (404, unknown.body.clone()));
    }
    let cancel = server.post(&format!("/cancel?handle={handle}"), &[("Cookie", &foreign)], b"");
    assert_eq!(cancel.status, 404);
    // a client without a cookie: whoever knows the handle
    let open = server.post_json("/get_report", &[], &sample()).json();
    assert_eq!(server.get_as(open["poll"].as_str().unwrap(), &foreign).status, 200);
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let server = Server::start();
    let json = ("Content-Type", "application/json");
    let large = format!("{{\"data\": \"{}\"}}", "x".repeat(3 << 20));
    let of = |data: &str, group_by: &str, sum: &str| {
        json!({ "data": data, "group_by": group_by, "sum": sum }).to_string()
    };
    for (headers, body, status, words) in [
        (&[json][..], "{", 400, "`data`, `group_by` and `sum`"),
        (&[json], "{\"data\": \"sample\"}", 400, "`group_by`"),
        (&[json], &of("sample", "nope", "revenue"), 400, "there is no column \"nope\""),
        (&[json], &of("sample", "region", "region"), 400, "two different columns"),
        (&[json], &of("unknown", "region", "revenue"), 400, "upload it again"),
        (&[json], &of("../../etc/passwd", "region", "revenue"), 400, "upload it again"),
        (&[json], &of("", "region", "revenue"), 400, "upload it again"),
        (&[json, ("Idempotency-Key", "a b")], &sample().to_string(), 400, "idempotency key"),
        (&[("Content-Type", "text/xml")], "<a/>", 415, "not `text/xml`"),
        (&[json], &large, 413, "limit"),
    ] {
        let answer = server.post("/get_report", headers, body.as_bytes());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.error().contains(words), "{}", answer.error());
    }
    for (method, path, status) in [
        ("GET", "/is_ready", 400),
        ("GET", "/is_ready?handle=xyz", 400),
        ("GET", "/is_ready?handle=00000000000000000000000000000000", 404),
        ("GET", "/is_ready/events?handle=00000000000000000000000000000000", 404),
        ("POST", "/cancel?handle=00000000000000000000000000000000", 404),
        ("DELETE", "/is_ready?handle=00000000000000000000000000000000", 405),
        ("GET", "/get_report", 405),
        ("GET", "/nowhere", 404),
    ] {
        let headers = [("Content-Length", "0")];
        let answer = server.begin(method, path, &headers).answer().unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.error().is_empty(), "{method} {path}: {}", answer.text());
    }
    assert_eq!(server.get("/files/reports/x?signed=no").status, 403);
    server.assert_unharmed();
}
