//! One tick: claiming it, holding it, and recording how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::{Backoff, Error, ErrorKind, Fence, JobId, Result, Tick, saturating_add};
use tokio::sync::watch;

use super::dispatch::{Round, Unit};
use super::report::Count;
use super::run::Runner;
use crate::claim::{Claim, Claimed};
use crate::record::TickState;
use crate::settle::{ExtendOutcome, SettleOutcome, Settlement};

/// Between calls of listeners that fail.
const BETWEEN_ROUNDS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// Between attempts to record how a tick ended.
const BETWEEN_SETTLES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// How an attempt to own a tick ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The tick is not due by the store's time.
    Early,
    /// The lock did not answer.
    Failed,
    /// Somebody else has it until then, as far as is known.
    Held(Instant),
    /// It is settled, or covered by a later one.
    Over,
    /// It was owned here; and these ticks before it wait for an owner.
    Owned(Vec<(DateTime<Utc>, Instant)>),
}

/// A tick that is owned here.
pub(super) struct Hold {
    pub(super) at: DateTime<Utc>,
    fence: Fence,
    /// Until when this process may believe so.
    pub(super) trust: watch::Sender<Instant>,
}

impl Runner {
    pub(super) async fn attempt(self: Arc<Self>, at: DateTime<Utc>) -> Attempt {
        match self.claim(at).await {
            Ok(Claim::Claimed(claimed)) => self.own(claimed).await,
            Ok(Claim::Held(held)) => {
                Attempt::Held(saturating_add(self.clock.instant(), held.remaining))
            }
            Ok(Claim::Finished(record)) => {
                if record.state == TickState::Exhausted {
                    tracing::error!(%at, crashes = record.crashes, "nobody survived this tick");
                }
                Attempt::Over
            }
            Ok(Claim::TooEarly { .. }) => Attempt::Early,
            Ok(Claim::TooOld { .. }) => Attempt::Over,
            Err(_) => Attempt::Failed,
        }
    }

    /// Claims, and claims again what an answer that got lost has left in this owner's hands. It is
    /// given back first: nothing was dispatched under that fence, and nothing will be.
    async fn claim(&self, at: DateTime<Utc>) -> Result<Claim> {
        let first = self.claim_once(at).await?;
        let Claim::Held(held) = &first else { return Ok(first) };
        if held.owner != self.config.owner {
            return Ok(first);
        }
        let give_back = self.lock.settle(at, held.fence, &Settlement::Abandon);
        match self.call("settle", give_back).await? {
            SettleOutcome::Settled => self.claim_once(at).await,
            SettleOutcome::Fenced { .. } | SettleOutcome::Missing => Ok(first),
        }
    }

    async fn claim_once(&self, at: DateTime<Utc>) -> Result<Claim> {
        let asked_at = self.clock.instant();
        let claim = self.lock.claim(at, &self.config.owner, &self.options);
        let claim = self.call("claim", claim).await?;
        match &claim {
            Claim::Claimed(claimed) => self.observe(asked_at, claimed.now, false),
            Claim::TooEarly { now } | Claim::TooOld { now, .. } => {
                self.observe(asked_at, *now, true);
            }
            Claim::Finished(_) | Claim::Held(_) => {}
        }
        Ok(claim)
    }

    /// Dispatches what the tick calls for, and records how that ended.
    ///
    /// Died before it is settled: the lease runs out, and another owner dispatches all of it again,
    /// with the same job ids. Died after: it is settled.
    async fn own(&self, claimed: Claimed) -> Attempt {
        let Tick { at, fence, attempt, .. } = claimed.tick;
        self.count_claim(&claimed);
        let hold = Hold { at, fence, trust: watch::Sender::new(claimed.trusted_until) };
        let settlement = tokio::select! {
            () = self.keep(&hold) => None,
            () = self.release.cancelled() => Some(Settlement::Abandon),
            settlement = self.see_to(&claimed, &hold) => settlement,
        };
        match settlement {
            Some(settlement) => self.settle(&hold, settlement).await,
            None => {
                self.ended(Count::Lost);
                tracing::warn!(%at, attempt, "tick lost: its lease could not be kept");
            }
        }
        if self.stopping.is_cancelled() {
            return Attempt::Owned(Vec::new());
        }
        let before = at - self.rules.resolution;
        // if this fails, whoever wins the next tick finds the same
        Attempt::Owned(self.unfinished(Some(before)).await.unwrap_or_default())
    }

    fn count_claim(&self, claimed: &Claimed) {
        let Tick { at, attempt, .. } = claimed.tick;
        self.counters.add(Count::Claimed, 1);
        let lag = (claimed.now - at).to_std().unwrap_or_default();
        metrics::histogram!("standfast_cron_lag_seconds", "namespace" => self.namespace())
            .record(lag.as_secs_f64());
        if attempt > 1 {
            self.counters.add(Count::Takeovers, 1);
            tracing::warn!(%at, attempt, "tick taken over");
            return;
        }
        let missed = claimed.missed(self.rules.resolution);
        if missed > 0 {
            self.counters.add(Count::MissedTicks, missed);
            metrics::counter!("standfast_cron_missed_ticks_total", "namespace" => self.namespace())
                .increment(missed);
            tracing::warn!(%at, missed, previous = ?claimed.tick.previous, "ticks that nobody won");
        }
    }

