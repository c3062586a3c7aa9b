use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::Result;

use super::{Advance, CancelOutcome, JobStatus, StatusCapabilities, StatusStore, StatusUpdate};
use crate::handle::StatusHandle;

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: StatusStore + ?Sized> StatusStore for $pointer<S> {
            fn capabilities(&self) -> StatusCapabilities {
                (**self).capabilities()
            }
            async fn advance(
                &self,
                handle: &StatusHandle,
                update: &StatusUpdate,
                keep_for: Duration,
            ) -> Result<Advance> {
                (**self).advance(handle, update, keep_for).await
            }
            async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
                (**self).get(handle).await
            }
            async fn wait(
                &self,
                handle: &StatusHandle,
                seen: u64,
                timeout: Duration,
            ) -> Result<Option<Arc<JobStatus>>> {
                (**self).wait(handle, seen, timeout).await
            }
            async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
                (**self).request_cancel(handle).await
            }
            async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
                (**self).remove(handle).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
