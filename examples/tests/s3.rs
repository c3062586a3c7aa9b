//! Files in a bucket: needs S3, see `scripts/test`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use standfast_blobstore::{Blobs, S3BlobStore, S3Config};
use standfast_core::Id128;
use support::http::{Answer, request};
use support::process::Signal;
use support::table::{Table, read_totals};
use support::visitor::Visitor;
use support::{Server, bucket, within};

/// Asks the service itself, as a browser does.
fn ask(method: &str, link: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let service = host.to_socket_addrs().unwrap().next().unwrap();
    request(service, method, &format!("/{path}"), headers, body).unwrap()
}

fn fetch(link: &str) -> Answer {
    ask("GET", link, &[], b"")
}

/// Sends a file in the form that was offered.
fn send(offer: &Value, file: &[u8]) -> Answer {
    let mut body = Vec::new();
    for (name, value) in offer["fields"].as_object().unwrap() {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), value.as_str().unwrap().as_bytes(), b"\r\n"].concat());
    }
    let head = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\
                Content-Type: text/csv\r\n\r\n";
    body.extend([head.as_bytes(), file, b"\r\n--edge--\r\n"].concat());
    let kind = [("Content-Type", "multipart/form-data; boundary=edge")];
    ask("POST", offer["url"].as_str().unwrap(), &kind, &body)
}

/// Where the server is asked to take what was sent in a form.
fn taking(offer: &Value) -> String {
    format!("/uploads/{}", offer["upload"].as_str().unwrap())
}

/// The keys at `place` that begin with `prefix`, each with the minutes until its blob is gone.
fn kept(place: &str, prefix: &str) -> Vec<(String, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let blobs = Blobs::new(S3BlobStore::open(place, S3Config::default()).await.unwrap());
        let keys: Vec<_> = blobs.list(prefix).map_ok(|blob| blob.key).try_collect().await.unwrap();
        let mut kept = Vec::new();
        for key in keys {
            let ends = blobs.head(&key).await.unwrap().unwrap().expires_at.expect("all go");
            kept.push((key.to_string(), (ends - Utc::now()).num_minutes()));
        }
        kept
    })
}

#[test]
fn reports_are_private_and_links_to_them_end() {
    let Some(place) = bucket() else { return };
    let options = ["--blobs", &*place, "--links", "5"];
    let mut server = Server::with(&options);
    let table = Table { rows: 2_000, note: 10 };
    let data = server.upload(table);
    let body = json!({ "data": data, "group_by": "region", "sum": "amount" });
    let key = [("Idempotency-Key", "one")];
    let asked =
        |server: &Server| server.post_json("/get_report", &key, &body).json()["poll"].clone();
    let poll = asked(&server).as_str().unwrap().to_owned();
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
    assert_eq!(asked(&next), poll, "all who share the files share the secret");
    assert_eq!(next.end_of(&poll)["status"], "ready");
    assert!(!next.home.path().join("blobs").exists(), "none of it is on this machine");
    assert_eq!(next.get("/health").status, 200);
}

#[test]
fn a_file_goes_straight_to_the_bucket_and_is_taken_from_there() {
    let Some(place) = bucket() else { return };
    let server = Server::with(&["--blobs", &place]);
    let mut visitor = Visitor::of(&server);
    let table = Table { rows: 2_000, note: 10 };
    let file = table.text();
    let offer = visitor.post("/uploads", &json!({ "size": file.len(), "type": "text/csv" }));
    assert_eq!(offer.status, 201, "{}", offer.text());
    let offer = offer.json();
    let policy = server.get("/").header("content-security-policy").unwrap().to_owned();
    let origin = offer["url"].as_str().unwrap().split('/').take(3).collect::<Vec<_>>().join("/");
    assert!(policy.contains(&format!("connect-src 'self' {origin};")), "{policy}");

    let early = visitor.post(&taking(&offer), &json!({}));
    assert_eq!(early.status, 404, "nothing is there yet: {}", early.text());
    let sent = send(&offer, &file);
    assert_eq!(sent.status, 200, "{}", sent.text());
    let first = visitor.post(&taking(&offer), &json!({}));
    assert_eq!(first.status, 201, "{}", first.text());
    let first = first.json();
    assert_eq!(first["columns"], json!(["id", "region", "amount", "note"]));
    assert_eq!(first["rows"], table.rows);
    let spans = |prefix: &str| kept(&place, prefix).into_iter().map(|(_, span)| span);
    assert_eq!(spans("uploads/").count(), 1);
    assert!(
        spans("uploads/").all(|span| (55..60).contains(&span)),
        "{:?}",
        kept(&place, "uploads/")
    );
    let day = 24 * 60;
    assert!(
        spans("data/").all(|span| (day - 5..day).contains(&span)),
        "{:?}",
        kept(&place, "data/")
    );
    assert_eq!(spans("data/").count(), 2, "the table and its columns");
    let again = visitor.post(&taking(&offer), &json!({}));
    assert_eq!(
        (again.status, again.json()),
        (201, first.clone()),
        "the same upload, the same data"
    );

    let body = json!({ "data": first["data"], "group_by": "region", "sum": "amount" });
    let headers = [("Cookie", visitor.cookie()), ("Idempotency-Key", "one")];
    let polls = [(); 2].map(|()| {
        let accepted = server.post_json("/get_report", &headers, &body);
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        accepted.json()["poll"].as_str().unwrap().to_owned()
    });
    assert_eq!(polls[0], polls[1], "one report");
    let answer = || server.get_as(&polls[0], visitor.cookie()).json();
    within(Duration::from_secs(60), "it is made", || answer()["status"] != "wait");
    let ready = answer();
    assert_eq!(ready["status"], "ready", "{ready}");
    let totals = fetch(ready["totals_url"].as_str().unwrap());
    assert_eq!(read_totals(&totals.body, "region,amount"), table.totals());

    // the form is good until it ends; what was taken stays what it was
    let other = String::from_utf8(file).unwrap().replacen("region", "REGION", 1);
    assert_eq!(send(&offer, other.as_bytes()).status, 200);
    let second = visitor.post(&taking(&offer), &json!({})).json();
    assert_eq!(second["columns"], json!(["id", "REGION", "amount", "note"]));
    assert_ne!(second["data"], first["data"]);
    assert_eq!(visitor.post("/get_report", &body).status, 202, "the first still has its column");
}

