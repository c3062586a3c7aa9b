use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use standfast_core::Error;
use standfast_queue::SendError;
use standfast_session::http::SessionError;

use crate::report::ReportError;

const AWAY: &str = "this does not work at the moment; please try again shortly";

const ENDED: &str = "your session has ended meanwhile; load the page again";

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

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error.status() {
            StatusCode::CONFLICT => Self::new(StatusCode::CONFLICT, ENDED),
            _ => Self::later(&error),
        }
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

/// What the session layer answers by itself, after the handler or instead of it, has no words.
pub(super) async fn in_words(response: Response) -> Response {
    match response.status() {
        code if response.headers().contains_key(CONTENT_TYPE) || code.is_success() => response,
        StatusCode::CONFLICT => Failure::new(StatusCode::CONFLICT, ENDED).into_response(),
        code if code.is_server_error() => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, AWAY).into_response()
        }
        _ => response,
    }
}
