//! The worker: receives jobs, runs their handlers, keeps their leases, settles them.

mod context;
mod error;
mod execute;
mod handler;
mod heartbeat;
mod kind;
mod report;
mod run;
mod settle;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{CancellationToken, Id128, Lifecycle, Phase};

use crate::jobs::{Job, Jobs};
pub use context::{CancelReason, JobContext};
pub use error::JobError;
#[cfg(feature = "subprocess")]
pub(crate) use error::Verdict;
#[cfg(feature = "tower")]
pub(crate) use handler::Answer;
pub(crate) use handler::AnyHandler;
pub use handler::{ByContext, ByState, ByUser, FromJob, Handler, JobRequest};
pub use kind::{KindConfig, RetryPolicy};
pub use report::{WorkerHealth, WorkerReport};

pub(crate) use handler::erase;
use kind::Kind;
use run::Runner;

/// How a [`Worker`] works.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{Jobs, MemoryQueue, MemoryStatusStore, WorkerConfig};
///
/// let mut config = WorkerConfig::default();
/// config.concurrency = 50;
/// config.lease = Duration::from_secs(120);
/// // what stops the process waits 30 seconds
/// assert!(config.grace + config.cancel_grace < Duration::from_secs(30));
/// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let worker = jobs.worker(()).config(config);
/// # drop(worker);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// How many jobs run at once; 10 by default.
    pub concurrency: usize,
    /// How many more are received ahead of a free slot; none by default, since a job that waits
    /// here could run elsewhere.
    pub prefetch: usize,
    /// How long a delivery is leased; 30 seconds by default. Heartbeats extend it each third of
    /// that, so a job may take as long as it needs, and runs again this long after its worker died.
    pub lease: Duration,
    /// How long one receive waits for jobs; 20 seconds by default.
    pub wait: Duration,
    /// How long running jobs may go on after the stop began; 20 seconds by default. Then they are
    /// asked to end. With the default of `cancel_grace`, all is over within the 30 seconds that a
    /// [`Lifecycle`] and most process managers wait.
    pub grace: Duration,
    /// How long a job that was asked to end may take to do so; 5 seconds by default. Then its
    /// future is dropped.
    pub cancel_grace: Duration,
    /// The shortest time between two stored progress reports of a job; 100 ms by default.
    pub progress_interval: Duration,
    /// How long jobs of an unknown kind or newer version are passed on to other workers before
    /// they go to the dead letters; a day by default.
    pub unknown_for: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            concurrency: 10,
            prefetch: 0,
            lease: Duration::from_secs(30),
            wait: Duration::from_secs(20),
            grace: Duration::from_secs(20),
            cancel_grace: Duration::from_secs(5),
            progress_interval: Duration::from_millis(100),
            unknown_for: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Runs jobs. Made by [`Jobs::worker`], told its handlers, then [run](Worker::run_until).
///
/// # What it does with a delivery
///
/// - A handler's output becomes the result in the status, then the message is acked. A process
///   that dies between the two leaves a message whose status has ended: the next worker acks it
///   without running it.
/// - An error is another attempt by the kind's [`RetryPolicy`], or a dead letter when that is
///   exhausted or the error says so. The status tells the error either way. A panic is an error.
/// - A worker that dies leaves a lease that runs out: another worker runs the job again, as another
///   attempt, with the last checkpoint. A worker that loses the lease while it lives cancels the
///   job before the lease ends, and whatever it still says is refused.
/// - A body that is no job of its kind goes to the dead letters. An unknown kind or a newer version
///   is passed on, with growing delay, to workers that know it.
/// - While the queue or the status store fails, the worker goes on trying with growing pauses, and
///   its [health](Worker::health) says so.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Square { of: u64 }
/// # impl Job for Square { const KIND: &'static str = "square"; type Output = u64; }
/// async fn square(job: Square, ctx: JobContext) -> Result<u64, JobError> {
///     ctx.progress(1, 1);
///     Ok(job.of * job.of)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let worker = jobs.worker(()).on(square).concurrency(4);
/// let running = tokio::spawn(worker.run_until(async { stopped.await.unwrap_or(()) }));
///
/// let handle = jobs.send(Square { of: 7 }).await?;
/// assert_eq!(handle.wait(Duration::from_secs(5)).await?, 49);
///
/// drop(stop);
/// assert_eq!(running.await?.succeeded, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a worker does nothing until it is run"]
pub struct Worker<S> {
    state: S,
    sources: Vec<(Jobs, u32)>,
    kinds: HashMap<&'static str, Arc<Kind>>,
    around: Vec<Arc<dyn Fn(AnyHandler) -> AnyHandler + Send + Sync>>,
    config: WorkerConfig,
    identity: Arc<str>,
    health: WorkerHealth,
    release: CancellationToken,
}

