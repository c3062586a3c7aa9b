//! What more than one test file needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Reason, Result};
use standfast_queue::testkit::{MemoryHarness, QueueHarness, QueueSetup};
use standfast_queue::{
    Batch, DeadLetterFilter, DeadLetterPage, DeadLetters, Envelope, ExtendOutcome, Leased,
    OutgoingMessage, PageToken, Priority, Queue, QueueAdmin, QueueCapabilities, QueueStats,
    Receipt, ReceiveOptions, RedriveOptions, Redriven, SendOutcome, SettleOutcome, Settlement,
};

/// A queue that declares that it lacks whatever a backend may lack, and behaves so: the suite must
/// pass on it too, by the declared forms.
#[derive(Debug)]
pub(crate) struct Modest(pub(crate) Arc<dyn Queue>);

/// Makes [`Modest`] queues, without the bounds that they do not promise.
pub(crate) struct ModestHarness(pub(crate) MemoryHarness);

#[async_trait]
impl QueueHarness for ModestHarness {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        let mut unbounded = QueueSetup::default();
        (unbounded.max_crashes, unbounded.max_body) = (setup.max_crashes, setup.max_body);
        Arc::new(Modest(self.0.fresh_queue(&unbounded).await))
    }

    async fn pass_time(&self, span: Duration) {
        QueueHarness::pass_time(&self.0, span).await;
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn unit(&self) -> Duration {
        QueueHarness::unit(&self.0)
    }

    fn can_pass(&self, span: Duration) -> bool {
        QueueHarness::can_pass(&self.0, span)
    }
}

const MAX_BATCH: usize = 10;

impl Modest {
    fn unsupported<T>(&self, operation: &'static str) -> Result<T> {
        Err(Error::new(ErrorKind::Unsupported, "modest", operation))
    }

    fn check_batch(&self, count: usize, operation: &'static str) -> Result<()> {
        if count <= MAX_BATCH {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "modest", operation).with_reason(Reason::BatchTooLarge))
    }
}

#[async_trait]
impl Queue for Modest {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.backend = "modest";
        capabilities.max_batch = MAX_BATCH;
        capabilities.max_lease = Duration::from_secs(12 * 60 * 60);
        capabilities.dedupe = false;
        capabilities.priorities = false;
        capabilities.groups = false;
        capabilities.age_of_oldest = false;
        capabilities.drop_after = false;
        capabilities.bounded = false;
        capabilities.pause = false;
        capabilities
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.check_batch(batch.len(), "queue.send")?;
        let mut outcomes = Vec::new();
        for message in batch {
            outcomes.push(match message.check(&self.capabilities()) {
                Err(error) => SendOutcome::Failed(error),
                Ok(()) => {
                    let alike = message.clone().priority(Priority::Normal);
                    self.0.send(&[alike]).await?.remove(0)
                }
            });
        }
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let lease = options.lease.min(self.capabilities().max_lease);
        self.0.receive(&options.clone().lease(lease)).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.check_batch(batch.len(), "queue.settle")?;
        self.0.settle(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.check_batch(batch.len(), "queue.extend")?;
        self.0.extend(batch, lease.min(self.capabilities().max_lease)).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let mut stats = self.0.stats().await?;
        stats.oldest_age = None;
        Ok(stats)
    }
}

#[async_trait]
impl DeadLetters for Modest {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        self.0.list_dead_letters(filter, after, limit).await
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.0.redrive(filter, options).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.0.purge_dead_letters(filter).await
    }
}

#[async_trait]
impl QueueAdmin for Modest {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.0.peek(limit).await
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.0.leased(limit).await
    }

    async fn pause(&self) -> Result<()> {
        self.unsupported("queue.pause")
    }

    async fn resume(&self) -> Result<()> {
        self.unsupported("queue.resume")
    }

    async fn purge(&self) -> Result<u64> {
        self.0.purge().await
    }
}

#[async_trait]
impl HealthCheck for Modest {
    async fn health(&self) -> Health {
        self.0.health().await
    }
}
