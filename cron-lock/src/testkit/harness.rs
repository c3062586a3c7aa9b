use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Clock, Result};

use crate::{CronLock, CronLockConfig};

/// What the suite must know about a backend. A difference between backends is a question here,
/// never a skipped case.
#[async_trait]
pub trait CronLockHarness: Debug + Send + Sync {
    /// Opens one more instance of `namespace`: all that are opened under one name by one harness
    /// share their records.
    async fn open(&self, namespace: &str, config: CronLockConfig) -> Result<Arc<dyn CronLock>>;

    /// The clock whose instants the backend uses for the trust of a lease.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Lets time pass in the store and in the clock.
    async fn pass(&self, time: Duration);

    /// A short lease that several calls fit into; 30 seconds unless time is real.
    fn lease(&self) -> Duration {
        Duration::from_secs(30)
    }
}
