//! Rounds: a session each, shared by processes that somebody disturbs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use standfast_core::Id128;
use standfast_core::testkit::FaultProxy;
use standfast_session::{SessionHandlerExt as _, SessionInit};

use crate::history::{Event, History};
use crate::process::open;
use crate::spec::FIELDS;

/// Rounds of a run: 60, and 1,800 with `STANDFAST_SOAK`.
pub(crate) fn count() -> usize {
    if std::env::var_os("STANDFAST_SOAK").is_some() { 1800 } else { 60 }
}

const PROCESSES: usize = 3;
/// No round has as many threads.
const THREADS: u64 = 100;

/// What came of the histories.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) whole: usize,
    pub(crate) by_field: usize,
    pub(crate) overlapping: usize,
    pub(crate) unanswered: usize,
    pub(crate) calls: usize,
}

struct Process {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    is_killed: bool,
}

impl Process {
    fn start(url: &str, is_broken: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "process::one_of_many", "--ignored", "--nocapture"])
            .env("STANDFAST_TEST_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if is_broken {
            command.env("STANDFAST_TEST_BROKEN", "1");
        }
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, said, is_killed: false };
        process.is_done();
        process
    }

    /// Waits until it is done; whether it lives.
    fn is_done(&mut self) -> bool {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if line == "done\n" {
                return true;
            }
            line.clear();
        }
        false
    }

    fn tell(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn signal(&mut self, signal: Signal) {
        self.is_killed |= signal == Signal::KILL;
        // it has not been waited for, so this can hit no other process
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that is gone with the value.
struct Log(PathBuf);

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Lets processes that reach the store at `url`, through `proxy`, share a session in each round, and
/// says what explains their histories.
pub(crate) async fn explained(
    url: &str,
    proxy: &FaultProxy,
    is_broken: bool,
    rounds: usize,
) -> Explained {
    let handler = open(url, false).await;
    let log = Log(std::env::temp_dir().join(format!("standfast-{}", Id128::random())));
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start(url, is_broken)).collect();
    let mut found = Explained::default();
    for round in 0..rounds {
        let token = handler.start(&SessionInit::new()).await.unwrap().token;
        File::create(&log.0).unwrap();
        for (number, process) in processes.iter_mut().enumerate() {
            let first = round as u64 * THREADS + 10 * number as u64;
            process.tell(&format!("{first} {} {}\n", log.0.display(), token.expose()));
        }
        let moment = Duration::from_micros(500 + (round as u64 * 1_117) % 5_000);
        let victim = round % PROCESSES;
        tokio::time::sleep(moment).await;
        match round % 4 {
            0 => processes[victim].signal(Signal::KILL),
            1 => {
                processes[victim].signal(Signal::STOP);
                tokio::time::sleep(Duration::from_millis(30)).await;
                processes[victim].signal(Signal::CONT);
            }
            2 => proxy.cut(),
            _ => proxy.lose_replies(1),
        }
        // the proxy runs on other threads meanwhile
        processes = tokio::task::spawn_blocking({
            let url = url.to_owned();
            move || {
                for process in &mut processes {
                    // one that is killed may have been done before
                    if !process.is_done() || process.is_killed {
                        *process = Process::start(&url, is_broken);
                    }
                }
                processes
            }
        })
        .await
        .unwrap();
        proxy.pass();
        let history = std::fs::read_to_string(&log.0).unwrap();
        let history = History::new(history.lines().map(Event::read).collect());
        found.calls += history.to_string().lines().count() / 2;
        found.overlapping += usize::from(history.overlaps());
        found.unanswered += history.unanswered();
        let by_field = history.fields_explained();
        let whole = !is_broken && by_field == FIELDS.len() && history.is_explained();
        if !whole && !is_broken {
            println!("not explained:\n{history}");
        }
        found.whole += usize::from(whole);
        found.by_field += by_field;
    }
    found
}
