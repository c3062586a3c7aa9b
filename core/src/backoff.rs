use std::time::Duration;

/// How long to wait before the next attempt: exponential with a cap, jitter injected.
///
/// A pure function of the attempt and a random number, so that tests can tell it exactly.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::Backoff;
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).jitter(0.5);
/// assert_eq!(backoff.delay(3, 0.0), Duration::from_secs(2));   // 4 s, less half of it
/// assert_eq!(backoff.delay(3, 1.0), Duration::from_secs(4));
/// assert_eq!(backoff.delay(99, 1.0), Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

impl Backoff {
    /// Starts at `base` after the first attempt, doubles each time, and ends at `max`;
    /// half of each delay is jitter.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, factor: 2.0, jitter: 0.5 }
    }

    /// The same `delay` every time, without jitter.
    pub const fn constant(delay: Duration) -> Self {
        Self { base: delay, max: delay, factor: 1.0, jitter: 0.0 }
    }

    /// Multiplies the delay by `factor` (at least 1) with each attempt.
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Self { factor: factor.max(1.0), ..self }
    }

    /// The share of each delay, from 0 to 1, that is left to chance.
    #[must_use]
    pub const fn jitter(self, share: f64) -> Self {
        Self { jitter: share.clamp(0.0, 1.0), ..self }
    }

    /// The delay after `attempt` (counted from 1), with `random` drawn from 0 to 1.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let full =
            (self.base.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(full * (1.0 - self.jitter * (1.0 - random.clamp(0.0, 1.0))))
    }

    /// [`delay`](Self::delay) with chance from the operating system.
    pub fn next(&self, attempt: u32) -> Duration {
        self.delay(attempt, crate::random::unit())
    }
}

impl Default for Backoff {
    /// One second to five minutes.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_attempt_stays_at_the_cap() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(300));
    }

    #[test]
    fn a_constant_delay_has_no_jitter() {
        let backoff = Backoff::constant(Duration::from_millis(7));
        assert_eq!(backoff.delay(1, 0.0), backoff.delay(50, 1.0));
    }
}
