use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A result whose error is [`Error`] unless another one is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that can be the [source](StdError::source) of an [`Error`].
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, in terms a caller can act on.
///
/// ```
/// use standfast_core::{Error, ErrorKind};
///
/// fn http_status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::NotFound => 404,
///         ErrorKind::Throttled => 429,
///         _ if error.is_retryable() => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(http_status(&Error::new(ErrorKind::Timeout, "redis", "queue.send")), 503);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing to create is there already.
    AlreadyExists,
    /// The caller or a shutdown asked for the operation to end.
    Cancelled,
    /// Bytes do not match their checksum.
    Checksum,
    /// The backend was closed by this process.
    Closed,
    /// Somebody else changed the thing in between; read it again and decide.
    Conflict,
    /// What is stored cannot be read.
    Corrupt,
    /// The credentials do not allow it.
    Denied,
    /// The request can never succeed as it is.
    Invalid,
    /// The thing named by the caller is not there.
    NotFound,
    /// The operation may or may not have happened.
    OutcomeUnknown,
    /// The requested byte range lies outside the object.
    Range,
    /// The backend asks for a slower pace.
    Throttled,
    /// No answer within the deadline.
    Timeout,
    /// Larger than the backend takes.
    TooLarge,
    /// The backend cannot be reached or cannot serve now.
    Unavailable,
    /// No other kind fits: a bug, or an answer nobody has met yet.
    Unexpected,
    /// The backend does not have this ability; see its capabilities.
    Unsupported,
}

impl ErrorKind {
    /// The kind in words, as error messages print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already exists",
            Self::Cancelled => "cancelled",
            Self::Checksum => "checksum mismatch",
            Self::Closed => "closed",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Range => "range not satisfiable",
            Self::Throttled => "throttled",
            Self::Timeout => "timed out",
            Self::TooLarge => "too large",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
            Self::Unsupported => "unsupported",
        }
    }

    fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Timeout | Self::Unavailable)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A finer cause than [`ErrorKind`], for those who must tell two errors of one kind apart.
///
/// ```
/// use standfast_core::{Error, ErrorKind, Reason};
///
/// let error = Error::new(ErrorKind::Denied, "fs", "blob.get").with_reason(Reason::Expired);
/// let answer = match error.reason() {
///     Some(Reason::Expired) => "ask for a new link",
///     _ => "not for you",
/// };
/// assert_eq!(answer, "ask for a new link");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// `Invalid`: more entries in one call than the backend takes.
    BatchTooLarge,
    /// `TooLarge`: the body alone is over the limit.
    BodyTooLarge,
    /// `Conflict`: the object changed while it was being read.
    ChangedDuringRead,
    /// `Denied`: the credentials or the signed link ran out.
    Expired,
    /// `Invalid`: a key or name breaks the naming rules.
    InvalidName,
    /// `Invalid`: fewer or more bytes arrived than were announced.
    LengthMismatch,
    /// `Unsupported`: written by a newer version of the library; it was left untouched.
    NewerVersion,
    /// `Unavailable`: no space left.
    NoSpace,
    /// `OutcomeUnknown`: it was done, but is stored on fewer replicas than asked for.
    NotReplicated,
    /// `Denied`: the signature does not match.
    Signature,
}

/// The one error of the family: opaque, cheap to clone, and able to answer "may I retry?".
///
/// Messages never contain bodies, credentials or signed links.
///
/// ```
/// use standfast_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "memory", "queue.send").with_detail("closed");
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "memory queue.send: unavailable: closed");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retryable: bool,
    retry_after: Option<Duration>,
    backend: &'static str,
    operation: &'static str,
    detail: String,
    reason: Option<Reason>,
    request_id: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that `operation` (such as `queue.send`) met on `backend` (such as `redis`).
    ///
    /// `Throttled`, `Timeout` and `Unavailable` start out retryable, all others do not.
    pub fn new(kind: ErrorKind, backend: &'static str, operation: &'static str) -> Self {
        Self(Arc::new(Inner {
            kind,
            retryable: kind.is_retryable(),
            retry_after: None,
            backend,
            operation,
            detail: String::new(),
            reason: None,
            request_id: None,
            source: None,
        }))
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Says what was attempted and on what, without secrets.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        self.map(|inner| inner.detail = detail.into())
    }

    /// Names the finer cause.
    #[must_use]
    pub fn with_reason(self, reason: Reason) -> Self {
        self.map(|inner| inner.reason = Some(reason))
    }

    /// Keeps the request id that the service gave.
    #[must_use]
    pub fn with_request_id(self, id: impl Into<String>) -> Self {
        self.map(|inner| inner.request_id = Some(id.into()))
    }

    /// Keeps the error that led to this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.map(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// Keeps how long the service asked to wait, and makes the error retryable.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.map(|inner| {
            inner.retry_after = Some(wait);
            inner.retryable = true;
        })
    }

    /// Overrides whether the same call may succeed later.
    #[must_use]
    pub fn with_retryable(self, yes: bool) -> Self {
        self.map(|inner| inner.retryable = yes)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later. Says nothing about whether it already did.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long the service asked to wait before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The backend that failed, such as `redis`.
    pub fn backend(&self) -> &'static str {
        self.0.backend
    }

    /// The operation that failed, such as `queue.send`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What was attempted and on what; empty when there is nothing to add.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The finer cause, where there is one.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// The request id that the service gave.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, backend, operation, detail, source, .. } = &*self.0;
        write!(f, "{backend} {operation}: {kind}")?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        } else if let Some(source) = source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind)
            .field("backend", &inner.backend)
            .field("operation", &inner.operation)
            .field("retryable", &inner.retryable);
        if !inner.detail.is_empty() {
            out.field("detail", &inner.detail);
        }
        if let Some(reason) = &inner.reason {
            out.field("reason", reason);
        }
        if let Some(wait) = &inner.retry_after {
            out.field("retry_after", wait);
        }
        if let Some(id) = &inner.request_id {
            out.field("request_id", id);
        }
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Whether `error`, or what caused it, says that a connection never came about. For backends: only
/// that proves that nothing was asked, so that a change which was not answered did not happen.
///
/// ```
/// use std::io;
/// use standfast_core::never_connected;
///
/// assert!(never_connected(&io::Error::from(io::ErrorKind::ConnectionRefused)));
/// assert!(!never_connected(&io::Error::from(io::ErrorKind::ConnectionReset)));
/// ```
pub fn never_connected(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        matches!(
            cause.downcast_ref::<io::Error>().map(io::Error::kind),
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_kept_and_shown_when_there_is_no_detail() {
        let error = Error::new(ErrorKind::Unavailable, "fs", "blob.put")
            .with_source(io::Error::other("disk gone"));
        assert_eq!(error.to_string(), "fs blob.put: unavailable: disk gone");
        assert_eq!(error.source().unwrap().to_string(), "disk gone");
    }

    #[test]
    fn a_changed_clone_leaves_the_original_alone() {
        let error = Error::new(ErrorKind::Invalid, "memory", "queue.send");
        let retried = error.clone().with_retry_after(Duration::from_secs(1));
        assert!(!error.is_retryable());
        assert!(retried.is_retryable());
    }
}
