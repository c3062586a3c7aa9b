//! The record of a tick as a register that is written once per attempt, for the linearizability
//! tester of stateright: what calls can answer if they happened one after the other.
//!
//! Time takes part: a tick goes to another owner only when the lease was over by the store's clock,
//! which the answers tell. Where a process died in a call nobody knows what it was answered, so
//! what is unknown here is learned from the answers after it.
#![allow(dead_code, reason = "each test file uses its part")]

use chrono::{DateTime, Utc};
use standfast_core::Fence;
use standfast_cron_lock::{Claim, ExtendOutcome, SettleOutcome, Settlement, TickState};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Claim,
    Extend(Fence),
    Settle(Fence, End),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Abandon,
    Fail,
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Early,
    Extended(DateTime<Utc>),
    Fenced(Fence),
    /// The last fence, and when the store closed the tick, if it did.
    Finished(Fence, Option<DateTime<Utc>>),
    Held(Fence),
    Lapsed,
    Missing,
    Old,
    Settled,
    Won {
        fence: Fence,
        at: DateTime<Utc>,
        until: DateTime<Utc>,
    },
}

impl From<&Settlement> for End {
    fn from(settlement: &Settlement) -> Self {
        match settlement {
            Settlement::Abandon => Self::Abandon,
            Settlement::Fail { .. } => Self::Fail,
            _ => Self::Finish,
        }
    }
}

impl From<&Claim> for Answer {
    fn from(claim: &Claim) -> Self {
        match claim {
            Claim::Claimed(won) => {
                Self::Won { fence: won.tick.fence, at: won.now, until: won.lease_until }
            }
            Claim::Finished(record) => {
                let is_closed = record.state == TickState::Exhausted;
                Self::Finished(record.fence, record.finished_at.filter(|_| is_closed))
            }
            Claim::Held(held) => Self::Held(held.fence),
            Claim::TooEarly { .. } => Self::Early,
            Claim::TooOld { .. } => Self::Old,
            other => panic!("{other:?}"),
        }
    }
}

impl From<&ExtendOutcome> for Answer {
    fn from(outcome: &ExtendOutcome) -> Self {
        match outcome {
            ExtendOutcome::Extended { lease_until, .. } => Self::Extended(*lease_until),
            ExtendOutcome::Fenced { fence, .. } => Self::Fenced(*fence),
            ExtendOutcome::Lapsed => Self::Lapsed,
            ExtendOutcome::Missing => Self::Missing,
            other => panic!("{other:?}"),
        }
    }
}

impl From<&SettleOutcome> for Answer {
    fn from(outcome: &SettleOutcome) -> Self {
        match outcome {
            SettleOutcome::Fenced { fence, .. } => Self::Fenced(*fence),
            SettleOutcome::Missing => Self::Missing,
            SettleOutcome::Settled => Self::Settled,
            other => panic!("{other:?}"),
        }
    }
}

/// The record, one call after the other. `None` is what nobody was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Register {
    Empty,
    Claimed {
        fence: Option<Fence>,
        until: Option<DateTime<Utc>>,
    },
    /// Abandoned, failed or finished.
    Ended(Option<Fence>, End),
    /// Closed by the store.
    Closed(Option<Fence>),
}

impl Register {
    fn fence(self) -> Option<Fence> {
        match self {
            Self::Empty => None,
            Self::Claimed { fence, .. } | Self::Ended(fence, _) | Self::Closed(fence) => fence,
        }
    }

    /// Whether the last grant can have been that of `fence`.
    fn is_of(self, fence: Fence) -> bool {
        self != Self::Empty && self.fence().is_none_or(|own| own == fence)
    }

    fn is_lapsed(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Claimed { until, .. } => until.is_none_or(|until| until <= now),
            _ => true,
        }
    }

    /// Takes in whose the last grant was, where nobody had been told.
    fn learn(&mut self, told: Fence) {
        match self {
            Self::Empty => {}
            Self::Claimed { fence, .. } | Self::Ended(fence, _) | Self::Closed(fence) => {
                *fence = Some(told);
            }
        }
    }
}

impl SequentialSpec for Register {
    type Op = Call;
    type Ret = Answer;

    /// A call that took effect and that nobody was answered.
    fn invoke(&mut self, call: &Call) -> Answer {
        match *call {
            Call::Claim => {
                let is_open =
                    !matches!(self, Self::Ended(_, End::Fail | End::Finish) | Self::Closed(_));
                if is_open {
                    *self = Self::Claimed { fence: None, until: None };
                }
            }
            Call::Extend(fence) if self.is_of(fence) => {
                if let Self::Claimed { until, .. } = self {
                    *until = None;
                }
            }
            Call::Settle(fence, end) if self.is_of(fence) => {
                if let Self::Claimed { .. } = self {
                    *self = Self::Ended(Some(fence), end);
                }
            }
            Call::Extend(_) | Call::Settle(..) => {}
        }
        // read by nobody
        Answer::Missing
    }

