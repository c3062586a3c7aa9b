//! What becomes of the messages of one event.

use std::collections::{HashSet, VecDeque};
use std::mem;

use crate::dead::DeadLetter;
use crate::delivery::Received;
use crate::receipt::Receipt;

/// The messages of one event. Each is a failure until it is settled as done: whatever goes wrong, it
/// comes back.
#[derive(Default)]
pub(super) struct Batch {
    /// Which of the events of this process it is.
    pub(super) number: u64,
    records: Vec<Record>,
    /// What can be delivered, in order.
    ready: VecDeque<(usize, Received)>,
    /// What was dead already, to be told.
    dead: Vec<DeadLetter>,
    /// What will not be delivered.
    rest: Vec<Receipt>,
    /// Groups of which a delivery is out.
    busy: HashSet<String>,
    /// How many deliveries are out.
    out: usize,
    /// Groups of which nothing more can be delivered.
    closed_groups: HashSet<String>,
    /// Whether nothing more can be.
    closed: bool,
}

struct Record {
    id: String,
    /// The group whose order it belongs to.
    group: Option<String>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// To stay in the queue.
    Back,
    Out,
    Done,
}

impl Batch {
    /// Messages of which nothing is known yet, with the groups whose order they belong to.
    pub(super) fn new(
        number: u64,
        messages: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Self {
        let record = |(id, group)| Record { id, group, fate: Fate::Back };
        Self { number, records: messages.into_iter().map(record).collect(), ..Self::default() }
    }

    /// The next message can be delivered, unless it would overtake another one.
    pub(super) fn add_ready(&mut self, index: usize, received: Received) {
        let group = self.records[index].group.as_ref();
        let blocked = group.is_some_and(|group| self.closed_groups.contains(group));
        if blocked || self.closed {
            self.rest.push(received.receipt);
        } else {
            self.ready.push_back((index, received));
        }
    }

    /// The next message is dead already.
    pub(super) fn add_dead(&mut self, index: usize, letter: DeadLetter) {
        self.records[index].fate = Fate::Done;
        self.dead.push(letter);
    }

    /// The next message is not due: its group waits with it.
    pub(super) fn add_early(&mut self, index: usize) {
        self.closed_groups.extend(self.records[index].group.clone());
    }

    /// The next message can be neither delivered nor buried: where there is order, nothing may come
    /// after it.
    pub(super) fn add_failed(&mut self, ordered: bool) {
        self.closed |= ordered;
    }

    /// Hands out what was dead already.
    pub(super) fn take_dead(&mut self) -> Vec<DeadLetter> {
        mem::take(&mut self.dead)
    }

    /// Hands out at most `max` messages, of each group the next one after what is done.
    pub(super) fn take(&mut self, max: usize) -> Vec<(usize, Received)> {
        let (mut taken, mut passed) = (Vec::new(), VecDeque::new());
        while taken.len() < max
            && let Some((index, received)) = self.ready.pop_front()
        {
            let record = &mut self.records[index];
            if record.group.as_ref().is_some_and(|group| !self.busy.insert(group.clone())) {
                passed.push_back((index, received));
                continue;
            }
            record.fate = Fate::Out;
            self.out += 1;
            taken.push((index, received));
        }
        passed.append(&mut self.ready);
        self.ready = passed;
        taken
    }

    pub(super) fn is_out(&self, number: u64, index: usize) -> bool {
        self.number == number && self.records[index].fate == Fate::Out
    }

    /// Takes note of the end of a delivery. Where there is order, one that is not done ends it all: of
    /// its group nothing may overtake it, and for the others Lambda asks for the same.
    pub(super) fn settle(&mut self, number: u64, index: usize, done: bool) {
        if !self.is_out(number, index) {
            return;
        }
        self.out -= 1;
        let record = &mut self.records[index];
        record.fate = if done { Fate::Done } else { Fate::Back };
        let Some(group) = &record.group else { return };
        self.busy.remove(group);
        if !done {
            self.rest = self.leave();
        }
    }

    /// Whether nothing is out and nothing is left to be handed out.
    pub(super) fn is_over(&self) -> bool {
        self.out == 0 && self.ready.is_empty() && self.dead.is_empty()
    }

    /// Hands out no more; returns what never was.
    pub(super) fn leave(&mut self) -> Vec<Receipt> {
        let ready = mem::take(&mut self.ready).into_iter().map(|(_, received)| received.receipt);
        mem::take(&mut self.rest).into_iter().chain(ready).collect()
    }

    /// The messages that are to stay in the queue.
    pub(super) fn failed(self) -> Vec<String> {
        let failed = self.records.into_iter().filter(|record| record.fate != Fate::Done);
        failed.map(|record| record.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use standfast_core::{Clock as _, SystemClock};

    use super::*;
    use crate::envelope::Envelope;

    const EVENT: u64 = 3;

    /// Messages of these groups, which are called after their places; none is added.
    fn messages(groups: &[Option<&str>]) -> Batch {
        let of =
            |(index, group): (usize, &Option<&str>)| (index.to_string(), group.map(str::to_owned));
        Batch::new(EVENT, groups.iter().enumerate().map(of))
    }

    fn batch(groups: &[Option<&str>]) -> Batch {
        let mut batch = messages(groups);
        for index in 0..groups.len() {
            add(&mut batch, index);
        }
        batch
    }

    fn add(batch: &mut Batch, index: usize) {
        let receipt = Receipt::new(index as u64, Arc::new(Envelope::new("case", "")));
        let received = Received::new(receipt, SystemClock.now(), SystemClock.instant());
        batch.add_ready(index, received);
    }

    fn take(batch: &mut Batch, max: usize) -> Vec<usize> {
        batch.take(max).into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn without_groups_each_is_for_itself() {
        let mut batch = batch(&[None, None, None]);
        assert_eq!(take(&mut batch, 2), [0, 1]);
        batch.settle(EVENT, 0, false);
        batch.settle(EVENT, 1, true);
        assert_eq!(take(&mut batch, 2), [2]);
        assert!(!batch.is_over());
        batch.settle(EVENT, 2, true);
        assert!(batch.is_over());
        assert_eq!(batch.failed(), ["0"]);
    }

    #[test]
    fn of_a_group_one_is_out_at_a_time() {
        let mut batch = batch(&[Some("a"), Some("a"), Some("b"), Some("a")]);
        assert_eq!(take(&mut batch, 9), [0, 2]);
        assert!(take(&mut batch, 9).is_empty());
        batch.settle(EVENT, 0, true);
        assert_eq!(take(&mut batch, 9), [1]);
        // what is out may end, nothing else begins
        batch.settle(EVENT, 1, false);
        assert!(take(&mut batch, 9).is_empty());
        assert!(!batch.is_over());
        batch.settle(EVENT, 2, true);
        assert!(batch.is_over());
        assert_eq!(batch.leave().len(), 1);
        assert_eq!(batch.failed(), ["1", "3"]);
    }

    #[test]
    fn what_is_before_a_message_that_cannot_be_delivered_still_is() {
        let groups = ["a", "a", "a", "a", "b", "c", "c"].map(Some);
        let mut batch = messages(&groups);
        add(&mut batch, 0);
        add(&mut batch, 1);
        batch.add_early(2);
        add(&mut batch, 3);
        add(&mut batch, 4);
        batch.add_failed(true);
        add(&mut batch, 6);
        assert_eq!(take(&mut batch, 9), [0, 4]);
        batch.settle(EVENT, 4, true);
        batch.settle(EVENT, 0, true);
        assert_eq!(take(&mut batch, 9), [1]);
        batch.settle(EVENT, 1, true);
        assert!(batch.is_over());
        assert_eq!(batch.leave().len(), 2);
        assert_eq!(batch.failed(), ["2", "3", "5", "6"]);
    }

    #[test]
    fn what_was_dead_already_is_told() {
        let mut batch = messages(&[None, None]);
        let envelope = Arc::new(Envelope::new("case", ""));
        batch.add_dead(0, DeadLetter::new(envelope, DeadLetter::CRASHED, SystemClock.now()));
        assert!(!batch.is_over());
        assert_eq!(batch.take_dead().len(), 1);
        assert!(batch.is_over());
        assert_eq!(batch.failed(), ["1"]);
    }

    #[test]
    fn a_settlement_counts_once_and_for_its_event() {
        let mut batch = batch(&[None, None]);
        batch.settle(EVENT, 0, true);
        assert_eq!(take(&mut batch, 1), [0]);
        batch.settle(EVENT - 1, 0, true);
        batch.settle(EVENT, 0, false);
        batch.settle(EVENT, 0, true);
        assert_eq!(batch.failed(), ["0", "1"]);
    }
}
