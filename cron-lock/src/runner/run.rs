//! The loop of a cron: wake up, claim, and stop in order.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{
    Backoff, CancellationToken, Clock, Error, ErrorKind, Result, random, saturating_add,
};
use tokio::task::{Id, JoinError, JoinSet};

use super::attempt::Attempt;
use super::config::CronConfig;
use super::health::CronHealth;
use super::report::{Count, Counters, CronReport};
use super::time::StoreTime;
use super::{Cron, Entry, Listener};
use crate::claim::ClaimOptions;
use crate::config::CronLockConfig;
use crate::lock::CronLock;

/// Between calls of a lock that fails.
const BETWEEN_CALLS: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// How long what was let go may take to be said.
const LETTING_GO: Duration = Duration::from_secs(2);

/// A cron while it runs.
pub(super) struct Runner {
    pub(super) lock: Arc<dyn CronLock>,
    pub(super) rules: CronLockConfig,
    pub(super) config: CronConfig,
    pub(super) options: ClaimOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) listeners: Vec<Listener>,
    pub(super) schedules: Vec<Entry>,
    pub(super) time: StoreTime,
    pub(super) counters: Counters,
    pub(super) health: CronHealth,
    /// Cancelled when nothing new may begin.
    pub(super) stopping: CancellationToken,
    /// Cancelled when everything is to be let go.
    pub(super) release: CancellationToken,
}

type Attempts = JoinSet<Attempt>;

/// What the loop means to claim, and when.
struct Plan {
    /// The next tick to claim.
    next: DateTime<Utc>,
    /// How long after it is due.
    spread: Duration,
    /// Not earlier than this, because the lock fails.
    not_before: Instant,
    failures: u32,
    /// Ticks that others had and have not finished, and when to ask for them again.
    open: BTreeMap<DateTime<Utc>, Instant>,
    /// Ticks that are being claimed or are owned here.
    running: HashMap<Id, Running>,
}

#[derive(Clone, Copy)]
struct Running {
    tick: DateTime<Utc>,
    /// Whether it is known to have a record.
    is_open: bool,
}

impl Runner {
    pub(super) fn new(cron: Cron) -> Self {
        let Cron { lock, config, clock, listeners, schedules, health, release } = cron;
        let ids = schedules.iter().map(|entry| entry.schedule.name());
        Self {
            rules: lock.capabilities().config,
            options: ClaimOptions::new(config.lease).with_schedules(ids),
            lock,
            config,
            clock,
            listeners,
            schedules,
            time: StoreTime::default(),
            counters: Counters::default(),
            health,
            stopping: CancellationToken::new(),
            release: release.child_token(),
        }
    }

    pub(super) async fn run(self, stop: impl Future<Output = ()> + Send) -> CronReport {
        let runner = Arc::new(self);
        runner.health.started(Arc::clone(&runner.clock), runner.config.lease);
        let mut attempts = Attempts::new();
        tokio::select! {
            () = stop => {}
            () = runner.release.cancelled() => {}
            never = Arc::clone(&runner).drive(&mut attempts) => match never {},
        }
        runner.stopping.cancel();
        runner.see_through(&mut attempts).await;
        drop(attempts);
        runner.health.stopped();
        runner.counters.report()
    }

    /// Waits for what is being dispatched: for the grace, then for what is let go to be given back.
    /// What is left after that is dropped; its leases run out.
    async fn see_through(&self, attempts: &mut Attempts) {
        tokio::select! {
            () = ended(attempts) => return,
            () = self.clock.sleep(self.config.grace) => {}
            () = self.release.cancelled() => {}
        }
        self.release.cancel();
        tokio::select! {
            () = ended(attempts) => {}
            () = self.clock.sleep(LETTING_GO) => {}
        }
    }

    async fn drive(self: Arc<Self>, attempts: &mut Attempts) -> std::convert::Infallible {
        let mut plan = self.first_plan().await;
        loop {
            let now = self.clock.instant();
            if self.time.is_stale(&*self.clock) && plan.not_before <= now {
                match self.measure().await {
                    Ok(_) => plan.failures = 0,
                    Err(_) => plan.failed(now),
                }
            }
            let due = self.time.instant_of(plan.next).unwrap_or(now);
            let wake = saturating_add(due, plan.spread).max(plan.not_before);
            let wake = plan.open.values().min().map_or(wake, |open| wake.min(*open));
            tokio::select! {
                Some(joined) = attempts.join_next_with_id(), if !attempts.is_empty() => {
                    self.take_in(&mut plan, joined);
                }
                () = self.clock.sleep_until(wake) => self.begin(&mut plan, attempts),
            }
        }
    }

