//! Fetching the bodies of what was received, within memory and within the lease.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use standfast_core::{Error, ErrorKind, Result, saturating_add};

use super::claims::{Claim, Unresolved};
use super::reference::Reference;
use super::{ClaimCheck, DAMAGED};
use crate::dead::DeadLetter;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, Received, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::queue::Queue;
use crate::receipt::Receipt;

/// How often a damaged body is fetched before its message is dead.
const TRIES: u32 = 3;

/// What is to be done with one delivery.
enum Plan {
    /// It has its body.
    Deliver(Received),
    /// Its body is to be fetched.
    Fetch(Received, Reference),
    /// It goes back or is buried.
    Settle(Received, Settlement, Option<Error>),
}

impl<Q: Queue> ClaimCheck<Q> {
    pub(super) async fn receive_whole(&self, options: &ReceiveOptions) -> Result<Batch> {
        let max = options.max.min(self.fit.load(Ordering::Relaxed));
        let asked = ReceiveOptions { max, ..options.clone() };
        let batch = self.queue.receive(&asked).await?;
        let refers = |envelope: &Arc<Envelope>| !matches!(Reference::of(envelope), Ok(None));
        let is_plain = !batch.deliveries.iter().any(|received| refers(received.envelope()))
            && !batch.dead.iter().any(|letter| refers(&letter.envelope))
            && !batch.dropped.iter().any(refers);
        if is_plain {
            self.grow();
            return Ok(batch);
        }
        self.fetch_batch(batch, options.lease).await
    }

    /// Dies in here: the leases run out, and the messages come again.
    async fn fetch_batch(&self, batch: Batch, lease: Duration) -> Result<Batch> {
        let Batch { deliveries, mut dead, dropped } = batch;
        let mut room = self.claims.config.max_fetch as u64;
        let plans = self.plan(deliveries, &mut room);
        let (plans, until) = self.fetch_all(plans, lease).await;
        let (mut whole, mut settling, mut failure) = (Vec::new(), Vec::new(), None);
        for plan in plans {
            match plan {
                (Plan::Deliver(received), claim) => {
                    let received = match claim {
                        None => received,
                        Some((envelope, claim)) => {
                            let Received { receipt, .. } = received.clone();
                            let receipt = receipt.with_envelope(envelope).push(Arc::new(claim));
                            Received { receipt, ..received }
                        }
                    };
                    let lease_until = until.unwrap_or(received.lease_until);
                    whole.push(Received { lease_until, ..received });
                }
                (Plan::Settle(received, settlement, error), _) => {
                    failure = failure.or(error);
                    settling.push((received, settlement));
                }
                (Plan::Fetch(..), _) => {} // all of them were fetched
            }
        }
        dead.extend(self.settle_unresolved(settling).await);
        for letter in &mut dead {
            letter.envelope = self.reveal(&letter.envelope, &mut room).await.0;
        }
        let mut told = Vec::with_capacity(dropped.len());
        for envelope in dropped {
            let (envelope, claim) = self.reveal(&envelope, &mut room).await;
            told.push(envelope);
            if let Some(claim) = claim {
                self.claims.discard(&claim).await;
            }
        }
        let batch = Batch { deliveries: whole, dead, dropped: told };
        match failure {
            Some(error) if batch.is_empty() => Err(error),
            _ => Ok(batch),
        }
    }

    /// Decides by size what is fetched now: the first bodies, as far as there is room.
    fn plan(&self, deliveries: Vec<Received>, room: &mut u64) -> Vec<Plan> {
        let (mut fetched, mut is_full) = (0, false);
        let mut plans = Vec::with_capacity(deliveries.len());
        for received in deliveries {
            plans.push(match Reference::of(received.envelope()) {
                Ok(None) => Plan::Deliver(received),
                Ok(Some(reference)) => {
                    // a body over the limit is not fetched, so it needs no room
                    let is_fetched = reference.len() <= self.claims.config.max_body as u64;
                    let needs = if is_fetched { reference.len() } else { 0 };
                    if needs <= *room || fetched == 0 {
                        *room = room.saturating_sub(needs);
                        fetched += usize::from(is_fetched);
                        Plan::Fetch(received, reference)
                    } else {
                        is_full = true;
                        Plan::Settle(received, Settlement::release(), None)
                    }
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    tracing::warn!(id = %received.receipt.id(), %error, "left to a newer process");
                    Plan::Settle(received, self.later(&error), Some(error))
                }
                Err(error) => unusable(received, error),
            });
        }
        if is_full {
            self.fit.store(fetched.max(1), Ordering::Relaxed);
        } else {
            self.grow();
        }
        plans
    }

    /// The next receive may ask for more again.
    fn grow(&self) {
        let fit = self.fit.load(Ordering::Relaxed);
        if fit < usize::MAX {
            self.fit.store(fit.saturating_mul(2), Ordering::Relaxed);
        }
    }

