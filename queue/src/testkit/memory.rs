use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, SystemClock};

use super::harness::{QueueHarness, QueueSetup, StatusHarness};
use crate::memory::{MemoryQueue, MemoryQueueConfig};
use crate::queue::Queue;
use crate::status::{MemoryStatusConfig, MemoryStatusStore, StatusStore};

/// The harness of the memory backends, and of whatever is wrapped around them.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::testkit::MemoryHarness;
///
/// // a decorator would go where the box is
/// let harness = MemoryHarness::manual().wrapping(|queue| Arc::new(Box::new(queue)));
/// # let _ = harness;
/// ```
#[derive(Clone)]
pub struct MemoryHarness {
    manual: Option<ManualClock>,
    wrap: Arc<Wrap>,
}

type Wrap = dyn Fn(Arc<dyn Queue>) -> Arc<dyn Queue> + Send + Sync;

impl MemoryHarness {
    /// Time stands still until a case lets it pass.
    pub fn manual() -> Self {
        Self { manual: Some(ManualClock::new()), ..Self::real() }
    }

    /// Real time.
    pub fn real() -> Self {
        Self { manual: None, wrap: Arc::new(|queue| queue) }
    }

    /// Puts `wrap` around every queue.
    #[must_use]
    pub fn wrapping(
        self,
        wrap: impl Fn(Arc<dyn Queue>) -> Arc<dyn Queue> + Send + Sync + 'static,
    ) -> Self {
        Self { wrap: Arc::new(wrap), ..self }
    }

    /// The time of the queues and stores.
    pub fn clock(&self) -> Arc<dyn Clock> {
        match &self.manual {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SystemClock),
        }
    }

    /// The configuration that `setup` asks for.
    pub fn config(&self, setup: &QueueSetup) -> MemoryQueueConfig {
        let default = MemoryQueueConfig::default();
        MemoryQueueConfig {
            clock: self.clock(),
            max_crashes: setup.max_crashes,
            max_len: setup.max_len,
            max_body: setup.max_body.unwrap_or(default.max_body),
            max_dead: setup.max_dead,
            keep_dead: setup.keep_dead,
        }
    }

    async fn pass(&self, span: Duration) {
        match &self.manual {
            Some(clock) => clock.advance(span),
            None => tokio::time::sleep(span).await,
        }
    }

    fn span(&self) -> Duration {
        match &self.manual {
            Some(_) => Duration::from_secs(1),
            None => Duration::from_millis(100),
        }
    }
}

impl fmt::Debug for MemoryHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHarness").field("manual", &self.manual).finish_non_exhaustive()
    }
}

#[async_trait]
impl QueueHarness for MemoryHarness {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        (self.wrap)(Arc::new(MemoryQueue::with_config(self.config(setup))))
    }

    async fn pass_time(&self, span: Duration) {
        self.pass(span).await;
    }

    fn now(&self) -> Instant {
        self.clock().instant()
    }

    fn unit(&self) -> Duration {
        self.span()
    }

    fn can_pass(&self, span: Duration) -> bool {
        self.manual.is_some() || span <= 20 * self.span()
    }
}

#[async_trait]
impl StatusHarness for MemoryHarness {
    async fn fresh_store(&self) -> Arc<dyn StatusStore> {
        let config = MemoryStatusConfig { clock: self.clock(), ..MemoryStatusConfig::default() };
        Arc::new(MemoryStatusStore::with_config(config))
    }

    async fn pass_time(&self, span: Duration) {
        self.pass(span).await;
    }

    fn unit(&self) -> Duration {
        self.span()
    }

    fn can_pass(&self, span: Duration) -> bool {
        self.manual.is_some() || span <= 20 * self.span()
    }
}
