use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use standfast_core::Error;
use standfast_queue::SendError;

use crate::report::ReportError;

const AWAY: &str = "this does not work at the moment; please try again shortly";

/// Why a request is not granted, in words.
#[derive(Debug)]
pub struct Failure {
    code: StatusCode,
    words: String,
}

impl Failure {
    /// The request is at fault.
    pub fn new(code: StatusCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    /// 400.
    pub fn bad(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// The queue does not answer in time.
    pub fn queue_is_away() -> Self {
        tracing::error!("a request waited for the queue in vain");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, AWAY)
    }

    /// It may work later; the log has the reason.
    fn later(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request could not be served");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, AWAY)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::later(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::later(&error)
    }
}

/// What is wrong with the data is the client's to know; what is wrong here is not.
impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        match error.is_permanent() {
            true => Self::bad(error.to_string()),
            false => Self::later(&error),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many reports are waiting already; please try again shortly",
            ),
            error => Self::later(&error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.words }));
        match self.code {
            StatusCode::SERVICE_UNAVAILABLE => {
                (self.code, [(RETRY_AFTER, "5")], body).into_response()
            }
            code => (code, body).into_response(),
        }
    }
}
