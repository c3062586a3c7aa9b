use std::time::Duration;

use async_trait::async_trait;
use standfast_core::Result;

use super::ReplyStore;
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::wrap::delegate_operators;

/// A queue of jobs as a worker that answers receives from it: its [`ReplyStore`] learns who waits
/// for each job.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// use standfast_queue::{
///     Envelope, JobState, MemoryQueue, MemoryStatusStore, Queue, ReceiveOptions, ReplyQueue,
///     ReplyStore, StatusHandle, StatusStore, StatusUpdate,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (jobs, web_1) = (MemoryQueue::new(), MemoryQueue::new());
/// # let same = web_1.clone();
/// # let open = move |_: &str| -> standfast_core::Result<Arc<dyn Queue>> { Ok(Arc::new(same.clone())) };
/// let handle = StatusHandle::random();
/// let replies = ReplyQueue::new("web-1", web_1.clone());
/// let job = Envelope::new("report", "").with_handle(handle);
/// replies.asking(jobs.clone()).send(&[job.into()]).await?;
///
/// let answers = ReplyStore::new(MemoryStatusStore::new(), open);
/// let batch = answers.answering(jobs).receive(&ReceiveOptions::new(1)).await?;
/// assert_eq!(batch.deliveries.len(), 1);
/// // now it is known where the steps of the job go
/// let running = StatusUpdate::new("report", JobState::Running);
/// answers.advance(&handle, &running, Duration::from_secs(60)).await?;
/// assert_eq!(web_1.stats().await?.ready, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Answering<Q> {
    queue: Q,
    answers: ReplyStore,
}

impl<Q> Answering<Q> {
    pub(super) fn new(queue: Q, answers: ReplyStore) -> Self {
        Self { queue, answers }
    }
}

#[async_trait]
impl<Q: Queue> Queue for Answering<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.queue.send(batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let batch = self.queue.receive(options).await?;
        // memory only: a call that is dropped here had its deliveries lost already
        for letter in &batch.dead {
            self.answers.learn_ended(&letter.envelope).await;
        }
        for envelope in &batch.dropped {
            self.answers.learn_ended(envelope).await;
        }
        for received in &batch.deliveries {
            self.answers.learn(received).await;
        }
        Ok(batch)
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let outcomes = self.queue.settle(batch).await?;
        for ((receipt, _), outcome) in batch.iter().zip(&outcomes) {
            if !matches!(outcome, SettleOutcome::Failed(_)) {
                self.answers.settled(receipt).await;
            }
        }
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let outcomes = self.queue.extend(batch, lease).await?;
        for (receipt, outcome) in batch.iter().zip(&outcomes) {
            if matches!(outcome, ExtendOutcome::Extended) {
                self.answers.extended(receipt, lease);
            }
        }
        Ok(outcomes)
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

delegate_operators!(Answering, self => self.queue);
