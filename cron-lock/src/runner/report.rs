use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Cron`](crate::Cron) did while it ran.
///
/// ```
/// use standfast_cron_lock::{Cron, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let cron = Cron::new(MemoryCronLock::new("shop")?);
/// let report = cron.run_until(async {}).await; // stopped before the first tick
/// assert_eq!((report.claimed, report.missed_ticks), (0, 0));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CronReport {
    /// Ticks that were won here.
    pub claimed: u64,
    /// Those of them that another owner had before.
    pub takeovers: u64,
    /// Ticks that were dispatched and settled here.
    pub finished: u64,
    /// Ticks that were given up on, with an error.
    pub failed: u64,
    /// Ticks that were let go by a stop.
    pub abandoned: u64,
    /// Ticks that were lost to another owner, or whose end could not be recorded.
    pub lost: u64,
    /// Ticks that nobody had claimed by the time a later one was won here.
    pub missed_ticks: u64,
    /// Runs of schedules that were dispatched.
    pub runs: u64,
    /// Runs that were due while no tick was won, and were not made up for.
    pub missed_runs: u64,
    /// Runs that were past their starting deadline.
    pub late_runs: u64,
    /// Runs that were skipped because the one before still ran.
    pub overlapping_runs: u64,
    /// Calls of listeners that failed, panicked or took too long.
    pub errors: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Count {
    Claimed,
    Takeovers,
    Finished,
    Failed,
    Abandoned,
    Lost,
    MissedTicks,
    Runs,
    MissedRuns,
    LateRuns,
    OverlappingRuns,
    Errors,
}

#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; Count::Errors as usize + 1]);

impl Counters {
    pub(super) fn add(&self, count: Count, by: u64) {
        self.0[count as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> CronReport {
        let read = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        CronReport {
            claimed: read(Count::Claimed),
            takeovers: read(Count::Takeovers),
            finished: read(Count::Finished),
            failed: read(Count::Failed),
            abandoned: read(Count::Abandoned),
            lost: read(Count::Lost),
            missed_ticks: read(Count::MissedTicks),
            runs: read(Count::Runs),
            missed_runs: read(Count::MissedRuns),
            late_runs: read(Count::LateRuns),
            overlapping_runs: read(Count::OverlappingRuns),
            errors: read(Count::Errors),
        }
    }
}