    /// Fetches what is to be fetched and keeps all leases meanwhile; says until when, if it had to
    /// extend them.
    async fn fetch_all(
        &self,
        plans: Vec<Plan>,
        lease: Duration,
    ) -> (Vec<(Plan, Option<(Arc<Envelope>, Claim)>)>, Option<Instant>) {
        let kept = plans.iter().filter_map(|plan| match plan {
            Plan::Deliver(received) | Plan::Fetch(received, _) => Some(received.receipt.clone()),
            Plan::Settle(..) => None,
        });
        let kept: Vec<Receipt> = kept.collect();
        let until = Mutex::new(None);
        let fetching: Vec<_> = plans.into_iter().map(|plan| self.fetch_one(plan)).collect();
        let fetching = stream::iter(fetching).buffered(self.claims.config.concurrency);
        let fetched = tokio::select! {
            biased;
            fetched = fetching.collect::<Vec<_>>() => fetched,
            never = self.keep_leases(&kept, lease, &until) => match never {},
        };
        (fetched, until.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch_one(&self, plan: Plan) -> (Plan, Option<(Arc<Envelope>, Claim)>) {
        let Plan::Fetch(received, reference) = plan else { return (plan, None) };
        let meter = &self.claims.meter;
        let bury = |received, reason: &str| {
            Plan::Settle(received, Settlement::DeadLetter { reason: reason.to_owned() }, None)
        };
        let plan = match self.claims.fetch(received.envelope(), &reference).await {
            Ok(found) => {
                meter.fetched();
                return (Plan::Deliver(received), Some(found));
            }
            Err(Unresolved::Missing) => {
                meter.missing();
                bury(received, Self::MISSING)
            }
            Err(Unresolved::TooLarge(bytes)) => {
                tracing::error!(id = %received.receipt.id(), bytes, "a body is over max_body");
                bury(received, Self::TOO_LARGE)
            }
            Err(Unresolved::Damaged(error)) => {
                meter.error("get", error.kind());
                unusable(received, error)
            }
            Err(Unresolved::Failed(error)) => {
                meter.error("get", error.kind());
                Plan::Settle(received, self.later(&error), Some(error))
            }
        };
        (plan, None)
    }

    async fn keep_leases(
        &self,
        kept: &[Receipt],
        lease: Duration,
        until: &Mutex<Option<Instant>>,
    ) -> std::convert::Infallible {
        let clock = &self.claims.config.clock;
        let lease = lease.min(self.queue.capabilities().max_lease);
        loop {
            clock.sleep((lease / 3).max(Duration::from_millis(50))).await;
            let asked = clock.instant();
            match self.queue.extend(kept, lease).await {
                // whoever lost its lease learns it when it settles
                Ok(outcomes)
                    if outcomes.iter().all(|one| matches!(one, ExtendOutcome::Extended)) =>
                {
                    let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
                    *until = Some(saturating_add(asked, lease));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "leases are not extended while bodies come"),
            }
        }
    }

    fn later(&self, error: &Error) -> Settlement {
        let delay = error.retry_after().unwrap_or(self.claims.config.retry_in);
        Settlement::Release { delay, counted: false, error: None }
    }

    /// Dies before it, or fails: the leases run out, and it is tried again.
    async fn settle_unresolved(&self, settling: Vec<(Received, Settlement)>) -> Vec<DeadLetter> {
        let mut dead = Vec::new();
        let batch: Vec<_> = settling
            .iter()
            .map(|(received, settlement)| (received.receipt.clone(), settlement.clone()))
            .collect();
        if batch.is_empty() {
            return dead;
        }
        match self.queue.settle(&batch).await {
            Ok(outcomes) => {
                for ((received, settlement), outcome) in settling.into_iter().zip(outcomes) {
                    if let (Settlement::DeadLetter { reason }, SettleOutcome::Settled) =
                        (settlement, outcome)
                    {
                        dead.push(self.letter(received, reason));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "messages without bodies wait for their leases"),
        }
        dead
    }

    fn letter(&self, received: Received, reason: String) -> DeadLetter {
        let envelope = Arc::clone(received.envelope());
        tracing::error!(id = %envelope.id, kind = %envelope.kind, reason, "dead letter");
        DeadLetter {
            last_error: received.last_error,
            attempts: received.attempt,
            deliveries: received.delivery,
            crashes: received.crashes,
            due_at: received.due_at,
            ..DeadLetter::new(envelope, reason, self.claims.config.clock.now())
        }
    }

    /// `envelope` with its body, if there is room for it and it can be had; otherwise as it is.
    pub(super) async fn reveal(
        &self,
        envelope: &Arc<Envelope>,
        room: &mut u64,
    ) -> (Arc<Envelope>, Option<Claim>) {
        let as_it_is = || (Arc::clone(envelope), None);
        let Ok(Some(reference)) = Reference::of(envelope) else { return as_it_is() };
        if reference.len() > *room {
            return as_it_is();
        }
        match self.claims.fetch(envelope, &reference).await {
            Ok((whole, claim)) => {
                *room -= reference.len();
                (whole, Some(claim))
            }
            Err(why) => {
                tracing::debug!(id = %envelope.id, ?why, "shown without its body");
                as_it_is()
            }
        }
    }
}

/// What is not what was sent: transport may have damaged it, so it is tried a few times.
fn unusable(received: Received, error: Error) -> Plan {
    let settlement = if received.attempt < TRIES {
        let (delay, error) = (Duration::ZERO, Some(error.to_string()));
        Settlement::Release { delay, counted: true, error }
    } else {
        Settlement::DeadLetter { reason: DAMAGED.to_owned() }
    };
    tracing::error!(id = %received.receipt.id(), %error, "a body is damaged");
    Plan::Settle(received, settlement, None)
}