impl<S: Clone + Send + Sync + 'static> Worker<S> {
    pub(crate) fn new(jobs: Jobs, state: S) -> Self {
        Self {
            health: WorkerHealth::new(Arc::clone(jobs.clock())),
            state,
            sources: vec![(jobs, 1)],
            kinds: HashMap::new(),
            around: Vec::new(),
            config: WorkerConfig::default(),
            identity: Id128::random().to_string().into(),
            release: CancellationToken::new(),
        }
    }

    /// Handles jobs with `handler`, an asynchronous function from a job and up to four
    /// [extractable](FromJob) values to its output.
    ///
    /// # Panics
    ///
    /// When there is a handler of the same kind already.
    pub fn on<M: 'static, H: Handler<S, M>>(self, handler: H) -> Self {
        self.on_with(KindConfig::default(), handler)
    }

    /// Handles jobs with `handler` as `config` says.
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    pub fn on_with<M: 'static, H: Handler<S, M>>(mut self, config: KindConfig, handler: H) -> Self {
        let kind = H::Job::KIND;
        let handler = erase(handler, self.state.clone());
        let before = self.kinds.insert(kind, Kind::new::<H::Job>(config, handler));
        assert!(before.is_none(), "two handlers of the kind `{kind}`");
        self
    }

    /// Receives from the queue of `jobs` too. A queue of weight 3 gets three times as many of the
    /// slots that become free as one of weight 1 while both have jobs; one without jobs gets none.
    pub fn also_from(mut self, jobs: Jobs, weight: u32) -> Self {
        self.sources.push((jobs, weight.max(1)));
        self
    }

    /// Works as `config` says.
    pub fn config(self, config: WorkerConfig) -> Self {
        Self { config, ..self }
    }

    /// Runs `concurrency` jobs at once.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.config.concurrency = concurrency;
        self
    }

    /// Cancelling `token` ends the run at once: jobs are dropped and released.
    pub fn release_on(self, token: CancellationToken) -> Self {
        Self { release: token, ..self }
    }

    /// Whether the worker gets at its queues and the statuses, for health checks; to be asked for
    /// before it runs.
    pub fn health(&self) -> WorkerHealth {
        self.health.clone()
    }

    /// Runs until `stop` ends; then receives no more, lets running jobs go on for the grace,
    /// releases what is left, and reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the running jobs; their leases run out.
    pub async fn run_until(self, stop: impl Future<Output = ()> + Send) -> WorkerReport {
        Runner::new(self).run(stop).await
    }

    /// Runs as a part of `lifecycle`: stops with its workers, releases at once when it does.
    pub fn spawn(self, lifecycle: &Lifecycle) {
        let stopping = lifecycle.stopping(Phase::Workers);
        let worker = self.release_on(lifecycle.released());
        lifecycle.spawn(Phase::Workers, "worker", async move {
            let report = worker.run_until(stopping.cancelled_owned()).await;
            tracing::info!(?report, "worker stopped");
            Ok::<_, std::convert::Infallible>(())
        });
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn settings(&self) -> &WorkerConfig {
        &self.config
    }

    /// Where its first jobs come from.
    #[cfg(feature = "testkit")]
    pub(crate) fn jobs(&self) -> &Jobs {
        // invariant: a worker is made from its first source
        &self.sources[0].0
    }

    /// Runs what can be received now, and what comes of that, one job after the other, until there
    /// is nothing left; for tests.
    pub async fn drain(&self) -> WorkerReport {
        Runner::new(self.clone()).drain().await
    }
}

#[cfg(feature = "tower")]
impl<S: Clone + Send + Sync + 'static> Worker<S> {
    /// Puts a layer of middleware around every handler; the last one added is the outermost.
    ///
    /// ```
    /// use standfast_queue::{Jobs, MemoryQueue, MemoryStatusStore};
    /// use tower_layer::layer_fn;
    ///
    /// let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    /// let worker = jobs.worker(()).layer(layer_fn(|inner| inner));
    /// # let _ = worker;
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: tower_layer::Layer<middleware::JobService> + Send + Sync + 'static,
        L::Service: tower_service::Service<JobRequest, Response = serde_json::Value, Error = JobError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower_service::Service<JobRequest>>::Future: Send,
    {
        self.around.push(Arc::new(move |inner| middleware::wrap(&layer, inner)));
        self
    }
}

#[cfg(feature = "tower")]
pub mod middleware;

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("identity", &self.identity)
            .field("kinds", &self.kinds.keys())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
