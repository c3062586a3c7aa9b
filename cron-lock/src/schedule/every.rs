use std::time::Duration;

use chrono::{DateTime, Utc};

/// Whole multiples of a period since the Unix epoch, so that every instance means the same ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Every {
    micros: i64,
}

impl Every {
    /// `None` for a period of no microsecond, or of more than can be counted.
    pub(crate) fn new(period: Duration) -> Option<Self> {
        let micros = i64::try_from(period.as_micros()).ok().filter(|micros| *micros > 0)?;
        period.subsec_nanos().is_multiple_of(1_000).then_some(Self { micros })
    }

    pub(crate) fn period(self) -> Duration {
        Duration::from_micros(self.micros.unsigned_abs())
    }

    pub(crate) fn next_after(self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let count = after.timestamp_micros().div_euclid(self.micros).checked_add(1)?;
        DateTime::from_timestamp_micros(count.checked_mul(self.micros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_multiple_is_after_and_never_the_same() {
        let every = Every::new(Duration::from_secs(300)).unwrap();
        for (after, next) in [
            ("2026-03-01T11:30:00Z", "2026-03-01T11:35:00Z"),
            ("2026-03-01T11:29:59.999999Z", "2026-03-01T11:30:00Z"),
            ("1969-12-31T23:57:00Z", "1970-01-01T00:00:00Z"),
        ] {
            let next: DateTime<Utc> = next.parse().unwrap();
            assert_eq!(every.next_after(after.parse().unwrap()), Some(next));
        }
        assert_eq!(every.next_after(DateTime::<Utc>::MAX_UTC), None);
    }

    #[test]
    fn a_period_that_cannot_be_kept_is_none() {
        for wrong in [Duration::ZERO, Duration::from_nanos(1_500), Duration::MAX] {
            assert!(Every::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