#[test]
fn an_upload_is_for_whoever_asked_for_it() {
    let Some(place) = bucket() else { return };
    let server = Server::with(&["--blobs", &place]);
    let (mut owner, mut other) = (Visitor::of(&server), Visitor::of(&server));
    let file = Table { rows: 10, note: 3 }.text();
    let wanted = json!({ "size": file.len() });
    let theirs = owner.post("/uploads", &wanted).json();
    let scripts = server.post_json("/uploads", &[], &wanted).json();
    for offer in [&theirs, &scripts] {
        assert_eq!(send(offer, &file).status, 200);
    }
    let unknown = format!("/uploads/{}", Id128::random());
    let refused = [
        other.post(&taking(&theirs), &json!({})),
        server.post(&taking(&theirs), &[], b""),
        owner.post(&taking(&scripts), &json!({})),
        owner.post(&unknown, &json!({})),
        owner.post("/uploads/..%2Fdata", &json!({})),
    ];
    for answer in &refused {
        let told = (answer.status, answer.error());
        assert_eq!(told, (404, "this upload is not known, or not kept any more".to_owned()));
    }
    assert!(kept(&place, "data/").is_empty());
    assert_eq!(owner.post(&taking(&theirs), &json!({})).status, 201);
    assert_eq!(server.post(&taking(&scripts), &[], b"").status, 201);
}

#[test]
fn a_form_takes_one_file_of_one_size_and_type_under_one_key() {
    let Some(place) = bucket() else { return };
    let server = Server::with(&["--blobs", &place]);
    let file = Table { rows: 10, note: 3 }.text();
    for (wanted, code, words) in [
        (json!({ "size": 0 }), 400, "the file is empty"),
        (json!({ "size": (512_u64 << 20) + 1 }), 413, "larger than 512 MiB"),
        (json!({ "size": 5, "type": "application/zip" }), 415, "of the type text/csv"),
        (json!({ "type": "text/csv" }), 422, "size"),
        (json!({ "size": -1 }), 422, "size"),
    ] {
        let refused = server.post_json("/uploads", &[], &wanted);
        assert_eq!(refused.status, code, "{wanted}: {}", refused.text());
        assert!(refused.error().contains(words), "{wanted}: {}", refused.error());
    }
    let offer = server.post_json("/uploads", &[], &json!({ "size": file.len() })).json();
    let more = [&file[..], b"1,a,2,b\n"].concat();
    for other in [&more[..], &file[1..]] {
        assert_eq!(send(&offer, other).status, 400, "another size");
    }
    for name in ["content-type", "key", "policy", "x-amz-signature", "x-amz-meta-standfast"] {
        let mut changed = offer.clone();
        let value = offer["fields"][name].as_str().unwrap_or_else(|| panic!("{name}: {offer}"));
        changed["fields"][name] = json!(format!("{value}0"));
        let refused = send(&changed, &file).status;
        assert!((400..404).contains(&refused), "another {name}: {refused}");
    }
    assert_eq!(server.post(&taking(&offer), &[], b"").status, 404, "nothing was stored");
    assert_eq!(send(&offer, &file).status, 200);
    assert_eq!(server.post(&taking(&offer), &[], b"").status, 201);
}

#[test]
fn what_is_no_table_is_not_taken() {
    let Some(place) = bucket() else { return };
    let server = Server::with(&["--blobs", &place]);
    let zip = [b"PK\x03\x04\x14\0\x08\0".as_slice(), &[7; 3 << 20]].concat();
    for (file, words) in [
        (&zip[..], "a zip archive or an Excel workbook, not a CSV file"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 values, but there are 2 columns"),
    ] {
        let offer = server.post_json("/uploads", &[], &json!({ "size": file.len() })).json();
        assert_eq!(send(&offer, file).status, 200, "the bucket takes everything");
        let refused = server.post(&taking(&offer), &[], b"");
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.error().contains(words), "{}", refused.error());
    }
    server.assert_well();
    assert!(kept(&place, "data/").is_empty());
}

#[test]
fn a_form_ends() {
    let Some(place) = bucket() else { return };
    let server = Server::with(&["--blobs", &place, "--uploads", "2"]);
    let file = Table { rows: 10, note: 3 }.text();
    let offer = server.post_json("/uploads", &[], &json!({ "size": file.len() })).json();
    let ends: DateTime<Utc> = offer["expires_at"].as_str().unwrap().parse().unwrap();
    within(Duration::from_secs(30), "its time has come", || Utc::now() > ends);
    within(Duration::from_secs(30), "it has ended", || send(&offer, &file).status == 403);
}
