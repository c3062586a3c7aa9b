//! The application as several processes on Redis, which are killed, stopped and started meanwhile.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod chaos;
mod cron;
mod failover;
mod flow;
mod ledger;
mod outage;
mod processes;
#[allow(dead_code, reason = "a test has a `main` of its own")]
#[path = "../../examples/redis_job.rs"]
mod redis_job;
mod sessions;
mod start;
#[path = "../support/mod.rs"]
mod support;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use standfast_core::Id128;
use support::Server;
use support::http::Answer;
use support::process::{Signal, descendants, is_job, signal};
use tempfile::TempDir;

/// Processes of one application: what they share is a Redis, a directory and a name.
struct Fleet {
    url: String,
    name: String,
    home: Arc<TempDir>,
}

impl Fleet {
    fn on(url: String) -> Self {
        let name = format!("test-{}", Id128::random());
        Self { url, name, home: Arc::new(tempfile::tempdir().unwrap()) }
    }

    fn serve(&self, options: &[&str]) -> Server {
        self.start("serve", options)
    }

    fn worker(&self, options: &[&str]) -> Server {
        self.start("worker", options)
    }

    fn start(&self, role: &str, options: &[&str]) -> Server {
        let usual = [role, "--queue", &self.url, "--name", &self.name];
        Server::in_home(Arc::clone(&self.home), &[&usual[..], options].concat())
    }
}

/// What is behind a link, fetched from a server that did not sign it.
fn fetch(from: &Server, url: &str) -> Answer {
    let path = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap().1;
    let answer = from.get(&format!("/{path}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Waits for the process of a job, keeps it from going on, and says whose it is.
fn stop_job_of(workers: &[&Server]) -> (usize, u32) {
    let begin = Instant::now();
    loop {
        for (index, worker) in workers.iter().enumerate() {
            if let Some(job) = descendants(worker.pid()).into_iter().find(|pid| is_job(*pid)) {
                signal(job, Signal::STOP);
                return (index, job);
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "no job process");
        sleep(Duration::from_millis(1));
    }
}

/// Says what was measured, past the capture of the test runner.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Waits for what the test servers do.
fn wait_for<T>(doing: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(doing)
}
