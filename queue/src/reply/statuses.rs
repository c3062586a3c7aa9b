use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result};

use super::ReplyQueue;
use crate::handle::StatusHandle;
use crate::status::{
    Advance, CancelOutcome, JobStatus, StatusCapabilities, StatusStore, StatusUpdate,
};

/// What a web instance knows about its jobs: a store in memory that a [`ReplyQueue`] feeds.
///
/// It is healthy while the queue receives. A job that has not ended cannot be cancelled: nobody
/// knows where it is.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, Jobs, MemoryQueue};
/// use standfast_core::ErrorKind;
/// use standfast_queue::ReplyQueue;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
/// # impl Job for Report { const KIND: &'static str = "report"; type Output = String; }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let queue = MemoryQueue::new();
/// let replies = ReplyQueue::new("web-1", MemoryQueue::new());
/// let jobs = Jobs::new(replies.asking(queue), replies.statuses());
/// let handle = jobs.send(Report).await?;
/// assert!(handle.status().await?.is_some());
/// assert_eq!(handle.cancel().await.unwrap_err().kind(), ErrorKind::Unsupported);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ReplyStatuses(pub(super) ReplyQueue);

#[async_trait]
impl StatusStore for ReplyStatuses {
    fn capabilities(&self) -> StatusCapabilities {
        StatusCapabilities::all("reply")
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        self.0.statuses.advance(handle, update, keep_for).await
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.0.statuses.get(handle).await
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.0.statuses.wait(handle, seen, timeout).await
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        match self.0.statuses.get(handle).await? {
            None => Ok(CancelOutcome::Unknown),
            Some(status) if status.state.is_terminal() => Ok(CancelOutcome::Finished),
            Some(_) => Err(Error::new(ErrorKind::Unsupported, "reply", "status.request_cancel")
                .with_detail("through a reply queue nobody can be asked to end")),
        }
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.0.statuses.remove(handle).await
    }
}

#[async_trait]
impl HealthCheck for ReplyStatuses {
    async fn health(&self) -> Health {
        self.0.health().await
    }
}
