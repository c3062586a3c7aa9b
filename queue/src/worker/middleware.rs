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
