//! So many futures at once.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use standfast_core::Result;

/// Futures that run beside one another, no more than `most` of them.
pub(super) struct Pool<F> {
    running: FuturesUnordered<F>,
    most: usize,
}

impl<T, F: Future<Output = Result<T>>> Pool<F> {
    pub(super) fn new(most: usize) -> Self {
        Self { running: FuturesUnordered::new(), most }
    }

    /// Adds a future, once there is room for it; what the one gave that made room.
    pub(super) async fn add(&mut self, future: F) -> Result<Option<T>> {
        let done = if self.running.len() < self.most { None } else { self.next().await? };
        self.running.push(future);
        Ok(done)
    }

    /// What the next one gives; `None` when all have.
    pub(super) async fn next(&mut self) -> Result<Option<T>> {
        self.running.next().await.transpose()
    }
}
