//! What must reach a store is tried for as long as the lease gives the right to say it.

use std::future::Future;
use std::time::Duration;

use standfast_core::{Backoff, Error, Result};

use super::JobContext;
use super::run::{Runner, Source};
use crate::delivery::{SettleOutcome, Settlement};
use crate::jobs::worth_repeating;
use crate::status::{Advance, StatusUpdate};

const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Why something could not be said.
pub(super) enum Unsaid {
    /// The store will not take it, however often it is tried.
    Refused(Error),
    /// The lease ended first, or everything is being let go.
    TooLate,
}

impl Runner {
    /// Repeats `call` while it fails for the moment, the lease of `context` lasts and nothing is to
    /// be let go.
    async fn patiently<T, F>(
        &self,
        context: &JobContext,
        mut call: impl FnMut() -> F + Send,
    ) -> Result<T, Unsaid>
    where
        F: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let mut attempt = 1;
        loop {
            let answer = tokio::select! {
                biased;
                answer = call() => answer,
                () = context.lease_ended(&*self.clock) => return Err(Unsaid::TooLate),
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if !worth_repeating(&error) => return Err(Unsaid::Refused(error)),
                Err(error) => error,
            };
            tracing::warn!(id = %context.envelope().id, attempt, %error, "will be tried again");
            let pause = error.retry_after().unwrap_or_else(|| BETWEEN_TRIES.next(attempt));
            attempt += 1;
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = context.lease_ended(&*self.clock) => return Err(Unsaid::TooLate),
                () = self.release.cancelled() => return Err(Unsaid::TooLate),
            }
        }
    }

    /// Stores a step of the job's status; `None` when nobody waits for the job.
    pub(super) async fn advance(
        &self,
        source: &Source,
        context: &JobContext,
        update: &StatusUpdate,
    ) -> Result<Option<Advance>, Unsaid> {
        let Some(handle) = context.envelope().handle else { return Ok(None) };
        let jobs = &source.jobs;
        let call = || async {
            let answer = jobs.status().advance(&handle, update, jobs.kept_for()).await;
            self.health.status_answered(source.index, answer.as_ref().err());
            answer
        };
        self.patiently(context, call).await.map(Some)
    }

    /// Settles the delivery; says whether the receipt was still current.
    pub(super) async fn settle_one(
        &self,
        source: &Source,
        context: &JobContext,
        settlement: Settlement,
    ) -> Result<bool, Unsaid> {
        let batch = [(context.received().receipt.clone(), settlement)];
        let call = || async {
            match source.settles.settle(&batch).await?.into_iter().next() {
                Some(SettleOutcome::Settled) => Ok(true),
                Some(SettleOutcome::Failed(error)) => Err(error),
                Some(SettleOutcome::Stale) | None => Ok(false),
            }
        };
        self.patiently(context, call).await
    }
}
