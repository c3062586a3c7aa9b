use std::time::Duration;

/// Spans of time as they are said: `5.minutes()`.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::Span;
///
/// assert_eq!(90.seconds(), Duration::from_secs(90));
/// assert_eq!(5.minutes(), 300.seconds());
/// assert_eq!(1.days(), 24.hours());
/// ```
pub trait Span {
    /// This many seconds.
    fn seconds(self) -> Duration;
    /// This many minutes.
    fn minutes(self) -> Duration;
    /// This many hours.
    fn hours(self) -> Duration;
    /// This many times 24 hours.
    fn days(self) -> Duration;
}

impl Span for u32 {
    fn seconds(self) -> Duration {
        Duration::from_secs(self.into())
    }

    fn minutes(self) -> Duration {
        60.seconds() * self
    }

    fn hours(self) -> Duration {
        60.minutes() * self
    }

    fn days(self) -> Duration {
        24.hours() * self
    }
}
