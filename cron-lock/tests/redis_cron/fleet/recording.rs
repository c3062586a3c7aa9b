//! A lock that writes down what it is asked and what it answers, for whoever reads it after the
//! process is dead.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Fence, Health, HealthCheck, Result};
use standfast_cron_lock::testkit::async_trait;
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockCapabilities, ExtendOutcome, Owner, RecordQuery,
    RedisCronLock, SettleOutcome, Settlement, TickRecord,
};

use crate::register::{Answer, Call, End, Step};

/// Nanoseconds of the clock that all processes of a machine share and nobody sets.
fn nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[derive(Debug)]
pub(super) struct Recording {
    inner: RedisCronLock,
    file: Mutex<File>,
    calls: AtomicU64,
}

impl Recording {
    /// Writes to a file of this process in `directory`.
    pub(super) fn new(inner: RedisCronLock, directory: &Path) -> Self {
        let path = directory.join(format!("{}.calls", std::process::id()));
        let file = OpenOptions::new().create_new(true).append(true).open(path).unwrap();
        Self { inner, file: Mutex::new(file), calls: AtomicU64::new(0) }
    }

    /// One write for each line, so that whoever is killed leaves whole ones.
    fn note(&self, line: String) {
        self.file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }

    async fn recorded<T>(
        &self,
        at: DateTime<Utc>,
        call: Call,
        doing: impl Future<Output = Result<T>>,
        answer: impl Fn(&T) -> Answer,
    ) -> Result<T> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        self.note(format!("{number} begun {} {} {}\n", nanos(), micros(at), words(call)));
        let result = doing.await;
        if let Ok(outcome) = &result {
            let now = nanos();
            self.note(format!("{number} answered {now} {}\n", told(answer(outcome))));
        }
        result
    }
}

#[async_trait]
impl CronLock for Recording {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    fn capabilities(&self) -> CronLockCapabilities {
        self.inner.capabilities()
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim> {
        let doing = self.inner.claim(at, owner, options);
        self.recorded(at, Call::Claim, doing, |claim| Answer::from(claim)).await
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        let doing = self.inner.extend(at, fence, lease);
        self.recorded(at, Call::Extend(fence), doing, |outcome| Answer::from(outcome)).await
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        let doing = self.inner.settle(at, fence, settlement);
        let call = Call::Settle(fence, End::from(settlement));
        self.recorded(at, call, doing, |outcome| Answer::from(outcome)).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        self.inner.records(query).await
    }
}

#[async_trait]
impl HealthCheck for Recording {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

fn words(call: Call) -> String {
    match call {
        Call::Claim => "claim".to_owned(),
        Call::Extend(fence) => format!("extend {fence}"),
        Call::Settle(fence, end) => format!("{end:?} {fence}"),
    }
}

fn told(answer: Answer) -> String {
    match answer {
        Answer::Extended(until) => format!("extended {}", micros(until)),
        Answer::Fenced(fence) => format!("fenced {fence}"),
        Answer::Finished(fence, None) => format!("finished {fence}"),
        Answer::Finished(fence, Some(closed)) => format!("closed {fence} {}", micros(closed)),
        Answer::Held(fence) => format!("held {fence}"),
        Answer::Won { fence, at, until } => format!("won {fence} {} {}", micros(at), micros(until)),
        other => format!("{other:?}"),
    }
}

/// The calls of each tick, as all processes that wrote to `directory` made them.
pub(super) fn read(directory: &Path) -> BTreeMap<DateTime<Utc>, Vec<Step>> {
    let mut ticks = BTreeMap::<_, Vec<Step>>::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut calls = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            if words[1] == "begun" {
                let step =
                    Step { begun: number(words[2]), call: call(&words[4..]), answered: None };
                calls.insert(words[0], (time(words[3]), step));
            } else {
                let (_, step) = calls.get_mut(words[0]).unwrap();
                step.answered = Some((number(words[2]), answer(&words[3..])));
            }
        }
        for (at, step) in calls.into_values() {
            ticks.entry(at).or_default().push(step);
        }
    }
    ticks
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn fence(word: &str) -> Fence {
    Fence::new(number(word))
}

fn time(word: &str) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(word.parse().unwrap()).unwrap()
}

fn call(words: &[&str]) -> Call {
    match words {
        ["claim"] => Call::Claim,
        ["extend", own] => Call::Extend(fence(own)),
        ["Abandon", own] => Call::Settle(fence(own), End::Abandon),
        ["Fail", own] => Call::Settle(fence(own), End::Fail),
        ["Finish", own] => Call::Settle(fence(own), End::Finish),
        _ => panic!("{words:?}"),
    }
}

fn answer(words: &[&str]) -> Answer {
    match words {
        ["extended", until] => Answer::Extended(time(until)),
        ["fenced", of] => Answer::Fenced(fence(of)),
        ["finished", of] => Answer::Finished(fence(of), None),
        ["closed", of, at] => Answer::Finished(fence(of), Some(time(at))),
        ["held", of] => Answer::Held(fence(of)),
        ["won", of, at, until] => {
            Answer::Won { fence: fence(of), at: time(at), until: time(until) }
        }
        ["Early"] => Answer::Early,
        ["Lapsed"] => Answer::Lapsed,
        ["Missing"] => Answer::Missing,
        ["Old"] => Answer::Old,
        ["Settled"] => Answer::Settled,
        _ => panic!("{words:?}"),
    }
}
