//! Ticks: of many instances one wins each, and whoever dies is replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{self, Persistence, RedisServerConfig};

use crate::support::process::Signal;
use crate::support::{Server, within};
use crate::{Fleet, note, wait_for};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
const OFTEN: [&str; 6] = ["--tick", "1", "--every", "2", "--lease", "3"];

/// What the ledger shows, oldest first.
fn ticks(server: &Server) -> Vec<Value> {
    let answer = server.get("/ticks").json();
    let ticks = answer["ticks"].as_array().cloned().unwrap_or_default();
    ticks.into_iter().rev().collect()
}

fn settled(server: &Server) -> Vec<Value> {
    ticks(server).into_iter().filter(|tick| tick["state"] == "done").collect()
}

fn at(tick: &Value) -> &str {
    tick["at"].as_str().unwrap()
}

/// Which of these won the tick.
fn winner_of(tick: &Value, of: &[Server]) -> Option<usize> {
    let name = tick["winner"].as_str().unwrap();
    let pid: u32 = name.rsplit_once('-').unwrap().1.parse().unwrap();
    of.iter().position(|process| process.pid() == pid)
}

fn reports(tick: &Value) -> Vec<String> {
    let runs = tick["reports"].as_array().unwrap();
    runs.iter().map(|run| run.as_str().unwrap().to_owned()).collect()
}

fn await_report(server: &Server, run: &str) {
    let page = format!("/scheduled/{run}");
    within(PATIENCE, "the report is made", || server.get(&page).status == 303);
}

#[test]
fn one_of_many_wins_each_tick_and_its_death_is_not_noticed() {
    let Some(redis) = redis::single() else { return };
    let fleet = Fleet::on(redis.url());
    let server = fleet.serve(&OFTEN);
    let _worker = fleet.worker(&OFTEN);
    let crons: Vec<Server> = (0..3).map(|_| fleet.start("cron", &OFTEN)).collect();
    within(PATIENCE, "they tick", || settled(&server).len() > 4);
    let before = settled(&server);
    let last = before.last().unwrap();
    let killed = winner_of(last, &crons).unwrap();
    crons[killed].signal(Signal::KILL);

    let later = || {
        let later = settled(&server).into_iter();
        later.filter(|tick| at(tick) > at(last)).collect::<Vec<_>>()
    };
    within(PATIENCE, "the others tick on", || later().len() > 5);
    let later = later();
    for tick in later.iter().rev().take(3) {
        assert!(winner_of(tick, &crons).is_some_and(|winner| winner != killed), "{tick}");
    }
    let missed: u64 = later.iter().map(|tick| tick["missed"].as_u64().unwrap()).sum();
    note(&format!("a winner killed: {} ticks after it, {missed} missed", later.len()));
    let sent: Vec<String> = before.iter().chain(&later).flat_map(reports).collect();
    assert!(sent.len() >= 3, "{sent:?}");
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each is sent once");
    sent.iter().for_each(|run| await_report(&server, run));
    assert_eq!(server.get("/scheduled/00000000000000000000000000000000").status, 404);
}

#[test]
fn a_tick_whose_winner_dies_in_the_middle_is_taken_over() {
    let Some(locks) = redis::single() else { return };
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    let Some(queue) = wait_for(RedisServer::start(config)) else { return };
    let fleet = Fleet::on(queue.url());
    let url = locks.url();
    let options = [&OFTEN[..], &["--locks", &url]].concat();
    let server = fleet.serve(&options);
    let _worker = fleet.worker(&options);
    let crons: Vec<Server> = (0..2).map(|_| fleet.start("cron", &options)).collect();
    within(PATIENCE, "they tick", || settled(&server).iter().any(|tick| !reports(tick).is_empty()));

    // what is due cannot be sent, so the winner holds its tick
    queue.kill();
    let held = || {
        let claimed = ticks(&server).into_iter().filter(|tick| tick["state"] == "claimed");
        claimed.filter_map(|tick| winner_of(&tick, &crons)).next()
    };
    within(PATIENCE, "a tick is held", || held().is_some());
    let dead = held().unwrap();
    crons[dead].signal(Signal::KILL);
    wait_for(queue.restart());
    let taken = || {
        let mut settled = settled(&server).into_iter();
        settled.find(|tick| !tick["taken_over_from"].as_array().unwrap().is_empty())
    };
    within(PATIENCE, "it is taken over", || taken().is_some());
    let taken = taken().unwrap();
    assert_eq!(winner_of(&taken, &crons), Some(1 - dead), "{taken}");
    assert!(!reports(&taken).is_empty(), "{taken}");
    reports(&taken).iter().for_each(|run| await_report(&server, run));
}
