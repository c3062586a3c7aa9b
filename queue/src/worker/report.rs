use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::{Key, Label, Level, Metadata, with_recorder};
use standfast_core::{Clock, Error, Health, HealthCheck, Verdict};

/// What a worker did while it ran.
///
/// ```
/// # use standfast_queue::{Job, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// async fn mail(job: Mail) -> Result<(), JobError> {
///     if job.to.contains('@') { Ok(()) } else { Err(JobError::dead("no address")) }
/// }
/// for to in ["ada@example.org", "ada"] {
///     jobs.send(Mail { to: to.into() }).await?;
/// }
/// let report = jobs.worker(()).on(mail).drain().await;
/// assert_eq!((report.succeeded, report.retried, report.dead), (1, 0, 1));
/// # Ok(()) }
/// ```
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

/// How a delivery ended here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Cancelled,
    Dead,
    Lost,
    Released,
    Retried,
    Skipped,
    Succeeded,
}

impl Outcome {
    /// What metrics call them, in order.
    const NAMES: [&'static str; 7] =
        ["cancelled", "dead", "lost", "released", "retried", "skipped", "succeeded"];
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; Outcome::NAMES.len()]);

impl Counters {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> WorkerReport {
        let read = |outcome: Outcome| self.0[outcome as usize].load(Ordering::Relaxed);
        WorkerReport {
            succeeded: read(Outcome::Succeeded),
            retried: read(Outcome::Retried),
            dead: read(Outcome::Dead),
            cancelled: read(Outcome::Cancelled),
            released: read(Outcome::Released),
            skipped: read(Outcome::Skipped),
            lost: read(Outcome::Lost),
        }
    }
}

static METADATA: Metadata<'_> = Metadata::new("standfast_queue", Level::INFO, None);

/// The metrics of a kind. Their keys are made once, since that costs as much as a small job.
pub(crate) struct Meter {
    seconds: Key,
    ended: [Key; Outcome::NAMES.len()],
}

impl Meter {
    pub(crate) fn new(kind: &str) -> Self {
        let label = |name, value: &str| Label::new(name, value.to_owned());
        Self {
            seconds: Key::from_parts("standfast_job_seconds", vec![label("kind", kind)]),
            ended: Outcome::NAMES.map(|outcome| {
                let labels = vec![label("kind", kind), label("outcome", outcome)];
                Key::from_parts("standfast_jobs_total", labels)
            }),
        }
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        let key = &self.ended[outcome as usize];
        with_recorder(|to| to.register_counter(key, &METADATA).increment(1));
    }

    pub(crate) fn took(&self, span: Duration) {
        with_recorder(|to| to.register_histogram(&self.seconds, &METADATA).record(span));
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
