//! Who asked for what: sessions, and the record of what became of it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::process::{Signal, signal};
use crate::support::table::Table;
use crate::support::visitor::Visitor;
use crate::support::{Server, eventually};

fn sample() -> Value {
    json!({ "data": "sample", "group_by": "region", "sum": "revenue" })
}

fn asked(visitor: &mut Visitor<'_>) -> String {
    let accepted = visitor.post("/get_report", &sample());
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    accepted.json()["poll"].as_str().unwrap().to_owned()
}

fn titles(visitor: &mut Visitor<'_>) -> Vec<String> {
    let answer = visitor.get("/my_reports").json();
    let reports = answer["reports"].as_array().unwrap();
    reports.iter().map(|report| report["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn reports_at_the_same_time_are_all_in_the_list() {
    let server = Server::start();
    let mut visitor = Visitor::of(&server);
    let cookie = visitor.cookie().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let headers = [("Cookie", &*cookie)];
                assert_eq!(server.post_json("/get_report", &headers, &sample()).status, 202);
            });
        }
    });
    assert_eq!(titles(&mut visitor), ["revenue by region (Sample)"; 12]);
    eventually("each is made", || {
        server.stored().iter().filter(|path| path.ends_with("report.html")).count() == 12
    });
}

#[test]
fn the_list_has_a_report_once_and_under_the_name_of_its_file() {
    let server = Server::start();
    let mut visitor = Visitor::of(&server);
    let data = server.upload(Table { rows: 10, note: 3 });
    let body = json!({ "data": data, "group_by": "region", "sum": "amount", "name": "a\nb.csv" });
    for _ in 0..3 {
        let headers = [("Cookie", visitor.cookie()), ("Idempotency-Key", "same")];
        assert_eq!(server.post_json("/get_report", &headers, &body).status, 202);
    }
    assert_eq!(titles(&mut visitor), ["amount by region (a b.csv)"]);
    assert_eq!(titles(&mut Visitor::of(&server)), [""; 0]);
}

#[test]
fn who_starts_over_leaves_nothing_behind_and_is_told_once() {
    let server = Server::start();
    let mut visitor = Visitor::of(&server);
    let poll = asked(&mut visitor);
    let before = visitor.cookie().to_owned();
    let answer = visitor.post("/start_over", &json!({}));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    assert_ne!(visitor.cookie(), before);
    let told =
        |visitor: &mut Visitor<'_>| visitor.get("/").text().contains("You have started over");
    assert_eq!([told(&mut visitor), told(&mut visitor)], [true, false]);
    assert!(titles(&mut visitor).is_empty());
    for cookie in [&before, visitor.cookie()] {
        assert_eq!(server.get_as(&poll, cookie).status, 404, "its report went with the session");
    }
}

#[test]
fn a_session_that_has_ended_is_followed_by_another() {
    let server = Server::start();
    let unknown = format!("id={}.{}", "1".repeat(32), "2".repeat(32));
    let mut visitor = Visitor::with(&server, &unknown);
    asked(&mut visitor);
    assert_ne!(visitor.cookie(), unknown, "it is never adopted");
    assert_eq!(titles(&mut visitor).len(), 1);
    // and a client without cookies has none
    let answer = server.post_json("/get_report", &[], &sample());
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn the_record_has_each_request_and_each_outcome_once() {
    let server = Server::start();
    let mut visitor = Visitor::of(&server);
    let data = server.upload(Table { rows: 20_000, note: 250 });
    let (cookie, wrong) =
        (visitor.cookie().to_owned(), json!({ "data": data, "group_by": "region", "sum": "note" }));
    let headers = [("Cookie", &*cookie), ("X-Request-Id", "the-first")];
    let ask = |body: &Value| {
        let headers = [&headers[..], &[("Idempotency-Key", "k")]].concat();
        let poll = server.post_json("/get_report", &headers, body).json();
        poll["poll"].as_str().unwrap().to_owned()
    };
    let right = json!({ "data": data, "group_by": "region", "sum": "amount" });
    let poll = ask(&right);
    signal(server.stop_job(), Signal::KILL);
    assert_eq!(ask(&right), poll, "said twice");
    let end = |poll: &str| loop {
        let answer = server.get_as(&format!("{poll}&wait=20s"), &cookie).json();
        if answer["status"] != "wait" {
            break answer["status"].clone();
        }
    };
    assert_eq!(end(&poll), "ready");
    assert_eq!(end(&ask(&wrong)), "failed");

    let history = visitor.get("/history").json();
    assert_eq!(history["is_sound"], true, "{history}");
    let events: Vec<_> = history["events"].as_array().unwrap().iter().rev().collect();
    let what: Vec<_> = events.iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["asked", "retried", "ready", "asked", "failed"], "{history}");
    assert!(events.iter().all(|event| event["request_id"] == "the-first"), "{history}");
    assert!(events[1]["why"].as_str().unwrap().contains("SIGKILL"), "{history}");
    assert!(events[4]["why"].as_str().unwrap().contains("is not a number"), "{history}");
    assert_eq!(Visitor::of(&server).get("/history").json()["events"], json!([]));
}

/// An address of this machine that others reach, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // nothing is sent: it only says by which address
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

fn curl(jar: &Path, url: &str, more: &[&str]) -> Option<String> {
    let mut told = Command::new("curl");
    told.args(["-sS", "-b"]).arg(jar).arg("-c").arg(jar).args(more).arg(url);
    match told.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(_) => {
            standfast_core::testkit::service("curl", "PATH to a directory that has it");
            None
        }
    }
}

#[test]
fn over_plain_http_curl_keeps_its_session_from_any_address() {
    let server = Server::with(&["--listen", "0.0.0.0:0"]);
    let port = server.address.port();
    let inner = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    for ip in inner.into_iter().chain(outer_address()) {
        let base = format!("http://{}", SocketAddr::new(ip, port));
        let jar = server.home.path().join(format!("jar-{ip}"));
        if curl(&jar, &format!("{base}/"), &[]).is_none() {
            return;
        }
        let form = ["-d", "data=sample&group_by=region&sum=revenue"];
        let accepted = curl(&jar, &format!("{base}/get_report"), &form).unwrap();
        let accepted: Value = serde_json::from_str(&accepted).unwrap();
        let poll = accepted["poll"].as_str().unwrap();
        let ready = curl(&jar, &format!("{base}{poll}&wait=30s"), &[]).unwrap();
        assert!(ready.contains("\"ready\""), "{ip}: {ready}");
        let mine = curl(&jar, &format!("{base}/my_reports"), &[]).unwrap();
        assert!(mine.contains("revenue by region (Sample)"), "{ip}: {mine}");
        assert_eq!(server.get(poll).status, 404, "{ip}: it has an owner");
    }
}

#[test]
fn over_https_cookies_are_for_https_and_the_log_says_so() {
    let server = Server::with(&["--public-url", "https://reports.example"]);
    let page = server.get("/");
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-id=") && cookie.contains("; Secure"), "{cookie}");
    assert!(server.log().contains("who comes over http keeps no session"), "{}", server.log());
}
