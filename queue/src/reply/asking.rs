use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::Result;

use super::REPLY_TO;
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::wrap::delegate_operators;

/// A queue of jobs whose senders wait for replies: each job with a handle says in its header
/// `reply_to` where to send its steps, unless it says so already.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, Queue, QueueAdmin, ReplyQueue, StatusHandle};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let replies = ReplyQueue::new("web-1", MemoryQueue::new());
/// let queue = replies.asking(MemoryQueue::new());
/// let job = Envelope::new("report", "").with_handle(StatusHandle::random());
/// queue.send(&[job.into()]).await?;
/// assert_eq!(queue.peek(1).await?[0].headers["reply_to"], "web-1");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Asking<Q> {
    queue: Q,
    name: Arc<str>,
}

impl<Q> Asking<Q> {
    pub(super) fn new(queue: Q, name: Arc<str>) -> Self {
        Self { queue, name }
    }

    fn asks(&self, message: &OutgoingMessage) -> OutgoingMessage {
        let mut message = message.clone();
        let envelope = &message.envelope;
        if envelope.handle.is_some() && !envelope.headers.contains_key(REPLY_TO) {
            let headers = &mut Arc::make_mut(&mut message.envelope).headers;
            headers.insert(REPLY_TO.into(), (*self.name).into());
        }
        message
    }
}

#[async_trait]
impl<Q: Queue> Queue for Asking<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let batch: Vec<_> = batch.iter().map(|message| self.asks(message)).collect();
        self.queue.send(&batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.queue.receive(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.queue.settle(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.queue.extend(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

delegate_operators!(Asking, self => self.queue);
