//! The loop that ticks, claims, and dispatches what is due.

mod attempt;
mod config;
pub(crate) mod dispatch;
mod health;
mod history;
mod listener;
mod report;
mod run;
mod time;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use standfast_core::{CancellationToken, Clock, Lifecycle, Phase, Result, SystemClock, Tick};

use crate::config::{MAX_SCHEDULES, invalid};
use crate::ledger::CronLedger;
use crate::lock::CronLock;
use crate::schedule::Schedule;
pub use config::CronConfig;
pub use health::CronHealth;
pub use listener::Dispatched;
use listener::Listener;
pub use report::CronReport;
use run::Runner;

/// Ticks: claims every tick of its lock, and dispatches what is due at those it wins.
///
/// Run one in every instance of the application. All of them claim every tick, one of them wins,
/// and calls its listeners with the tick's own time, however late it is.
///
/// # What it does with a tick
///
/// - It wakes up when the tick is due *by the store's time*. The clock of the instance is only an
///   alarm clock; a difference of minutes makes a warning, and changes nothing.
/// - A schedule's runs are those that were due after the tick before and not after this one. So
///   what was due while no tick was won (a deploy, an outage) is not lost: see
///   [`CatchUp`](crate::CatchUp). Ticks that nobody won are counted.
/// - Listeners are called at the same time, the runs of one schedule one after the other. One that
///   fails, panics or takes longer than the deadline is called again, with growing pauses, while
///   the tick is held; those that were done are not. If it does not help, the tick has failed, and
///   its record says why.
/// - When the last one is done the tick is finished, and its record has the ids of the jobs.
///
/// # What if the process dies, or stands still?
///
/// Before the claim: another instance wins. After it: the lease runs out, and another instance
/// takes over, with the same tick before it, so with the same runs; all of them are dispatched
/// again. Their [ids](Tick::job_id) are the same, so a queue that knows them makes it once. An
/// instance that stood still for longer than its lease stops dispatching as soon as it goes on, and
/// whatever it still says to the store is refused. If all instances die, the next one to start
/// takes over what it finds unfinished.
///
/// While the lock fails the loop goes on trying, with growing pauses up to half a minute, for ever;
/// its [health](Self::health) says so.
///
/// ```
/// use standfast_cron_lock::{Cron, MemoryCronLock, Span, daily_at};
///
/// # async fn bill(_: chrono::NaiveDate) -> Result<(), std::io::Error> { Ok(()) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut cron = Cron::new(MemoryCronLock::new("shop")?);
/// cron.on_tick(|tick| async move {
///     if tick.every(5.minutes()) {
///         // enqueue the job, with tick.job_id("sync") for its id
///     }
/// });
/// let billing = daily_at("02:30").tz("Europe/Helsinki").id("billing");
/// cron.schedule(billing, |tick| async move { bill(tick.date()).await })?;
/// let report = cron.run_until(async { /* until the process is told to stop */ }).await;
/// # assert_eq!(report.claimed, 0);
/// # Ok(()) }
/// ```
#[must_use = "a cron does nothing until it is run"]
pub struct Cron {
    lock: Arc<dyn CronLock>,
    config: CronConfig,
    clock: Arc<dyn Clock>,
    listeners: Vec<Listener>,
    schedules: Vec<Entry>,
    health: CronHealth,
    release: CancellationToken,
}

