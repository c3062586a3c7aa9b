//! What one subscriber has not read yet. Costs next to nothing while it is empty.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Signal;

/// Messages that are kept for a slow reader; more, and it is told to look again instead.
const MOST: usize = 256;

#[derive(Default)]
pub(super) struct Mailbox {
    unread: Mutex<Unread>,
    arrived: Notify,
}

#[derive(Default)]
struct Unread {
    messages: VecDeque<Vec<u8>>,
    doubt: bool,
}

impl Mailbox {
    pub(super) fn message(&self, body: &[u8]) {
        self.change(|unread| {
            if unread.messages.len() < MOST {
                unread.messages.push_back(body.to_vec());
            } else {
                // looking again is worth more than what is left of the messages
                unread.messages = VecDeque::new();
                unread.doubt = true;
            }
        });
    }

    pub(super) fn doubt(&self) {
        self.change(|unread| unread.doubt = true);
    }

    fn change(&self, change: impl FnOnce(&mut Unread)) {
        change(&mut self.unread.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Signal> {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(body) = unread.messages.pop_front() {
            return Some(Signal::Message(body));
        }
        std::mem::take(&mut unread.doubt).then_some(Signal::Doubt)
    }

    /// For one reader at a time.
    pub(super) async fn next(&self) -> Signal {
        loop {
            if let Some(signal) = self.pop() {
                return signal;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_doubts_are_one() {
        let mailbox = Mailbox::default();
        mailbox.message(b"1");
        mailbox.doubt();
        mailbox.message(b"2");
        mailbox.doubt();
        assert_eq!(mailbox.next().await, Signal::Message(b"1".to_vec()));
        assert_eq!(mailbox.next().await, Signal::Message(b"2".to_vec()));
        assert_eq!(mailbox.next().await, Signal::Doubt);
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn a_slow_reader_gets_a_doubt_instead_of_everything() {
        let mailbox = Mailbox::default();
        for _ in 0..=MOST {
            mailbox.message(b"x");
        }
        assert_eq!(mailbox.pop(), Some(Signal::Doubt));
        assert_eq!(mailbox.pop(), None);
    }
}
