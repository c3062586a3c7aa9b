use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use serde_json::Value;
use standfast_core::{CancellationToken, Clock, Result, SessionRef, SystemClock};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::StatusBody;
use super::view::ReadyHook;
use crate::status::{JobStatus, StatusStore};

/// Which session a request belongs to.
type SessionHook = Arc<dyn Fn(&Parts) -> Option<SessionRef> + Send + Sync>;

/// How [`StatusRoutes`] behave.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use standfast_queue::MemoryStatusStore;
/// use standfast_queue::http::{StatusRoutes, StatusRoutesConfig};
///
/// let mut config = StatusRoutesConfig::default();
/// config.max_wait = Duration::from_secs(25);   // the load balancer gives up after 30
/// let routes = StatusRoutes::with_config(Arc::new(MemoryStatusStore::new()), config);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusRoutesConfig {
    /// This process's time: when to wake up, and what `Retry-After` counts from.
    pub clock: Arc<dyn Clock>,
    /// The longest wait of one request; longer ones are shortened to it. 60 seconds by default.
    pub max_wait: Duration,
    /// The most requests that wait or listen at once. Beyond it a wait is answered at once, as if
    /// it had not been asked for, and events are refused with 503. 65,536 by default.
    pub max_waiting: usize,
    /// The longest `Retry-After` while a job is queued or running. 10 seconds by default.
    pub max_retry_after: Duration,
    /// The longest `Retry-After` while a retry is scheduled. Five minutes by default.
    pub max_scheduled_retry_after: Duration,
    /// How long the [hook](StatusRoutes::on_ready) may take before it counts as failed. Ten
    /// seconds by default.
    pub ready_within: Duration,
    /// The least time between two events to one client; what changes in between goes out as one.
    /// 100 milliseconds by default.
    pub event_every: Duration,
    /// How often a stream without events says that it is alive. 15 seconds by default.
    pub heartbeat_every: Duration,
    /// How long a stream lasts before the client has to connect, and prove its session, anew. One
    /// hour by default.
    pub events_for: Duration,
    /// How long a client is told to wait before it connects to events again. Two seconds by
    /// default.
    pub reconnect_after: Duration,
}

impl Default for StatusRoutesConfig {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_wait: Duration::from_secs(60),
            max_waiting: 65_536,
            max_retry_after: Duration::from_secs(10),
            max_scheduled_retry_after: Duration::from_secs(300),
            ready_within: Duration::from_secs(10),
            event_every: Duration::from_millis(100),
            heartbeat_every: Duration::from_secs(15),
            events_for: Duration::from_secs(60 * 60),
            reconnect_after: Duration::from_secs(2),
        }
    }
}

/// What one path answers.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::MemoryStatusStore;
/// use standfast_queue::http::{StatusEndpoint, StatusRoutes};
///
/// // for a path such as `/jobs/stop`, whose end does not say what it is
/// let stop = StatusRoutes::new(Arc::new(MemoryStatusStore::new())).only(StatusEndpoint::Cancel);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StatusEndpoint {
    /// `POST`: asks a job to end.
    Cancel,
    /// `GET`: the status, and each change of it, as events.
    Events,
    /// `GET`: the status.
    Poll,
}

impl StatusEndpoint {
    fn of(path: &str) -> Self {
        match path.rsplit('/').next() {
            Some("cancel") => Self::Cancel,
            Some("events") => Self::Events,
            _ => Self::Poll,
        }
    }
}

/// The HTTP contract of job status, as a [`Service`]: see the [module](super) for what it says.
///
/// Mount it at any path. A path whose last segment is `events` answers with events, `cancel`
/// cancels, every other one polls; [`only`](Self::only) overrules the path. Requests are answered
/// without reading their body. Clones share everything.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use http_body_util::BodyExt;
/// use standfast_queue::http::StatusRoutes;
/// use standfast_queue::{JobState, MemoryStatusStore, StatusHandle, StatusStore, StatusUpdate};
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStatusStore::new();
/// let mut routes = StatusRoutes::new(Arc::new(store.clone())).on_ready(|status| async move {
///     let key = status.result.clone().unwrap_or_default();
///     Ok(serde_json::json!({ "url": format!("/files/{}?signed", key.as_str().unwrap_or("")) }))
/// });
///
/// let handle = StatusHandle::random();
/// let update = StatusUpdate::new("report", JobState::Succeeded).result("r/7.csv".into());
/// store.advance(&handle, &update, Duration::from_secs(3600)).await?;
///
/// let request = http::Request::get(format!("/is_ready?handle={handle}")).body(())?;
/// let body = routes.call(request).await?.into_body().collect().await?.to_bytes();
/// assert_eq!(body, r#"{"status":"ready","url":"/files/r/7.csv?signed","version":1}"#);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StatusRoutes {
    shared: Arc<Shared>,
    only: Option<StatusEndpoint>,
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn StatusStore>,
    pub(super) config: StatusRoutesConfig,
    pub(super) ready: Option<ReadyHook>,
    pub(super) session: SessionHook,
    pub(super) until: CancellationToken,
    pub(super) waiting: Arc<Semaphore>,
}

