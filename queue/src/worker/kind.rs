//! What a worker keeps per kind of job: its policy, its limits and its circuit breaker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use standfast_core::{Backoff, Clock};

use super::handler::AnyHandler;
use crate::delivery::Received;

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
    /// How many start per second in this process; unbounded by default.
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
}

/// Whether a job may start now.
pub(crate) enum Admission {
    Admitted(Running),
    /// Not before this much time has passed.
    Later(Duration),
}

/// Counts a job as running for as long as it lives.
pub(crate) struct Running(Arc<Kind>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Kind {
    pub(crate) fn new(version: u16, config: KindConfig, handler: AnyHandler) -> Arc<Self> {
        let (running, gate) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { version, config, handler, running, gate })
    }

    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Admission {
        let running = self.running.fetch_add(1, Ordering::AcqRel);
        let guard = Running(Arc::clone(self));
        if running >= self.config.concurrency {
            return Admission::Later(Duration::from_millis(500));
        }
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open_until) = gate.open_until {
            if now < open_until {
                return Admission::Later(open_until - now);
            }
            if gate.probing {
                return Admission::Later(Duration::from_secs(1));
            }
        }
        if let Some(rate) = self.config.rate.filter(|rate| *rate > 0.0) {
            let next = gate.next_start.map_or(now, |next| next.max(now));
            if next > now {
                return Admission::Later(next - now);
            }
            gate.next_start = Some(next + Duration::from_secs_f64(1.0 / rate));
        }
        gate.probing = gate.open_until.is_some();
        Admission::Admitted(guard)
    }

    /// Notes how a job of this kind ended; says whether that opened the breaker.
    pub(crate) fn note(&self, failed: bool, now: Instant) -> bool {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            *gate = Gate { next_start: gate.next_start, ..Gate::default() };
            return false;
        }
        gate.failures += 1;
        let probe_failed = std::mem::take(&mut gate.probing);
        let opens =
            probe_failed || (gate.failures >= self.config.breaker && gate.open_until.is_none());
        if opens {
            gate.open_until = Some(now + self.config.breaker_pause);
        }
        opens
    }

    /// Notes that a job of this kind ended in a way that says nothing about the kind.
    pub(crate) fn note_nothing(&self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).probing = false;
    }
}
