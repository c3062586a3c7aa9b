use std::fmt;
use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
pub use tokio_util::sync::CancellationToken;

use crate::BoxError;

/// The parts of an application, in the order in which they stop.
///
/// ```
/// use standfast_core::{Lifecycle, Phase};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let lifecycle = Lifecycle::new();
/// let (workers, flush) = (lifecycle.stopping(Phase::Workers), lifecycle.stopping(Phase::Flush));
/// lifecycle.spawn(Phase::Flush, "index", async move {
///     flush.cancelled().await;
///     assert!(workers.is_cancelled());   // they have ended: nothing comes any more
///     Ok::<_, std::io::Error>(())
/// });
/// lifecycle.stop();
/// assert_eq!(lifecycle.run().await, std::process::ExitCode::SUCCESS);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Phase {
    /// HTTP servers: stop accepting, finish what is running.
    Http,
    /// Cron: claim no more ticks, finish the dispatch in progress.
    Cron,
    /// Workers: receive no more, finish or release what is running.
    Workers,
    /// Whatever writes behind: flush.
    Flush,
}

const ORDER: [Phase; 4] = [Phase::Http, Phase::Cron, Phase::Workers, Phase::Flush];

/// How long each step of stopping may take.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::{Lifecycle, LifecycleConfig};
///
/// let mut config = LifecycleConfig::default();
/// config.readiness_delay = Duration::from_secs(5);   // the load balancer asks every 2 seconds
/// config.phase_timeout = Duration::from_secs(60);
/// assert!(Lifecycle::with_config(config).is_ready());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifecycleConfig {
    /// How long to go on serving after readiness has failed, so that load balancers notice;
    /// none by default.
    pub readiness_delay: Duration,
    /// How long the parts of one phase may take to stop; 30 seconds by default. Those that are
    /// still running then are dropped, and the exit code says so.
    pub phase_timeout: Duration,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self { readiness_delay: Duration::ZERO, phase_timeout: Duration::from_secs(30) }
    }
}

/// Starts the parts of an application and stops them in one order: readiness fails, a wait, HTTP,
/// cron, workers, flush, exit code.
///
/// SIGTERM or SIGINT begins the stop; a second one [releases](Lifecycle::released) everything at
/// once. A part that ends by itself, fails or panics stops the application with exit code 1: a
/// process that has lost a part is replaced, not limped along with.
///
/// ```
/// use standfast_core::{Lifecycle, Phase};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let lifecycle = Lifecycle::new();
/// let stopping = lifecycle.stopping(Phase::Workers);
/// lifecycle.spawn(Phase::Workers, "worker", async move {
///     stopping.cancelled().await;
///     Ok::<_, std::io::Error>(())
/// });
/// lifecycle.stop();
/// assert_eq!(lifecycle.run().await, std::process::ExitCode::SUCCESS);
/// # }
/// ```
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    config: LifecycleConfig,
    ready: AtomicBool,
    begun: CancellationToken,
    released: CancellationToken,
    phases: [CancellationToken; ORDER.len()],
    parts: Mutex<[JoinSet<Ended>; ORDER.len()]>,
}

struct Ended {
    name: String,
    result: Result<(), BoxError>,
}

impl Lifecycle {
    /// A lifecycle with the default times. Ready at once.
    pub fn new() -> Self {
        Self::with_config(LifecycleConfig::default())
    }

