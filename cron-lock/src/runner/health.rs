use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{Clock, Error, Health, HealthCheck, Verdict};

/// Whether a [`Cron`](crate::Cron) runs and gets at its lock: degraded while the lock or listeners
/// fail, or when clocks differ; failing when the lock has failed for longer than a lease.
///
/// ```
/// use standfast_core::HealthCheck;
/// use standfast_cron_lock::{Cron, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let cron = Cron::new(MemoryCronLock::new("shop")?);
/// let health = cron.health();
/// assert!(!health.health().await.is_usable()); // it does not run yet
/// # drop(cron);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CronHealth {
    namespace: Arc<str>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    stage: Stage,
    /// Since when the lock fails, and how it did last.
    lock: Option<(Instant, Error)>,
    /// The tick whose listeners failed last, and how.
    listeners: Option<(DateTime<Utc>, String)>,
    skew: Option<TimeDelta>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    New,
    Running {
        clock: Arc<dyn Clock>,
        patience: Duration,
    },
    Stopped,
}

impl CronHealth {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into(), seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn started(&self, clock: Arc<dyn Clock>, patience: Duration) {
        self.seen().stage = Stage::Running { clock, patience };
    }

    pub(super) fn stopped(&self) {
        self.seen().stage = Stage::Stopped;
    }

    /// The lock answered, or failed.
    pub(super) fn lock_answered(&self, now: Instant, error: Option<&Error>) {
        let mut seen = self.seen();
        match (&seen.lock, error) {
            (None, Some(error)) => tracing::error!(%error, "the cron lock fails; trying on"),
            (Some(_), None) => tracing::info!("the cron lock answers again"),
            _ => {}
        }
        let since = seen.lock.as_ref().map_or(now, |(since, _)| *since);
        seen.lock = error.map(|error| (since, error.clone()));
    }

    /// The listeners of a tick failed, or none of them does any more.
    pub(super) fn listeners(&self, at: DateTime<Utc>, error: Option<String>) {
        let mut seen = self.seen();
        match error {
            Some(error) => seen.listeners = Some((at, error)),
            // what failed later than what works now is still of interest
            None if seen.listeners.as_ref().is_some_and(|(failed, _)| *failed <= at) => {
                seen.listeners = None;
            }
            None => {}
        }
    }

    /// The clocks differ by more than is usual, or do not.
    pub(super) fn skew(&self, skew: Option<TimeDelta>) {
        self.seen().skew = skew;
    }

    fn verdict(&self) -> Verdict {
        let seen = self.seen();
        let (clock, patience) = match &seen.stage {
            Stage::New => return Verdict::Failing("the cron does not run".into()),
            Stage::Stopped => return Verdict::Failing("the cron has stopped".into()),
            Stage::Running { clock, patience } => (clock, *patience),
        };
        if let Some((since, error)) = &seen.lock {
            let silent = clock.instant().saturating_duration_since(*since);
            return match silent > patience {
                true => Verdict::Failing(format!("the lock fails for {silent:.0?}: {error}")),
                false => Verdict::Degraded(error.to_string()),
            };
        }
        if let Some((at, error)) = &seen.listeners {
            return Verdict::Degraded(format!("tick {at}: {error}"));
        }
        match seen.skew {
            Some(skew) => Verdict::Degraded(format!(
                "the store's clock is ahead by {} ms",
                skew.num_milliseconds()
            )),
            None => Verdict::Healthy,
        }
    }
}

#[async_trait]
impl HealthCheck for CronHealth {
    async fn health(&self) -> Health {
        let asked = format!("cron `{}`", self.namespace);
        Health::since(asked, Instant::now(), self.verdict())
    }
}
