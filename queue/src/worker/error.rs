use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::status::JobFailure;

/// How a handler says that a job is not done.
///
/// Any error becomes one by `?`, and means: try again by the retry policy. It is no error itself,
/// so that this conversion can exist.
///
/// ```
/// use standfast_queue::JobError;
///
/// fn parse(text: &str) -> Result<u32, JobError> {
///     if text.is_empty() {
///         return Err(JobError::dead("nothing to parse"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(parse("").is_err());
/// ```
#[derive(Clone)]
pub struct JobError {
    pub(crate) verdict: Verdict,
    pub(crate) failure: JobFailure,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Cancelled,
    Dead,
    Retry,
    RetryIn(Duration),
    Snooze(Duration),
}

impl JobError {
    fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, failure: JobFailure::new(message) }
    }

    /// Somebody asked for the end of the job, and it has ended.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Verdict::Cancelled, message)
    }

    /// It can never be done: no further attempt, to the dead letters.
    pub fn dead(message: impl Into<String>) -> Self {
        Self::new(Verdict::Dead, message)
    }

    /// Try again by the retry policy.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(Verdict::Retry, message)
    }

    /// Try again after `delay`, as far as the retry policy allows another attempt.
    pub fn retry_in(delay: Duration, message: impl Into<String>) -> Self {
        Self::new(Verdict::RetryIn(delay), message)
    }

    /// Not now: run it again after `delay`, without counting an attempt.
    pub fn snooze(delay: Duration) -> Self {
        Self::new(Verdict::Snooze(delay), "snoozed")
    }

    /// What else is known, for whoever looks into it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.failure.detail = Some(detail.into());
        self
    }

    /// What went wrong, in words.
    pub fn message(&self) -> &str {
        &self.failure.message
    }

    /// Whether it can never be done.
    pub fn is_dead(&self) -> bool {
        self.verdict == Verdict::Dead
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_message = cause.to_string();
            // many errors show their source themselves
            if !message.ends_with(&cause_message) {
                message.push_str(": ");
                message.push_str(&cause_message);
            }
            source = cause.source();
        }
        Self::retry(message)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobError")
            .field("verdict", &self.verdict)
            .field("message", &self.failure.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.message)
    }
}
