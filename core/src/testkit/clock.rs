use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::clock::{Clock, to_micros};

/// A clock that stands still until it is [advanced](ManualClock::advance). Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::{Clock, testkit::ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(90));
/// assert_eq!((clock.now() - before).num_seconds(), 90);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: DateTime<Utc>,
    origin: Instant,
    passed: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// A clock that stands at the present time.
    pub fn new() -> Self {
        Self::at(Utc::now())
    }

    /// A clock that stands at `start`.
    pub fn at(start: DateTime<Utc>) -> Self {
        Self {
            start: to_micros(start),
            origin: Instant::now(),
            passed: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// Lets `time` pass and wakes the sleepers whose deadline has come.
    pub fn advance(&self, time: Duration) {
        self.passed.send_modify(|passed| *passed += time);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        to_micros(self.start + *self.passed.borrow())
    }

    fn instant(&self) -> Instant {
        self.origin + *self.passed.borrow()
    }

    async fn sleep_until(&self, deadline: Instant) {
        let mut passed = self.passed.subscribe();
        let due = deadline.saturating_duration_since(self.origin);
        // invariant: the sender lives in `self`, so the wait cannot fail
        passed.wait_for(|passed| *passed >= due).await.expect("the clock is alive");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::new();
        let deadline = clock.instant() + Duration::from_secs(10);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(deadline).await }
        });
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }
}
