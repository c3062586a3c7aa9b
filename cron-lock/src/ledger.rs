use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::explain::{Explanation, explain};
use crate::lock::CronLock;
use crate::record::{RecordQuery, TickRecord};
use crate::schedule::Schedule;

/// What the records of a namespace say: for people, and for pages that show them.
///
/// Made by [`Cron::ledger`](crate::Cron::ledger), of the schedules that were there then. It
/// outlives the cron, and can be made in a process that does not run one.
///
/// ```
/// use standfast_cron_lock::{Cron, Fate, MemoryCronLock, Span, every};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut cron = Cron::new(MemoryCronLock::new("shop")?);
/// cron.schedule(every(30.minutes()).id("report"), |_tick| async {})?;
/// let ledger = cron.ledger();
/// // "why did the half past eleven report not run?"
/// let explanation = ledger.explain("report", "2026-03-01T11:30:00Z".parse().unwrap()).await?;
/// assert_eq!(explanation.fate, Fate::NoTick);
/// println!("{explanation}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CronLedger {
    lock: Arc<dyn CronLock>,
    schedules: Arc<[Schedule]>,
}

impl CronLedger {
    pub(crate) fn new(lock: Arc<dyn CronLock>, schedules: Arc<[Schedule]>) -> Self {
        Self { lock, schedules }
    }

    /// Reads records, oldest first.
    ///
    /// # Errors
    ///
    /// As [`CronLock::records`].
    pub async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        self.lock.records(query).await
    }

    /// Says what became of the run of `schedule` that was, or was thought to be, due at `instant`.
    ///
    /// It is worked out from the records and from the schedule as it is now; after a change of the
    /// schedule, runs of before are explained as if it had been so then.
    ///
    /// # Errors
    ///
    /// `NotFound` for a schedule that is not there; `Unavailable` or `Timeout` of the lock.
    pub async fn explain(&self, schedule: &str, instant: DateTime<Utc>) -> Result<Explanation> {
        let schedule =
            self.schedules.iter().find(|known| known.name() == schedule).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "cron", "explain")
                    .with_detail(format!("schedule {schedule:?}"))
            })?;
        let now = self.lock.now().await?;
        let just_before = TimeDelta::microseconds(1);
        // the tick that answered for it, and the one after it, which may have made up for that one
        let after = schedule.starts_at(instant).checked_sub_signed(just_before);
        let query = RecordQuery { after, until: None, limit: 2 };
        let records = self.lock.records(&query).await?;
        let resolution = self.lock.capabilities().config.resolution;
        Ok(explain(self.lock.namespace(), schedule, instant, now, resolution, records))
    }
}
