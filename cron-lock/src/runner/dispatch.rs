//! Calling listeners, within their time, and no longer than the tick is owned.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standfast_core::{BoxError, Clock, JobId, ScheduledRun, Tick};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Listener;
use super::attempt::Hold;
use super::history::Reach;
use super::report::Count;
use super::run::Runner;
use crate::claim::Claimed;
use crate::due::{self, Window};
use crate::schedule::Question;

/// A listener, and what it is still to be called with.
#[derive(Debug)]
pub(super) struct Unit {
    name: String,
    listener: Listener,
    question: Option<Question>,
    ticks: VecDeque<Tick>,
    error: Option<String>,
}

impl Unit {
    /// What is wrong, while it is not done.
    pub(super) fn error(&self) -> Option<String> {
        self.error.as_ref().map(|error| format!("{}: {error}", self.name))
    }
}

/// How a round of calls ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Round {
    /// Every listener was called, with or without success.
    Over,
    /// The lease ended in the middle.
    Untrusted,
}

/// What calling one listener came to.
struct Called {
    index: usize,
    ticks: VecDeque<Tick>,
    jobs: Vec<JobId>,
    skipped: u64,
    end: End,
}

enum End {
    Done,
    Failed(String),
    Untrusted,
}

/// What a listener needs to be called.
struct Caller {
    clock: Arc<dyn Clock>,
    deadline: Duration,
    trust: watch::Receiver<Instant>,
}

impl Runner {
    /// What the tick calls for, by listener.
    pub(super) fn units(&self, claimed: &Claimed, reach: &Reach) -> Vec<Unit> {
        let mut tick = claimed.tick.clone();
        tick.previous = reach.previous;
        let takeover = self.rules.max_late.saturating_add(self.rules.max_lease);
        let takeover = takeover.saturating_add(self.config.retry_for);
        tick.repeats_within = tick.repeats_within.max(takeover);
        let all = self.listeners.iter().enumerate().map(|(index, listener)| Unit {
            name: format!("listener {}", index + 1),
            listener: listener.clone(),
            question: None,
            ticks: VecDeque::from([tick.clone()]),
            error: None,
        });
        let mut units: Vec<_> = all.collect();
        let window = Window {
            previous: reach.previous,
            at: tick.at,
            resolution: self.rules.resolution,
            now: claimed.now,
        };
        for entry in &self.schedules {
            let schedule = &entry.schedule;
            let name = schedule.name();
            let due = due::evaluate(schedule, &window, reach.known.contains(name));
            self.count_due(&tick, name, &due);
            if due.runs.is_empty() {
                continue;
            }
            let ticks = due.runs.iter().map(|run| {
                let mut of = ScheduledRun::new(name, run.due, schedule.local(run.due));
                of.is_backfill = run.is_backfill;
                tick.clone().with_run(of)
            });
            units.push(Unit {
                name: name.to_owned(),
                listener: entry.job.clone(),
                question: schedule.question().cloned(),
                ticks: ticks.collect(),
                error: None,
            });
        }
        units
    }

    fn count_due(&self, tick: &Tick, name: &str, due: &due::Due) {
        // a takeover sees the same again
        if tick.attempt > 1 {
            return;
        }
        for (count, outcome, times) in
            [(Count::MissedRuns, "missed", &due.missed), (Count::LateRuns, "late", &due.late)]
        {
            let (Some(first), Some(last)) = (times.first(), times.last()) else { continue };
            let runs = times.len() as u64;
            self.count_runs(count, name, outcome, runs);
            tracing::warn!(at = %tick.at, schedule = name, runs, %first, %last,
                "runs that were {outcome}");
        }
    }

    fn count_runs(&self, count: Count, schedule: &str, outcome: &'static str, runs: u64) {
        if runs == 0 {
            return;
        }
        self.counters.add(count, runs);
        let (namespace, schedule) = (self.namespace(), schedule.to_owned());
        metrics::counter!("standfast_cron_runs_total",
            "namespace" => namespace, "schedule" => schedule, "outcome" => outcome)
        .increment(runs);
    }

