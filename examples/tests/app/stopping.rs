//! SIGTERM.

use std::io::Read as _;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{Exchange, request};
use crate::support::process::{Signal, descendants, is_alive, signal};
use crate::support::table::Table;
use crate::support::{Server, eventually};

/// A client that was answered nothing and began less than this before the signal may have been
/// too late.
const TOO_LATE: Duration = Duration::from_millis(250);

#[test]
fn a_stop_under_load_loses_nothing() {
    let mut server = Server::with(&["--jobs", "4"]);
    let to = server.address;
    let body = json!({ "data": "sample", "group_by": "region", "sum": "revenue" }).to_string();
    let headers = [("Content-Type", "application/json")];
    let (accepted, unanswered) = (Mutex::new(0), Mutex::new(Vec::new()));
    // requests that the signal finds half sent
    let length = body.len().to_string();
    let post = [headers[0], ("Content-Length", &length)];
    let mut halves: Vec<_> = (0..10).map(|_| server.begin("POST", "/get_report", &post)).collect();
    let upload = Table { rows: 1000, note: 10 }.text();
    let length = upload.len().to_string();
    let mut half_upload = server.begin("POST", "/data", &[("Content-Length", &length)]);
    half_upload.send(&upload[..1000]).unwrap();
    halves.iter_mut().for_each(|half| half.send(&body.as_bytes()[..20]).unwrap());

    let signalled = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let begin = Instant::now();
                    let answer = request(to, "POST", "/get_report", &headers, body.as_bytes());
                    let Ok(answer) = answer else {
                        // it has stopped: what was begun before must have been answered
                        return unanswered.lock().unwrap().push(begin);
                    };
                    assert_eq!(answer.status, 202, "{}", answer.text());
                    *accepted.lock().unwrap() += 1;
                    let poll = answer.json()["poll"].as_str().unwrap().to_owned();
                    let begin = Instant::now();
                    match request(to, "GET", &format!("{poll}&wait=1s"), &[], b"") {
                        Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
                        Err(_) => return unanswered.lock().unwrap().push(begin),
                    }
                }
            });
        }
        eventually("they are at it", || *accepted.lock().unwrap() > 30);
        server.signal(Signal::TERM);
        Instant::now()
    });
    for mut half in halves {
        half.send(&body.as_bytes()[20..]).unwrap();
        assert_eq!(half.answer().unwrap().status, 202);
        *accepted.lock().unwrap() += 1;
    }
    half_upload.send(&upload[1000..]).unwrap();
    assert_eq!(half_upload.answer().unwrap().status, 201);
    for begin in unanswered.into_inner().unwrap() {
        assert!(begin + TOO_LATE > signalled, "not answered, {:?} before", signalled - begin);
    }
    let status = server.ended_within(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0));
    let made = server.stored().iter().filter(|path| path.ends_with("report.html")).count();
    assert_eq!(made, accepted.into_inner().unwrap());
}

#[test]
fn those_who_wait_are_answered_when_the_server_stops() {
    let mut server = Server::start();
    let poll = server.start_report(&server.upload(Table::of_megabytes(10)));
    let job = server.stop_job();
    let handle = poll.split_once('=').unwrap().1;
    server.until(&poll, |answer| answer["state"] == "running");
    let events = server.begin("GET", &format!("/is_ready/events?handle={handle}"), &[]);
    let waiting = server.begin("GET", &format!("{poll}&wait=50s"), &[]);
    let mut events = events.head().unwrap().body;
    // a second connection that is answered shows that the one before it is waited for
    assert_eq!(server.get("/health").status, 200);
    server.signal(Signal::TERM);
    let begin = Instant::now();
    let answer = waiting.answer().unwrap();
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("wait")));
    events.read_to_end(&mut Vec::new()).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    eventually("nobody is let in", || Exchange::begin(server.address, "GET", "/", &[]).is_err());
    // the report in progress is still made
    signal(job, Signal::CONT);
    assert_eq!(server.ended_within(Duration::from_secs(30)).code(), Some(0));
    let made = server.stored().iter().filter(|path| path.ends_with("report.html")).count();
    assert_eq!(made, 1);
}

#[test]
fn a_second_signal_lets_everything_go() {
    let mut server = Server::start();
    server.start_report(&server.upload(Table::of_megabytes(10)));
    let job = server.stop_job();
    let _stalled = server.begin("POST", "/data", &[("Content-Length", "1000")]);
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    assert!(is_alive(server.pid()), "it waits for the job and the upload");
    let all = descendants(server.pid());
    server.signal(Signal::TERM);
    server.ended_within(Duration::from_secs(5));
    signal(job, Signal::CONT);
    eventually("the job is gone", || !all.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn what_ticks_have_sent_is_made_before_the_process_ends() {
    let mut server = Server::with(&["--tick", "1", "--every", "1"]);
    let sent = |server: &Server| -> usize {
        let ticks = server.get("/ticks").json();
        let ticks = ticks["ticks"].as_array().unwrap().iter();
        ticks.map(|tick| tick["reports"].as_array().unwrap().len()).sum()
    };
    eventually("ticks send reports", || sent(&server) > 2);
    let before = sent(&server);
    server.signal(Signal::TERM);
    assert_eq!(server.ended_within(Duration::from_secs(30)).code(), Some(0));
    let made = server.stored().iter().filter(|path| path.ends_with("report.html")).count();
    assert!(made >= before, "{made} of {before}");
    let log = server.log();
    let position = |words: &str| log.find(words).unwrap_or_else(|| panic!("{words:?} in {log}"));
    assert!(position("cron stopped") < position("the worker has stopped"));
}
