//! The job programs that the tests run.

// Children that nobody waits for are what these jobs are about.
#![allow(clippy::zombie_processes)]

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::setsid;
use standfast_queue::subprocess::child::{self, Reporter};
use standfast_queue::subprocess::{FailureKind, JobFailureWire};

const LONG: Duration = Duration::from_secs(300);

pub(crate) fn main(words: &[&str]) -> ExitCode {
    let reporter = Reporter::new();
    match *words {
        ["echo"] => echo(reporter),
        ["noise"] => {
            println!("just a line\n{{\"not\":\"a message\"}}\n{}", "x".repeat(100_000));
            print!("unfinished");
            reporter.result("survives").unwrap();
        }
        ["result", size] => reporter.result(&"x".repeat(size.parse().unwrap())).unwrap(),
        ["fail", code] => {
            eprintln!("{}\nthe last words, é", "x".repeat(10_000));
            return ExitCode::from(code.parse::<u8>().unwrap());
        }
        ["report"] => {
            let failure = JobFailureWire::new(FailureKind::Snooze, "later").with_delay_ms(1500);
            reporter.error(&failure).unwrap();
            return ExitCode::FAILURE;
        }
        ["flood"] => flood(reporter),
        ["environment"] => {
            let names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
            reporter.result(&names).unwrap();
        }
        ["cpu"] => loop {
            std::hint::spin_loop();
        },
        ["files"] => {
            let mut files = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                files.push(file);
            }
            reporter.result(&files.len()).unwrap();
        }
        ["file"] => {
            let mut file = std::fs::File::create("file").unwrap();
            while file.write_all(&[b'x'; 4096]).is_ok() {}
        }
        ["memory"] => {
            let mut held: Vec<u8> = Vec::new();
            let refused = held.try_reserve_exact(1 << 32).is_err();
            reporter.result(&refused).unwrap();
        }
        ["tree", token] => tree(reporter, token, "fresh", true),
        ["tree-that-inherits", token] => tree(reporter, token, "inherit", true),
        ["leave", token] => tree(reporter, token, "fresh", false),
        ["daemon", environment, name, token] => {
            // The double fork of a classic daemon.
            setsid().unwrap();
            spawn(&["sleeper", name, token], environment == "fresh");
        }
        ["sleeper", name, _token] => {
            // A leader of a session of its own if it is not one already.
            let _ = setsid();
            std::fs::write(format!("up-{name}"), "").unwrap();
            std::thread::sleep(LONG);
        }
        ["forker", _token] => forker(reporter),
        ref unknown => panic!("no such job: {unknown:?}"),
    }
    ExitCode::SUCCESS
}

fn echo(reporter: Reporter) {
    let mut input = child::input().unwrap();
    let mut body = String::new();
    input.body.read_to_string(&mut body).unwrap();
    let header = String::from_utf8(input.header).unwrap();
    let dir = std::env::current_dir().unwrap();
    reporter.progress(1, Some(2), Some("half")).unwrap();
    reporter.checkpoint(b"\0state").unwrap();
    reporter.progress(2, None, None).unwrap();
    reporter.result(&(header, body, dir.is_dir())).unwrap();
}

fn flood(reporter: Reporter) {
    let mut stdout = std::io::stdout().lock();
    let part = [b'x'; 64 * 1024];
    for _ in 0..1024 {
        stdout.write_all(&part).unwrap();
    }
    stdout.write_all(b"\n{\"result\":\"").unwrap();
    for _ in 0..512 {
        stdout.write_all(&part).unwrap();
    }
    stdout.write_all(b"\"}\n").unwrap();
    for line in 0..200_000 {
        writeln!(stdout, "line {line}").unwrap();
    }
    drop(stdout);
    reporter.result("after the flood").unwrap();
}

fn spawn(words: &[&str], fresh: bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("job").args(words).stdin(Stdio::null());
    if fresh {
        command.env_clear();
    }
    command.spawn().unwrap();
}

/// Starts children in the same group, in another group, in another session, and daemons; reports
/// when all are up, and stays or leaves them behind.
fn tree(reporter: Reporter, token: &str, environment: &str, stay: bool) {
    spawn(&["sleeper", "session", token], false);
    spawn(&["daemon", environment, "daemon-1", token], false);
    spawn(&["daemon", environment, "daemon-2", token], false);
    let mut sh = Command::new("sh");
    let ignoring = "trap '' TERM; : > up-group; while :; do sleep 0.05; done";
    sh.args(["-c", ignoring, token]).process_group(0).spawn().unwrap();
    let mut sh = Command::new("sh");
    sh.args(["-c", ": > up-same; while :; do sleep 0.05; done", token]).spawn().unwrap();
    for name in ["session", "daemon-1", "daemon-2", "group", "same"] {
        while !Path::new(&format!("up-{name}")).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    reporter.progress(1, None, None).unwrap();
    if stay {
        std::thread::sleep(LONG);
    }
}

/// Processes that replace themselves by children all the time, each in its own session.
fn forker(reporter: Reporter) {
    setsid().ok();
    reporter.progress(1, None, None).unwrap();
    let own: Vec<String> = std::env::args().skip(2).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    spawn(&own, false);
    spawn(&["sleeper", "forked", own[1]], false);
    std::thread::sleep(Duration::from_millis(20));
}