    /// Measures the store's time, however long that takes, and finds what was left unfinished.
    async fn first_plan(&self) -> Plan {
        let mut failures = 0;
        let now = loop {
            match self.measure().await {
                Ok(now) => break now,
                Err(_) => {
                    failures += 1;
                    self.clock.sleep(BETWEEN_CALLS.next(failures)).await;
                }
            }
        };
        let current = self.rules.tick_at(now);
        let is_durable = self.lock.capabilities().is_durable;
        // a lock that forgets cannot say whether a former life of this process had the tick that is
        // going on, so it begins with the next
        let next = if is_durable { current } else { current + self.rules.resolution };
        // if this fails, whoever wins the next tick finds the same
        let open = self.unfinished(None).await.unwrap_or_default();
        Plan {
            next,
            spread: self.spread(),
            not_before: self.clock.instant(),
            failures: 0,
            open: open.into_iter().collect(),
            running: HashMap::new(),
        }
    }

    fn spread(&self) -> Duration {
        self.config.spread.mul_f64(random::unit())
    }

    /// Begins to claim what is due.
    fn begin(self: &Arc<Self>, plan: &mut Plan, attempts: &mut Attempts) {
        let now = self.clock.instant();
        let due = self.time.instant_of(plan.next).unwrap_or(now);
        let mut ticks = BTreeMap::new();
        if saturating_add(due, plan.spread) <= now && plan.not_before <= now {
            // after a pause only the last tick counts: it answers for those before it
            let current = self.time.at(now).map(|now| self.rules.tick_at(now));
            let tick = current.map_or(plan.next, |current| current.max(plan.next));
            ticks.insert(tick, false);
            plan.next = tick + self.rules.resolution;
            plan.spread = self.spread();
        }
        plan.open.retain(|tick, at| {
            let is_due = *at <= now;
            if is_due {
                ticks.insert(*tick, true);
            }
            !is_due
        });
        ticks.retain(|tick, _| !plan.running.values().any(|running| running.tick == *tick));
        for (tick, is_open) in ticks {
            let id = attempts.spawn(Arc::clone(self).attempt(tick)).id();
            plan.running.insert(id, Running { tick, is_open });
        }
    }

    fn take_in(&self, plan: &mut Plan, joined: Result<(Id, Attempt), JoinError>) {
        let now = self.clock.instant();
        let (id, attempt) = match joined {
            Ok((id, attempt)) => (id, Some(attempt)),
            Err(error) => {
                // a recurrence of the caller's panicked; the lease runs out, and others try
                tracing::error!(%error, "a tick was dropped");
                self.counters.add(Count::Lost, 1);
                (error.id(), None)
            }
        };
        let Some(Running { tick, is_open }) = plan.running.remove(&id) else { return };
        let is_last = tick + self.rules.resolution == plan.next;
        if !matches!(attempt, Some(Attempt::Failed) | None) {
            plan.failures = 0;
        }
        match attempt {
            Some(Attempt::Failed) => {
                plan.failed(now);
                if is_open {
                    plan.open.insert(tick, plan.not_before);
                } else if is_last {
                    plan.next = tick;
                }
                // else the next tick answers for it: after an outage the last tick counts, not each
            }
            Some(Attempt::Early) if is_last => plan.next = tick,
            Some(Attempt::Held(until)) => {
                plan.open.insert(tick, saturating_add(until, self.spread()));
            }
            Some(Attempt::Owned(unfinished)) => plan.open.extend(unfinished),
            Some(Attempt::Early | Attempt::Over) | None => {}
        }
    }

    /// Asks the store for its time.
    async fn measure(&self) -> Result<DateTime<Utc>> {
        let asked_at = self.clock.instant();
        let now = self.call("now", self.lock.now()).await?;
        self.observe(asked_at, now, true);
        Ok(now)
    }

    /// Takes in the store's time, as an answer told it.
    pub(super) fn observe(&self, asked_at: Instant, now: DateTime<Utc>, is_certain: bool) {
        let before = self.time.skew();
        self.time.observe(&*self.clock, asked_at, now, is_certain);
        let Some(skew) = self.time.skew() else { return };
        let seconds = skew.as_seconds_f64();
        metrics::gauge!("standfast_cron_skew_seconds", "namespace" => self.namespace())
            .set(seconds);
        let most = TimeDelta::from_std(self.config.warn_skew).unwrap_or(TimeDelta::MAX);
        let is_much = skew.abs() > most;
        let is_news = before.is_none_or(|before| (skew - before).abs() > most);
        if is_much && is_news {
            tracing::warn!(seconds, "the store's clock and this one differ; the store's counts");
        }
        self.health.skew(is_much.then_some(skew));
    }

    pub(super) fn namespace(&self) -> String {
        self.lock.namespace().to_owned()
    }

    /// One call of the lock, within its time; its outcome is what health tells.
    pub(super) async fn call<T: Send>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let timeout = self.config.call_timeout;
        let answer = tokio::select! {
            answer = call => answer,
            () = self.clock.sleep(timeout) => Err(Error::new(ErrorKind::Timeout, "cron", operation)
                .with_detail(format!("no answer of the lock within {timeout:?}"))),
        };
        self.health.lock_answered(self.clock.instant(), answer.as_ref().err());
        answer
    }
}

impl Plan {
    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = saturating_add(now, BETWEEN_CALLS.next(self.failures));
    }
}

async fn ended(attempts: &mut Attempts) {
    while attempts.join_next().await.is_some() {}
}
