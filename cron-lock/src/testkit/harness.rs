use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Clock, Result};

use crate::{CronLock, CronLockConfig};

/// What the suite must know about a backend. A difference between backends is a question here,
/// never a skipped case.
///
/// ```
/// use standfast_cron_lock::testkit::{CronLockHarness, async_trait, cases};
/// # use std::{collections::HashMap, sync::{Arc, Mutex}, time::Duration};
/// # use standfast_core::{Clock, Result, testkit::ManualClock};
/// # use standfast_cron_lock::{CronLock, CronLockConfig, MemoryCronLock};
///
/// #[derive(Debug, Default)]
/// struct Memory {
///     clock: ManualClock,
///     opened: Mutex<HashMap<String, MemoryCronLock>>,
/// }
///
/// #[async_trait]
/// impl CronLockHarness for Memory {
///     async fn open(&self, namespace: &str, config: CronLockConfig) -> Result<Arc<dyn CronLock>> {
///         let lock = MemoryCronLock::with_config(namespace, config, self.clock())?;
///         let mut opened = self.opened.lock().unwrap();
///         Ok(Arc::new(opened.entry(namespace.to_owned()).or_insert(lock).clone()))
///     }
///
///     fn clock(&self) -> Arc<dyn Clock> {
///         Arc::new(self.clock.clone())
///     }
///
///     async fn pass(&self, time: Duration) {
///         self.clock.advance(time);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// // one case by itself, as a debugger wants it
/// cases::an_abandoned_tick_is_free_at_once(&Memory::default()).await;
/// # }
/// ```
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

/// A harness, or nothing where the service is not there.
///
/// ```
/// use standfast_cron_lock::testkit::{CronLockHarness, IntoCronLockHarness};
///
/// fn is_skipped<H: CronLockHarness + 'static>(harness: Option<H>) -> bool {
///     harness.into_harness().is_none()
/// }
/// ```
pub trait IntoCronLockHarness {
    /// The harness, if there is one.
    fn into_harness(self) -> Option<Box<dyn CronLockHarness>>;
}

impl<H: CronLockHarness + 'static> IntoCronLockHarness for H {
    fn into_harness(self) -> Option<Box<dyn CronLockHarness>> {
        Some(Box::new(self))
    }
}

impl<H: CronLockHarness + 'static> IntoCronLockHarness for Option<H> {
    fn into_harness(self) -> Option<Box<dyn CronLockHarness>> {
        self.map(|harness| Box::new(harness) as Box<dyn CronLockHarness>)
    }
}