/// A schedule and what is called when it is due.
#[derive(Clone, Debug)]
struct Entry {
    schedule: Schedule,
    job: Listener,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cron")
            .field("namespace", &self.lock.namespace())
            .field("owner", &self.config.owner)
            .field("listeners", &self.listeners.len())
            .field("schedules", &self.schedules.iter().map(|s| &s.schedule).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Cron {
    /// A cron over `lock`, with settings that fit it.
    pub fn new(lock: impl CronLock) -> Self {
        let config = CronConfig::fitting(&lock.capabilities().config);
        Self::unchecked(Arc::new(lock), config)
    }

    /// A cron over `lock` that runs as `config` says.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the reason, for settings that cannot work with one another or the lock's.
    pub fn with_config(lock: impl CronLock, config: CronConfig) -> Result<Self> {
        config.validate(&lock.capabilities().config)?;
        Ok(Self::unchecked(Arc::new(lock), config))
    }

    fn unchecked(lock: Arc<dyn CronLock>, config: CronConfig) -> Self {
        Self {
            health: CronHealth::new(lock.namespace()),
            lock,
            config,
            clock: Arc::new(SystemClock),
            listeners: Vec::new(),
            schedules: Vec::new(),
            release: CancellationToken::new(),
        }
    }

    /// Wakes up by `clock`, whose instants have to be those of the lock's own; for tests.
    pub fn clock(&mut self, clock: Arc<dyn Clock>) -> &mut Self {
        self.clock = clock;
        self
    }

    /// Calls `listener` with every tick that is won.
    ///
    /// It returns nothing, or a `Result` of anything; see [`Dispatched`]. It hands work on, within
    /// the [deadline](CronConfig::deadline), and may be called more than once for a tick.
    pub fn on_tick<F, Fut>(&mut self, listener: F) -> &mut Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Dispatched> + Send + 'static,
    {
        self.listeners.push(Listener::new(listener));
        self
    }

    /// Calls `job` with every run of `schedule`. [`Tick::due`], [`Tick::date`] and [`Tick::job_id`]
    /// are then those of the run.
    ///
    /// It returns nothing, or a `Result` of anything; see [`Dispatched`].
    ///
    /// # Errors
    ///
    /// `Invalid`, with what is wrong: an expression, a time or a zone that does not exist, a period
    /// that the ticks do not divide, no id, an id that is taken.
    pub fn schedule<F, Fut>(&mut self, schedule: Schedule, job: F) -> Result<&mut Self>
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Dispatched> + Send + 'static,
    {
        schedule.check(&self.lock.capabilities().config)?;
        let fail = |what: String| Err(invalid("schedule", what));
        if self.schedules.iter().any(|entry| entry.schedule.name() == schedule.name()) {
            return fail(format!("two schedules of the id `{}`", schedule.name()));
        }
        if self.schedules.len() == MAX_SCHEDULES {
            return fail(format!("more than {MAX_SCHEDULES} schedules"));
        }
        self.schedules.push(Entry { schedule, job: Listener::new(job) });
        Ok(self)
    }

    /// Cancelling `token` ends the run at once: what is being dispatched is let go.
    pub fn release_on(&mut self, token: CancellationToken) -> &mut Self {
        self.release = token;
        self
    }

    /// Whether it runs and gets at its lock, for health checks; to be asked for before it runs.
    pub fn health(&self) -> CronHealth {
        self.health.clone()
    }

    /// What the records say, and what they say about the schedules that are there now; to be asked
    /// for before it runs.
    pub fn ledger(&self) -> CronLedger {
        let schedules = self.schedules.iter().map(|entry| entry.schedule.clone());
        CronLedger::new(Arc::clone(&self.lock), schedules.collect())
    }

    /// Ticks until `stop` ends; then claims no more, lets what is being dispatched end within the
    /// grace, lets the rest go, and reports.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops what is being dispatched; another instance takes over when its
    /// lease has run out.
    pub async fn run_until(self, stop: impl Future<Output = ()> + Send) -> CronReport {
        Runner::new(self).run(stop).await
    }

    /// Runs as a part of `lifecycle`: stops before its workers, lets go at once when it does.
    pub fn spawn(mut self, lifecycle: &Lifecycle) {
        let stopping = lifecycle.stopping(Phase::Cron);
        self.release_on(lifecycle.released());
        lifecycle.spawn(Phase::Cron, "cron", async move {
            let report = self.run_until(stopping.cancelled_owned()).await;
            tracing::info!(?report, "cron stopped");
            Ok::<_, std::convert::Infallible>(())
        });
    }
}
