//! The store's time as this instance knows it: measured, and carried on by the monotonic clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{Clock, checked_add, saturating_add};

/// What the store said its time was, and what this instance's clocks showed at that moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    store: DateTime<Utc>,
    at: Instant,
    wall: DateTime<Utc>,
    /// How long the store took to say so; it is no more wrong than that.
    took: Duration,
}

#[derive(Debug, Default)]
pub(super) struct StoreTime(Mutex<Option<Sample>>);

/// After this long it is measured again: clocks drift by less than 100 ms in it.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// The wall clock and the monotonic one disagree by this much when the wall clock was set or the
/// machine slept.
const JUMP: TimeDelta = TimeDelta::seconds(1);

impl StoreTime {
    fn sample(&self) -> MutexGuard<'_, Option<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the store said in answer to a question of `asked_at`; `is_certain` when it
    /// contradicts what was known.
    ///
    /// It counts as said at the end of the answer. So this instance's idea is late by the answer's
    /// way back, and a claim comes a little late rather than too early.
    pub(super) fn observe(
        &self,
        clock: &dyn Clock,
        asked_at: Instant,
        store: DateTime<Utc>,
        is_certain: bool,
    ) {
        let (at, wall) = (clock.instant(), clock.now());
        let took = at.saturating_duration_since(asked_at);
        let mut sample = self.sample();
        let is_better = sample.is_none_or(|old| took <= old.took || is_stale(&old, at, wall));
        if is_certain || is_better {
            *sample = Some(Sample { store, at, wall, took });
        }
    }

    /// Whether it has to be measured again.
    pub(super) fn is_stale(&self, clock: &dyn Clock) -> bool {
        let (at, wall) = (clock.instant(), clock.now());
        self.sample().is_none_or(|sample| is_stale(&sample, at, wall))
    }

    /// The store's time at `instant`; `None` before it was measured.
    pub(super) fn at(&self, instant: Instant) -> Option<DateTime<Utc>> {
        let sample = (*self.sample())?;
        checked_add(sample.store, instant.saturating_duration_since(sample.at))
    }

    /// When it will be `time` in the store; at once if it is past.
    pub(super) fn instant_of(&self, time: DateTime<Utc>) -> Option<Instant> {
        let sample = (*self.sample())?;
        Some(saturating_add(sample.at, (time - sample.store).to_std().unwrap_or_default()))
    }

    /// By how much the store's clock is ahead of this instance's.
    pub(super) fn skew(&self) -> Option<TimeDelta> {
        self.sample().map(|sample| sample.store - sample.wall)
    }
}

fn is_stale(sample: &Sample, at: Instant, wall: DateTime<Utc>) -> bool {
    let passed = at.saturating_duration_since(sample.at);
    let by_monotonic = TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
    passed > GOOD_FOR || (wall - sample.wall - by_monotonic).abs() > JUMP
}
