use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use standfast_core::testkit::ManualClock;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result, SessionRef};
use standfast_queue::http::{StatusBody, StatusRoutes, StatusRoutesConfig};
use standfast_queue::{
    Advance, CancelOutcome, JobState, JobStatus, MemoryStatusConfig, MemoryStatusStore,
    StatusCapabilities, StatusHandle, StatusStore, StatusUpdate,
};
use tokio::task::JoinHandle;
use tower_service::Service;

pub(crate) const KEEP: Duration = Duration::from_secs(3600);

/// A store and its routes in one standing time.
pub(crate) struct Fixture {
    pub(crate) clock: ManualClock,
    pub(crate) store: Flaky,
    pub(crate) routes: StatusRoutes,
    pub(crate) handle: StatusHandle,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut StatusRoutesConfig)) -> Self {
        let clock = ManualClock::new();
        let mut config = MemoryStatusConfig::default();
        config.clock = Arc::new(clock.clone());
        let store = Flaky { inner: MemoryStatusStore::with_config(config), down: Arc::default() };
        let mut config = StatusRoutesConfig::default();
        config.clock = Arc::new(clock.clone());
        change(&mut config);
        let routes = StatusRoutes::with_config(Arc::new(store.clone()), config);
        Self { clock, store, routes, handle: StatusHandle::random() }
    }

    pub(crate) async fn advance(&self, update: StatusUpdate) {
        assert!(self.store.inner.advance(&self.handle, &update, KEEP).await.unwrap().is_applied());
    }

    pub(crate) async fn reach(&self, state: JobState) {
        self.advance(StatusUpdate::new("report", state)).await;
    }

    /// A request for the handle, with `rest` behind it in the query.
    pub(crate) fn get(&self, path: &str, rest: &str) -> Request<()> {
        Request::get(format!("{path}?handle={}{rest}", self.handle)).body(()).unwrap()
    }

    pub(crate) async fn call(&self, request: Request<()>) -> Response<StatusBody> {
        self.routes.clone().call(request).await.unwrap()
    }

    pub(crate) async fn poll(&self) -> Response<StatusBody> {
        self.call(self.get("/is_ready", "")).await
    }

    pub(crate) fn spawn(&self, request: Request<()>) -> JoinHandle<Response<StatusBody>> {
        let answer = self.routes.clone().call(request);
        tokio::spawn(async move { answer.await.unwrap() })
    }
}

pub(crate) fn owned_by(session: SessionRef) -> StatusUpdate {
    StatusUpdate::new("report", JobState::Queued).owner(Some(session))
}

pub(crate) fn from_session(mut request: Request<()>, session: SessionRef) -> Request<()> {
    request.extensions_mut().insert(session);
    request
}

pub(crate) async fn text(response: Response<StatusBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) async fn json(response: Response<StatusBody>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_str(&text(response).await).unwrap()
}

/// Status, headers and body: everything that a client can tell apart.
pub(crate) async fn whole(response: Response<StatusBody>) -> String {
    let head = format!("{} {:?}", response.status(), response.headers());
    format!("{head} {}", text(response).await)
}

/// Lets every task go as far as it can.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A store that can be reached only while it is not down.
#[derive(Clone, Debug)]
pub(crate) struct Flaky {
    pub(crate) inner: MemoryStatusStore,
    pub(crate) down: Arc<AtomicBool>,
}

impl Flaky {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    fn reach(&self) -> Result<&MemoryStatusStore> {
        if self.down.load(Ordering::Relaxed) {
            let error = Error::new(ErrorKind::Unavailable, "flaky", "status.get");
            return Err(error.with_detail("at 10.0.0.7").with_retry_after(Duration::from_secs(7)));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl StatusStore for Flaky {
    fn capabilities(&self) -> StatusCapabilities {
        self.inner.capabilities()
    }
    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        self.reach()?.advance(handle, update, keep_for).await
    }
    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.reach()?.get(handle).await
    }
    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.reach()?.wait(handle, seen, timeout).await
    }
    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.reach()?.request_cancel(handle).await
    }
    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.reach()?.remove(handle).await
    }
}

#[async_trait]
impl HealthCheck for Flaky {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}
