//! What an answer of the service means: the one table of this backend.

use std::error::Error as StdError;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use standfast_core::{Error, ErrorKind, Reason, never_connected};

pub(super) const BACKEND: &str = "s3";

/// A request that did not succeed, and what is known of its effect.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The status of the answer, or 0 where there was none.
    pub(super) status: u16,
    pub(super) code: String,
    /// Whether an attempt may have taken effect although it failed.
    pub(super) doubtful: bool,
    /// Whether to send it again.
    pub(super) again: bool,
}

impl Failure {
    /// No byte went or came for too long.
    pub(super) fn idle(operation: &'static str, what: &str) -> Self {
        let error = Error::new(ErrorKind::Timeout, BACKEND, operation)
            .with_detail(format!("{what}: the service fell silent"));
        Self { error, status: 0, code: String::new(), doubtful: true, again: true }
    }

    pub(super) fn of<E>(operation: &'static str, what: &str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let SdkError::ServiceError(context) = &error else {
            return Self::unanswered(operation, what, error);
        };
        let status = context.raw().status().as_u16();
        let meta = context.err().meta();
        let code = meta.code().unwrap_or_default().to_owned();
        let mut detail = format!("{what}: {status} {code}");
        if let Some(said) = meta.message() {
            detail = format!("{detail}: {said}");
        }
        if let Some(region) = context.raw().headers().get("x-amz-bucket-region")
            && matches!(status, 301 | 307 | 400)
        {
            detail = format!("{detail}; the bucket is in {region}");
        }
        let mut failure = Self::answered(operation, status, code);
        failure.error = failure.error.with_detail(detail);
        if let Some(id) = meta.extra("aws_request_id") {
            failure.error = failure.error.with_request_id(id);
        }
        failure
    }

    /// What a status and a code say.
    pub(super) fn answered(operation: &'static str, status: u16, code: String) -> Self {
        use ErrorKind as Kind;
        let (kind, reason) = match (&*code, status) {
            ("AccessDenied" | "AllAccessDisabled" | "InvalidAccessKeyId", _) => {
                (Kind::Denied, None)
            }
            ("SignatureDoesNotMatch", _) => (Kind::Denied, Some(Reason::Signature)),
            ("ExpiredToken" | "TokenRefreshRequired" | "RequestTimeTooSkewed", _) => {
                (Kind::Denied, Some(Reason::Expired))
            }
            ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch", _) => {
                (Kind::Checksum, None)
            }
            ("ConditionalRequestConflict" | "NoSuchUpload" | "OperationAborted", _) => {
                (Kind::Conflict, None)
            }
            ("EntityTooLarge", _) => (Kind::TooLarge, Some(Reason::BodyTooLarge)),
            ("InsufficientStorage" | "QuotaExceeded", _) => {
                (Kind::Unavailable, Some(Reason::NoSpace))
            }
            ("KeyTooLongError", _) => (Kind::Invalid, Some(Reason::InvalidName)),
            ("NotImplemented", _) => (Kind::Unsupported, None),
            ("RequestTimeout", _) => (Kind::Unavailable, None),
            ("RequestLimitExceeded" | "SlowDown" | "Throttling" | "ThrottlingException", _) => {
                (Kind::Throttled, None)
            }
            (_, 401 | 403) => (Kind::Denied, None),
            (_, 404) => (Kind::NotFound, None),
            (_, 409 | 412) => (Kind::Conflict, None),
            (_, 413) => (Kind::TooLarge, Some(Reason::BodyTooLarge)),
            (_, 416) => (Kind::Range, None),
            (_, 429) => (Kind::Throttled, None),
            (_, 501) => (Kind::Unsupported, None),
            (_, 507) => (Kind::Unavailable, Some(Reason::NoSpace)),
            (_, 500..) => (Kind::Unavailable, None),
            (_, 300..=499) => (Kind::Invalid, None),
            // An answer that ended in an error after its head had said that all is well.
            _ => (Kind::Unavailable, None),
        };
        let full = reason == Some(Reason::NoSpace);
        let skewed = code == "RequestTimeTooSkewed";
        let mut error = Error::new(kind, BACKEND, operation);
        if let Some(reason) = reason {
            error = error.with_reason(reason);
        }
        let again = !full
            && (error.is_retryable()
                || skewed
                || kind == Kind::Checksum
                || matches!(&*code, "ConditionalRequestConflict" | "OperationAborted"));
        if full {
            error = error.with_retryable(false);
        }
        let doubtful = kind == Kind::Unavailable && !full && code != "RequestTimeout";
        Self { error, status, code, doubtful, again }
    }

    /// There was no answer, or none that anybody could read.
    fn unanswered<E>(operation: &'static str, what: &str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let text = DisplayErrorContext(&error).to_string();
        // Only that a connection never came about proves that nothing was asked.
        let refused = never_connected(&error);
        let keyless = text.contains("redentials");
        let (kind, unsent) = match &error {
            _ if keyless => (ErrorKind::Denied, true),
            SdkError::ConstructionFailure(_) => (ErrorKind::Invalid, true),
            SdkError::TimeoutError(_) => (ErrorKind::Timeout, false),
            _ => (ErrorKind::Unavailable, refused),
        };
        let error = Error::new(kind, BACKEND, operation).with_detail(format!("{what}: {text}"));
        let again = error.is_retryable();
        Self { error, status: 0, code: String::new(), doubtful: !unsent, again }
    }

    /// What a change that failed for good means to its caller: unknown, if it may have happened.
    pub(super) fn into_changed(self) -> Error {
        if !self.doubtful {
            return self.error;
        }
        Error::new(ErrorKind::OutcomeUnknown, BACKEND, self.error.operation())
            .with_detail(self.error.detail())
            .with_source(self.error)
    }

    /// The condition of the request did not hold.
    pub(super) fn is_refusal(&self) -> bool {
        self.status == 412 || (self.status == 409 && self.code != "OperationAborted")
    }

    /// There is no such object; a bucket that is missing is another matter.
    pub(super) fn is_missing(&self) -> bool {
        self.status == 404 && !matches!(&*self.code, "NoSuchBucket" | "NoSuchUpload")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_meaning() {
        use ErrorKind as Kind;
        // status, code, kind, sent again, may have happened
        let table = [
            (404, "NoSuchKey", Kind::NotFound, false, false),
            (404, "NoSuchBucket", Kind::NotFound, false, false),
            (403, "AccessDenied", Kind::Denied, false, false),
            (403, "ExpiredToken", Kind::Denied, false, false),
            (403, "RequestTimeTooSkewed", Kind::Denied, true, false),
            (400, "BadDigest", Kind::Checksum, true, false),
            (400, "EntityTooLarge", Kind::TooLarge, false, false),
            (400, "RequestTimeout", Kind::Unavailable, true, false),
            (400, "InvalidArgument", Kind::Invalid, false, false),
            (301, "PermanentRedirect", Kind::Invalid, false, false),
            (409, "ConditionalRequestConflict", Kind::Conflict, true, false),
            (412, "PreconditionFailed", Kind::Conflict, false, false),
            (416, "InvalidRange", Kind::Range, false, false),
            (429, "", Kind::Throttled, true, false),
            (503, "SlowDown", Kind::Throttled, true, false),
            (500, "InternalError", Kind::Unavailable, true, true),
            (503, "ServiceUnavailable", Kind::Unavailable, true, true),
            (502, "", Kind::Unavailable, true, true),
            (504, "", Kind::Unavailable, true, true),
            (200, "InternalError", Kind::Unavailable, true, true),
            (501, "NotImplemented", Kind::Unsupported, false, false),
            (507, "InsufficientStorage", Kind::Unavailable, false, false),
            (403, "QuotaExceeded", Kind::Unavailable, false, false),
        ];
        for (status, code, kind, again, doubtful) in table {
            let failure = Failure::answered("blob.put", status, code.to_owned());
            let found = (failure.error.kind(), failure.again, failure.doubtful);
            assert_eq!(found, (kind, again, doubtful), "{status} {code}");
        }
    }
}
