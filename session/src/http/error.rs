use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use standfast_core::{Error, ErrorKind};

use crate::outcome::Conflict;

/// What a handler returns when its session fails it. With the feature `axum` it is a response.
///
/// ```
/// use standfast_session::Key;
/// use standfast_session::http::{Session, SessionError};
///
/// const NAME: Key<String> = Key::lww("name");
///
/// async fn greeting(session: Session) -> Result<String, SessionError> {
///     let name = session.get(&NAME).await?;
///     Ok(format!("hello, {}", name.as_deref().unwrap_or("stranger")))
/// }
/// ```
#[derive(Clone)]
pub struct SessionError {
    error: Error,
    conflict: Option<Box<Conflict>>,
}

impl SessionError {
    pub(super) fn of(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error::new(kind, "session", "http").with_detail(detail).into()
    }

    /// The session ended, or its secret was replaced, while the request was under way.
    pub(super) fn ended() -> Self {
        Self::of(ErrorKind::NotFound, "the session has ended meanwhile")
    }

    pub(super) fn on(conflict: Conflict) -> Self {
        let mut error =
            Self::of(ErrorKind::Conflict, format!("field `{}` has changed", conflict.field));
        error.conflict = Some(Box::new(conflict));
        error
    }

    /// The error underneath.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What is there instead of what the request had seen, where that was the trouble.
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_deref()
    }

    /// The status of a response that says so: 503 while the store does not answer, 409 where another
    /// request was faster or has ended the session, 413 for what is too large, else 500.
    pub fn status(&self) -> StatusCode {
        match self.error.kind() {
            ErrorKind::Conflict | ErrorKind::NotFound => StatusCode::CONFLICT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ if self.error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        Self { error, conflict: None }
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        error.error
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// The conflict is not shown: it is somebody's data.
impl fmt::Debug for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionError").field(&self.error).finish()
    }
}

impl StdError for SessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}
