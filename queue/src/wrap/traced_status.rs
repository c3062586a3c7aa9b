use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::Key;
use standfast_core::{Health, HealthCheck, Result};
use tracing::field::Empty;
use tracing::{Instrument, debug_span};

use super::meter::{self, Labels};
use crate::handle::StatusHandle;
use crate::status::{
    Advance, CancelOutcome, JobState, JobStatus, StatusCapabilities, StatusStore, StatusUpdate,
};

/// A status store whose calls are seen by whoever listens to `tracing` and `metrics`.
///
/// Each call is a span `status.call` of level `DEBUG` with the fields `backend`, `operation`,
/// `handle` (only its beginning) and, when it failed, `error` (its kind).
///
/// | metric | type | labels | counts |
/// |---|---|---|---|
/// | `standfast_status_advanced_total` | counter | `backend`, `state` | steps stored, by the state they led to |
/// | `standfast_status_refused_total` | counter | `backend` | steps refused because a later one was stored |
/// | `standfast_status_errors_total` | counter | `backend`, `operation`, `kind` | calls that failed |
/// | `standfast_status_call_seconds` | histogram | `backend`, `operation` | how long calls took, waits included |
///
/// `operation` is the name of the method. A call that is dropped is not counted; its span ends.
///
/// ```
/// use standfast_queue::wrap::TracedStatus;
/// use standfast_queue::{MemoryStatusStore, StatusHandle, StatusStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = TracedStatus::new(MemoryStatusStore::new());
/// assert_eq!(store.get(&StatusHandle::random()).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TracedStatus<S> {
    store: S,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Meter {
    backend: &'static str,
    labels: Labels,
    calls: [Key; OPERATIONS.len()],
    advanced: [Key; 5],
    refused: Key,
}

/// The methods, each named by its place.
const OPERATIONS: [&str; 5] = ["advance", "get", "remove", "request_cancel", "wait"];
const ADVANCE: usize = 0;
const GET: usize = 1;
const REMOVE: usize = 2;
const REQUEST_CANCEL: usize = 3;
const WAIT: usize = 4;

impl<S: StatusStore> TracedStatus<S> {
    /// Shows `store` to those who listen.
    pub fn new(store: S) -> Self {
        let backend = store.capabilities().backend;
        let labels = Labels::new([("backend", backend.to_owned())]);
        let meter = Meter {
            calls: OPERATIONS.map(|operation| {
                labels.key("standfast_status_call_seconds", &[("operation", operation)])
            }),
            advanced: ["cancelled", "failed", "queued", "running", "succeeded"]
                .map(|state| labels.key("standfast_status_advanced_total", &[("state", state)])),
            refused: labels.key("standfast_status_refused_total", &[]),
            backend,
            labels,
        };
        meter::describe(&[
            ("standfast_status_advanced_total", "steps stored, by the state they led to"),
            ("standfast_status_refused_total", "steps refused because a later one was stored"),
            ("standfast_status_errors_total", "calls that failed"),
        ]);
        Self { store, meter: Arc::new(meter) }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.store
    }

    async fn watch<T>(
        &self,
        operation: usize,
        handle: &StatusHandle,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Meter { backend, labels, calls, .. } = &*self.meter;
        let name = OPERATIONS[operation];
        let span = debug_span!("status.call", backend, operation = name, ?handle, error = Empty);
        let began = Instant::now();
        let answer =
            if span.is_disabled() { call.await } else { call.instrument(span.clone()).await };
        meter::observe(&calls[operation], began);
        if let Err(error) = &answer {
            span.record("error", error.kind().as_str());
            labels.error("standfast_status_errors_total", name, error.kind());
        }
        answer
    }
}

#[async_trait]
impl<S: StatusStore> StatusStore for TracedStatus<S> {
    fn capabilities(&self) -> StatusCapabilities {
        self.store.capabilities()
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let call = self.store.advance(handle, update, keep_for);
        let advance = self.watch(ADVANCE, handle, call).await?;
        let counter = match (&advance, update.state) {
            (Advance::Refused(_), _) => &self.meter.refused,
            (Advance::Applied(_), JobState::Cancelled) => &self.meter.advanced[0],
            (Advance::Applied(_), JobState::Failed) => &self.meter.advanced[1],
            (Advance::Applied(_), JobState::Queued) => &self.meter.advanced[2],
            (Advance::Applied(_), JobState::Running) => &self.meter.advanced[3],
            (Advance::Applied(_), JobState::Succeeded) => &self.meter.advanced[4],
        };
        meter::count(counter, 1);
        Ok(advance)
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.watch(GET, handle, self.store.get(handle)).await
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.watch(WAIT, handle, self.store.wait(handle, seen, timeout)).await
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.watch(REQUEST_CANCEL, handle, self.store.request_cancel(handle)).await
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.watch(REMOVE, handle, self.store.remove(handle)).await
    }
}

#[async_trait]
impl<S: StatusStore> HealthCheck for TracedStatus<S> {
    async fn health(&self) -> Health {
        self.store.health().await
    }
}
