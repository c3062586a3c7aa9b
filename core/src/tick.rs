use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use crate::fence::Fence;

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
}

impl Tick {
    /// The first claim of the tick of `namespace` that is due at `at`, with nothing before it.
    pub fn new(namespace: impl Into<String>, at: DateTime<Utc>, fence: Fence) -> Self {
        Self { namespace: namespace.into(), at, previous: None, fence, attempt: 1 }
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

    /// The UTC date of the tick.
    pub fn date(&self) -> NaiveDate {
        self.at.date_naive()
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
}
