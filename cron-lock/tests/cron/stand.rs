//! What the tests stand on: a store and its clock, instances with clocks of their own, faults.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Error, ErrorKind, Fence, Health, HealthCheck, Reason, Result};
use standfast_cron_lock::testkit::async_trait;
use standfast_cron_lock::{
    Claim, ClaimOptions, Cron, CronConfig, CronHealth, CronLock, CronLockCapabilities,
    CronLockConfig, CronReport, ExtendOutcome, MemoryCronLock, Owner, RecordQuery, SettleOutcome,
    Settlement, Span, TickRecord,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const START: &str = "2026-03-01T11:00:00Z";

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Lets everything go on that can.
pub(crate) async fn settle_down() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass, second by second.
pub(crate) async fn pass(clock: &ManualClock, span: Duration) {
    let second = 1.seconds();
    let mut left = span;
    while !left.is_zero() {
        clock.advance(left.min(second));
        left = left.saturating_sub(second);
        settle_down().await;
    }
}

/// Stops a process, as SIGSTOP does: nothing in it goes on while the gate is closed.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn open() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    pub(crate) fn set(&self, is_open: bool) {
        self.0.send_replace(is_open);
    }

    pub(crate) async fn passed(&self) {
        self.0.subscribe().wait_for(|is_open| *is_open).await.unwrap();
    }
}

/// A clock whose time of day is off, and which stands still behind a closed gate.
#[derive(Clone, Debug)]
pub(crate) struct OwnClock {
    pub(crate) true_time: ManualClock,
    skew_ms: Arc<AtomicI64>,
    gate: Gate,
}

impl OwnClock {
    pub(crate) fn new(true_time: &ManualClock, gate: Gate) -> Self {
        Self { true_time: true_time.clone(), skew_ms: Arc::default(), gate }
    }

    /// Sets the time of day, as an administrator does.
    pub(crate) fn set_skew(&self, skew: TimeDelta) {
        self.skew_ms.store(skew.num_milliseconds(), Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for OwnClock {
    fn now(&self) -> DateTime<Utc> {
        self.true_time.now() + TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    fn instant(&self) -> Instant {
        self.true_time.instant()
    }

    async fn sleep_until(&self, deadline: Instant) {
        self.true_time.sleep_until(deadline).await;
        self.gate.passed().await;
    }
}

/// What goes wrong with the next call of a kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It does not reach the store.
    Lost,
    /// The store acts, and its answer does not come back.
    Unanswered,
    /// It hangs.
    Hangs,
    /// The store acts, and fewer replicas than asked for have it.
    NotReplicated,
}

/// The way from an instance to its store: audited, and faulty when told so.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    inner: Arc<dyn CronLock>,
    gate: Gate,
    pub(crate) is_down: Arc<AtomicBool>,
    pub(crate) is_durable: bool,
    faults: Arc<Mutex<BTreeMap<&'static str, VecDeque<Fault>>>>,
    audit: Arc<Mutex<Audit>>,
}

/// What the store accepted, and whether it should have.
#[derive(Debug, Default)]
struct Audit {
    calls: BTreeMap<&'static str, u64>,
    granted: BTreeMap<DateTime<Utc>, Vec<Fence>>,
    stale_refused: u64,
    wrong: Vec<String>,
}

impl Audit {
    fn accepted(&mut self, what: &str, at: DateTime<Utc>, fence: Fence) {
        if self.granted.get(&at).and_then(|fences| fences.last()) != Some(&fence) {
            self.wrong.push(format!("{what} of {at} accepted from the stale fence {fence}"));
        }
    }

    fn grant(&mut self, at: DateTime<Utc>, fence: Fence) {
        let highest = self.granted.values().flatten().max();
        if highest.is_some_and(|highest| *highest >= fence) {
            self.wrong.push(format!("fence {fence} of {at} is not the highest"));
        }
        self.granted.entry(at).or_default().push(fence);
    }
}

impl Wire {
    pub(crate) fn new(inner: impl CronLock) -> Self {
        Self {
            inner: Arc::new(inner),
            gate: Gate::open(),
            is_down: Arc::default(),
            is_durable: false,
            faults: Arc::default(),
            audit: Arc::default(),
        }
    }

    /// The same way and books, for a process behind a gate of its own.
    pub(crate) fn behind(&self, gate: Gate) -> Self {
        Self { gate, ..self.clone() }
    }

    /// The next calls of `operation` go wrong, one after the other.
    pub(crate) fn fail(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().entry(operation).or_default().extend(faults);
    }

    pub(crate) fn calls(&self, operation: &'static str) -> u64 {
        self.audit.lock().unwrap().calls.get(operation).copied().unwrap_or_default()
    }

    /// How many writes of owners that had lost their tick the store has refused.
    pub(crate) fn stale_refused(&self) -> u64 {
        self.audit().stale_refused
    }

    /// What the store has accepted and should not have.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.audit().wrong.clone()
    }

    fn audit(&self) -> std::sync::MutexGuard<'_, Audit> {
        self.audit.lock().unwrap()
    }

