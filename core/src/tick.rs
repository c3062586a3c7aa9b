use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use crate::fence::Fence;
use crate::id::JobId;

/// One tick of the cron, as its winner sees it: the tick's own time, not the time of day.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::{Fence, Tick};
///
/// let tick = Tick::new("shop", "2026-03-01T11:34:00Z".parse().unwrap(), Fence::new(1))
///     .with_previous("2026-03-01T11:28:00Z".parse().unwrap());
/// // 11:30 was missed; it lies between the previous tick and this one, so it is due now
/// assert!(tick.every(Duration::from_secs(300)));
/// assert!(!tick.every(Duration::from_secs(3600)));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tick {
    /// The namespace whose instances share this tick.
    pub namespace: String,
    /// When the tick was due.
    pub at: DateTime<Utc>,
    /// The last tick recorded before this one, stored at the first claim: a takeover sees the same.
    pub previous: Option<DateTime<Utc>>,
    /// Guards the record of this tick against owners that lost it.
    pub fence: Fence,
    /// Which owner this is, from 1.
    pub attempt: u32,
    /// Which run of which schedule it stands for; `None` for a listener of all ticks.
    pub run: Option<ScheduledRun>,
    /// For how long after `at` another owner may dispatch the same again, unless all instances were
    /// away for longer: a queue has to remember [derived ids](Self::job_id) at least that long. A
    /// day unless said otherwise.
    pub repeats_within: Duration,
}

/// Which run of which schedule a tick stands for.
///
/// ```
/// use standfast_core::{Fence, ScheduledRun, Tick};
///
/// // half past two in the night of Helsinki, on the 2nd of July; in UTC it is the 1st
/// let due = "2026-07-01T23:30:00Z".parse().unwrap();
/// let local = "2026-07-02T02:30:00".parse().unwrap();
/// let run = ScheduledRun::new("billing", due, local);
/// let tick = Tick::new("shop", due, Fence::new(1)).with_run(run);
/// assert_eq!(tick.date().to_string(), "2026-07-02");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ScheduledRun {
    /// The id of the schedule.
    pub schedule: String,
    /// When the run was due by the schedule, before any jitter: what tells its runs apart.
    pub due: DateTime<Utc>,
    /// The same, as the clocks on the walls of the schedule's zone showed it.
    pub local: NaiveDateTime,
    /// Whether it makes up for a time at which no tick was won.
    pub is_backfill: bool,
}

impl ScheduledRun {
    /// The run of `schedule` that was due at `due`, which was `local` in its zone.
    pub fn new(schedule: impl Into<String>, due: DateTime<Utc>, local: NaiveDateTime) -> Self {
        Self { schedule: schedule.into(), due, local, is_backfill: false }
    }
}

impl Tick {
    /// The first claim of the tick of `namespace` that is due at `at`, with nothing before it.
    pub fn new(namespace: impl Into<String>, at: DateTime<Utc>, fence: Fence) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            namespace: namespace.into(),
            at,
            previous: None,
            fence,
            attempt: 1,
            run: None,
            repeats_within: DAY,
        }
    }

    /// The tick recorded before this one.
    #[must_use]
    pub fn with_previous(self, previous: DateTime<Utc>) -> Self {
        Self { previous: Some(previous), ..self }
    }

    /// Which owner this is, from 1.
    #[must_use]
    pub fn with_attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// Which run of which schedule it stands for.
    #[must_use]
    pub fn with_run(self, run: ScheduledRun) -> Self {
        Self { run: Some(run), ..self }
    }

    /// When what is to be done was due: the run of the schedule, or else the tick itself.
    pub fn due(&self) -> DateTime<Utc> {
        self.run.as_ref().map_or(self.at, |run| run.due)
    }

    /// The date on which it was due: in the zone of the schedule, or else in UTC.
    pub fn date(&self) -> NaiveDate {
        self.run.as_ref().map_or_else(|| self.at.date_naive(), |run| run.local.date())
    }

    /// The id of the job `name` (such as its kind) that this tick calls for: the same for every
    /// owner of the tick, another one for every run of every schedule.
    ///
    /// ```
    /// use standfast_core::{Fence, Tick};
    ///
    /// let at = "2026-03-01T11:30:00Z".parse().unwrap();
    /// let first = Tick::new("shop", at, Fence::new(1));
    /// let second = Tick::new("shop", at, Fence::new(2)).with_attempt(2);
    /// assert_eq!(first.job_id("report"), second.job_id("report"));
    /// ```
    pub fn job_id(&self, name: &str) -> JobId {
        match &self.run {
            None => JobId::derive(&self.namespace, name, self.at),
            // a schedule's id has no slash, so that no two pairs meet
            Some(run) => {
                JobId::derive(&self.namespace, &format!("{}/{name}", run.schedule), run.due)
            }
        }
    }

    /// Whether a multiple of `period` since the Unix epoch lies after the previous tick and not
    /// after this one. Without a previous tick, whether this one is such a multiple.
    ///
    /// A period under one microsecond is never due.
    pub fn every(&self, period: Duration) -> bool {
        let Ok(period) = i64::try_from(period.as_micros()) else { return false };
        if period == 0 {
            return false;
        }
        let at = self.at.timestamp_micros();
        match self.previous {
            None => at.rem_euclid(period) == 0,
            Some(previous) => {
                at.div_euclid(period) > previous.timestamp_micros().div_euclid(period)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: &str) -> Tick {
        Tick::new("t", at.parse().unwrap(), Fence::new(1))
    }

    #[test]
    fn a_first_tick_is_due_only_on_the_boundary() {
        assert!(tick("2026-01-01T00:05:00Z").every(Duration::from_secs(300)));
        assert!(!tick("2026-01-01T00:06:00Z").every(Duration::from_secs(300)));
    }

    #[test]
    fn the_previous_boundary_is_not_due_again() {
        let tick =
            tick("2026-01-01T00:06:00Z").with_previous("2026-01-01T00:05:00Z".parse().unwrap());
        assert!(!tick.every(Duration::from_secs(300)));
    }

    #[test]
    fn a_period_of_nothing_is_never_due() {
        assert!(!tick("2026-01-01T00:00:00Z").every(Duration::ZERO));
    }

    #[test]
    fn runs_of_one_tick_have_ids_of_their_own() {
        let run = |schedule, due: &str| {
            let due: DateTime<Utc> = due.parse().unwrap();
            let run = ScheduledRun::new(schedule, due, due.naive_utc());
            tick("2026-01-01T00:05:00Z").with_run(run)
        };
        let mut ids = vec![
            tick("2026-01-01T00:05:00Z").job_id("mail"),
            run("a", "2026-01-01T00:05:00Z").job_id("mail"),
            run("a", "2026-01-01T00:04:00Z").job_id("mail"),
            run("b", "2026-01-01T00:05:00Z").job_id("mail"),
            run("b", "2026-01-01T00:05:00Z").job_id("sms"),
        ];
        assert_eq!(run("a", "2026-01-01T00:05:00Z").job_id("mail"), ids[1]);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5);
    }
}
