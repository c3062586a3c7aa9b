//! Handlers as tower services, so that tower's layers go around them. Feature `tower`.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use super::{Answer, AnyHandler, JobError, JobRequest};

/// The innermost service: reads the job and calls its handler.
///
/// ```
/// # use std::task::{Context, Poll};
/// # use std::time::Duration;
/// use standfast_queue::middleware::JobService;
/// use standfast_queue::{JobError, JobRequest};
/// # use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};
/// use tower_layer::layer_fn;
/// use tower_service::Service;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = String; }
///
/// #[derive(Clone)]
/// struct Logged(JobService);
///
/// impl Service<JobRequest> for Logged {
///     type Response = serde_json::Value;
///     type Error = JobError;
///     type Future = <JobService as Service<JobRequest>>::Future;
/// #
/// #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), JobError>> {
/// #         self.0.poll_ready(cx)
/// #     }
///
///     fn call(&mut self, request: JobRequest) -> Self::Future {
///         println!("{} begins", request.context.envelope().kind);
///         self.0.call(request)
///     }
/// }
/// # async fn greet(job: Greet) -> Result<String, JobError> { Ok(format!("hello {}", job.name)) }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Greet { name: "Ada".into() }).await?;
/// jobs.worker(()).on(greet).layer(layer_fn(Logged)).drain().await;
/// assert_eq!(handle.wait(Duration::from_secs(5)).await?, "hello Ada");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JobService(AnyHandler);

impl Service<JobRequest> for JobService {
    type Response = Value;
    type Error = JobError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), JobError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: JobRequest) -> Answer {
        (self.0)(request)
    }
}

impl fmt::Debug for JobService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobService").finish_non_exhaustive()
    }
}

pub(super) fn wrap<L>(layer: &L, inner: AnyHandler) -> AnyHandler
where
    L: Layer<JobService>,
    L::Service:
        Service<JobRequest, Response = Value, Error = JobError> + Clone + Send + Sync + 'static,
    <L::Service as Service<JobRequest>>::Future: Send,
{
    let service = layer.layer(JobService(inner));
    Arc::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        })
    })
}
