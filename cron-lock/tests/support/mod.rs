//! Harnesses of the memory backend.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod broken;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Result, SystemClock};
use standfast_cron_lock::testkit::{CronLockHarness, async_trait};
use standfast_cron_lock::{CronLock, CronLockConfig, MemoryCronLock};

/// The memory backend, on a manual clock or the real one.
#[derive(Debug)]
pub(crate) struct Memory {
    manual: Option<ManualClock>,
    opened: Mutex<HashMap<String, MemoryCronLock>>,
}

/// Time that passes when told.
pub(crate) fn manual() -> Memory {
    Memory { manual: Some(ManualClock::new()), opened: Mutex::default() }
}

/// Time that passes by itself.
pub(crate) fn real() -> Memory {
    Memory { manual: None, opened: Mutex::default() }
}

#[async_trait]
impl CronLockHarness for Memory {
    async fn open(&self, namespace: &str, config: CronLockConfig) -> Result<Arc<dyn CronLock>> {
        if let Some(lock) = self.opened.lock().unwrap().get(namespace) {
            return Ok(Arc::new(lock.clone()));
        }
        let lock = MemoryCronLock::with_config(namespace, config, self.clock())?;
        self.opened.lock().unwrap().insert(namespace.to_owned(), lock.clone());
        Ok(Arc::new(lock))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        match &self.manual {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SystemClock),
        }
    }

    async fn pass(&self, time: Duration) {
        match &self.manual {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    fn lease(&self) -> Duration {
        if self.manual.is_some() { Duration::from_secs(30) } else { Duration::from_millis(300) }
    }
}
