//! What a worker keeps per kind of job: its policy, its limits and its circuit breaker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use standfast_core::{Backoff, Clock, saturating_add};

use super::handler::AnyHandler;
use crate::delivery::Received;

/// After how long a job comes back that found as many of its kind running as may.
const HELD_UP: Duration = Duration::from_millis(500);
/// After how long a job comes back that found its kind being tried by another.
const PROBED: Duration = Duration::from_secs(1);
/// After how long a job comes back at the latest that was held up by a rate limit: by then there
/// may be more workers.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// How often a job of a kind is tried, and when.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::RetryPolicy;
///
/// let policy = RetryPolicy::default();
/// assert_eq!((policy.max_attempts, policy.within), (25, Duration::from_secs(86_400)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The most attempts of a run; 25 by default.
    pub max_attempts: u32,
    /// How long after a run was first due another attempt may still be made; a day by default.
    pub within: Duration,
    /// How long to wait after a failed attempt; one second to an hour by default.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 25,
            within: Duration::from_secs(24 * 60 * 60),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60 * 60)),
        }
    }
}

impl RetryPolicy {
    /// At most `attempts` attempts.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        Self { max_attempts: attempts, ..self }
    }

    /// Waits after a failed attempt as `backoff` says.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Why there is no further attempt after this one, if there is none.
    pub(crate) fn exhausted(&self, received: &Received, clock: &dyn Clock) -> Option<String> {
        if received.attempt >= self.max_attempts {
            return Some(format!("failed {} times", received.attempt));
        }
        let within = TimeDelta::from_std(self.within).unwrap_or(TimeDelta::MAX);
        (clock.now() - received.due_at > within)
            .then(|| format!("still failing after {:?}", self.within))
    }
}

/// How a worker treats jobs of one kind.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{KindConfig, RetryPolicy};
///
/// let config = KindConfig::default()
///     .timeout(Duration::from_secs(600))
///     .retry(RetryPolicy::default().max_attempts(3))
///     .concurrency(2);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KindConfig {
    /// How often it is tried.
    pub retry: RetryPolicy,
    /// How long one attempt may take; unbounded by default.
    pub timeout: Option<Duration>,
    /// How many run at once in this process; as many as the worker runs by default.
    pub concurrency: usize,
    /// How many start per second in this process, on average; unbounded by default.
    pub rate: Option<f64>,
    /// After how many failures in a row, of whatever jobs, the kind is paused; 20 by default.
    pub breaker: u32,
    /// For how long it is paused; 30 seconds by default. Then one job is tried.
    pub breaker_pause: Duration,
}

impl Default for KindConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            timeout: None,
            concurrency: usize::MAX,
            rate: None,
            breaker: 20,
            breaker_pause: Duration::from_secs(30),
        }
    }
}

impl KindConfig {
    /// How often it is tried.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// How many run at once in this process.
    #[must_use]
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency: concurrency.max(1), ..self }
    }

    /// How many start per second in this process.
    #[must_use]
    pub fn rate(self, per_second: f64) -> Self {
        Self { rate: Some(per_second), ..self }
    }

    /// After how many failures in a row the kind is paused, and for how long.
    #[must_use]
    pub fn breaker(self, failures: u32, pause: Duration) -> Self {
        Self { breaker: failures.max(1), breaker_pause: pause, ..self }
    }
}

/// A kind with its handler and what is known about it in this process.
pub(crate) struct Kind {
    pub(crate) version: u16,
    pub(crate) config: KindConfig,
    pub(crate) handler: AnyHandler,
    running: AtomicUsize,
    gate: Mutex<Gate>,
}

#[derive(Default)]
struct Gate {
    /// Failures since the last success.
    failures: u32,
    /// Until when the breaker is open.
    open_until: Option<Instant>,
    /// Whether the one job that tries a paused kind is out.
    probing: bool,
    /// When the next job may start under the rate limit.
    next_start: Option<Instant>,
    /// Until when the starts of jobs that were held up are spoken for.
    held_until: Option<Instant>,
}

/// Whether a job may start now.
pub(crate) enum Admission {
    Admitted(Running),
    /// Not before this much time has passed.
    Later(Duration),
}

/// Counts a job as running for as long as it lives.
pub(crate) struct Running {
    kind: Arc<Kind>,
    probes: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kind.running.fetch_sub(1, Ordering::AcqRel);
        if self.probes {
            self.kind.gate().probing = false;
        }
    }
}

impl Kind {
    pub(crate) fn new(version: u16, config: KindConfig, handler: AnyHandler) -> Arc<Self> {
        let (running, gate) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { version, config, handler, running, gate })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Admission {
        let running = self.running.fetch_add(1, Ordering::AcqRel);
        let mut guard = Running { kind: Arc::clone(self), probes: false };
        if running >= self.config.concurrency.max(1) {
            return Admission::Later(HELD_UP);
        }
        let mut gate = self.gate();
        match gate.open_until {
            Some(open_until) if now < open_until => return Admission::Later(open_until - now),
            Some(_) if gate.probing => return Admission::Later(PROBED),
            _ => {}
        }
        if let Some(delay) = self.config.rate.and_then(|rate| gate.pace(rate, now)) {
            return Admission::Later(delay);
        }
        guard.probes = gate.open_until.is_some();
        gate.probing |= guard.probes;
        Admission::Admitted(guard)
    }

    /// Notes how a job of this kind ended; says whether that opened the breaker.
    pub(crate) fn note(&self, failed: bool, now: Instant) -> bool {
        let mut gate = self.gate();
        if !failed {
            (gate.failures, gate.open_until) = (0, None);
            return false;
        }
        gate.failures = gate.failures.saturating_add(1);
        let opens = match gate.open_until {
            None => gate.failures >= self.config.breaker,
            // one that began before the breaker opened says nothing new; the probe does
            Some(open_until) => now >= open_until,
        };
        if opens {
            gate.open_until = Some(saturating_add(now, self.config.breaker_pause));
        }
        opens
    }
}

impl Gate {
    /// Starts a job now, or says after how long it may be started. Each job that is held up gets a
    /// time of its own, so that they do not all come back at once; it may be late by one interval
    /// without slowing the next ones down.
    fn pace(&mut self, rate: f64, now: Instant) -> Option<Duration> {
        if rate.is_nan() || rate <= 0.0 {
            return None;
        }
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let next = self.next_start.unwrap_or(now);
        if next > now {
            let own = self.held_until.map_or(next, |until| until.max(next));
            self.held_until = Some(saturating_add(own, interval));
            return Some((own - now).min(LONGEST_HOLD));
        }
        let earliest = now.checked_sub(interval).unwrap_or(now);
        self.next_start = Some(saturating_add(next.max(earliest), interval));
        None
    }
}
