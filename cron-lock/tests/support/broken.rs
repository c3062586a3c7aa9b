//! Locks that each break one rule of the contract.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Clock, Fence, Health, HealthCheck, Result, Tick};
use standfast_cron_lock::testkit::async_trait;
use standfast_cron_lock::{
    Claim, ClaimOptions, Claimed, CronLock, CronLockCapabilities, ExtendOutcome, Owner,
    RecordQuery, SettleOutcome, Settlement, TickRecord,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    AcceptsStaleSettlement,
    AnswersAnyInstant,
    CutsText,
    ExtendsLapsedLeases,
    ForgetsAbandonment,
    ForgetsFinishedTicks,
    ForgetsKnownSchedules,
    GivesTheSameFence,
    IgnoresExtensions,
    InheritsByName,
    KeepsTheOldestOwners,
    RestartsAttempts,
    SkipsTheOldestRecord,
    TakeoverSeesTheCursor,
    TakesOverWhatIsTooLate,
    TrustsTooLong,
    UsesTheLocalClock,
    WinsTwice,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn CronLock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fault: Fault,
}

impl Broken {
    fn grant(&self, at: DateTime<Utc>, fence: Fence) -> Claim {
        let now = self.clock.now();
        let tick = Tick::new(self.inner.namespace(), at, Fence::new(fence.get() + 1));
        Claim::Claimed(Claimed::new(tick, now, now, self.clock.instant()))
    }
}

#[async_trait]
impl CronLock for Broken {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    fn capabilities(&self) -> CronLockCapabilities {
        self.inner.capabilities()
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim> {
        let tick = self.capabilities().config.tick_at(at);
        let at = if self.fault == Fault::AnswersAnyInstant { tick } else { at };
        let claim = self.inner.claim(at, owner, options).await?;
        Ok(match (self.fault, claim) {
            (Fault::ForgetsFinishedTicks, Claim::Finished(record)) => self.grant(at, record.fence),
            (Fault::InheritsByName, Claim::Held(held)) if held.owner.name() == owner.name() => {
                self.grant(at, held.fence)
            }
            (Fault::TakesOverWhatIsTooLate, Claim::TooOld { .. }) => self.grant(at, Fence::new(1)),
            (Fault::UsesTheLocalClock, Claim::TooEarly { .. }) => self.grant(at, Fence::new(1)),
            (Fault::WinsTwice, Claim::Held(held)) => self.grant(at, held.fence),
            (fault, Claim::Claimed(mut claimed)) => {
                match fault {
                    Fault::ForgetsKnownSchedules => claimed.known.clear(),
                    Fault::GivesTheSameFence => claimed.tick.fence = Fence::new(1),
                    Fault::RestartsAttempts => claimed.tick.attempt = 1,
                    Fault::TakeoverSeesTheCursor if claimed.tick.attempt > 1 => {
                        claimed.tick.previous = Some(at);
                    }
                    Fault::TrustsTooLong => claimed.trusted_until += options.lease,
                    _ => {}
                }
                Claim::Claimed(claimed)
            }
            (_, claim) => claim,
        })
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        let extended = ExtendOutcome::Extended {
            lease_until: self.clock.now() + lease,
            trusted_until: self.clock.instant() + lease,
        };
        if self.fault == Fault::IgnoresExtensions {
            return Ok(extended);
        }
        Ok(match self.inner.extend(at, fence, lease).await? {
            ExtendOutcome::Lapsed if self.fault == Fault::ExtendsLapsedLeases => extended,
            outcome => outcome,
        })
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        if (self.fault, settlement) == (Fault::ForgetsAbandonment, &Settlement::Abandon) {
            return Ok(SettleOutcome::Settled);
        }
        Ok(match self.inner.settle(at, fence, settlement).await? {
            SettleOutcome::Fenced { .. } if self.fault == Fault::AcceptsStaleSettlement => {
                SettleOutcome::Settled
            }
            outcome => outcome,
        })
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        let mut records = self.inner.records(query).await?;
        if self.fault == Fault::SkipsTheOldestRecord && records.len() > 1 {
            records.remove(0);
        }
        for record in &mut records {
            match self.fault {
                Fault::CutsText => {
                    record.error = record.error.take().map(|it| it.replace('\0', ""))
                }
                Fault::KeepsTheOldestOwners => record.former.rotate_left(1),
                _ => {}
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}
