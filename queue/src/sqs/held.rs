//! What a receipt remembers of its delivery. The service does not refuse every stale receipt
//! handle, so this process does, by what it knows: when the lease ends and what was settled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standfast_core::{Clock as _, SystemClock, saturating_add};

use super::wire::Incoming;
use crate::receipt::Receipt;

/// The longest that a message is hidden, counted from when it was received.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// One delivery that is out.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) incoming: Incoming,
    pub(super) attempt: u32,
    pub(super) delivery: u32,
    /// From before it was asked for.
    received_at: Instant,
    /// The number of purges before it.
    era: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    until: Instant,
    /// Somebody settles it.
    taken: bool,
    /// Its copy is stored, only it itself is still there.
    copied: bool,
}

/// The right to settle a delivery; given back unless it is settled.
#[derive(Debug)]
#[must_use]
pub(super) struct Taken(Arc<Held>);

impl Taken {
    pub(super) fn held(&self) -> &Arc<Held> {
        &self.0
    }

    /// It is settled: the receipt is stale from now on.
    pub(super) fn settled(self) {
        self.0.state().until = self.0.received_at;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.state().taken = false;
    }
}

impl Held {
    pub(super) fn new(
        incoming: Incoming,
        (attempt, delivery): (u32, u32),
        received_at: Instant,
        until: Instant,
        era: u64,
    ) -> Self {
        let state = Mutex::new(State { until, taken: false, copied: false });
        Self { incoming, attempt, delivery, received_at, era, state }
    }

    /// What the receipt of a delivery of this backend remembers.
    pub(super) fn of(receipt: &Receipt) -> Option<Arc<Self>> {
        receipt.pop::<Self>().map(|(held, _)| held)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_live(&self, state: &State, era: u64) -> bool {
        self.era == era && !state.taken && SystemClock.instant() < state.until
    }

    /// Takes the right to settle it; `None` when it is stale.
    pub(super) fn take(self: &Arc<Self>, era: u64) -> Option<Taken> {
        let mut state = self.state();
        if !self.is_live(&state, era) {
            return None;
        }
        state.taken = true;
        Some(Taken(Arc::clone(self)))
    }

    /// Whether it can be extended.
    pub(super) fn is_held(&self, era: u64) -> bool {
        self.is_live(&self.state(), era)
    }

    /// Its lease ends then, unless it has been settled meanwhile.
    pub(super) fn extended(&self, until: Instant) {
        let mut state = self.state();
        if state.until > self.received_at {
            state.until = until;
        }
    }

    /// For how long it can still be hidden.
    pub(super) fn rest(&self) -> Duration {
        LONGEST.saturating_sub(SystemClock.instant().duration_since(self.received_at))
    }

    /// Whether its copy is stored already.
    pub(super) fn is_copied(&self) -> bool {
        self.state().copied
    }

    pub(super) fn copied(&self) {
        self.state().copied = true;
    }
}

/// When a lease ends that was asked for at `asked_at`.
pub(super) fn end(asked_at: Instant, lease: Duration) -> Instant {
    saturating_add(asked_at, lease.min(LONGEST))
}
