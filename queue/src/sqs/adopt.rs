//! Messages that somebody else has received from the queue and hands over, as AWS Lambda does.

use std::time::Duration;

use aws_sdk_sqs::types::Message;
use standfast_core::{Clock as _, SystemClock};

use super::SqsQueue;
use super::held::Held;
use super::receive::Later;
use crate::dead::DeadLetter;
use crate::delivery::Received;
use crate::receipt::Receipt;

/// What a message is that somebody else has received.
pub(crate) enum Adopted {
    /// A delivery like any other.
    Delivery(Received),
    /// Received too often: it is with the dead letters now.
    Dead(DeadLetter),
    /// Not to be delivered now.
    Aside(Aside),
}

/// A message that is not due yet or that cannot be read here.
pub(crate) struct Aside(Later);

impl Aside {
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.0, Later::Unread(..))
    }
}

impl SqsQueue {
    /// The name of the queue.
    pub(crate) fn name(&self) -> &str {
        self.0.url.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.0.fifo
    }

    /// Makes a delivery of a message; `lease` is how long it is hidden at the least. `None` when it was
    /// received too often and the dead letters cannot take it now.
    pub(crate) async fn adopt(&self, message: Message, lease: Duration) -> Option<Adopted> {
        let asked_at = SystemClock.instant();
        let sorted = self.sort(vec![message], asked_at, lease, self.era());
        if let Some(later) = sorted.later.into_iter().next() {
            return Some(Adopted::Aside(Aside(later)));
        }
        if let Some(letter) = self.bury(sorted.spent).await.pop() {
            return Some(Adopted::Dead(letter));
        }
        self.fresh_leases(sorted.found, asked_at, lease).await.pop().map(Adopted::Delivery)
    }

    /// Leaves messages to others, or to a later time.
    pub(crate) async fn put_aside(&self, aside: Vec<Aside>) {
        self.see_to(aside.into_iter().map(|aside| aside.0).collect()).await;
    }

    /// Whether the message of a delivery is stored elsewhere, so that this one only needs to go.
    pub(crate) fn is_copied(receipt: &Receipt) -> bool {
        Held::of(receipt).is_some_and(|held| held.is_copied())
    }
}
