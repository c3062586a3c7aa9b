use std::iter::FusedIterator;

use chrono::{DateTime, Utc};

use super::Schedule;

/// The instants at which a schedule is due, in order; made by [`Schedule::occurrences`].
///
/// ```
/// use standfast_cron_lock::{Span, every};
///
/// let sync = every(5.minutes()).id("sync");
/// let after = "2026-03-01T11:28:00Z".parse().unwrap();
/// let until = "2026-03-01T11:34:00Z".parse().unwrap();
/// let due: Vec<_> = sync.occurrences(after, until)?.map(|at| at.to_rfc3339()).collect();
/// assert_eq!(due, ["2026-03-01T11:30:00+00:00"]);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Occurrences<'a> {
    schedule: &'a Schedule,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl<'a> Occurrences<'a> {
    pub(crate) fn new(schedule: &'a Schedule, after: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self { schedule, after, until }
    }
}

impl Iterator for Occurrences<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        if self.after >= self.until {
            return None;
        }
        let next = self.schedule.next(self.after).filter(|next| *next <= self.until);
        self.after = next.unwrap_or(self.until);
        next
    }
}

impl FusedIterator for Occurrences<'_> {}
