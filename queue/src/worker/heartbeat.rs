use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use standfast_core::{Clock, saturating_add};

use super::{CancelReason, JobContext};
use crate::delivery::ExtendOutcome;
use crate::queue::Queue;
use crate::receipt::{DeliveryToken, Receipt};

/// The deliveries of one queue whose leases this worker keeps, running or not yet.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<DeliveryToken, JobContext>>);

impl Leases {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<DeliveryToken, JobContext>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keep(&self, context: &JobContext) {
        let token = context.received().receipt.token().clone();
        self.with(|leases| leases.insert(token, context.clone()));
    }

    /// Stops keeping a lease: before its delivery is settled, so that no heartbeat undoes a delay.
    pub(crate) fn forget(&self, context: &JobContext) {
        self.with(|leases| leases.remove(context.received().receipt.token()));
    }

    pub(crate) fn all(&self) -> Vec<JobContext> {
        self.with(|leases| leases.values().cloned().collect())
    }

    /// Keeps the leases for ever: extends them each third of `lease`, and cancels jobs whose lease
    /// could not be extended while there is still a tenth of it left for them to end in.
    pub(crate) async fn beat(&self, queue: &dyn Queue, clock: &dyn Clock, lease: Duration) {
        let (beat, margin) = (lease / 3, lease / 10);
        let mut next_beat = saturating_add(clock.instant(), beat);
        loop {
            clock.sleep_until(next_beat).await;
            next_beat = saturating_add(clock.instant(), beat);
            let extending = self.extend_all(queue, clock, lease);
            tokio::pin!(extending);
            // an answer may take longer than the leases last, so their ends are watched meanwhile
            loop {
                let watch = saturating_add(clock.instant(), margin);
                tokio::select! {
                    biased;
                    () = &mut extending => break,
                    () = clock.sleep_until(watch) => self.cancel_expiring(clock, margin * 2),
                }
            }
            self.cancel_expiring(clock, margin * 2);
        }
    }

    async fn extend_all(&self, queue: &dyn Queue, clock: &dyn Clock, lease: Duration) {
        let contexts = self.all();
        let capabilities = queue.capabilities();
        for chunk in contexts.chunks(capabilities.max_batch.clamp(1, 1000)) {
            let receipts: Vec<Receipt> =
                chunk.iter().map(|context| context.received().receipt.clone()).collect();
            let until = saturating_add(clock.instant(), lease.min(capabilities.max_lease));
            match queue.extend(&receipts, lease).await {
                Ok(outcomes) => {
                    for (context, outcome) in chunk.iter().zip(outcomes) {
                        note(context, outcome, until);
                    }
                }
                Err(error) => tracing::warn!(%error, "leases were not extended"),
            }
        }
    }

    fn cancel_expiring(&self, clock: &dyn Clock, margin: Duration) {
        let soon = saturating_add(clock.instant(), margin);
        for context in self.all() {
            if context.lease_deadline() <= soon {
                lose(&context);
            }
        }
    }
}

fn note(context: &JobContext, outcome: ExtendOutcome, until: std::time::Instant) {
    match outcome {
        ExtendOutcome::Extended => context.extend_lease(until),
        ExtendOutcome::Stale => lose(context),
        // it ends when it did before; the job is cancelled shortly before that
        ExtendOutcome::LeaseCap => {}
        ExtendOutcome::Failed(error) => {
            tracing::warn!(id = %context.envelope().id, %error, "a lease was not extended");
        }
    }
}

fn lose(context: &JobContext) {
    if !context.is_cancelled() {
        let envelope = context.envelope();
        tracing::warn!(id = %envelope.id, kind = %envelope.kind, "the lease of a job is lost");
    }
    context.cancel(CancelReason::LeaseLost);
}
