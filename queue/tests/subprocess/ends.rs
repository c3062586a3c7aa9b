//! Nothing of a job is left, whoever dies.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use standfast_queue::subprocess::{ExitOutcome, RunError};
use tokio_util::sync::CancellationToken;

use super::Test;
use super::support::{Dir, block_on, job, loops, run, run_and_cancel, script, token, try_run};

pub(crate) const TESTS: [Test; 10] = [
    ("ends::a_cancelled_job_leaves_nothing", cancelled),
    ("ends::a_job_that_ends_leaves_nothing", ended),
    ("ends::a_job_that_kills_itself_leaves_nothing", killed_itself),
    ("ends::processes_that_go_on_forking_are_ended", forking),
    ("ends::the_worker_is_killed", worker_killed),
    ("ends::the_shim_is_killed", shim_killed),
    ("ends::the_shim_hangs", shim_hangs),
    ("ends::the_program_file_is_replaced", program_replaced),
    ("ends::the_run_is_dropped", dropped),
    ("ends::the_shim_outlives_a_signal_to_the_service", service_signal),
];

/// The processes with a word on their command line.
fn with(word: &str) -> Vec<(Pid, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(word).then_some((pid, line))
    });
    found.collect()
}

fn wait_until_gone(word: &str, at_most: Duration) {
    let begin = Instant::now();
    while !with(word).is_empty() {
        assert!(begin.elapsed() < at_most, "left: {:?}", with(word));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The shim of the job with a word on its command line.
fn shim(word: &str) -> Pid {
    let found = with(word).into_iter().find(|(_, line)| line.contains("__standfast-shim"));
    found.expect("there is a shim").0
}

fn cancelled() {
    for _ in 0..loops() {
        let token = token();
        let exit = run_and_cancel(&job(&["tree", &token]));
        assert_eq!(exit.outcome, ExitOutcome::Cancelled);
        assert!(!exit.leftovers);
        assert_eq!(with(&token), []);
    }
}

fn ended() {
    for _ in 0..loops() {
        let token = token();
        let exit = run(&job(&["leave", &token]));
        assert!(matches!(exit.outcome, ExitOutcome::Done { .. }), "{exit:?}");
        assert!(!exit.leftovers);
        assert_eq!(with(&token), []);
    }
}

fn killed_itself() {
    for _ in 0..loops() {
        let token = token();
        let job = job(&["tree", &token]);
        let kill = |_: &_| {
            let is_job = |line: &str| line.contains(" job tree ") && !line.contains("__standfast");
            let found = with(&token).into_iter().find(|(_, line)| is_job(line));
            kill_process(found.unwrap().0, Signal::KILL).unwrap();
            false
        };
        let (exit, _) = try_run(&job, "", kill).unwrap();
        assert!(matches!(exit.outcome, ExitOutcome::Signalled { signal: 9, .. }), "{exit:?}");
        assert_eq!(with(&token), []);
    }
}

fn forking() {
    for _ in 0..loops() {
        let token = token();
        let exit = run_and_cancel(&job(&["forker", &token]));
        assert!(!exit.leftovers, "{exit:?}");
        assert_eq!(with(&token), []);
    }
}

fn worker_killed() {
    for round in 0..loops() {
        let (dir, token) = (Dir::new(), token());
        let own = std::env::current_exe().unwrap();
        let mut host = Command::new(own)
            .args(["host", &token])
            .current_dir(&dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        if round % 2 == 0 {
            let mut line = String::new();
            BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "up\n");
        } else {
            std::thread::sleep(Duration::from_millis(u64::from(round)));
        }
        host.kill().unwrap();
        host.wait().unwrap();
        wait_until_gone(&token, Duration::from_secs(1));
    }
}

fn shim_killed() {
    for _ in 0..loops() {
        let token = token();
        let job = job(&["tree-that-inherits", &token]);
        let kill = |_: &_| {
            kill_process(shim(&token), Signal::KILL).unwrap();
            false
        };
        let end = try_run(&job, "", kill);
        assert!(matches!(end, Err(RunError::ShimLost { .. })), "{end:?}");
        assert_eq!(with(&token), []);
    }
}

fn shim_hangs() {
    let token = token();
    let job = job(&["tree-that-inherits", &token]).grace(Duration::from_millis(100));
    let stop = |_: &_| {
        kill_process(shim(&token), Signal::STOP).unwrap();
        true
    };
    let (exit, _) = try_run(&job, "", stop).unwrap();
    assert_eq!(exit.outcome, ExitOutcome::Cancelled);
    assert_eq!(exit.status, None);
    assert_eq!(with(&token), []);
}

fn program_replaced() {
    let dir = Dir::new();
    let path = dir.0.join("worker");
    std::fs::hard_link(std::env::current_exe().unwrap(), &path).unwrap();
    let output = Command::new(&path).arg("host-without-file").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{output:?}");
    assert!(!path.exists());
}

fn dropped() {
    for round in 0..loops() {
        let (dir, token, cancel) = (Dir::new(), token(), CancellationToken::new());
        let job = job(&["tree", &token]);
        let run = job.run(&dir.0, b"", "".into(), |_| {}, &cancel);
        let after = Duration::from_millis(u64::from(round) * 10);
        let end = block_on(async { tokio::time::timeout(after, run).await });
        assert!(end.is_err());
        wait_until_gone(&token, Duration::from_secs(1));
    }
}

fn service_signal() {
    let token = token();
    let job = script("echo '{\"progress\":{\"done\":1}}'; sleep 0.3").arg(&token);
    let signal = |_: &_| {
        for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
            kill_process(shim(&token), signal).unwrap();
        }
        false
    };
    let (exit, _) = try_run(&job, "", signal).unwrap();
    assert!(matches!(exit.outcome, ExitOutcome::Done { .. }), "{exit:?}");
    assert_eq!(with(&token), []);
}
