use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use standfast_core::{Clock, saturating_add};

use super::{CancelReason, JobContext};
use crate::delivery::ExtendOutcome;
use crate::queue::Queue;
use crate::receipt::Receipt;

/// The deliveries of one queue whose leases this worker keeps, running or not yet.
#[derive(Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<HashMap<usize, JobContext>>>);

/// Keeps a lease for as long as it lives: however the task that holds it ends, the heartbeat of its
/// job ends with it.
#[must_use]
pub(crate) struct Kept {
    leases: Leases,
    context: JobContext,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.leases.forget(&self.context);
    }
}

impl Leases {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<usize, JobContext>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keep(&self, context: &JobContext) -> Kept {
        self.with(|leases| leases.insert(context.key(), context.clone()));
        Kept { leases: self.clone(), context: context.clone() }
    }

    /// Stops keeping a lease: before its delivery is settled, so that no heartbeat undoes a delay.
    pub(crate) fn forget(&self, context: &JobContext) {
        self.with(|leases| leases.remove(&context.key()));
    }

    pub(crate) fn all(&self) -> Vec<JobContext> {
        self.with(|leases| leases.values().cloned().collect())
    }

    /// Keeps the leases for ever: extends them each third of `lease`, sooner again where that
    /// failed, and cancels jobs whose lease could not be extended while there is still a tenth of
    /// it left for them to end in.
    pub(crate) async fn beat(&self, queue: &dyn Queue, clock: &dyn Clock, lease: Duration) {
        let lease = lease.min(queue.capabilities().max_lease);
        let (look, beat) = (lease / 10, lease / 3);
        let after = |span| saturating_add(clock.instant(), span);
        let mut next_beat = after(beat);
        loop {
            clock.sleep_until(after(look)).await;
            if clock.instant() >= next_beat {
                next_beat = after(beat);
                let extending = self.extend_all(queue, clock, lease);
                tokio::pin!(extending);
                // an answer may take longer than the leases last, so their ends are watched
                // meanwhile; one that takes longer than a beat is not waited for
                let extended = loop {
                    tokio::select! {
                        biased;
                        extended = &mut extending => break extended,
                        () = clock.sleep_until(after(look)) => {
                            self.cancel_expiring(clock, look * 2);
                            if clock.instant() >= next_beat { break false }
                        }
                    }
                };
                if !extended {
                    next_beat = clock.instant();
                }
            }
            // a look late still leaves a tenth
            self.cancel_expiring(clock, look * 2);
        }
    }

    /// Says whether every lease that can be extended was.
    async fn extend_all(&self, queue: &dyn Queue, clock: &dyn Clock, lease: Duration) -> bool {
        let contexts = self.all();
        let mut all_extended = true;
        for chunk in contexts.chunks(queue.capabilities().max_batch.clamp(1, 1000)) {
            let receipts: Vec<Receipt> =
                chunk.iter().map(|context| context.received().receipt.clone()).collect();
            let until = saturating_add(clock.instant(), lease);
            match queue.extend(&receipts, lease).await {
                Ok(outcomes) => {
                    for (context, outcome) in chunk.iter().zip(outcomes) {
                        all_extended &= self.note(context, outcome, until);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "leases were not extended");
                    all_extended = false;
                }
            }
        }
        all_extended
    }

    /// Takes in one outcome; says whether there is nothing to try again.
    fn note(&self, context: &JobContext, outcome: ExtendOutcome, until: Instant) -> bool {
        match outcome {
            ExtendOutcome::Extended => context.extend_lease(until),
            // unless it was settled while the extension was on its way
            ExtendOutcome::Stale if self.with(|leases| leases.contains_key(&context.key())) => {
                lose(context);
            }
            ExtendOutcome::Stale => {}
            // it ends when it did before; the job is cancelled shortly before that
            ExtendOutcome::LeaseCap => {}
            ExtendOutcome::Failed(error) => {
                tracing::warn!(id = %context.envelope().id, %error, "a lease was not extended");
                return false;
            }
        }
        true
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

/// Tells a job that it must end since another worker may have it.
pub(crate) fn lose(context: &JobContext) {
    if !context.is_cancelled() {
        let envelope = context.envelope();
        tracing::warn!(id = %envelope.id, kind = %envelope.kind, "the lease of a job is lost");
    }
    context.cancel(CancelReason::LeaseLost);
}
