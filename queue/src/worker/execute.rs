//! One delivery, from the receive to the settlement.

use std::any::Any;
use std::cmp::Ordering;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::Value;
use standfast_core::{Backoff, saturating_add};
use tracing::{Instrument, Span};

use super::context::CancelReason;
use super::error::Verdict;
use super::heartbeat::lose;
use super::kind::{Admission, Kind};
use super::report::{Meter, Outcome};
use super::run::{Runner, Source};
use super::settle::Unsaid;
use super::{JobContext, JobError, JobRequest};
use crate::delivery::Settlement;
use crate::status::{Advance, JobFailure, JobState, JobStatus, StatusUpdate};

const UNKNOWN_KIND: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

const ON_REQUEST: &str = "cancelled on request";

/// How an execution ended.
enum Ended {
    /// The handler returned or panicked.
    Returned(Result<Value, JobError>),
    /// The handler was asked to end and did not within its grace.
    Abandoned,
}

/// What is said about an execution: a step of the status, then the settlement of the delivery.
struct Conclusion {
    update: StatusUpdate,
    settlement: Settlement,
    outcome: Outcome,
}

impl Runner {
    /// Sees one delivery through.
    pub(super) async fn execute(&self, source: &Source, context: JobContext) {
        let envelope = context.envelope();
        let kind = self.kinds.get(&*envelope.kind).filter(|kind| kind.version >= envelope.version);
        let Some(kind) = kind else { return self.pass_on(source, &context).await };
        let admitted = match kind.admit(self.clock.instant()) {
            Admission::Admitted(running) => running,
            Admission::Later(delay) => return self.release(source, &context, delay).await,
        };
        let Some(seen) = self.begin(source, &context).await else { return };
        let began = self.clock.instant();
        let ended = self.run_handler(source, kind, &context, began, seen).await;
        let now = self.clock.instant();
        kind.meter.took(now.saturating_duration_since(began));
        let conclusion = self.conclude(kind, &context, ended, now);
        drop(admitted);
        self.finish(source, &context, conclusion).await;
    }

    /// Says that the job runs, and learns what only its status knows: checkpoint, request to cancel.
    /// Returns the version of the status; `None` when the job must not run: another worker has it,
    /// it has ended, or that could not be found out.
    async fn begin(&self, source: &Source, context: &JobContext) -> Option<u64> {
        let update = self.update(context, JobState::Running);
        let advanced = match self.advance(source, context, &update).await {
            Ok(None) => return Some(0),
            Ok(Some(advanced)) => advanced,
            Err(Unsaid::TooLate) => {
                // nothing was said, so this was no attempt
                self.release(source, context, Duration::ZERO).await;
                return None;
            }
            Err(unsaid) => {
                self.give_up(context, unsaid, "the status `running` was not stored");
                self.lost(source, context);
                return None;
            }
        };
        let status = advanced.status();
        if !advanced.is_applied() {
            self.skip(source, context, status).await;
            return None;
        }
        if let Some(checkpoint) = &status.checkpoint {
            context.set_last_checkpoint(checkpoint.clone());
        }
        if status.cancel_requested {
            context.cancel(CancelReason::Requested);
        }
        Some(status.version)
    }

    /// Settles a delivery whose status says that there is nothing to run.
    async fn skip(&self, source: &Source, context: &JobContext, status: &JobStatus) {
        let settlement = match status.state {
            // the worker before died between the status and the settlement
            JobState::Succeeded | JobState::Cancelled => Settlement::Ack,
            JobState::Failed => {
                let failure = status.error.as_ref().map(|failure| failure.message.clone());
                Settlement::DeadLetter { reason: failure.unwrap_or_default() }
            }
            // a later delivery runs: this one has lost its lease without knowing it yet
            JobState::Queued | JobState::Running => return self.lost(source, context),
        };
        self.settle(source, context, settlement, Outcome::Skipped).await;
    }

