use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::state::Index;

/// The order of the messages of each group. The first one, the head, is the only one that is
/// ready, delayed or leased; it stays the head until it leaves the queue.
#[derive(Default)]
pub(super) struct Groups(HashMap<Arc<str>, VecDeque<Index>>);

impl Groups {
    /// Adds a message at the end of `group` and says whether it is the head.
    pub(super) fn push(&mut self, group: &Arc<str>, index: Index) -> bool {
        let members = self.0.entry(Arc::clone(group)).or_default();
        members.push_back(index);
        members.len() == 1
    }

    /// Removes the head of `group` and returns the next one.
    pub(super) fn pop(&mut self, group: &Arc<str>) -> Option<Index> {
        let members = self.0.get_mut(group)?;
        members.pop_front();
        let next = members.front().copied();
        if next.is_none() {
            self.0.remove(group);
        }
        next
    }
}
