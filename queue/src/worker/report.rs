use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Error, Health, HealthCheck, Verdict};

/// What a worker did while it ran.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Jobs that ended with a result.
    pub succeeded: u64,
    /// Attempts that failed and will be followed by another.
    pub retried: u64,
    /// Messages that went to the dead letters.
    pub dead: u64,
    /// Jobs that ended because somebody asked for it.
    pub cancelled: u64,
    /// Deliveries given back uncounted: snoozed, held up by a limit, of an unknown kind, or left
    /// over when the worker stopped.
    pub released: u64,
    /// Deliveries of jobs that had ended already, settled without running.
    pub skipped: u64,
    /// Deliveries whose lease was lost before they were settled.
    pub lost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) succeeded: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl Counters {
    pub(crate) fn report(&self) -> WorkerReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerReport {
            succeeded: read(&self.succeeded),
            retried: read(&self.retried),
            dead: read(&self.dead),
            cancelled: read(&self.cancelled),
            released: read(&self.released),
            skipped: read(&self.skipped),
            lost: read(&self.lost),
        }
    }
}

/// Whether a worker gets at its queues: failing after two waits without an answered receive.
///
/// ```
/// # use standfast_core::HealthCheck;
/// # use standfast_queue::{Jobs, MemoryQueue, MemoryStatusStore};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let worker = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new()).worker(());
/// let health = worker.health();
/// assert!(!health.health().await.is_usable());   // it does not run yet
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct WorkerHealth(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    patience: Duration,
    answered: Option<Instant>,
    error: Option<Error>,
    stopped: bool,
}

impl WorkerHealth {
    fn update(&self, update: impl FnOnce(&mut Seen)) {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn started(&self, wait: Duration) {
        self.update(|seen| {
            *seen = Seen {
                patience: wait * 2 + Duration::from_secs(5),
                answered: Some(Instant::now()),
                ..Seen::default()
            };
        });
    }

    pub(crate) fn stopped(&self) {
        self.update(|seen| seen.stopped = true);
    }

    pub(crate) fn answered(&self) {
        self.update(|seen| (seen.answered, seen.error) = (Some(Instant::now()), None));
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.update(|seen| seen.error = Some(error.clone()));
    }
}

#[async_trait]
impl HealthCheck for WorkerHealth {
    async fn health(&self) -> Health {
        let began = Instant::now();
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = seen.answered.map(|at| at.elapsed());
        let verdict = match (silent, &seen.error) {
            (None, _) => Verdict::Failing("the worker does not run".into()),
            _ if seen.stopped => Verdict::Failing("the worker has stopped".into()),
            (Some(silent), error) if silent > seen.patience => {
                let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                Verdict::Failing(format!("no receive was answered for {silent:.0?}{error}"))
            }
            (_, Some(error)) => Verdict::Degraded(error.to_string()),
            (_, None) => Verdict::Healthy,
        };
        Health::since("worker", began, verdict)
    }
}
