//! How the time of an invocation is divided. What is cut off by Lambda gives no answer, so that the
//! whole batch comes back: the end of the time is kept free.

use std::time::{Duration, Instant};

use crate::worker::WorkerConfig;

/// What settlements may take at the end.
const SETTLING: Duration = Duration::from_secs(2);
/// What the answer may take.
const ANSWERING: Duration = Duration::from_millis(500);
/// Leases are looked at every tenth of this; they end with the invocation, whatever it is.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

pub(super) struct Plan {
    /// When nothing more begins and what runs is asked to end.
    pub(super) stop_at: Instant,
    /// When the answer is given, whatever still goes on.
    pub(super) answer_at: Instant,
    cancel_grace: Duration,
}

impl Plan {
    pub(super) fn new(now: Instant, deadline: Instant, config: &WorkerConfig) -> Self {
        let left = deadline.saturating_duration_since(now);
        let cancel_grace = config.cancel_grace.min(left / 10);
        let answer_at = now + (left - ANSWERING.min(left / 20));
        let stop_at = answer_at - cancel_grace - SETTLING.min(left / 10);
        Self { stop_at, answer_at, cancel_grace }
    }

    /// The configuration of a worker for this invocation.
    pub(super) fn config(&self, config: &WorkerConfig) -> WorkerConfig {
        WorkerConfig {
            // until the stop there is as much time as there can be
            grace: Duration::ZERO,
            cancel_grace: self.cancel_grace,
            // the heartbeat cancels a fifth of this before the end: after the stop did
            lease: ((self.answer_at - self.stop_at) / 2).max(SHORTEST_LEASE),
            ..config.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn the_end_of_the_time_is_kept_free() {
        let (now, config) = (SystemClock.instant(), WorkerConfig::default());
        let plan = |left: u64| {
            let plan = Plan::new(now, now + Duration::from_millis(left), &config);
            let millis = |at: Instant| at.duration_since(now).as_millis();
            (millis(plan.stop_at), millis(plan.answer_at))
        };
        assert_eq!(plan(900_000), (892_500, 899_500));
        assert_eq!(plan(3_000), (2_250, 2_850));
        assert_eq!(plan(0), (0, 0));
    }
}
