//! What a queue costs: every request of the service is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the service charges as one request.
const CHUNK: u64 = 64 * 1024;

/// Counts the requests of every [`SqsQueue`](crate::SqsQueue) whose configuration holds a clone of
/// it.
///
/// ```
/// use standfast_queue::{SqsConfig, SqsMeter};
///
/// let meter = SqsMeter::default();
/// let mut config = SqsConfig::default();
/// config.meter = meter.clone();
/// // … run the application with it, then, at 0.40 a million:
/// let usage = meter.usage();
/// println!("{} requests, {:.4}", usage.calls(), usage.cost(0.40));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SqsMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sends: AtomicU64,
    receives: AtomicU64,
    empty_receives: AtomicU64,
    deletes: AtomicU64,
    visibility_changes: AtomicU64,
    others: AtomicU64,
    billed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    deleted: AtomicU64,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Api {
    Send,
    Receive,
    Delete,
    ChangeVisibility,
    Other,
}

/// What was asked of the service so far. A request that failed counts as well.
///
/// ```
/// use standfast_queue::SqsMeter;
///
/// let usage = SqsMeter::default().usage();
/// assert_eq!((usage.calls(), usage.per_message()), (0, None));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SqsUsage {
    /// Requests that sent messages: new ones, hops of delayed ones, dead letters.
    pub sends: u64,
    /// Requests that asked for messages.
    pub receives: u64,
    /// Those of them that brought none.
    pub empty_receives: u64,
    /// Requests that deleted messages.
    pub deletes: u64,
    /// Requests that extended leases or gave messages back.
    pub visibility_changes: u64,
    /// All other requests.
    pub others: u64,
    /// Requests as they are charged: one for each 64 KiB that a request or an answer carries.
    pub billed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages deleted.
    pub deleted: u64,
}

impl SqsUsage {
    /// All requests.
    pub fn calls(&self) -> u64 {
        self.sends + self.receives + self.deletes + self.visibility_changes + self.others
    }

    /// Requests for each message that was deleted; `None` before the first one.
    pub fn per_message(&self) -> Option<f64> {
        (self.deleted > 0).then(|| self.calls() as f64 / self.deleted as f64)
    }

    /// The price of all this where a million requests cost `per_million`.
    pub fn cost(&self, per_million: f64) -> f64 {
        self.billed as f64 * per_million / 1e6
    }
}

fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl SqsMeter {
    /// What was counted so far.
    pub fn usage(&self) -> SqsUsage {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &*self.0;
        SqsUsage {
            sends: get(&counts.sends),
            receives: get(&counts.receives),
            empty_receives: get(&counts.empty_receives),
            deletes: get(&counts.deletes),
            visibility_changes: get(&counts.visibility_changes),
            others: get(&counts.others),
            billed: get(&counts.billed),
            sent: get(&counts.sent),
            received: get(&counts.received),
            deleted: get(&counts.deleted),
        }
    }

    pub(super) fn asked(&self, api: Api) {
        let counts = &*self.0;
        let counter = match api {
            Api::Send => &counts.sends,
            Api::Receive => &counts.receives,
            Api::Delete => &counts.deletes,
            Api::ChangeVisibility => &counts.visibility_changes,
            Api::Other => &counts.others,
        };
        add(counter, 1);
        add(&counts.billed, 1);
    }

    /// What a request carried that was counted as one.
    pub(super) fn carried(&self, bytes: usize) {
        let more = (bytes as u64).div_ceil(CHUNK).saturating_sub(1);
        self.0.billed.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, messages: usize) {
        add(&self.0.sent, messages);
    }

    pub(super) fn received(&self, messages: usize) {
        add(&self.0.received, messages);
        add(&self.0.empty_receives, usize::from(messages == 0));
    }

    pub(super) fn deleted(&self, messages: usize) {
        add(&self.0.deleted, messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_are_charged_by_the_chunk() {
        let meter = SqsMeter::default();
        for bytes in [0, 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024] {
            meter.asked(Api::Send);
            meter.carried(bytes);
        }
        let usage = meter.usage();
        assert_eq!((usage.sends, usage.billed), (5, 1 + 1 + 1 + 2 + 16));
    }
}
