use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{BoxError, Tick};

/// What becomes of runs that were due while no tick was won: a deploy, an outage, a night.
///
/// Whatever the policy, what is not made up for is counted, as missed. A schedule that was not
/// known to the tick before is new, and never made up for.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{CatchUp, Span, every};
///
/// // after three hours: none, one, or at most ten of the last two hours
/// let sync = every(5.minutes()).id("sync").catch_up(CatchUp::Skip);
/// let bill = every(5.minutes()).id("bill");                       // `Latest` is the default
/// let each = CatchUp::All { max: 10, window: 2.hours() };
/// let audit = every(5.minutes()).id("audit").catch_up(each);
/// # drop((sync, bill, audit));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CatchUp {
    /// Each of them, oldest first: the newest `max`, of those that were due within `window` before
    /// the tick.
    All {
        /// At most this many, up to 1,000.
        max: usize,
        /// Not older than this.
        window: Duration,
    },
    /// The last one, unless a run is due now anyway.
    #[default]
    Latest,
    /// None.
    Skip,
}

impl CatchUp {
    /// The most runs that one tick makes up for.
    pub const LIMIT: usize = 1_000;
}

/// What a closure may answer to the question whether the run before still runs: a `bool`, or a
/// `Result` of one.
///
/// ```
/// use standfast_cron_lock::StillRunning;
///
/// fn answers(_: impl StillRunning) {}
/// answers(true);
/// answers(Ok::<_, std::io::Error>(false));
/// ```
pub trait StillRunning {
    /// The answer, or why there is none.
    ///
    /// # Errors
    ///
    /// Nobody knows; the question is asked again.
    fn still_running(self) -> Result<bool, BoxError>;
}

impl StillRunning for bool {
    fn still_running(self) -> Result<bool, BoxError> {
        Ok(self)
    }
}

impl<E: Into<BoxError>> StillRunning for Result<bool, E> {
    fn still_running(self) -> Result<bool, BoxError> {
        self.map_err(Into::into)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<bool, BoxError>> + Send>>;

/// The caller's closure that answers whether the run before still runs.
#[derive(Clone)]
pub(crate) struct Question(Arc<dyn Fn(Tick) -> Answer + Send + Sync>);

impl Question {
    pub(crate) fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: StillRunning> + Send + 'static,
    {
        Self(Arc::new(move |tick| {
            let answer = ask(tick);
            Box::pin(async move { answer.await.still_running() })
        }))
    }

    pub(crate) async fn ask(&self, tick: Tick) -> Result<bool, BoxError> {
        (self.0)(tick).await
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}