    /// Runs the handler next to what has to go on meanwhile: progress, requests to cancel, time.
    async fn run_handler(
        &self,
        source: &Source,
        kind: &Kind,
        context: &JobContext,
        began: Instant,
        seen: u64,
    ) -> Ended {
        if context.is_cancelled() {
            return Ended::Abandoned;
        }
        let request = JobRequest { context: context.clone() };
        let answer = async { (kind.handler)(request).await }.instrument(span(context));
        let answer = AssertUnwindSafe(answer).catch_unwind();
        tokio::pin!(answer);
        let companion = self.accompany(source, context, seen);
        tokio::pin!(companion);
        let time_limit = kind.config.timeout.map(|limit| saturating_add(began, limit));
        let time_is_up = async {
            match time_limit {
                Some(at) => self.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut answer => return Ended::Returned(flatten(answer)),
            () = &mut companion => {}
            () = context.cancelled() => {}
            () = self.release.cancelled() => {
                context.cancel(CancelReason::Shutdown);
                return Ended::Abandoned;
            }
            () = time_is_up => context.cancel(CancelReason::TimedOut),
        }
        // asked to end: until the grace is over, and never longer than the lease
        let grace = saturating_add(self.clock.instant(), self.config.cancel_grace);
        tokio::select! {
            biased;
            answer = &mut answer => Ended::Returned(flatten(answer)),
            () = self.clock.sleep_until(grace) => Ended::Abandoned,
            () = context.lease_ended(&*self.clock) => Ended::Abandoned,
            () = self.release.cancelled() => Ended::Abandoned,
        }
    }

    /// Stores what the handler tells and hears requests to cancel; never ends.
    async fn accompany(&self, source: &Source, context: &JobContext, mut seen: u64) {
        let Some(handle) = context.envelope().handle else {
            return std::future::pending().await;
        };
        let tell = async {
            loop {
                context.news().await;
                let next = saturating_add(self.clock.instant(), self.config.progress_interval);
                self.store_told(source, context).await;
                self.clock.sleep_until(next).await;
            }
        };
        let hear = async {
            loop {
                match source.jobs.status().wait(&handle, seen, Duration::from_secs(60)).await {
                    Ok(Some(status)) => {
                        let same_run = status.run == context.run();
                        if status.cancel_requested && same_run {
                            context.cancel(CancelReason::Requested);
                        }
                        seen = status.version;
                    }
                    // forgotten, or not to be asked: nobody can cancel it now
                    Ok(None) | Err(_) => {
                        self.clock.sleep(Duration::from_secs(5)).await;
                    }
                }
            }
        };
        tokio::join!(tell, hear);
    }

    /// Stores what the handler told. What is not stored when the handler ends goes along with the
    /// conclusion.
    async fn store_told(&self, source: &Source, context: &JobContext) {
        let told = context.news_to_store();
        if told.is_empty() {
            return;
        }
        let mut update = self.update(context, JobState::Running);
        (update.progress, update.checkpoint) = (told.progress.clone(), told.checkpoint.clone());
        match self.advance(source, context, &update).await {
            Ok(Some(Advance::Refused(status))) if is_later(&status, &update) => lose(context),
            Ok(_) => context.stored(&told),
            Err(unsaid) => self.give_up(context, unsaid, "progress was not stored"),
        }
    }

    /// What to say about an execution that ended so.
    fn conclude(
        &self,
        kind: &Kind,
        context: &JobContext,
        ended: Ended,
        now: Instant,
    ) -> Conclusion {
        let reason = context.cancel_reason();
        let error = match (ended, reason) {
            (Ended::Returned(Ok(result)), _) => {
                kind.note(false, now);
                return Conclusion {
                    update: self.last_update(context, JobState::Succeeded).result(result),
                    settlement: Settlement::Ack,
                    outcome: Outcome::Succeeded,
                };
            }
            (Ended::Returned(Err(error)), None) => error,
            (_, Some(CancelReason::Requested)) => JobError::cancelled(ON_REQUEST),
            (_, Some(CancelReason::TimedOut)) => {
                let limit = kind.config.timeout.unwrap_or_default();
                JobError::retry(format!("took longer than {limit:?}"))
            }
            // lost or not, the store decides whether this is still ours to give back
            (_, Some(CancelReason::LeaseLost | CancelReason::Shutdown))
            | (Ended::Abandoned, None) => JobError::snooze(Duration::ZERO),
        };
        match error.verdict {
            Verdict::Cancelled => self.cancel(context, error.failure),
            Verdict::Snooze(delay) => self.again(context, delay, None),
            Verdict::Dead => self.bury(context, error.failure),
            Verdict::Retry | Verdict::RetryIn(_) => {
                if kind.note(true, now) {
                    let pause = kind.config.breaker_pause;
                    tracing::warn!(kind = %context.envelope().kind, ?pause, "keeps failing; paused");
                    metrics::counter!("standfast_breaker_opened_total",
                        "kind" => context.envelope().kind.clone())
                    .increment(1);
                }
                let policy = &kind.config.retry;
                if let Some(why) = policy.exhausted(context.received(), &*self.clock) {
                    let message = format!("{} ({why})", error.failure.message);
                    return self.bury(context, JobFailure { message, ..error.failure });
                }
                let delay = match error.verdict {
                    Verdict::RetryIn(delay) => delay,
                    _ => policy.backoff.next(context.attempt()),
                };
                self.again(context, delay, Some(error.failure))
            }
        }
    }

    /// Run it again after `delay`: as another attempt if there was a failure.
    fn again(
        &self,
        context: &JobContext,
        delay: Duration,
        failure: Option<JobFailure>,
    ) -> Conclusion {
        let received = context.received();
        let counted = failure.is_some();
        let attempt = received.attempt + u32::from(counted);
        let mut update = self
            .last_update(context, JobState::Queued)
            .execution(context.run(), attempt, received.delivery + 1)
            .retry_in(delay);
        update.error.clone_from(&failure);
        // progress belongs to the delivery that ended
        update.progress = None;
        let error = failure.map(|failure| failure.message);
        let outcome = if counted { Outcome::Retried } else { Outcome::Released };
        let settlement = Settlement::Release { delay, counted, error };
        Conclusion { update, settlement, outcome }
    }

    fn cancel(&self, context: &JobContext, failure: JobFailure) -> Conclusion {
        Conclusion {
            update: self.last_update(context, JobState::Cancelled).error(failure),
            settlement: Settlement::Ack,
            outcome: Outcome::Cancelled,
        }
    }

    fn bury(&self, context: &JobContext, failure: JobFailure) -> Conclusion {
        Conclusion {
            settlement: Settlement::DeadLetter { reason: failure.message.clone() },
            update: self.last_update(context, JobState::Failed).error(failure),
            outcome: Outcome::Dead,
        }
    }

    /// Says what is to be said: first the status, then the settlement.
    ///
    /// Dies before: the lease runs out, the job runs again. Dies between: the next worker finds the
    /// status ended and settles accordingly, or finds it queued and runs it. Dies after: all said.
    async fn finish(&self, source: &Source, context: &JobContext, mut conclusion: Conclusion) {
        loop {
            let Conclusion { update, settlement, outcome } = conclusion;
            conclusion = match self.advance(source, context, &update).await {
                Err(Unsaid::Refused(error)) if matches!(outcome, Outcome::Succeeded) => {
                    // the result is what the job was for: without it the job has failed
                    self.bury(
                        context,
                        JobFailure::new(format!("the result was not stored: {error}")),
                    )
                }
                Err(unsaid) => {
                    self.give_up(context, unsaid, "the end was not stored; the job will run again");
                    return self.lost(source, context);
                }
                // a settlement might reach the later delivery where receipts are not fenced
                Ok(Some(Advance::Refused(status))) if is_later(&status, &update) => {
                    tracing::warn!(id = %context.envelope().id, "ended too late");
                    return self.lost(source, context);
                }
                // asked to end while it was failing, so it does not run again
                Ok(Some(Advance::Applied(status)))
                    if status.state == JobState::Queued && status.cancel_requested =>
                {
                    let StatusUpdate { run, attempt, delivery, .. } = update;
                    let mut cancelled = self.cancel(context, JobFailure::new(ON_REQUEST));
                    cancelled.update = cancelled.update.execution(run, attempt, delivery);
                    cancelled
                }
                Ok(_) => return self.settle(source, context, settlement, outcome).await,
            };
        }
    }

    fn lost(&self, source: &Source, context: &JobContext) {
        source.leases.forget(context);
        self.count(context, Outcome::Lost);
    }

    async fn settle(
        &self,
        source: &Source,
        context: &JobContext,
        settlement: Settlement,
        outcome: Outcome,
    ) {
        source.leases.forget(context);
        let outcome = match self.settle_one(source, context, settlement).await {
            Ok(true) => outcome,
            Ok(false) => {
                let id = context.envelope().id;
                tracing::warn!(%id, "settled too late: the message will be or was delivered again");
                Outcome::Lost
            }
            Err(unsaid) => {
                self.give_up(context, unsaid, "not settled; the message will be delivered again");
                Outcome::Lost
            }
        };
        self.count(context, outcome);
    }

    fn count(&self, context: &JobContext, outcome: Outcome) {
        self.counters.count(outcome);
        let kind = &*context.envelope().kind;
        match self.kinds.get(kind) {
            Some(known) => known.meter.ended(outcome),
            None => Meter::new(kind).ended(outcome),
        }
    }

    /// Gives a delivery back uncounted, before anything was said about it.
    pub(super) async fn release(&self, source: &Source, context: &JobContext, delay: Duration) {
        let settlement = Settlement::Release { delay, counted: false, error: None };
        self.settle(source, context, settlement, Outcome::Released).await;
    }

    /// A kind or version that this worker does not know: others may, while a deploy rolls.
    async fn pass_on(&self, source: &Source, context: &JobContext) {
        let (envelope, received) = (context.envelope(), context.received());
        let age = (self.clock.now() - received.due_at).to_std().unwrap_or_default();
        let what = format!("version {} of `{}`", envelope.version, envelope.kind);
        metrics::counter!("standfast_unknown_kind_total", "kind" => envelope.kind.clone())
            .increment(1);
        if age > self.config.unknown_for {
            let failure = JobFailure::new(format!("no worker knows {what}"));
            let conclusion = self.bury(context, failure);
            return self.finish(source, context, conclusion).await;
        }
        tracing::info!(id = %envelope.id, what, "unknown here, passed on");
        let delay = UNKNOWN_KIND.next(received.delivery);
        self.release(source, context, delay).await;
    }

    fn update(&self, context: &JobContext, state: JobState) -> StatusUpdate {
        let (envelope, received) = (context.envelope(), context.received());
        StatusUpdate::new(envelope.kind.clone(), state).execution(
            envelope.run,
            received.attempt,
            received.delivery,
        )
    }

    /// An update with what the handler told last.
    fn last_update(&self, context: &JobContext, state: JobState) -> StatusUpdate {
        let told = context.news_to_store();
        let mut update = self.update(context, state);
        (update.progress, update.checkpoint) = (told.progress, told.checkpoint);
        update
    }

    fn give_up(&self, context: &JobContext, unsaid: Unsaid, what: &'static str) {
        let envelope = context.envelope();
        match unsaid {
            Unsaid::Refused(error) => tracing::error!(id = %envelope.id, %error, "{what}"),
            Unsaid::TooLate => tracing::error!(id = %envelope.id, "{what}: the lease has ended"),
        }
    }
}

/// Whether `status`, which refused `update`, belongs to a later delivery. Otherwise it is what an
/// earlier try of the same update left.
fn is_later(status: &JobStatus, update: &StatusUpdate) -> bool {
    match (status.run, status.delivery).cmp(&(update.run, update.delivery)) {
        Ordering::Less => false,
        Ordering::Equal => update.state == JobState::Queued && status.state == JobState::Running,
        Ordering::Greater => true,
    }
}

fn flatten(
    answer: Result<Result<Value, JobError>, Box<dyn Any + Send>>,
) -> Result<Value, JobError> {
    answer.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(JobError::retry(format!("the handler panicked: {message}")))
    })
}

/// The span that a handler runs in: whatever it logs says which job it was for.
fn span(context: &JobContext) -> Span {
    let envelope = context.envelope();
    tracing::info_span!(
        "job",
        id = %envelope.id,
        kind = %envelope.kind,
        run = envelope.run,
        attempt = context.attempt(),
        request_id = envelope.context.request_id,
        traceparent = envelope.context.traceparent,
    )
}
