use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::Result;

use crate::dead::{DeadLetter, DeadLetterFilter, DeadLetterPage, PageToken};
use crate::message::{OutgoingMessage, Priority};

/// The dead letters, numbered in the order in which they came.
pub(super) struct DeadBox {
    letters: BTreeMap<u64, Kept>,
    next: u64,
    evicted: u64,
    max: usize,
    keep: TimeDelta,
}

struct Kept {
    letter: DeadLetter,
    priority: Priority,
    group: Option<Arc<str>>,
}

impl DeadBox {
    pub(super) fn new(max: usize, keep: Duration) -> Self {
        Self {
            letters: BTreeMap::new(),
            next: 0,
            evicted: 0,
            max: max.max(1),
            keep: TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn push(
        &mut self,
        letter: DeadLetter,
        priority: Priority,
        group: Option<Arc<str>>,
        now: DateTime<Utc>,
    ) {
        self.letters.insert(self.next, Kept { letter, priority, group });
        self.next += 1;
        self.expire(now);
    }

    /// Deletes what is too old or too much, the oldest first.
    pub(super) fn expire(&mut self, now: DateTime<Utc>) {
        while let Some(oldest) = self.letters.first_entry() {
            let died_at = oldest.get().letter.died_at;
            let too_old = now.signed_duration_since(died_at) > self.keep;
            if !too_old && self.letters.len() <= self.max {
                break;
            }
            if let Some((_, kept)) = self.letters.pop_first() {
                tracing::warn!(id = %kept.letter.envelope.id, too_old, "dead letter deleted");
                self.evicted += 1;
            }
        }
    }

    pub(super) fn page(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let start = after.map_or(Ok(0), |token| token.number("memory"))?;
        let mut matching =
            self.letters.range(start..).filter(|(_, kept)| filter.matches(&kept.letter));
        let letters = matching.by_ref().take(limit).map(|(_, kept)| kept.letter.clone()).collect();
        let next = matching.next().map(|(number, _)| PageToken::new(number.to_string()));
        Ok(DeadLetterPage::new(letters, next))
    }

    /// The numbers of at most `limit` letters, the oldest first.
    pub(super) fn choose(&self, filter: &DeadLetterFilter, limit: usize) -> Vec<u64> {
        let matching = self.letters.iter().filter(|(_, kept)| filter.matches(&kept.letter));
        matching.take(limit).map(|(number, _)| *number).collect()
    }

    /// The letter as a message of the next run.
    pub(super) fn message(&self, number: u64) -> Option<OutgoingMessage> {
        let Kept { letter, priority, group } = self.letters.get(&number)?;
        let message = OutgoingMessage::new(letter.envelope.next_run()).priority(*priority);
        Some(OutgoingMessage { group: group.clone(), ..message })
    }

    pub(super) fn take(&mut self, number: u64) {
        self.letters.remove(&number);
    }

    pub(super) fn purge(&mut self, filter: &DeadLetterFilter) -> u64 {
        let before = self.letters.len();
        self.letters.retain(|_, kept| !filter.matches(&kept.letter));
        (before - self.letters.len()) as u64
    }
}
