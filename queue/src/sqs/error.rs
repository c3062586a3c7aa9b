//! What an answer of the service means: the one table of this backend.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use standfast_core::{Error, ErrorKind, Reason, never_connected};

pub(super) const BACKEND: &str = "sqs";

/// What a queue needs to calm down after it was purged or deleted.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A call, or one entry of it, that did not succeed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The receipt handle names no current delivery.
    pub(super) stale: bool,
}

impl Failure {
    pub(super) fn of<E>(operation: &'static str, changes: bool, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let SdkError::ServiceError(context) = &error else {
            return Self::unanswered(operation, changes, &error);
        };
        let status = context.raw().status().as_u16();
        let meta = context.err().meta();
        let (code, said) = (meta.code().unwrap_or_default(), meta.message().unwrap_or_default());
        let mut failure = Self::answered(operation, changes, status, code, said);
        if let Some(id) = meta.extra("aws_request_id") {
            failure.error = failure.error.with_request_id(id);
        }
        failure
    }

    /// The call took longer than it may.
    pub(super) fn late(operation: &'static str, changes: bool, after: Duration) -> Self {
        let kind = if changes { ErrorKind::OutcomeUnknown } else { ErrorKind::Timeout };
        let error = Error::new(kind, BACKEND, operation)
            .with_detail(format!("no answer within {after:?}"))
            .with_retryable(true);
        Self { error, stale: false }
    }

    /// What the code of one entry of a batch says.
    pub(super) fn entry(operation: &'static str, code: &str, said: &str, ours: bool) -> Self {
        Self::answered(operation, false, if ours { 400 } else { 500 }, code, said)
    }

    /// What a status, a code and a sentence say.
    pub(super) fn answered(
        operation: &'static str,
        changes: bool,
        status: u16,
        code: &str,
        said: &str,
    ) -> Self {
        use ErrorKind as Kind;
        // two protocols, two spellings
        let code = code.rsplit('#').next().unwrap_or(code);
        let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
        let too_long = said.contains("must be shorter than");
        let expired = code.contains("ReceiptHandle") || said.contains("receipt handle has expired");
        let (kind, reason, wait) = match (code, status) {
            ("QueueDoesNotExist" | "NonExistentQueue" | "ResourceNotFoundException", _) => {
                (Kind::NotFound, None, None)
            }
            ("ExpiredToken" | "ExpiredTokenException" | "RequestExpired", _) => {
                (Kind::Denied, Some(Reason::Expired), None)
            }
            ("SignatureDoesNotMatch" | "InvalidSignatureException", _) => {
                (Kind::Denied, Some(Reason::Signature), None)
            }
            ("RequestThrottled" | "OverLimit" | "KmsThrottled", _) => (Kind::Throttled, None, None),
            (code, _) if code.starts_with("Throttling") => (Kind::Throttled, None, None),
            ("PurgeQueueInProgress", _) => (Kind::Throttled, None, Some(A_MINUTE)),
            ("QueueDeletedRecently", _) => (Kind::Conflict, None, Some(A_MINUTE)),
            ("QueueNameExists" | "QueueAlreadyExists", _) => (Kind::Conflict, None, None),
            ("BatchRequestTooLong", _) => (Kind::TooLarge, None, None),
            ("TooManyEntriesInBatchRequest", _) => {
                (Kind::Invalid, Some(Reason::BatchTooLarge), None)
            }
            ("UnsupportedOperation", _) => (Kind::Unsupported, None, None),
            _ if too_long => (Kind::TooLarge, Some(Reason::BodyTooLarge), None),
            _ if expired => (Kind::Conflict, None, None),
            ("MessageNotInflight", _) => (Kind::Conflict, None, None),
            ("InvalidClientTokenId" | "UnrecognizedClientException" | "OptInRequired", _) => {
                (Kind::Denied, None, None)
            }
            ("MissingAuthenticationToken" | "InvalidSecurity", _) => (Kind::Denied, None, None),
            (code, _) if code.starts_with("AccessDenied") => (Kind::Denied, None, None),
            (code, _) if code.starts_with("Kms") || code.starts_with("KMS.") => {
                (Kind::Denied, None, None)
            }
            (_, 401 | 403) => (Kind::Denied, None, None),
            (_, 404) => (Kind::NotFound, None, None),
            (_, 413) => (Kind::TooLarge, None, None),
            (_, 429) => (Kind::Throttled, None, None),
            // it may have happened before the service failed
            (_, 500..) if changes => (Kind::OutcomeUnknown, None, None),
            (_, 500..) => (Kind::Unavailable, None, None),
            _ => (Kind::Invalid, None, None),
        };
        let mut error = Error::new(kind, BACKEND, operation)
            .with_detail(format!("{status} {code}: {said}"))
            .with_retryable(matches!(
                kind,
                Kind::Throttled | Kind::Unavailable | Kind::OutcomeUnknown
            ));
        if let Some(reason) = reason {
            error = error.with_reason(reason);
        }
        if let Some(wait) = wait {
            error = error.with_retry_after(wait);
        }
        let stale = (expired || code == "MessageNotInflight") && kind == Kind::Conflict;
        Self { error, stale }
    }

    /// There was no answer, or none that anybody could read.
    fn unanswered<E>(operation: &'static str, changes: bool, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let text = DisplayErrorContext(error).to_string();
        // only that a connection never came about proves that nothing was asked
        let refused = never_connected(error);
        let kind = match error {
            _ if text.contains("redentials") => ErrorKind::Denied,
            _ if text.contains("Missing Region") => ErrorKind::Invalid,
            SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
            SdkError::TimeoutError(_) if !changes => ErrorKind::Timeout,
            _ if changes && !refused => ErrorKind::OutcomeUnknown,
            _ => ErrorKind::Unavailable,
        };
        let retryable = !matches!(kind, ErrorKind::Denied | ErrorKind::Invalid);
        let error =
            Error::new(kind, BACKEND, operation).with_detail(text).with_retryable(retryable);
        Self { error, stale: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no stand-in answers, as the reference of the service words it.
    #[test]
    fn every_answer_has_its_meaning() {
        use ErrorKind as Kind;
        // status, code, sentence, kind, may be repeated, is about a stale receipt
        let table = [
            (400, "AWS.SimpleQueueService.NonExistentQueue", "", Kind::NotFound, false, false),
            (400, "com.amazonaws.sqs#QueueDoesNotExist", "", Kind::NotFound, false, false),
            (403, "AccessDenied", "", Kind::Denied, false, false),
            (403, "AccessDeniedException", "", Kind::Denied, false, false),
            (403, "ExpiredToken", "", Kind::Denied, false, false),
            (403, "InvalidClientTokenId", "", Kind::Denied, false, false),
            (403, "SignatureDoesNotMatch", "", Kind::Denied, false, false),
            (400, "KmsAccessDenied", "", Kind::Denied, false, false),
            (400, "KmsThrottled", "", Kind::Throttled, true, false),
            (400, "RequestThrottled", "", Kind::Throttled, true, false),
            (400, "ThrottlingException", "", Kind::Throttled, true, false),
            (400, "OverLimit", "", Kind::Throttled, true, false),
            (403, "PurgeQueueInProgress", "", Kind::Throttled, true, false),
            (400, "QueueDeletedRecently", "", Kind::Conflict, true, false),
            (400, "QueueNameExists", "", Kind::Conflict, false, false),
            (400, "BatchRequestTooLong", "", Kind::TooLarge, false, false),
            (
                400,
                "InvalidParameterValue",
                "Message must be shorter than 1048576 bytes.",
                Kind::TooLarge,
                false,
                false,
            ),
            (400, "InvalidMessageContents", "", Kind::Invalid, false, false),
            (400, "ReceiptHandleIsInvalid", "", Kind::Conflict, false, true),
            (400, "AWS.SimpleQueueService.MessageNotInflight", "", Kind::Conflict, false, true),
            (
                400,
                "InvalidParameterValue",
                "Reason: The receipt handle has expired.",
                Kind::Conflict,
                false,
                true,
            ),
            (400, "UnsupportedOperation", "", Kind::Unsupported, false, false),
            (500, "InternalError", "", Kind::Unavailable, true, false),
            (503, "ServiceUnavailable", "", Kind::Unavailable, true, false),
            (429, "", "", Kind::Throttled, true, false),
        ];
        for (status, code, said, kind, again, stale) in table {
            let failure = Failure::answered("queue.receive", false, status, code, said);
            let found = (failure.error.kind(), failure.error.is_retryable(), failure.stale);
            assert_eq!(found, (kind, again, stale), "{status} {code} {said}");
        }
    }

    #[test]
    fn a_change_that_failed_inside_may_have_happened() {
        let failure = Failure::answered("queue.send", true, 500, "InternalError", "");
        assert_eq!(failure.error.kind(), ErrorKind::OutcomeUnknown);
        let failure = Failure::answered("queue.send", true, 400, "RequestThrottled", "");
        assert_eq!(failure.error.kind(), ErrorKind::Throttled);
    }
}
