//! Why a run did or did not happen, from the records of its ticks: a pure function.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use standfast_core::ScheduledRun;

use crate::due::{self, Window};
use crate::record::{TickRecord, TickState};
use crate::runner::dispatch::run_id;
use crate::schedule::{Schedule, TZ_VERSION};

/// What became of a run.
///
/// ```
/// use standfast_cron_lock::Fate;
///
/// fn is_worth_a_call(fate: &Fate) -> bool {
///     matches!(fate, Fate::Failed(_) | Fate::Exhausted | Fate::NoTick)
/// }
/// assert!(!is_worth_a_call(&Fate::Overlapping));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fate {
    /// It was dispatched.
    Dispatched,
    /// Every owner of its tick died, until the tick was closed.
    Exhausted,
    /// Its tick failed: this, or another listener of it, went on failing.
    Failed(String),
    /// The records of the time are gone.
    Forgotten,
    /// Its tick has an owner, which is at it.
    InProgress,
    /// It could not be started before its starting deadline.
    Late,
    /// It was due while no tick was won, and the catch-up policy does not make up for it.
    Missed,
    /// The schedule was new to the tick, or nothing was known of what came before: that is not made
    /// up for.
    New,
    /// It is not due at that instant; the next time that it is, if any.
    NotDue(Option<DateTime<Utc>>),
    /// The owner of its tick did not have the schedule: another release.
    NotThere,
    /// Its time, or that of its tick, has not come.
    NotYet,
    /// No tick was won since; the next one that is will answer for it.
    NoTick,
    /// The run before it still ran.
    Overlapping,
    /// The owner of its tick died or let go, and nobody has taken over yet.
    Unfinished,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dispatched => "dispatched",
            Self::Exhausted => "not dispatched: every owner of its tick died",
            Self::Failed(error) => return write!(f, "its tick failed: {error}"),
            Self::Forgotten => "unknown: the records of the time are gone",
            Self::InProgress => "its tick has an owner that is at it",
            Self::Late => "not dispatched: past its starting deadline",
            Self::Missed => {
                "not dispatched: no tick was won when it was due, and the catch-up \
                             policy does not make up for it"
            }
            Self::New => "not dispatched: the schedule was new, or the cursor was lost",
            Self::NotDue(Some(next)) => return write!(f, "not due then; the next time is {next}"),
            Self::NotDue(None) => "not due then, nor ever after",
            Self::NotThere => "not dispatched: the owner of its tick did not have the schedule",
            Self::NotYet => "not due yet",
            Self::NoTick => "not dispatched: no tick was won since",
            Self::Overlapping => "not dispatched: the run before it still ran",
            Self::Unfinished => "not dispatched yet: its tick waits for a new owner",
        })
    }
}

/// Why a run did or did not happen; made by [`CronLedger::explain`](crate::CronLedger::explain).
///
/// ```
/// # use std::sync::Arc;
/// # use standfast_core::testkit::ManualClock;
/// use standfast_cron_lock::{Cron, CronLockConfig, Fate, MemoryCronLock, Span, every};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let clock = Arc::new(ManualClock::at("2026-03-01T11:00:00Z".parse().unwrap()));
/// # let lock = MemoryCronLock::with_config("shop", CronLockConfig::default(), clock)?;
/// let mut cron = Cron::new(lock);
/// cron.schedule(every(30.minutes()).id("report"), |_tick| async {})?;
/// let half_past = "2026-03-01T11:30:00Z".parse().unwrap();
/// let explanation = cron.ledger().explain("report", half_past).await?;
/// assert_eq!(explanation.fate, Fate::NotYet);
/// assert!(explanation.to_string().starts_with("report, every 1800s (UTC), 2026-03-01 11:30:00"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The schedule's id.
    pub schedule: String,
    /// When it is due, for people.
    pub description: String,
    /// The instant that was asked about.
    pub due: DateTime<Utc>,
    /// The same, as the wall of the schedule's zone showed it.
    pub local: NaiveDateTime,
    /// When it was to start, after its jitter.
    pub starts_at: DateTime<Utc>,
    /// What became of it.
    pub fate: Fate,
    /// The record of the tick that answered for it.
    pub tick: Option<TickRecord>,
    /// The release of the tz database that this was worked out with.
    pub tz_version: &'static str,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, description, due, local, starts_at, fate, tick, tz_version } = self;
        write!(f, "{schedule}, {description}, {local} ({due}, tz database {tz_version})")?;
        if starts_at != due {
            write!(f, ", delayed to {starts_at}")?;
        }
        write!(f, ": {fate}")?;
        let Some(tick) = tick else { return Ok(()) };
        let lag = (tick.first_claimed_at - tick.at).num_milliseconds();
        write!(f, "; tick {}, {:?}, won {lag} ms late", tick.at, tick.state)?;
        if let Some(previous) = tick.previous {
            write!(f, ", after {previous}")?;
        }
        write!(f, ", by {}", tick.owner)?;
        if tick.attempt > 1 {
            write!(f, ", owner {} of it ({} died)", tick.attempt, tick.crashes)?;
        }
        Ok(())
    }
}

/// `records` are the first two that are not before the run was to start.
pub(crate) fn explain(
    namespace: &str,
    schedule: &Schedule,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
    resolution: Duration,
    mut records: Vec<TickRecord>,
) -> Explanation {
    let starts_at = schedule.starts_at(due);
    let run = run_id(namespace, &ScheduledRun::new(schedule.name(), due, schedule.local(due)));
    let (fate, tick) = if schedule.next(due - TimeDelta::microseconds(1)) != Some(due) {
        (Fate::NotDue(schedule.next(due)), None)
    } else if let Some(index) = records.iter().position(|record| record.jobs.contains(&run)) {
        (Fate::Dispatched, Some(records.swap_remove(index)))
    } else if records.is_empty() {
        // the tick that will answer for it may be due up to a resolution later
        let is_early = now < starts_at + resolution;
        (if is_early { Fate::NotYet } else { Fate::NoTick }, None)
    } else {
        let record = records.swap_remove(0);
        (fate_in(&record, schedule, due, starts_at, now, resolution), Some(record))
    };
    Explanation {
        schedule: schedule.name().to_owned(),
        description: schedule.describe(),
        due,
        local: schedule.local(due),
        starts_at,
        fate,
        tick,
        tz_version: TZ_VERSION,
    }
}

fn fate_in(
    record: &TickRecord,
    schedule: &Schedule,
    due: DateTime<Utc>,
    starts_at: DateTime<Utc>,
    now: DateTime<Utc>,
    resolution: Duration,
) -> Fate {
    if record.previous.is_some_and(|previous| previous >= starts_at) {
        return Fate::Forgotten;
    }
    if !record.schedules.contains(schedule.name()) {
        return Fate::NotThere;
    }
    let (previous, at, now_then) = (record.previous, record.at, record.first_claimed_at);
    let window = Window { previous, at, resolution, now: now_then };
    let all = due::evaluate(schedule, &window, record.known.contains(schedule.name()));
    if all.missed.contains(&due) {
        Fate::Missed
    } else if all.late.contains(&due) {
        Fate::Late
    } else if !all.runs.iter().any(|run| run.due == due) {
        Fate::New
    } else {
        match record.state {
            TickState::Claimed if record.lease_until > now => Fate::InProgress,
            TickState::Abandoned | TickState::Claimed => Fate::Unfinished,
            TickState::Exhausted => Fate::Exhausted,
            TickState::Failed => Fate::Failed(record.error.clone().unwrap_or_default()),
            // all other runs of a tick that is done are among its jobs
            TickState::Done => Fate::Overlapping,
        }
    }
}
