//! Harnesses of the memory backend.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, SystemClock};
use standfast_session::testkit::{SessionHarness, async_trait};
use standfast_session::{MemorySessionHandler, SessionHandler, SessionLimits};

/// The memory backend, on a manual clock or the real one.
#[derive(Debug)]
pub(crate) struct Memory(Option<ManualClock>);

/// Time that passes when told.
pub(crate) fn manual() -> Memory {
    Memory(Some(ManualClock::new()))
}

/// Time that passes by itself.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn real() -> Memory {
    Memory(None)
}

#[async_trait]
impl SessionHarness for Memory {
    async fn open(&self) -> Arc<dyn SessionHandler> {
        let clock: Arc<dyn Clock> = match &self.0 {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SystemClock),
        };
        Arc::new(MemorySessionHandler::with_config(SessionLimits::default(), clock))
    }

    async fn pass(&self, time: Duration) {
        match &self.0 {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    fn unit(&self) -> Duration {
        if self.0.is_some() { Duration::from_secs(10) } else { Duration::from_millis(200) }
    }
}