    fn is_valid_step(&mut self, call: &Call, answer: &Answer) -> bool {
        let is_over = matches!(self, Self::Ended(_, End::Fail | End::Finish) | Self::Closed(_));
        match (*call, *answer) {
            (Call::Claim, Answer::Won { fence, at, until }) => {
                let is_valid = !is_over
                    && self.fence().is_none_or(|last| fence.supersedes(last))
                    && self.is_lapsed(at);
                *self = Self::Claimed { fence: Some(fence), until: Some(until) };
                is_valid
            }
            (Call::Claim, Answer::Held(fence)) => {
                let is_valid = matches!(self, Self::Claimed { .. }) && self.is_of(fence);
                self.learn(fence);
                is_valid
            }
            (Call::Claim, Answer::Finished(fence, None)) => {
                let is_valid = is_over && !matches!(self, Self::Closed(_)) && self.is_of(fence);
                self.learn(fence);
                is_valid
            }
            (Call::Claim, Answer::Finished(fence, Some(closed))) => {
                let is_valid = match *self {
                    Self::Claimed { .. } => self.is_lapsed(closed),
                    other => matches!(other, Self::Closed(_)),
                } && self.is_of(fence);
                *self = Self::Closed(Some(fence));
                is_valid
            }
            (Call::Claim, Answer::Early) => *self == Self::Empty,
            (Call::Claim, Answer::Old) => !is_over,
            (Call::Extend(fence), Answer::Extended(until)) => {
                let is_valid = matches!(self, Self::Claimed { .. }) && self.is_of(fence);
                *self = Self::Claimed { fence: Some(fence), until: Some(until) };
                is_valid
            }
            (Call::Extend(fence), Answer::Lapsed) => {
                matches!(self, Self::Claimed { .. }) && self.is_of(fence)
            }
            (Call::Settle(fence, end), Answer::Settled) => {
                let is_valid = self.is_of(fence)
                    && match *self {
                        Self::Claimed { .. } => true,
                        Self::Ended(_, how) => how == end,
                        _ => false,
                    };
                *self = Self::Ended(Some(fence), end);
                is_valid
            }
            (Call::Extend(own), Answer::Fenced(fence)) => {
                let is_valid = self.is_of(fence) && (fence != own || !self.is_held());
                self.learn(fence);
                is_valid
            }
            (Call::Settle(own, end), Answer::Fenced(fence)) => {
                let is_repeated = matches!(*self, Self::Ended(_, how) if how == end);
                let is_valid =
                    self.is_of(fence) && (fence != own || !(self.is_held() || is_repeated));
                self.learn(fence);
                is_valid
            }
            (Call::Extend(_) | Call::Settle(..), Answer::Missing) => *self == Self::Empty,
            _ => false,
        }
    }
}

impl Register {
    fn is_held(self) -> bool {
        matches!(self, Self::Claimed { .. })
    }
}

/// A call of one tick: when it was begun, and what it was answered when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) begun: u64,
    pub(crate) call: Call,
    /// `None` where the process died in it, or was told of an error.
    pub(crate) answered: Option<(u64, Answer)>,
}

impl Step {
    /// The order in which the tester tries the calls first. Any would do; this one is mostly right.
    fn rank(&self) -> (Fence, u8, u64) {
        let Some((at, answer)) = self.answered else {
            return (Fence::new(u64::MAX), 9, self.begun);
        };
        match (self.call, answer) {
            (_, Answer::Early | Answer::Missing) => (Fence::new(0), 0, at),
            (_, Answer::Won { fence, .. }) => (fence, 0, at),
            (_, Answer::Held(fence)) => (fence, 1, at),
            (Call::Extend(fence), Answer::Extended(_)) => (fence, 1, at),
            (Call::Extend(fence), _) => (fence, 2, at),
            (Call::Settle(fence, _), Answer::Settled) => (fence, 3, at),
            (_, Answer::Fenced(fence) | Answer::Finished(fence, _)) => (fence, 4, at),
            _ => (Fence::new(u64::MAX), 0, at),
        }
    }
}

/// Whether the calls of one tick can have happened one after the other.
pub(crate) fn is_linearizable(steps: &[Step]) -> bool {
    let mut ranked: Vec<_> = steps.iter().collect();
    ranked.sort_by_key(|step| step.rank());
    let mut events = Vec::new();
    for (thread, step) in ranked.iter().enumerate() {
        events.push((step.begun, thread, None));
        if let Some((at, answer)) = step.answered {
            events.push((at, thread, Some(answer)));
        }
    }
    // of two at the same instant the beginning comes first: then they overlap
    events.sort_by_key(|(at, _, answer)| (*at, answer.is_some()));
    let mut tester = LinearizabilityTester::new(Register::Empty);
    for (_, thread, answer) in events {
        match answer {
            None => tester.on_invoke(thread, ranked[thread].call).expect("one call a thread"),
            Some(answer) => tester.on_return(thread, answer).expect("it was begun"),
        };
    }
    tester.is_consistent()
}
