use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::{JobId, Result};

use crate::envelope::Envelope;

/// A delivery that is out with a worker.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, Queue, QueueAdmin, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// queue.receive(&ReceiveOptions::new(1).worker("worker-3")).await?;
/// for out in queue.leased(100).await? {
///     println!("{} {} since {}, attempt {}", out.kind, out.id, out.since, out.attempt);
///     assert_eq!(out.worker.as_deref(), Some("worker-3"));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leased {
    /// The message.
    pub id: JobId,
    /// What kind of job it is.
    pub kind: String,
    /// Who received it, if they said so.
    pub worker: Option<Arc<str>>,
    /// Since when, by the store's clock.
    pub since: DateTime<Utc>,
    /// Which attempt it is.
    pub attempt: u32,
}

impl Leased {
    /// A delivery of `envelope` that is out since `since`.
    pub fn new(
        envelope: &Envelope,
        worker: Option<Arc<str>>,
        since: DateTime<Utc>,
        attempt: u32,
    ) -> Self {
        Self { id: envelope.id, kind: envelope.kind.clone().into_owned(), worker, since, attempt }
    }
}

/// What operators do with a queue.
///
/// # Contract
///
/// 1. Looking changes nothing: no lease, no attempt.
/// 2. A paused queue takes messages and settlements and delivers nothing, to no receiver, until it
///    is resumed; leases go on.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, Queue, QueueAdmin, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// queue.pause().await?;
/// queue.send(&[Envelope::new("mail", "hello").into()]).await?;
/// assert!(queue.receive(&ReceiveOptions::new(1)).await?.is_empty());
/// assert_eq!(queue.peek(10).await?[0].kind, "mail");
/// queue.resume().await?;
/// assert_eq!(queue.purge().await?, 1);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait QueueAdmin {
    /// The next messages to be delivered, at most `limit`, without receiving them.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the capabilities say so; what the backend meets.
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>>;

    /// The deliveries that are out, at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    async fn leased(&self, limit: usize) -> Result<Vec<Leased>>;

    /// Stops delivering.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    async fn pause(&self) -> Result<()>;

    /// Delivers again.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    async fn resume(&self) -> Result<()>;

    /// Deletes every message but the dead letters, those that are out included, and says how many.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn purge(&self) -> Result<u64>;
}