    /// Calls every listener that is not done, all at the same time, and notes what came of it.
    pub(super) async fn round(
        &self,
        units: &mut [Unit],
        hold: &Hold,
        jobs: &mut Vec<JobId>,
    ) -> Round {
        // dropped with this future, and so are the calls
        let mut calls = JoinSet::new();
        for (index, unit) in units.iter().enumerate().filter(|(_, unit)| !unit.ticks.is_empty()) {
            let caller = Caller {
                clock: Arc::clone(&self.clock),
                deadline: self.config.deadline,
                trust: hold.trust.subscribe(),
            };
            let (listener, question) = (unit.listener.clone(), unit.question.clone());
            calls.spawn(caller.call_all(index, listener, question, unit.ticks.clone()));
        }
        while let Some(called) = calls.join_next().await {
            // invariant: what may panic runs in a task of its own
            let Ok(called) = called else { return Round::Untrusted };
            let unit = &mut units[called.index];
            if unit.ticks.front().is_some_and(|tick| tick.run.is_some()) {
                let runs = (unit.ticks.len() - called.ticks.len()) as u64 - called.skipped;
                self.count_runs(Count::Runs, &unit.name, "dispatched", runs);
                self.count_runs(Count::OverlappingRuns, &unit.name, "overlapping", called.skipped);
            }
            unit.ticks = called.ticks;
            jobs.extend(called.jobs);
            unit.error = match called.end {
                End::Done => None,
                End::Failed(error) => {
                    self.counters.add(Count::Errors, 1);
                    Some(error)
                }
                End::Untrusted => return Round::Untrusted,
            };
        }
        Round::Over
    }
}

impl Caller {
    /// Calls a listener with one tick after the other, until one fails.
    async fn call_all(
        self,
        index: usize,
        listener: Listener,
        question: Option<Question>,
        ticks: VecDeque<Tick>,
    ) -> Called {
        let mut called = Called { index, ticks, jobs: Vec::new(), skipped: 0, end: End::Done };
        while let Some(tick) = called.ticks.front().cloned() {
            if let Some(question) = question.clone() {
                let asked = tick.clone();
                match self.within_deadline(&tick, async move { question.ask(asked).await }).await {
                    Ok(true) => {
                        tracing::info!(due = %tick.due(), "skipped: the run before still runs");
                        called.skipped += 1;
                        called.ticks.pop_front();
                        continue;
                    }
                    Ok(false) => {}
                    Err(end) => {
                        called.end = end;
                        break;
                    }
                }
            }
            let (listener, with) = (listener.clone(), tick.clone());
            match self.within_deadline(&tick, async move { listener.call(with).await }).await {
                Ok(jobs) => {
                    called.jobs.extend(tick.run.as_ref().map(|run| run_id(&tick.namespace, run)));
                    called.jobs.extend(jobs);
                    called.ticks.pop_front();
                }
                Err(end) => {
                    called.end = end;
                    break;
                }
            }
        }
        called
    }

    /// Runs `call` in a task of its own, so that a panic ends nothing else.
    async fn within_deadline<T: Send + 'static>(
        &self,
        tick: &Tick,
        call: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> Result<T, End> {
        // a process that stood still may have lost the tick meanwhile
        if self.clock.instant() >= *self.trust.borrow() {
            return Err(End::Untrusted);
        }
        let schedule = tick.run.as_ref().map(|run| run.schedule.clone());
        let span = tracing::info_span!("tick", at = %tick.at, fence = %tick.fence, schedule);
        // dropped with this future, and so is the task
        let mut task = JoinSet::new();
        task.spawn(call.instrument(span));
        let deadline = self.deadline;
        tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(Ok(value))) => Ok(value),
                Some(Ok(Err(error))) => Err(End::Failed(error.to_string())),
                Some(Err(error)) if error.is_panic() => {
                    Err(End::Failed(format!("panicked: {}", message(&*error.into_panic()))))
                }
                Some(Err(_)) | None => Err(End::Failed("cancelled".to_owned())),
            },
            () = self.clock.sleep(deadline) => {
                Err(End::Failed(format!("not done within {deadline:?}")))
            }
        }
    }
}

/// What tells in a record that a run was dispatched.
pub(crate) fn run_id(namespace: &str, run: &ScheduledRun) -> JobId {
    JobId::derive(namespace, &run.schedule, run.due)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
