use std::fmt::Debug;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// The source of time for everything that waits or compares times inside this process.
///
/// Ownership, expiry and lateness are decided by the *store's* time. The memory backends are
/// their own store and take it from here; other backends use a clock only to wake up.
///
/// # Contract
///
/// 1. [`instant`](Clock::instant) never goes back.
/// 2. [`now`](Clock::now) has microsecond precision, so that what is stored compares equal to
///    what was given. It may jump.
/// 3. [`sleep_until`](Clock::sleep_until) returns no earlier than the deadline and at once if it
///    has passed. Dropping the future has no effect.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::{Clock, testkit::ManualClock};
///
/// async fn an_hour(clock: &dyn Clock) {
///     clock.sleep_until(clock.instant() + Duration::from_secs(3600)).await;
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let clock = ManualClock::new();   // in a test; otherwise `SystemClock`
/// tokio::join!(an_hour(&clock), async { clock.advance(Duration::from_secs(3600)) });
/// # }
/// ```
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// A reading of the monotonic clock.
    fn instant(&self) -> Instant;

    /// Sleeps until `deadline`.
    async fn sleep_until(&self, deadline: Instant);
}

impl dyn Clock + '_ {
    /// Sleeps for `span`, from when it is first polled.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(saturating_add(self.instant(), span)).await;
    }
}

/// The clock of the operating system.
///
/// ```
/// use standfast_core::{Clock, SystemClock};
///
/// let before = SystemClock.instant();
/// assert!(SystemClock.instant() >= before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        to_micros(Utc::now())
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// `time` at the precision of everything that is stored: one microsecond, rounded down.
pub fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// `time + span` at that precision; `None` beyond the end of the calendar.
pub fn checked_add(time: DateTime<Utc>, span: Duration) -> Option<DateTime<Utc>> {
    time.checked_add_signed(TimeDelta::from_std(span).ok()?).map(to_micros)
}

/// `instant + span`, or an instant some thirty years ahead where that is out of range.
pub fn saturating_add(instant: Instant, span: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    instant.checked_add(span.min(FAR)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_added_to_keep_the_precision() {
        let time = DateTime::UNIX_EPOCH;
        let later = checked_add(time, Duration::from_nanos(1_500)).unwrap();
        assert_eq!(later.timestamp_subsec_nanos(), 1_000);
        assert_eq!(checked_add(time, Duration::MAX), None);
    }
}