impl StatusRoutes {
    /// Answers from `store`.
    pub fn new(store: Arc<dyn StatusStore>) -> Self {
        Self::with_config(store, StatusRoutesConfig::default())
    }

    /// Answers from `store` as `config` says.
    pub fn with_config(store: Arc<dyn StatusStore>, config: StatusRoutesConfig) -> Self {
        let waiting = Semaphore::new(config.max_waiting.min(Semaphore::MAX_PERMITS));
        let shared = Shared {
            store,
            config,
            ready: None,
            session: Arc::new(session_in_extensions),
            until: CancellationToken::new(),
            waiting: Arc::new(waiting),
        };
        Self { shared: Arc::new(shared), only: None }
    }

    fn map(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// Lets `hook` say what a client gets once its job has succeeded, such as a freshly signed
    /// link.
    ///
    /// The fields of the object that it returns stand beside `"status":"ready"`; any other value
    /// stands in `"result"`. It is asked for each answer, so such answers have no entity tag. When
    /// it fails, or takes too long, the client gets 503 and no reason; the log has it. Without a
    /// hook the result of the job is in `"result"`.
    #[must_use]
    pub fn on_ready<F, R>(self, hook: impl Fn(Arc<JobStatus>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<R>> + Send + 'static,
        R: Into<Value>,
    {
        let hook: ReadyHook =
            Arc::new(move |status| hook(status).map(|content| content.map(Into::into)).boxed());
        self.map(|shared| shared.ready = Some(hook))
    }

    /// Lets `hook` say which session a request belongs to.
    ///
    /// Without it, that is the [`SessionRef`] in the extensions of the request, or else the one
    /// in the [`Context`](standfast_core::Context) there.
    #[must_use]
    pub fn session_by(
        self,
        hook: impl Fn(&Parts) -> Option<SessionRef> + Send + Sync + 'static,
    ) -> Self {
        self.map(|shared| shared.session = Arc::new(hook))
    }

    /// Answers at once whoever waits, and ends all events, when `token` is cancelled, so that a
    /// server that drains its connections is not held up.
    #[must_use]
    pub fn until(self, token: CancellationToken) -> Self {
        self.map(|shared| shared.until = token)
    }

    /// Answers every path as this endpoint.
    #[must_use]
    pub fn only(self, endpoint: StatusEndpoint) -> Self {
        Self { only: Some(endpoint), ..self }
    }
}

fn session_in_extensions(parts: &Parts) -> Option<SessionRef> {
    let context = || parts.extensions.get::<standfast_core::Context>()?.session;
    parts.extensions.get().copied().or_else(context)
}

impl<B> Service<Request<B>> for StatusRoutes {
    type Response = Response<StatusBody>;
    type Error = Infallible;
    type Future = StatusFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StatusFuture {
        let (parts, _) = request.into_parts();
        let endpoint = self.only.unwrap_or_else(|| StatusEndpoint::of(parts.uri.path()));
        let shared = Arc::clone(&self.shared);
        StatusFuture(Box::pin(async move { shared.answer(&parts, endpoint).await }))
    }
}

impl fmt::Debug for StatusRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusRoutes")
            .field("store", &self.shared.store)
            .field("config", &self.shared.config)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// The answer to come. Dropping it, as servers do when a connection is lost, ends the wait.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::MemoryStatusStore;
/// use standfast_queue::http::StatusRoutes;
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut routes = StatusRoutes::new(Arc::new(MemoryStatusStore::new()));
/// let Ok(response) = routes.call(http::Request::new(())).await;
/// assert_eq!(response.status(), http::StatusCode::BAD_REQUEST);
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct StatusFuture(Pin<Box<dyn Future<Output = Response<StatusBody>> + Send>>);

impl Future for StatusFuture {
    type Output = Result<Response<StatusBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for StatusFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusFuture")
    }
}
