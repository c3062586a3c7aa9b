use chrono::{DateTime, Utc};

/// When something recurs, as a pure function: what [`custom`](crate::custom) schedules are made of.
///
/// # Contract
///
/// 1. The answer is later than what was asked, and is the first one there is: asking from any
///    instant before it gives the same.
/// 2. It depends on nothing but the question. All instances must agree, and a takeover, a restart
///    or [`explain`](crate::CronLedger::explain) asks again.
///
/// Functions of that form are recurrences. What is not later than asked ends the recurrence, with
/// an error in the log.
///
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use standfast_cron_lock::{Recurrence, custom};
///
/// /// The launch, and then ever rarer.
/// struct Launch(DateTime<Utc>);
/// impl Recurrence for Launch {
///     fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
///         let days = [0, 1, 7, 30, 365].map(TimeDelta::days);
///         days.iter().map(|span| self.0 + *span).find(|at| *at > after)
///     }
/// }
///
/// let launch: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
/// let survey = custom(Launch(launch)).id("survey");
/// assert_eq!(survey.next_after(launch)?, Some("2026-03-02T12:00:00Z".parse().unwrap()));
/// # Ok::<_, standfast_core::Error>(())
/// ```
pub trait Recurrence: Send + Sync + 'static {
    /// The first instant after `after`; `None` when there is none any more.
    fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>>;
}

impl<F> Recurrence for F
where
    F: Fn(DateTime<Utc>) -> Option<DateTime<Utc>> + Send + Sync + 'static,
{
    fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self(after)
    }
}
