//! Things that are due at an instant, cancelled far more often than they come due.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of (instant, key, stamp). An entry is live while its owner still has that stamp; entries
/// that are not are skipped, and swept once they outnumber the live ones, so that cancelling costs
/// nothing and memory stays within twice what is live.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    heap: BinaryHeap<Due<K>>,
}

#[derive(Debug)]
struct Due<K> {
    at: Instant,
    key: K,
    stamp: u64,
}

impl<K> PartialEq for Due<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K> Eq for Due<K> {}

impl<K> PartialOrd for Due<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Due<K> {
    /// The earliest is the greatest, since the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then(other.stamp.cmp(&self.stamp))
    }
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K> Deadlines<K> {
    /// Adds an entry; `live_count` and `is_live` tell when and what to sweep.
    pub(crate) fn push(
        &mut self,
        at: Instant,
        key: K,
        stamp: u64,
        live_count: usize,
        is_live: impl Fn(&K, u64) -> bool,
    ) {
        if self.heap.len() > 2 * live_count + 64 {
            self.heap.retain(|due| is_live(&due.key, due.stamp));
        }
        self.heap.push(Due { at, key, stamp });
    }

    /// Takes out the earliest live entry that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant, is_live: impl Fn(&K, u64) -> bool) -> Option<K> {
        while self.heap.peek()?.at <= now {
            let due = self.heap.pop()?;
            if is_live(&due.key, due.stamp) {
                return Some(due.key);
            }
        }
        None
    }

    /// When the earliest live entry is due.
    pub(crate) fn next(&mut self, is_live: impl Fn(&K, u64) -> bool) -> Option<Instant> {
        loop {
            let due = self.heap.peek()?;
            if is_live(&due.key, due.stamp) {
                return Some(due.at);
            }
            self.heap.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_live_entries_come_out_in_order_of_time() {
        let (now, mut deadlines) = (Instant::now(), Deadlines::default());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (seconds, key, stamp) in [(3, 'c', 3), (1, 'a', 1), (2, 'b', 2), (2, 'b', 9)] {
            deadlines.push(at(seconds), key, stamp, 3, |_, _| true);
        }
        let live = |_: &char, stamp| stamp != 2;
        assert_eq!(deadlines.pop_due(now, live), None);
        assert_eq!(deadlines.pop_due(at(2), live), Some('a'));
        assert_eq!(deadlines.pop_due(at(2), live), Some('b'));
        assert_eq!(deadlines.pop_due(at(2), live), None);
        assert_eq!(deadlines.next(live), Some(at(3)));
    }

    #[test]
    fn cancelled_entries_do_not_pile_up() {
        let (now, mut deadlines) = (Instant::now(), Deadlines::default());
        for stamp in 0..100_000 {
            deadlines.push(now, (), stamp, 1, |(), live| live == stamp);
        }
        assert!(deadlines.heap.len() < 200);
    }
}