    /// A lifecycle with these times. Ready at once.
    pub fn with_config(config: LifecycleConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            ready: AtomicBool::new(true),
            begun: CancellationToken::new(),
            released: CancellationToken::new(),
            phases: Default::default(),
            parts: Mutex::default(),
        }))
    }

    /// Whether the instance wants traffic: what a readiness endpoint answers.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire) && !self.0.begun.is_cancelled()
    }

    /// Takes the instance out of traffic, or back in, without stopping it.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Cancelled when the parts of `phase` must finish what they have and end.
    pub fn stopping(&self, phase: Phase) -> CancellationToken {
        self.0.phases[phase as usize].clone()
    }

    /// Cancelled when everything must be let go at once.
    pub fn released(&self) -> CancellationToken {
        self.0.released.clone()
    }

    /// Begins to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.0.begun.cancel();
    }

    /// Runs `part` as a task that must go on until its phase stops.
    pub fn spawn<E: Into<BoxError>>(
        &self,
        phase: Phase,
        name: impl Into<String>,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let (begun, stopping) = (self.0.begun.clone(), self.stopping(phase));
        let part = async move {
            // a panic unwinds through this guard, so the stop begins then too
            let _ended = begun.drop_guard();
            let result = match part.await {
                Ok(()) if !stopping.is_cancelled() => Err("ended by itself".into()),
                Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            };
            Ended { name, result }
        };
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts[phase as usize].spawn(part);
    }

    /// Waits for a signal, [`stop`](Self::stop) or the end of a part, then stops all parts.
    ///
    /// Success means that every part ended as it should, within its time.
    pub async fn run(&self) -> ExitCode {
        let signals = tokio::spawn(watch_signals(self.0.begun.clone(), self.0.released.clone()));
        self.0.begun.cancelled().await;
        tracing::info!("stopping");
        let released = &self.0.released;
        tokio::select! {
            () = tokio::time::sleep(self.0.config.readiness_delay) => {}
            () = released.cancelled() => {}
        }
        let mut clean = true;
        for phase in ORDER {
            self.0.phases[phase as usize].cancel();
            let mut parts = {
                let mut all = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut all[phase as usize])
            };
            let drained = async {
                let mut clean = true;
                while let Some(ended) = parts.join_next().await {
                    clean &= report(phase, ended);
                }
                clean
            };
            tokio::select! {
                all_clean = drained => clean &= all_clean,
                () = tokio::time::sleep(self.0.config.phase_timeout) => {
                    tracing::error!(?phase, left = parts.len(), "parts did not stop in time");
                    clean = false;
                }
            }
        }
        signals.abort();
        if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("ready", &self.is_ready())
            .field("stopping", &self.0.begun.is_cancelled())
            .finish_non_exhaustive()
    }
}

fn report(phase: Phase, ended: Result<Ended, JoinError>) -> bool {
    match ended {
        Ok(Ended { name, result: Ok(()) }) => {
            tracing::debug!(?phase, name, "stopped");
            true
        }
        Ok(Ended { name, result: Err(error) }) => {
            tracing::error!(?phase, name, %error, "failed");
            false
        }
        Err(error) => {
            tracing::error!(?phase, %error, "panicked");
            false
        }
    }
}

#[cfg(unix)]
async fn watch_signals(first: CancellationToken, second: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let both = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match both {
        Ok(both) => both,
        Err(error) => {
            tracing::error!(%error, "signals cannot be watched; only `stop` ends this process");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let token = if first.is_cancelled() { &second } else { &first };
        token.cancel();
    }
}

#[cfg(not(unix))]
async fn watch_signals(first: CancellationToken, second: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        let token = if first.is_cancelled() { &second } else { &first };
        token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(lifecycle: &Lifecycle, phase: Phase, log: &Arc<Mutex<Vec<Phase>>>) {
        let (stopping, log) = (lifecycle.stopping(phase), Arc::clone(log));
        lifecycle.spawn(phase, "recorder", async move {
            stopping.cancelled().await;
            log.lock().unwrap().push(phase);
            Ok::<_, BoxError>(())
        });
    }

    #[tokio::test]
    async fn phases_stop_in_order() {
        let (lifecycle, log) = (Lifecycle::new(), Arc::default());
        for phase in ORDER.into_iter().rev() {
            recorder(&lifecycle, phase, &log);
        }
        assert!(lifecycle.is_ready());
        lifecycle.stop();
        assert!(!lifecycle.is_ready());
        assert_eq!(lifecycle.run().await, ExitCode::SUCCESS);
        assert_eq!(*log.lock().unwrap(), ORDER);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_stops_the_rest_and_is_a_failure() {
        let (lifecycle, log) = (Lifecycle::new(), Arc::default());
        recorder(&lifecycle, Phase::Workers, &log);
        lifecycle.spawn(Phase::Http, "short", async { Ok::<_, BoxError>(()) });
        assert_eq!(lifecycle.run().await, ExitCode::FAILURE);
        assert_eq!(*log.lock().unwrap(), [Phase::Workers]);
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(Phase::Cron, "bad", async {
            if true {
                panic!("on purpose");
            }
            Ok::<_, BoxError>(())
        });
        assert_eq!(lifecycle.run().await, ExitCode::FAILURE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_stop_is_dropped_after_its_time() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(Phase::Http, "stuck", std::future::pending::<Result<(), BoxError>>());
        lifecycle.stop();
        assert_eq!(lifecycle.run().await, ExitCode::FAILURE);
    }
}
