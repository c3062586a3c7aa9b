use std::sync::atomic::{AtomicU64, Ordering};

/// What went through a [`FaultProxy`](super::FaultProxy).
///
/// ```
/// use standfast_core::testkit::FaultProxy;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let proxy = FaultProxy::start("127.0.0.1:9").await;
/// assert_eq!(proxy.traffic().connections, 0);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Requests, as far as they can be told apart without knowing the protocol: each time that a
    /// client speaks first, or again after the server spoke. What is pipelined counts once.
    pub requests: u64,
    /// Bytes passed on to the server.
    pub to_server: u64,
    /// Bytes passed on to clients.
    pub to_client: u64,
    /// Times that a reply was lost on purpose.
    pub replies_lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) requests: AtomicU64,
    /// By [`Direction`](super::Direction).
    pub(super) bytes: [AtomicU64; 2],
    pub(super) replies_lost: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Traffic {
            connections: read(&self.connections),
            open: read(&self.open),
            requests: read(&self.requests),
            to_server: read(&self.bytes[0]),
            to_client: read(&self.bytes[1]),
            replies_lost: read(&self.replies_lost),
        }
    }

    /// Counts a connection, which is open until the guard is dropped.
    pub(super) fn connection(&self) -> impl Drop + '_ {
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(&self.open)
    }
}

struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
