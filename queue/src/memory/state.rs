use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::{checked_add, saturating_add};

use super::dead::DeadBox;
use super::group::Groups;
use super::hash::ById;
use super::ready::ReadyLists;
use super::{MemoryQueueConfig, Now};
use crate::admin::Leased;
use crate::dead::DeadLetter;
use crate::deadlines::Deadlines;
use crate::delivery::{Batch, ReceiveOptions, Received, Settlement};
use crate::envelope::Envelope;
use crate::message::{Original, OutgoingMessage, Priority, SendOutcome};
use crate::queue::QueueStats;
use crate::receipt::Receipt;

/// A message, by its place in the slab.
pub(super) type Index = u32;

/// Everything behind the lock. A message's `stamp` is drawn anew with every change of its place or
/// lease: entries of lists and heaps that carry an older one are void. The one drawn when it was
/// leased is the token of that delivery.
pub(super) struct State {
    slots: Vec<Option<Stored>>,
    free: Vec<Index>,
    by_id: ById<Index>,
    ready: ReadyLists,
    leases: Deadlines<Index>,
    delayed: Deadlines<Index>,
    groups: Groups,
    dedupe: HashMap<Arc<str>, (Original, u64)>,
    dedupe_ends: Deadlines<Arc<str>>,
    pub(super) dead: DeadBox,
    unreported: Vec<DeadLetter>,
    counts: Counts,
    dropped: u64,
    last_stamp: u64,
    max_crashes: u32,
    max_len: usize,
    pub(super) paused: bool,
    /// Who waits, and until when: the first of them sees what comes due next.
    pub(super) waiters: BTreeSet<WaitEntry>,
    wakeups: usize,
}

/// A receiver that waits: until when, and a stamp that tells it from others.
pub(super) type WaitEntry = (Instant, u64);

#[derive(Default)]
struct Counts {
    leased: usize,
    delayed: usize,
}

impl Counts {
    fn left(&mut self, place: Place) {
        match place {
            Place::Blocked | Place::Ready => {}
            Place::Delayed => self.delayed -= 1,
            Place::Leased => self.leased -= 1,
        }
    }
}

pub(super) struct Stored {
    envelope: Arc<Envelope>,
    priority: Priority,
    group: Option<Arc<str>>,
    place: Place,
    stamp: u64,
    token: u64,
    due: Instant,
    due_at: DateTime<Utc>,
    drop_at: Option<Instant>,
    failures: u32,
    crashes: u32,
    uncounted: u32,
    last_error: Option<Arc<str>>,
    worker: Option<Arc<str>>,
    leased_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    /// Behind the head of its group.
    Blocked,
    Delayed,
    Leased,
    Ready,
}

impl Stored {
    fn attempt(&self) -> u32 {
        1 + self.failures + self.crashes
    }

    fn delivery(&self) -> u32 {
        self.attempt() + self.uncounted
    }
}

fn is_live(slots: &[Option<Stored>]) -> impl Fn(&Index, u64) -> bool {
    |index, stamp| slots[*index as usize].as_ref().is_some_and(|stored| stored.stamp == stamp)
}

