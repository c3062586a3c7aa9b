use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Session, SessionError};

/// There is no [`SessionLayer`](super::SessionLayer) around the handler that asks for a session.
///
/// ```
/// use axum::response::IntoResponse;
/// use standfast_session::http::NoSessionLayer;
///
/// assert_eq!(NoSessionLayer.into_response().status(), 500);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct NoSessionLayer;

impl IntoResponse for NoSessionLayer {
    fn into_response(self) -> Response {
        tracing::error!("a handler asks for a session, and there is no SessionLayer around it");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = NoSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSessionLayer> {
        parts.extensions.get::<Self>().cloned().ok_or(NoSessionLayer)
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = %self, "the session of a request failed");
        }
        let text = match status {
            StatusCode::CONFLICT => "the session has changed meanwhile: load the page again",
            StatusCode::PAYLOAD_TOO_LARGE => "the session is too large",
            _ => "the session is not available",
        };
        (status, text).into_response()
    }
}
