//! Sessions that all servers share.

use std::time::Duration;

use serde_json::json;
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{self, RedisServerConfig};

use crate::support::process::Signal;
use crate::support::visitor::Visitor;
use crate::support::{Server, eventually};
use crate::{Fleet, wait_for};

fn ask(visitor: &mut Visitor<'_>) -> String {
    let body = json!({ "data": "sample", "group_by": "region", "sum": "revenue" });
    let accepted = visitor.post("/get_report", &body);
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    accepted.json()["poll"].as_str().unwrap().to_owned()
}

fn listed(visitor: &mut Visitor<'_>) -> usize {
    visitor.get("/my_reports").json()["reports"].as_array().unwrap().len()
}

#[test]
fn servers_share_sessions_and_a_session_outlives_its_server() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let [mut first, second] = [(); 2].map(|()| fleet.serve(&[]));
    let _worker = fleet.worker(&[]);
    let mut here = Visitor::of(&first);
    let poll = ask(&mut here);
    let mut there = here.at(&second);
    ask(&mut there);
    assert_eq!((listed(&mut here), listed(&mut there)), (2, 2));
    let ready = there.get(&format!("{poll}&wait=40s")).json();
    assert_eq!(ready["status"], "ready", "{ready}");
    assert_eq!(second.get(&poll).status, 404, "somebody else");

    let cookie = here.cookie().to_owned();
    first.signal(Signal::KILL);
    first.ended_within(Duration::from_secs(10));
    let next = fleet.serve(&[]);
    let mut back = Visitor::with(&next, &cookie);
    assert_eq!(listed(&mut back), 2);
    assert_eq!(back.get(&poll).json()["status"], "ready");
    assert_eq!(back.cookie(), cookie, "the session is the same");

    back.post("/start_over", &json!({}));
    assert_eq!(listed(&mut there), 0, "ended here is ended there");
    assert_eq!(there.get(&poll).status, 404);
}

#[test]
fn the_page_is_shown_and_nothing_is_denied_while_sessions_are_away() {
    let Some(queue) = redis::single() else { return };
    let config = RedisServerConfig::default();
    let started = wait_for(RedisServer::start(config));
    let Some(sessions) = started else { return };
    let fleet = Fleet::on(queue.url());
    let server: Server = fleet.start("all", &["--sessions", &sessions.url()]);
    let mut visitor = Visitor::of(&server);
    let poll = ask(&mut visitor);
    sessions.kill();
    assert_eq!(visitor.get("/").status, 200);
    let away = visitor.get(&poll);
    assert_eq!(away.status, 503, "not 404: {}", away.text());
    assert!(away.header("retry-after").is_some() && !away.error().is_empty());
    let other = json!({ "data": "sample", "group_by": "region", "sum": "revenue" });
    assert_eq!(server.post_json("/get_report", &[], &other).status, 202, "who has no session");
    wait_for(sessions.restart());
    eventually("it answers again", || server.get("/health").status == 200);
}