impl State {
    pub(super) fn new(config: &MemoryQueueConfig) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: ById::default(),
            ready: ReadyLists::default(),
            leases: Deadlines::default(),
            delayed: Deadlines::default(),
            groups: Groups::default(),
            dedupe: HashMap::new(),
            dedupe_ends: Deadlines::default(),
            dead: DeadBox::new(config.max_dead, config.keep_dead),
            unreported: Vec::new(),
            counts: Counts::default(),
            dropped: 0,
            last_stamp: 0,
            max_crashes: config.max_crashes.max(1),
            max_len: config.max_len,
            paused: false,
            waiters: BTreeSet::new(),
            wakeups: 0,
        }
    }

    fn stored(&self, index: Index) -> &Stored {
        // invariant: lists and heaps are checked for live stamps before their indexes are used
        self.slots[index as usize].as_ref().expect("the index is live")
    }

    fn stored_mut(&mut self, index: Index) -> &mut Stored {
        // invariant: as in `stored`
        self.slots[index as usize].as_mut().expect("the index is live")
    }

    /// How many waiting receivers to wake after this call.
    pub(super) fn take_wakeups(&mut self) -> usize {
        let wakeups = std::mem::take(&mut self.wakeups).min(self.waiters.len());
        let Some((first, _)) = self.waiters.first().copied() else { return 0 };
        if wakeups == 0 && self.next_due().is_some_and(|due| due < first) {
            // a lease or delay that ends before anybody would look
            return 1;
        }
        wakeups
    }

    /// Notes that a receiver waits until `until`, unless it is woken.
    pub(super) fn wait_until(&mut self, until: Instant) -> WaitEntry {
        self.last_stamp += 1;
        let entry = (until, self.last_stamp);
        self.waiters.insert(entry);
        entry
    }

    /// When something changes by itself.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        let Self { slots, leases, delayed, paused, .. } = self;
        if *paused {
            return None;
        }
        let next = [leases.next(is_live(slots)), delayed.next(is_live(slots))];
        next.into_iter().flatten().min()
    }

    pub(super) fn send(&mut self, message: &OutgoingMessage, now: Now) -> SendOutcome {
        let envelope = &message.envelope;
        let own = Original::new(envelope.id, envelope.handle);
        let of = |original: Original| match original == own {
            true => SendOutcome::Sent,
            false => SendOutcome::Duplicate(original),
        };
        if let Some(index) = self.by_id.get(&envelope.id) {
            return of(Original::new(envelope.id, self.stored(*index).envelope.handle));
        }
        if let Some(dedupe) = &message.dedupe {
            self.expire_dedupe(now.instant);
            if let Some((original, _)) = self.dedupe.get(&dedupe.key) {
                return of(*original);
            }
        }
        if self.by_id.len() >= self.max_len {
            return SendOutcome::Full;
        }
        if let Some(dedupe) = &message.dedupe {
            self.remember_key(&dedupe.key, dedupe.window, envelope, now.instant);
        }
        self.insert(message, now);
        SendOutcome::Sent
    }

    fn insert(&mut self, message: &OutgoingMessage, now: Now) {
        let (due, due_at) = if message.delay.is_zero() {
            (now.instant, now.time)
        } else {
            let due_at = checked_add(now.time, message.delay);
            let due_at = due_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            (saturating_add(now.instant, message.delay), due_at)
        };
        let stored = Stored {
            envelope: Arc::clone(&message.envelope),
            priority: message.priority,
            group: message.group.clone(),
            place: Place::Blocked,
            stamp: 0,
            token: 0,
            due,
            due_at,
            drop_at: message.drop_after.map(|span| saturating_add(now.instant, span)),
            failures: 0,
            crashes: 0,
            uncounted: 0,
            last_error: None,
            worker: None,
            leased_at: now.time,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(stored);
                index
            }
            None => {
                self.slots.push(Some(stored));
                // invariant: four billion messages do not fit into memory
                Index::try_from(self.slots.len() - 1).expect("fewer than 2^32 messages")
            }
        };
        self.by_id.insert(message.envelope.id, index);
        let is_head = match &message.group {
            Some(group) => self.groups.push(group, index),
            None => true,
        };
        if is_head {
            self.make_available(index, now.instant);
        }
    }

    fn expire_dedupe(&mut self, now: Instant) {
        let Self { dedupe, dedupe_ends, .. } = self;
        let live = |key: &Arc<str>, stamp| dedupe.get(key).is_some_and(|(_, own)| *own == stamp);
        let mut gone = Vec::new();
        while let Some(key) = dedupe_ends.pop_due(now, live) {
            gone.push(key);
        }
        for key in gone {
            self.dedupe.remove(&key);
        }
    }

    fn remember_key(&mut self, key: &Arc<str>, window: Duration, of: &Envelope, now: Instant) {
        self.last_stamp += 1;
        let stamp = self.last_stamp;
        self.dedupe.insert(Arc::clone(key), (Original::new(of.id, of.handle), stamp));
        let Self { dedupe, dedupe_ends, .. } = self;
        let ends = saturating_add(now, window);
        dedupe_ends.push(ends, Arc::clone(key), stamp, dedupe.len(), |key, stamp| {
            dedupe.get(key).is_some_and(|(_, own)| *own == stamp)
        });
    }

    /// Takes a message out of its place and gives it a new stamp, which voids every entry of it.
    fn leave(&mut self, index: Index) -> u64 {
        self.last_stamp += 1;
        let stamp = self.last_stamp;
        let stored = self.stored_mut(index);
        stored.stamp = stamp;
        let place = std::mem::replace(&mut stored.place, Place::Blocked);
        self.counts.left(place);
        stamp
    }

    /// Puts a message with the ready ones, or with the delayed ones until it is due.
    fn make_available(&mut self, index: Index, now: Instant) {
        let stamp = self.leave(index);
        let stored = self.stored_mut(index);
        let due = stored.due;
        if due > now {
            stored.place = Place::Delayed;
            self.counts.delayed += 1;
            let Self { slots, delayed, counts, .. } = self;
            delayed.push(due, index, stamp, counts.delayed, is_live(slots));
        } else {
            stored.place = Place::Ready;
            let priority = stored.priority;
            self.ready.push(priority, index, stamp);
            self.wakeups += 1;
        }
    }

    /// Makes what is due ready, and takes back leases that ran out.
    pub(super) fn promote(&mut self, now: Now) {
        loop {
            let Self { slots, delayed, .. } = self;
            let Some(index) = delayed.pop_due(now.instant, is_live(slots)) else { break };
            self.make_available(index, now.instant);
        }
        loop {
            let Self { slots, leases, .. } = self;
            let Some(index) = leases.pop_due(now.instant, is_live(slots)) else { break };
            let stored = self.stored_mut(index);
            stored.crashes += 1;
            if stored.crashes >= self.max_crashes {
                let letter = self.bury(index, DeadLetter::CRASHED, now);
                self.unreported.push(letter);
            } else {
                self.make_available(index, now.instant);
            }
        }
    }

    /// Removes a message from everything but the groups' order, and lets its group go on.
    fn remove(&mut self, index: Index, now: Instant) -> Stored {
        // invariant: as in `stored`; an empty slot voids every entry of its message
        let stored = self.slots[index as usize].take().expect("the index is live");
        self.counts.left(stored.place);
        self.free.push(index);
        self.by_id.remove(&stored.envelope.id);
        if let Some(next) = stored.group.as_ref().and_then(|group| self.groups.pop(group)) {
            self.make_available(next, now);
        }
        stored
    }

    fn bury(&mut self, index: Index, reason: &str, now: Now) -> DeadLetter {
        let stored = self.remove(index, now.instant);
        let letter = DeadLetter {
            last_error: stored.last_error.clone(),
            // each delivery has ended, by now, in one of these ways
            attempts: stored.failures + stored.crashes,
            deliveries: stored.failures + stored.uncounted + stored.crashes,
            crashes: stored.crashes,
            due_at: stored.due_at,
            ..DeadLetter::new(Arc::clone(&stored.envelope), reason, now.time)
        };
        self.dead.push(letter.clone(), stored.priority, stored.group, now.time);
        letter
    }

    pub(super) fn receive(&mut self, options: &ReceiveOptions, now: Now) -> Batch {
        self.promote(now);
        let mut batch = Batch { dead: std::mem::take(&mut self.unreported), ..Batch::default() };
        if self.paused {
            return batch;
        }
        let until = saturating_add(now.instant, options.lease);
        batch.deliveries.reserve_exact(options.max.min(self.ready.len()));
        while batch.deliveries.len() < options.max {
            let Self { slots, ready, .. } = self;
            let Some(index) = ready.pop(is_live(slots)) else { break };
            let stored = self.stored(index);
            if stored.drop_at.is_some_and(|at| at <= now.instant) {
                self.dropped += 1;
                batch.dropped.push(self.remove(index, now.instant).envelope);
            } else {
                batch.deliveries.push(self.lease(index, until, options, now));
            }
        }
        batch
    }

    fn lease(
        &mut self,
        index: Index,
        until: Instant,
        options: &ReceiveOptions,
        now: Now,
    ) -> Received {
        let stamp = self.leave(index);
        self.counts.leased += 1;
        let stored = self.stored_mut(index);
        stored.place = Place::Leased;
        stored.worker.clone_from(&options.worker);
        stored.leased_at = now.time;
        stored.token = stamp;
        let received = Received {
            receipt: Receipt::new(stamp, Arc::clone(&stored.envelope)),
            attempt: stored.attempt(),
            delivery: stored.delivery(),
            crashes: stored.crashes,
            due_at: stored.due_at,
            lease_until: until,
            last_error: stored.last_error.clone(),
        };
        let Self { slots, leases, counts, .. } = self;
        leases.push(until, index, stamp, counts.leased, is_live(slots));
        received
    }

    /// Makes the lease of a message end at `until` and voids what was to end it before.
    fn lease_until(&mut self, index: Index, until: Instant) {
        self.last_stamp += 1;
        let stamp = self.last_stamp;
        self.stored_mut(index).stamp = stamp;
        let Self { slots, leases, counts, .. } = self;
        leases.push(until, index, stamp, counts.leased, is_live(slots));
    }

    /// The message that `receipt` holds, if it still does.
    fn held(&self, receipt: &Receipt) -> Option<Index> {
        let index = *self.by_id.get(&receipt.id())?;
        let stored = self.stored(index);
        let held =
            stored.place == Place::Leased && Some(stored.token) == receipt.token().as_number();
        held.then_some(index)
    }

    pub(super) fn settle(&mut self, receipt: &Receipt, settlement: &Settlement, now: Now) -> bool {
        let Some(index) = self.held(receipt) else { return false };
        match settlement {
            Settlement::Ack => drop(self.remove(index, now.instant)),
            Settlement::DeadLetter { reason } => {
                let stored = self.stored_mut(index);
                stored.failures += 1;
                self.bury(index, reason, now);
            }
            Settlement::Release { delay, counted, error } => {
                let stored = self.stored_mut(index);
                let count = if *counted { &mut stored.failures } else { &mut stored.uncounted };
                *count += 1;
                if let Some(error) = error {
                    stored.last_error = Some(error.as_str().into());
                }
                stored.due = saturating_add(now.instant, *delay);
                self.make_available(index, now.instant);
            }
        }
        true
    }

    pub(super) fn extend(&mut self, receipt: &Receipt, until: Instant) -> bool {
        let Some(index) = self.held(receipt) else { return false };
        self.lease_until(index, until);
        true
    }

    pub(super) fn stats(&mut self, now: Now) -> QueueStats {
        self.promote(now);
        self.dead.expire(now.time);
        let Self { slots, ready, .. } = self;
        let fronts: Vec<Index> = ready.fronts(is_live(slots)).collect();
        let oldest = fronts.into_iter().map(|index| self.stored(index).due).min();
        let ready = self.by_id.len() - self.counts.leased - self.counts.delayed;
        QueueStats {
            ready: ready as u64,
            leased: self.counts.leased as u64,
            delayed: self.counts.delayed as u64,
            dead: self.dead.len() as u64,
            oldest_age: oldest.map(|due| now.instant.saturating_duration_since(due)),
            dropped: self.dropped,
            dead_evicted: self.dead.evicted(),
            paused: self.paused,
        }
    }

    pub(super) fn peek(&self, limit: usize) -> Vec<Arc<Envelope>> {
        self.ready
            .iter(is_live(&self.slots))
            .take(limit)
            .map(|index| Arc::clone(&self.stored(index).envelope))
            .collect()
    }

    pub(super) fn leased(&self, limit: usize) -> Vec<Leased> {
        self.slots
            .iter()
            .flatten()
            .filter(|stored| stored.place == Place::Leased)
            .take(limit)
            .map(|stored| {
                let worker = stored.worker.clone();
                Leased::new(&stored.envelope, worker, stored.leased_at, stored.attempt())
            })
            .collect()
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.wakeups += self.waiters.len();
    }

    pub(super) fn purge(&mut self) -> u64 {
        let purged = self.by_id.len();
        self.slots.clear();
        self.free.clear();
        self.by_id.clear();
        self.groups = Groups::default();
        self.ready = ReadyLists::default();
        self.leases = Deadlines::default();
        self.delayed = Deadlines::default();
        self.counts = Counts::default();
        purged as u64
    }

    /// Sends one dead letter again: `Some(true)` when it is queued, `Some(false)` when it stays
    /// because its id is queued already or the queue is full, `None` when it is not there any more.
    pub(super) fn redrive(&mut self, number: u64, now: Now) -> Option<bool> {
        let message = self.dead.message(number)?;
        if self.by_id.contains_key(&message.envelope.id) || self.by_id.len() >= self.max_len {
            return Some(false);
        }
        self.dead.take(number);
        self.insert(&message, now);
        Some(true)
    }
}
