//! What the changes of the clocks will do to a schedule, before it is deployed.

use std::fmt;
use std::ops::Range;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use standfast_core::Result;

use super::wall::{self, Shown};
use super::{Schedule, Spec};

/// What a change of the clocks does to a run.
///
/// ```
/// use standfast_cron_lock::{ClockChange, daily_at};
///
/// let from = "2026-01-01T00:00:00Z".parse().unwrap();
/// let to = "2027-01-01T00:00:00Z".parse().unwrap();
/// let billing = daily_at("03:30").id("billing");
/// let changes: Vec<_> =
///     billing.simulate("Europe/Helsinki", from..to)?.filter_map(|run| run.change).collect();
/// assert_eq!(changes, [ClockChange::Skipped, ClockChange::OnceOfTwo]);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClockChange {
    /// The wall shows this time twice, and it is due the first time only.
    OnceOfTwo,
    /// The wall shows this time twice, and it is due both times; this is the first.
    RepeatedFirst,
    /// The wall shows this time twice, and it is due both times; this is the second.
    RepeatedSecond,
    /// The wall never shows the time it was meant for; it is due as soon as the clocks have
    /// changed.
    Skipped,
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnceOfTwo => "the clocks show this time twice; it runs the first time",
            Self::RepeatedFirst => "the clocks show this time twice; it runs both times; the first",
            Self::RepeatedSecond => {
                "the clocks show this time twice; it runs both times; the second"
            }
            Self::Skipped => "the clocks skip the time it was meant for; it runs after the gap",
        })
    }
}

/// One run of a [`Simulation`].
///
/// ```
/// use standfast_cron_lock::daily_at;
///
/// let from = "2026-03-29T00:00:00Z".parse().unwrap();
/// let to = "2026-03-30T00:00:00Z".parse().unwrap();
/// let billing = daily_at("03:30").id("billing");
/// let run = billing.simulate("Europe/Helsinki", from..to)?.next().unwrap();
/// assert_eq!(run.local.to_string(), "2026-03-29 04:00:00");
/// assert!(run.to_string().contains("runs after the gap"));
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SimulatedRun {
    /// When it is due.
    pub at: DateTime<Utc>,
    /// What the wall shows then.
    pub local: NaiveDateTime,
    /// What a change of the clocks does to it.
    pub change: Option<ClockChange>,
}

impl fmt::Display for SimulatedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.local, self.at)?;
        self.change.map_or(Ok(()), |change| write!(f, ": {change}"))
    }
}

/// The runs of a schedule in a zone, one by one; made by [`Schedule::simulate`].
///
/// ```
/// use standfast_cron_lock::cron;
///
/// let from = "2026-01-01T00:00:00Z".parse().unwrap();
/// let to = "2031-01-01T00:00:00Z".parse().unwrap();
/// let nightly = cron("15 2 * * *").id("nightly");
/// // one night each spring and each autumn is not like the others
/// let runs = nightly.simulate("America/New_York", from..to)?;
/// assert_eq!(runs.filter(|run| run.change.is_some()).count(), 5);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    schedule: Schedule,
    after: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Schedule {
    /// The runs it would have in `zone` from the start of `range` until before its end, and what
    /// changes of the clocks do to them. Jitter is left out.
    ///
    /// # Errors
    ///
    /// `Invalid` when the schedule or the zone is.
    pub fn simulate(&self, zone: &str, range: Range<DateTime<Utc>>) -> Result<Simulation> {
        let schedule = self.clone().tz(zone);
        schedule.well_formed()?;
        let just_before = TimeDelta::microseconds(1);
        let after = range.start.checked_sub_signed(just_before).unwrap_or(range.start);
        Ok(Simulation { schedule, after, end: range.end })
    }

    fn change_at(&self, at: DateTime<Utc>) -> Option<ClockChange> {
        let Spec::Wall(wall) = &self.spec else { return None };
        let local = wall::local(self.zone, at);
        match wall::shown(self.zone, local) {
            Shown::Twice(..) if wall.is_fixed() => Some(ClockChange::OnceOfTwo),
            Shown::Twice(first, _) if first == at => Some(ClockChange::RepeatedFirst),
            Shown::Twice(..) => Some(ClockChange::RepeatedSecond),
            _ if wall.is_fixed() && is_end_of_gap(self.zone, at) && !wall.names(local) => {
                Some(ClockChange::Skipped)
            }
            _ => None,
        }
    }
}

fn is_end_of_gap(zone: Tz, at: DateTime<Utc>) -> bool {
    let before = wall::local(zone, at) - TimeDelta::seconds(1);
    matches!(wall::shown(zone, before), Shown::Never)
}

impl Iterator for Simulation {
    type Item = SimulatedRun;

    fn next(&mut self) -> Option<SimulatedRun> {
        let at = self.schedule.next(self.after).filter(|at| *at < self.end);
        self.after = at.unwrap_or(self.end);
        let at = at?;
        Some(SimulatedRun {
            at,
            local: self.schedule.local(at),
            change: self.schedule.change_at(at),
        })
    }
}
