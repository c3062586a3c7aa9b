//! What must reach a store is tried for as long as the lease gives the right to say it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Backoff, CancellationToken, Clock, Error, Result, saturating_add};

use super::JobContext;
use crate::delivery::{SettleOutcome, Settlement};
use crate::jobs::Jobs;
use crate::queue::Queue;
use crate::status::{Advance, StatusUpdate};

const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Why something could not be said.
pub(super) enum Unsaid {
    /// The store will not take it, however often it is tried.
    Refused(Error),
    /// The lease ended first, or everything is being let go.
    TooLate,
}

/// Repeats `call` while it fails for the moment, the lease of `context` lasts and nothing is to be
/// let go.
async fn patiently<T, F>(
    context: &JobContext,
    clock: &dyn Clock,
    release: &CancellationToken,
    mut call: impl FnMut() -> F + Send,
) -> Result<T, Unsaid>
where
    F: Future<Output = Result<T>> + Send,
    T: Send,
{
    let mut attempt = 1;
    loop {
        let lease_end = clock.sleep_until(context.lease_deadline());
        let error = tokio::select! {
            biased;
            answer = call() => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            },
            // a heartbeat may have moved the end meanwhile
            () = lease_end => {
                if context.lease_deadline() > clock.instant() { continue }
                return Err(Unsaid::TooLate);
            }
        };
        if !error.is_retryable() {
            return Err(Unsaid::Refused(error));
        }
        tracing::warn!(id = %context.envelope().id, attempt, %error, "will be tried again");
        let pause = error.retry_after().unwrap_or_else(|| BETWEEN_TRIES.next(attempt));
        attempt += 1;
        tokio::select! {
            () = clock.sleep_until(saturating_add(clock.instant(), pause)) => {}
            () = release.cancelled() => return Err(Unsaid::TooLate),
        }
        if context.lease_deadline() <= clock.instant() {
            return Err(Unsaid::TooLate);
        }
    }
}

/// Stores a step of the job's status; `None` when nobody waits for the job.
pub(super) async fn advance(
    jobs: &Jobs,
    context: &JobContext,
    update: &StatusUpdate,
    release: &CancellationToken,
) -> Result<Option<Advance>, Unsaid> {
    let Some(handle) = context.envelope().handle else { return Ok(None) };
    let call = || jobs.status().advance(&handle, update, jobs.kept_for());
    patiently(context, &**jobs.clock(), release, call).await.map(Some)
}

/// Settles the delivery; says whether the receipt was still current.
pub(super) async fn settle(
    queue: &Arc<dyn Queue>,
    clock: &dyn Clock,
    context: &JobContext,
    settlement: Settlement,
    release: &CancellationToken,
) -> Result<bool, Unsaid> {
    let batch = [(context.received().receipt.clone(), settlement)];
    let call = || async {
        match queue.settle(&batch).await?.into_iter().next() {
            Some(SettleOutcome::Settled) => Ok(true),
            Some(SettleOutcome::Failed(error)) => Err(error),
            Some(SettleOutcome::Stale) | None => Ok(false),
        }
    };
    patiently(context, clock, release, call).await
}
