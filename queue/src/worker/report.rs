use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Clock, Error, Health, HealthCheck, Verdict};

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

/// Whether a worker gets at its queues and at the statuses: degraded while one of them fails, failing
/// when a queue has not answered for two waits.
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
#[derive(Clone, Debug)]
pub struct WorkerHealth {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    stage: Stage,
    patience: Duration,
    sources: Vec<Source>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    New,
    Running,
    Stopped,
}

/// What was seen of one queue and its statuses.
#[derive(Clone, Debug, Default)]
struct Source {
    /// Since when the queue was asked and has not answered. A worker that has no room asks nothing.
    unanswered_since: Option<Instant>,
    queue: Option<Error>,
    status: Option<Error>,
}

impl WorkerHealth {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn started(&self, wait: Duration, sources: usize) {
        let patience = wait.saturating_mul(2).saturating_add(Duration::from_secs(5));
        let sources = vec![Source::default(); sources];
        *self.seen() = Seen { stage: Stage::Running, patience, sources };
    }

    pub(crate) fn stopped(&self) {
        self.seen().stage = Stage::Stopped;
    }

    fn note(&self, source: usize, note: impl FnOnce(&mut Source)) {
        // a worker that drains was not started: nobody asks
        self.seen().sources.get_mut(source).map(note);
    }

    pub(crate) fn asking(&self, source: usize) {
        let now = self.clock.instant();
        self.note(source, |source| source.unanswered_since = source.unanswered_since.or(Some(now)));
    }

    pub(crate) fn answered(&self, source: usize, error: Option<&Error>) {
        self.note(source, |source| {
            source.queue = error.cloned();
            if error.is_none() {
                source.unanswered_since = None;
            }
        });
    }

    pub(crate) fn status_answered(&self, source: usize, error: Option<&Error>) {
        self.note(source, |source| source.status = error.cloned());
    }

    fn verdict(&self) -> Verdict {
        let seen = self.seen();
        match seen.stage {
            Stage::New => return Verdict::Failing("the worker does not run".into()),
            Stage::Stopped => return Verdict::Failing("the worker has stopped".into()),
            Stage::Running => {}
        }
        let now = self.clock.instant();
        for source in &seen.sources {
            let silent = source.unanswered_since.map(|since| now.saturating_duration_since(since));
            if let Some(silent) = silent.filter(|silent| *silent > seen.patience) {
                let error = source.queue.as_ref().map(|error| format!(": {error}"));
                let error = error.unwrap_or_default();
                return Verdict::Failing(format!(
                    "no receive was answered for {silent:.0?}{error}"
                ));
            }
        }
        let error =
            seen.sources.iter().find_map(|source| source.queue.as_ref().or(source.status.as_ref()));
        error.map_or(Verdict::Healthy, |error| Verdict::Degraded(error.to_string()))
    }
}

#[async_trait]
impl HealthCheck for WorkerHealth {
    async fn health(&self) -> Health {
        Health::since("worker", Instant::now(), self.verdict())
    }
}