    /// Keeps the lease; returns when it can no longer be trusted.
    async fn keep(&self, hold: &Hold) {
        let lease = self.config.lease;
        let mut ask_at = None;
        loop {
            let until = *hold.trust.borrow();
            let halfway = until.checked_sub(lease / 2).unwrap_or(until);
            self.clock.sleep_until(ask_at.unwrap_or(halfway).min(until)).await;
            if self.clock.instant() >= until {
                return;
            }
            let extension = self.call("extend", self.lock.extend(hold.at, hold.fence, lease));
            let extended = tokio::select! {
                extended = extension => extended,
                () = self.clock.sleep_until(until) => return,
            };
            ask_at = match extended {
                Ok(ExtendOutcome::Extended { trusted_until, .. }) => {
                    hold.trust.send_replace(trusted_until);
                    None
                }
                Ok(_) => return,
                Err(_) => Some(saturating_add(self.clock.instant(), lease / 10)),
            };
        }
    }

    /// Calls the listeners until all are done, or it is no use any more; `None` if the tick is
    /// lost.
    async fn see_to(&self, claimed: &Claimed, hold: &Hold) -> Option<Settlement> {
        let mut units = self.plan(claimed).await;
        let mut jobs: Vec<JobId> = Vec::new();
        let give_up_at = saturating_add(self.clock.instant(), self.config.retry_for);
        for round in 1.. {
            if self.round(&mut units, hold, &mut jobs).await == Round::Untrusted {
                return None;
            }
            let error = errors(&units);
            self.health.listeners(hold.at, error.clone());
            let Some(error) = error else { break };
            let pause = BETWEEN_ROUNDS.next(round);
            if saturating_add(self.clock.instant(), pause) > give_up_at {
                tracing::error!(at = %hold.at, %error, "tick failed");
                return Some(Settlement::fail(error));
            }
            tracing::warn!(at = %hold.at, %error, "listeners fail; they are called again");
            tokio::select! {
                () = self.stopping.cancelled() => return Some(Settlement::Abandon),
                () = self.clock.sleep(pause) => {}
            }
        }
        Some(Settlement::finish(jobs))
    }

    /// What the tick calls for. Goes on asking while the tick is held: without an answer nobody
    /// knows what is due.
    async fn plan(&self, claimed: &Claimed) -> Vec<Unit> {
        let mut attempt = 1;
        loop {
            if let Ok(reach) = self.reach_back(claimed).await {
                return self.units(claimed, &reach);
            }
            self.clock.sleep(BETWEEN_SETTLES.next(attempt)).await;
            attempt += 1;
        }
    }

    /// Records how the tick ended. A store that does not answer is asked again for as long as
    /// another owner could take the tick over: what is done counts, even after the lease.
    async fn settle(&self, hold: &Hold, settlement: Settlement) {
        let ended = match settlement {
            Settlement::Abandon => Count::Abandoned,
            Settlement::Fail { .. } => Count::Failed,
            Settlement::Finish { .. } => Count::Finished,
        };
        let give_up_at = saturating_add(self.clock.instant(), self.rules.max_late);
        for attempt in 1.. {
            let call = self.lock.settle(hold.at, hold.fence, &settlement);
            match self.call("settle", call).await {
                Ok(SettleOutcome::Settled) => return self.ended(ended),
                Ok(outcome) => {
                    self.ended(Count::Lost);
                    tracing::warn!(at = %hold.at, ?outcome, "tick lost before it was settled");
                    return;
                }
                Err(error) if self.is_final(&error, give_up_at) => {
                    self.ended(Count::Lost);
                    tracing::error!(at = %hold.at, %error, "the end of a tick is not recorded");
                    return;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = self.clock.sleep(BETWEEN_SETTLES.next(attempt)) => {}
                // one more try, which is then the last
                () = self.release.cancelled() => {}
            }
        }
    }

    fn is_final(&self, error: &Error, give_up_at: Instant) -> bool {
        // what may have happened, or did on too few replicas, is answered alike when it is repeated
        let is_worth_it = error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown;
        !is_worth_it || self.release.is_cancelled() || self.clock.instant() >= give_up_at
    }

    fn ended(&self, how: Count) {
        self.counters.add(how, 1);
        let outcome = match how {
            Count::Abandoned => "abandoned",
            Count::Failed => "failed",
            Count::Finished => "finished",
            _ => "lost",
        };
        metrics::counter!("standfast_cron_ticks_total",
            "namespace" => self.namespace(), "outcome" => outcome)
        .increment(1);
    }
}

/// What is wrong with the units that are not done.
fn errors(units: &[Unit]) -> Option<String> {
    let errors: Vec<_> = units.iter().filter_map(Unit::error).collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