    async fn before(&self, operation: &'static str) -> Result<Option<Fault>> {
        self.gate.passed().await;
        *self.audit().calls.entry(operation).or_default() += 1;
        let fault = self.faults.lock().unwrap().entry(operation).or_default().pop_front();
        if fault == Some(Fault::Hangs) {
            std::future::pending::<()>().await;
        }
        let is_lost = fault == Some(Fault::Lost) || self.is_down.load(Ordering::Relaxed);
        if is_lost { Err(away(operation)) } else { Ok(fault) }
    }

    async fn after<T>(
        &self,
        operation: &'static str,
        fault: Option<Fault>,
        answer: T,
    ) -> Result<T> {
        self.gate.passed().await;
        match fault {
            Some(Fault::Unanswered) => Err(away(operation)),
            Some(Fault::NotReplicated) => {
                Err(Error::new(ErrorKind::OutcomeUnknown, "memory", operation)
                    .with_reason(Reason::NotReplicated))
            }
            _ => Ok(answer),
        }
    }
}

fn away(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, "memory", operation).with_detail("the store is away")
}

#[async_trait]
impl CronLock for Wire {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    fn capabilities(&self) -> CronLockCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.is_durable |= self.is_durable;
        capabilities
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        let fault = self.before("now").await?;
        let now = self.inner.now().await?;
        self.after("now", fault, now).await
    }

    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim> {
        let fault = self.before("claim").await?;
        let claim = self.inner.claim(at, owner, options).await?;
        if let Claim::Claimed(claimed) = &claim {
            self.audit().grant(at, claimed.tick.fence);
        }
        self.after("claim", fault, claim).await
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        let fault = self.before("extend").await?;
        let outcome = self.inner.extend(at, fence, lease).await?;
        match outcome {
            ExtendOutcome::Extended { .. } => self.audit().accepted("extension", at, fence),
            _ => self.audit().stale_refused += 1,
        }
        self.after("extend", fault, outcome).await
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        let fault = self.before("settle").await?;
        let outcome = self.inner.settle(at, fence, settlement).await?;
        match outcome {
            SettleOutcome::Settled => self.audit().accepted("settlement", at, fence),
            _ => self.audit().stale_refused += 1,
        }
        self.after("settle", fault, outcome).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        let fault = self.before("records").await?;
        let records = self.inner.records(query).await?;
        self.after("records", fault, records).await
    }
}

#[async_trait]
impl HealthCheck for Wire {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

/// A store and its clock, with one tick a minute.
pub(crate) struct Stand {
    pub(crate) clock: ManualClock,
    pub(crate) lock: Wire,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(|lock| lock)
    }

    /// A stand whose store is wrapped.
    pub(crate) fn with<L: CronLock>(wrap: impl FnOnce(MemoryCronLock) -> L) -> Self {
        let clock = ManualClock::at(time(START));
        let store = Arc::new(clock.clone());
        let lock = MemoryCronLock::with_config("stand", CronLockConfig::default(), store).unwrap();
        Self { clock, lock: Wire::new(wrap(lock)) }
    }

    /// A cron with its own idea of the time of day, and nothing to do.
    pub(crate) fn cron(&self) -> Cron {
        self.cron_with(|_| {})
    }

    pub(crate) fn cron_with(&self, change: impl FnOnce(&mut CronConfig)) -> Cron {
        let mut config = CronConfig::default();
        change(&mut config);
        let mut cron = Cron::with_config(self.lock.clone(), config).unwrap();
        cron.clock(Arc::new(self.clock.clone()));
        cron
    }

    pub(crate) async fn pass(&self, span: Duration) {
        pass(&self.clock, span).await;
    }

    pub(crate) async fn records(&self) -> Vec<TickRecord> {
        self.lock.inner.records(&RecordQuery::default()).await.unwrap()
    }
}

/// An instance that runs until it is stopped or killed.
pub(crate) struct Running {
    pub(crate) health: CronHealth,
    task: JoinHandle<CronReport>,
    stop: standfast_core::CancellationToken,
}

impl Running {
    pub(crate) fn start(cron: Cron) -> Self {
        let stop = standfast_core::CancellationToken::new();
        let health = cron.health();
        let task = tokio::spawn(cron.run_until(stop.clone().cancelled_owned()));
        Self { health, task, stop }
    }

    /// As SIGTERM.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn stop(self) -> CronReport {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// As SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.task.abort();
        (&mut self.task).await.expect_err("it was running");
    }
}

/// What listeners were called with, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
