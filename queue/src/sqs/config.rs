use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Error, ErrorKind, Result};

use super::error::BACKEND;
use super::meter::SqsMeter;
use super::wire::ROOM;

/// How a [`SqsQueue`](crate::SqsQueue) behaves in this process.
///
/// ```
/// use standfast_queue::SqsConfig;
///
/// let mut config = SqsConfig::default();
/// config.max_message = 256 * 1024;               // a service with the limit of before 2025
/// config.fair_by = Some("tenant".into());        // no tenant holds up the others
/// config.foreign_kind = "upload".into();         // what senders that do not know us send
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqsConfig {
    /// The largest message in bytes, headers included, and the largest batch; 1 MiB by default,
    /// which is the limit of the service since August 2025. The queue's `MaximumMessageSize` must
    /// be as large.
    pub max_message: usize,
    /// How often a message is received, whatever became of it, before whoever receives it once more
    /// moves it to the dead letters and reports it; 40 by default. More than the retries of the
    /// worker, which knows the reason, and less than the redrive policy, which tells nobody.
    pub max_receives: u32,
    /// How long a request may take on top of what it is asked to wait; 10 seconds by default.
    pub call_timeout: Duration,
    /// The most receives that wait at a time, while there is work for them; 8 by default. Without
    /// work it is one.
    pub receivers: usize,
    /// The kind of messages that somebody else has sent, without our headers; `foreign` by default.
    pub foreign_kind: Cow<'static, str>,
    /// The header of the [`Context`](standfast_core::Context) whose value is the fair-queue key
    /// (`MessageGroupId`) of messages on a standard queue: those of one value do not hold up the
    /// others. None by default.
    pub fair_by: Option<Arc<str>>,
    /// What counts the requests.
    pub meter: SqsMeter,
}

impl Default for SqsConfig {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            max_receives: 40,
            call_timeout: Duration::from_secs(10),
            receivers: 8,
            foreign_kind: Cow::Borrowed("foreign"),
            fair_by: None,
            meter: SqsMeter::default(),
        }
    }
}

impl SqsConfig {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = if self.max_message <= 2 * ROOM {
            "max_message leaves no room for a body"
        } else if self.receivers == 0 {
            "without a receiver nothing is received"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, BACKEND, "queue.open").with_detail(wrong))
    }
}
