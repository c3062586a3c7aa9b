//! How answers are put together.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};
use serde_json::json;
use standfast_core::Error;

use super::StatusBody;
use super::query::InvalidQuery;
use super::view::whole_seconds;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// When to come back after a failure that does not say, in seconds.
const AFTER_FAILURE: u64 = 2;

/// The most that a failure may ask for, in seconds.
const AFTER_FAILURE_AT_MOST: u64 = 300;

/// Why a request is not answered with a status.
#[derive(Debug)]
pub(super) enum Refusal {
    /// As many requests wait as may.
    Busy,
    /// There is nothing left to cancel.
    Ended,
    /// The store or the application failed.
    Failed(Error),
    /// Another method than these.
    Method(&'static str),
    /// No such status, or not for this session: whoever asks cannot tell which.
    NotFound,
    /// The query makes no sense.
    Query(InvalidQuery),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<InvalidQuery> for Refusal {
    fn from(error: InvalidQuery) -> Self {
        Self::Query(error)
    }
}

impl Refusal {
    pub(super) fn into_response(self) -> Response<StatusBody> {
        let unavailable = |words, after: u64| {
            with(error(StatusCode::SERVICE_UNAVAILABLE, words), RETRY_AFTER, after.into())
        };
        match self {
            Self::Busy => unavailable("too many requests are waiting", AFTER_FAILURE),
            Self::Ended => error(StatusCode::CONFLICT, "the job has ended"),
            Self::Failed(failure) => {
                tracing::warn!(error = %failure, "a status cannot be shown");
                let after = failure.retry_after().map_or(AFTER_FAILURE, whole_seconds);
                unavailable("temporarily unavailable", after.clamp(1, AFTER_FAILURE_AT_MOST))
            }
            Self::Method(allowed) => with(
                error(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed"),
                ALLOW,
                HeaderValue::from_static(allowed),
            ),
            Self::NotFound => error(StatusCode::NOT_FOUND, "no such job"),
            Self::Query(invalid) => error(invalid.status(), &invalid.to_string()),
        }
    }
}

/// `{"error":"words"}`.
pub(super) fn error(status: StatusCode, words: &str) -> Response<StatusBody> {
    json_bytes(status, json!({ "error": words }).to_string().into())
}

pub(super) fn json_bytes(status: StatusCode, json: Bytes) -> Response<StatusBody> {
    // said here and not left to the server, so that it is right in the answer to HEAD too
    let length = HeaderValue::from(json.len());
    let response = bare(status, StatusBody::full(json));
    let response = with(response, CONTENT_TYPE, HeaderValue::from_static("application/json"));
    with(response, CONTENT_LENGTH, length)
}

/// An answer that nobody keeps.
pub(super) fn bare(status: StatusCode, body: StatusBody) -> Response<StatusBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    with(response, CACHE_CONTROL, NO_STORE)
}

pub(super) fn with(
    mut response: Response<StatusBody>,
    name: HeaderName,
    value: HeaderValue,
) -> Response<StatusBody> {
    response.headers_mut().insert(name, value);
    response
}
