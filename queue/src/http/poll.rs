//! One request, one answer: polls, long polls and requests to cancel.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ETAG, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use standfast_core::{Result, SessionRef, saturating_add};

use super::query::{StatusQuery, has_seen, wants_events};
use super::respond::{Refusal, bare, json_bytes, with};
use super::routes::{Shared, StatusEndpoint};
use super::view::{render, retry_after};
use super::{StatusBody, events};
use crate::handle::StatusHandle;
use crate::status::{CancelOutcome, JobState, JobStatus};

type Answer = Result<Response<StatusBody>, Refusal>;

impl Shared {
    /// Answers a request, whatever it is.
    pub(super) async fn answer(
        self: Arc<Self>,
        parts: &Parts,
        endpoint: StatusEndpoint,
    ) -> Response<StatusBody> {
        let answer = match (endpoint, &parts.method) {
            (StatusEndpoint::Cancel, &Method::POST) => self.cancel(parts).await,
            (StatusEndpoint::Cancel, _) => Err(Refusal::Method("POST")),
            (_, &Method::GET | &Method::HEAD) => {
                if endpoint == StatusEndpoint::Events || wants_events(&parts.headers) {
                    events::stream(Arc::clone(&self), parts).await
                } else {
                    self.poll(parts).await
                }
            }
            _ => Err(Refusal::Method("GET, HEAD")),
        };
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        if parts.method == Method::HEAD {
            *response.body_mut() = StatusBody::empty();
        }
        response
    }

    async fn poll(&self, parts: &Parts) -> Answer {
        let query = StatusQuery::parse(parts.uri.query())?;
        let viewer = (self.session)(parts);
        let mut status = self.visible(&query.handle, viewer).await?;
        if let Some(wait) = query.wait {
            status = self.wait(&query, viewer, status, wait.min(self.config.max_wait)).await?;
        }
        let etag = format!("\"{}\"", status.version);
        let tagged = status.state != JobState::Succeeded || self.ready.is_none();
        let mut response = if tagged && has_seen(&parts.headers, &etag) {
            bare(StatusCode::NOT_MODIFIED, StatusBody::empty())
        } else {
            json_bytes(StatusCode::OK, self.render(&status).await?)
        };
        if tagged {
            // invariant: digits in quotes
            let etag = HeaderValue::try_from(etag).expect("an entity tag is a header value");
            response = with(response, ETAG, etag);
        }
        if let Some(seconds) = self.retry_after(&status) {
            response = with(response, RETRY_AFTER, seconds.into());
        }
        Ok(response)
    }

    /// Cancels, after a look at whose it is. The status may end in between, which the store then
    /// says; its owner never changes to somebody else.
    async fn cancel(&self, parts: &Parts) -> Answer {
        let query = StatusQuery::parse(parts.uri.query())?;
        self.visible(&query.handle, (self.session)(parts)).await?;
        let json = match self.store.request_cancel(&query.handle).await? {
            CancelOutcome::Cancelled => r#"{"status":"cancelled"}"#,
            CancelOutcome::Requested => r#"{"status":"wait","cancel_requested":true}"#,
            CancelOutcome::Finished => return Err(Refusal::Ended),
            CancelOutcome::Unknown => return Err(Refusal::NotFound),
        };
        Ok(json_bytes(StatusCode::ACCEPTED, json.into()))
    }

    /// The status, if `viewer` may see it. A status that is not there and one that is somebody
    /// else's take the same steps to the same refusal.
    pub(super) async fn visible(
        &self,
        handle: &StatusHandle,
        viewer: Option<SessionRef>,
    ) -> Result<Arc<JobStatus>, Refusal> {
        let status = self.store.get(handle).await?;
        status.filter(|status| may_see(status, viewer)).ok_or(Refusal::NotFound)
    }

    /// Waits until the status has ended, or is another than the one that was seen, or the time
    /// is over. One wait at the store, no task: dropping the future ends it.
    async fn wait(
        &self,
        query: &StatusQuery,
        viewer: Option<SessionRef>,
        mut status: Arc<JobStatus>,
        wait: Duration,
    ) -> Result<Arc<JobStatus>, Refusal> {
        let clock = &self.config.clock;
        let deadline = saturating_add(clock.instant(), wait);
        let Ok(_waiting) = self.waiting.try_acquire() else {
            metrics::counter!("standfast_status_waits_refused_total").increment(1);
            return Ok(status);
        };
        loop {
            let left = deadline.saturating_duration_since(clock.instant());
            let news = query.seen.is_some_and(|seen| seen != status.version);
            if news || status.state.is_terminal() || left.is_zero() {
                return Ok(status);
            }
            let next = tokio::select! {
                biased;
                () = self.until.cancelled() => return Ok(status),
                next = self.store.wait(&query.handle, status.version, left) => next?,
                // a store that is late does not make the answer late
                () = clock.sleep_until(deadline) => return Ok(status),
            };
            status = next.filter(|next| may_see(next, viewer)).ok_or(Refusal::NotFound)?;
        }
    }

    pub(super) async fn render(&self, status: &Arc<JobStatus>) -> Result<bytes::Bytes> {
        let config = &self.config;
        render(status, self.ready.as_ref(), config.ready_within, &*config.clock).await
    }

    fn retry_after(&self, status: &JobStatus) -> Option<u64> {
        let config = &self.config;
        let now = config.clock.now();
        retry_after(status, now, config.max_retry_after, config.max_scheduled_retry_after)
    }
}

/// Whether `viewer` may see `status`: everybody who knows the handle, unless it has an owner.
pub(super) fn may_see(status: &JobStatus, viewer: Option<SessionRef>) -> bool {
    status.owner.is_none_or(|owner| viewer == Some(owner))
}
