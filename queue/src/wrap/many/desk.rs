//! What the receivers of several queues know together: which queues are worth asking, and what
//! came that nobody has taken yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use standfast_core::{Error, saturating_add};

use crate::dead::DeadLetter;
use crate::delivery::{Batch, Received};
use crate::envelope::Envelope;

/// How long a queue that gave less than it was asked for is left out while others give something.
/// A send or settle through the same value ends that early.
const EMPTY_FOR: Duration = Duration::from_millis(50);

/// How long a queue that failed is left out.
const FAILING_FOR: Duration = Duration::from_secs(1);

pub(super) struct Desk {
    lines: Vec<Line>,
    parked: Vec<Parked>,
    dead: Vec<DeadLetter>,
    dropped: Vec<Arc<Envelope>>,
    last_ticket: u64,
}

/// Which queues to ask.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Whom {
    /// All that do not fail.
    Everybody,
    /// Those that may have something that nobody waits for already.
    Promising,
}

#[derive(Default)]
struct Line {
    /// Until when somebody waits there, if somebody does.
    polled_until: Option<Instant>,
    skip_until: Option<Instant>,
    failure: Option<Error>,
}

struct Parked {
    ticket: u64,
    received: Received,
    lease: Duration,
}

impl Desk {
    pub(super) fn new(queues: usize) -> Self {
        Self {
            lines: (0..queues).map(|_| Line::default()).collect(),
            parked: Vec::new(),
            dead: Vec::new(),
            dropped: Vec::new(),
            last_ticket: 0,
        }
    }

    // --- which queues to ask --------------------------------------------------------------------

    /// Whether `queue` is left out. One that fails always is, so that it costs those who receive
    /// from the others no time: it is tried apart.
    pub(super) fn skips(&self, queue: usize, whom: Whom, now: Instant) -> bool {
        let line = &self.lines[queue];
        let rests = || line.skip_until.is_some_and(|until| now < until);
        line.failure.is_some()
            || whom == Whom::Promising && (line.polled_until.is_some() || rests())
    }

    pub(super) fn answered(&mut self, queue: usize, gave_all: bool, now: Instant) {
        let line = &mut self.lines[queue];
        if line.failure.take().is_some() {
            tracing::info!(queue, "one of several queues answers again");
        }
        line.skip_until = (!gave_all).then(|| saturating_add(now, EMPTY_FOR));
    }

    pub(super) fn failed(&mut self, queue: usize, error: Error, now: Instant) {
        let line = &mut self.lines[queue];
        if line.failure.is_none() {
            tracing::warn!(queue, %error, "one of several queues fails; the others go on");
        }
        line.failure = Some(error);
        line.skip_until = Some(saturating_add(now, FAILING_FOR));
    }

    /// Something has changed in `queue`, so that it may have something.
    pub(super) fn stir(&mut self, queue: usize) {
        let line = &mut self.lines[queue];
        if line.failure.is_none() {
            line.skip_until = None;
        }
    }

    /// The error of the first queue, when all of them fail.
    pub(super) fn all_failing(&self) -> Option<&Error> {
        let failing = self.lines.iter().all(|line| line.failure.is_some());
        self.lines.first().filter(|_| failing)?.failure.as_ref()
    }

    /// Lets every queue be asked again, when all of them fail.
    pub(super) fn forgive(&mut self) {
        if self.all_failing().is_some() {
            for line in &mut self.lines {
                line.failure = None;
                line.skip_until = None;
            }
        }
    }

    // --- waiting ----------------------------------------------------------------------------------

    /// The queues on which nobody waits and somebody should; marks them as waited on.
    pub(super) fn unpolled(&mut self, until: Instant, now: Instant) -> Vec<usize> {
        let mut unpolled = Vec::new();
        for (queue, line) in self.lines.iter_mut().enumerate() {
            if line.polled_until.is_none() && !line.rests(now) {
                line.polled_until = Some(until);
                unpolled.push(queue);
            }
        }
        unpolled
    }

    /// The queues that failed a while ago and should be tried; marks them as waited on.
    pub(super) fn probes(&mut self, now: Instant) -> Vec<usize> {
        let mut probes = Vec::new();
        for (queue, line) in self.lines.iter_mut().enumerate() {
            if line.polled_until.is_none() && line.failure.is_some() && !line.rests(now) {
                line.polled_until = Some(now);
                probes.push(queue);
            }
        }
        probes
    }

    pub(super) fn poll_ended(&mut self, queue: usize) {
        self.lines[queue].polled_until = None;
    }

    /// Whether somebody waits on any queue, and will have ended at `until`.
    pub(super) fn is_polled(&self, until: Option<Instant>) -> bool {
        let mut polls = self.lines.iter().filter_map(|line| line.polled_until);
        polls.any(|end| until.is_none_or(|until| end <= until))
    }

    /// When the first queue that failed may be tried again.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let resting =
            self.lines.iter().filter(|line| line.failure.is_some() && line.polled_until.is_none());
        resting.filter_map(|line| line.skip_until).min()
    }

    // --- what nobody has taken --------------------------------------------------------------------

    /// Keeps a batch for the next receiver; returns the tickets of its deliveries.
    pub(super) fn park(&mut self, batch: Batch, lease: Duration) -> Vec<u64> {
        self.dead.extend(batch.dead);
        self.dropped.extend(batch.dropped);
        let mut tickets = Vec::with_capacity(batch.deliveries.len());
        for received in batch.deliveries {
            self.last_ticket += 1;
            tickets.push(self.last_ticket);
            self.parked.push(Parked { ticket: self.last_ticket, received, lease });
        }
        tickets
    }

    /// Moves what is parked into `batch`: reports, and up to `max` deliveries of the lease that the
    /// receiver asked for, as long as at least half of it is left.
    pub(super) fn take(&mut self, batch: &mut Batch, max: usize, lease: Duration, now: Instant) {
        batch.dead.append(&mut self.dead);
        batch.dropped.append(&mut self.dropped);
        if self.parked.is_empty() {
            return;
        }
        let fresh = saturating_add(now, lease / 2);
        let fits = |parked: &Parked| parked.lease == lease && parked.received.lease_until >= fresh;
        let mut room = max.saturating_sub(batch.deliveries.len());
        for parked in std::mem::take(&mut self.parked) {
            if room > 0 && fits(&parked) {
                batch.deliveries.push(parked.received);
                room -= 1;
            } else if parked.received.lease_until > now {
                self.parked.push(parked);
            }
        }
    }

    /// Takes back the deliveries of these tickets, or all of them, that nobody has taken.
    pub(super) fn unpark(&mut self, tickets: Option<&[u64]>) -> Vec<Received> {
        let (back, stay) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| tickets.is_none_or(|tickets| tickets.contains(&parked.ticket)));
        self.parked = stay;
        let back: Vec<Parked> = back;
        back.into_iter().map(|parked| parked.received).collect()
    }
}

impl Line {
    /// Whether it failed a moment ago.
    fn rests(&self, now: Instant) -> bool {
        self.failure.is_some() && self.skip_until.is_some_and(|until| now < until)
    }
}
