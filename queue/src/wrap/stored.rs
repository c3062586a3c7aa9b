//! What decorators share that stand on a blob store, too.

use std::time::{Duration, Instant};

use standfast_blobstore::Expiry;
use standfast_core::{Error, ErrorKind, Health, Verdict};

use crate::message::SendOutcome;

/// The health of what needs both a queue and a store.
pub(super) fn worse(queue: Health, store: Health, began: Instant) -> Health {
    let asked = format!("{} and {}", queue.asked, store.asked);
    let verdict = match (queue.verdict, store.verdict) {
        (Verdict::Failing(why), _) | (_, Verdict::Failing(why)) => Verdict::Failing(why),
        (Verdict::Degraded(why), _) | (_, Verdict::Degraded(why)) => Verdict::Degraded(why),
        (verdict, _) => verdict,
    };
    Health::since(asked, began, verdict)
}

/// The end of what is kept for `span` at least.
pub(super) fn expiry(span: Option<Duration>) -> Expiry {
    /// Beyond this the calendar is not worth asking.
    const AGES: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);
    match span {
        Some(span) if span < AGES => Expiry::In(span.max(Duration::from_secs(1))),
        _ => Expiry::Never,
    }
}

/// The error of a call that did not reach the queue because the store failed with `error`: nothing
/// about the queue is unknown, even where nobody knows about the blob.
pub(super) fn not_reached(
    error: Error,
    decorator: &'static str,
    operation: &'static str,
    what: &str,
) -> Error {
    let kind = match error.kind() {
        kind @ (ErrorKind::Denied
        | ErrorKind::Invalid
        | ErrorKind::Throttled
        | ErrorKind::TooLarge
        | ErrorKind::Unsupported) => kind,
        _ => ErrorKind::Unavailable,
    };
    let retryable = error.is_retryable() || error.kind() != kind;
    let mut told = Error::new(kind, decorator, operation)
        .with_detail(format!("{what}: {}", error.kind()))
        .with_retryable(retryable);
    if let Some(wait) = error.retry_after() {
        told = told.with_retry_after(wait);
    }
    if let Some(reason) = error.reason() {
        told = told.with_reason(reason);
    }
    told.with_source(error)
}

/// Whether the message of this outcome is surely not in the queue because of this send.
pub(super) fn is_surely_absent(outcome: &SendOutcome) -> bool {
    match outcome {
        SendOutcome::Duplicate(_) | SendOutcome::Full => true,
        SendOutcome::Failed(error) => !matches!(
            error.kind(),
            ErrorKind::Cancelled
                | ErrorKind::OutcomeUnknown
                | ErrorKind::Timeout
                | ErrorKind::Unexpected
        ),
        SendOutcome::Sent => false,
    }
}
