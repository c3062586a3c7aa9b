use std::collections::VecDeque;

use super::state::Index;
use crate::message::Priority;

/// Whose turn it is: of fifteen picks, 8, 4, 2 and 1 go to the four priorities, spread out. A pick
/// whose list is empty goes to the most urgent list that is not.
const TURNS: [usize; 15] = [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0];

/// The ready messages, one list per priority, the oldest first.
#[derive(Default)]
pub(super) struct ReadyLists {
    lists: [VecDeque<(Index, u64)>; Priority::ALL.len()],
    turn: usize,
}

impl ReadyLists {
    pub(super) fn push(&mut self, priority: Priority, index: Index, stamp: u64) {
        self.lists[priority as usize].push_back((index, stamp));
    }

    /// How many there are at most.
    pub(super) fn len(&self) -> usize {
        self.lists.iter().map(VecDeque::len).sum()
    }

    pub(super) fn pop(&mut self, is_live: impl Fn(&Index, u64) -> bool) -> Option<Index> {
        loop {
            let turn = TURNS[self.turn];
            let list = if self.lists[turn].is_empty() {
                self.lists.iter().position(|list| !list.is_empty())?
            } else {
                turn
            };
            let (index, stamp) = self.lists[list].pop_front()?;
            if is_live(&index, stamp) {
                self.turn = (self.turn + 1) % TURNS.len();
                return Some(index);
            }
        }
    }

    /// The oldest of each list.
    pub(super) fn fronts(
        &mut self,
        is_live: impl Fn(&Index, u64) -> bool,
    ) -> impl Iterator<Item = Index> {
        for list in &mut self.lists {
            while list.front().is_some_and(|(index, stamp)| !is_live(index, *stamp)) {
                list.pop_front();
            }
        }
        self.lists.iter().filter_map(|list| list.front()).map(|(index, _)| *index)
    }

    /// All of them, the most urgent list first.
    pub(super) fn iter(
        &self,
        is_live: impl Fn(&Index, u64) -> bool,
    ) -> impl Iterator<Item = Index> {
        let all = self.lists.iter().flatten();
        all.filter(move |(index, stamp)| is_live(index, *stamp)).map(|(index, _)| *index)
    }
}
