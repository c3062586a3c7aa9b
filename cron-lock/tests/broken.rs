//! A suite that nothing fails proves nothing: each fault here breaks one rule of the contract, and
//! the case that names it must notice.

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Clock, Fence, Health, HealthCheck, Result, Tick};
use standfast_cron_lock::testkit::{CronLockHarness, async_trait, cases};
use standfast_cron_lock::{
    Claim, ClaimOptions, Claimed, CronLock, CronLockCapabilities, CronLockConfig, ExtendOutcome,
    Owner, RecordQuery, SettleOutcome, Settlement, TickRecord,
};
use support::Memory;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    AcceptsStaleSettlement,
    AnswersAnyInstant,
    ExtendsLapsedLeases,
    ForgetsAbandonment,
    ForgetsFinishedTicks,
    ForgetsKnownSchedules,
    GivesTheSameFence,
    IgnoresExtensions,
    InheritsByName,
    RestartsAttempts,
    SkipsTheOldestRecord,
    TakeoverSeesTheCursor,
    TrustsTooLong,
    UsesTheLocalClock,
    WinsTwice,
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn CronLock>,
    clock: Arc<dyn Clock>,
    fault: Fault,
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
        Ok(records)
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[derive(Debug)]
struct BrokenHarness {
    memory: Memory,
    fault: Fault,
}

#[async_trait]
impl CronLockHarness for BrokenHarness {
    async fn open(&self, namespace: &str, config: CronLockConfig) -> Result<Arc<dyn CronLock>> {
        let inner = self.memory.open(namespace, config).await?;
        Ok(Arc::new(Broken { inner, clock: self.clock(), fault: self.fault }))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.memory.clock()
    }

    async fn pass(&self, time: Duration) {
        self.memory.pass(time).await;
    }
}

/// One test per fault: the case must fail with it.
macro_rules! caught {
    ($($name:ident: $fault:ident fails $case:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let run = tokio::spawn(async {
                let harness = BrokenHarness { memory: support::manual(), fault: Fault::$fault };
                cases::$case(&harness).await;
            });
            let failed = run.await.is_err_and(|error| error.is_panic());
            assert!(failed, "{} does not notice", stringify!($case));
        }
    )*};
}

caught! {
    stale_settlement: AcceptsStaleSettlement fails an_owner_that_lost_the_tick_cannot_settle_it;
    second_settlement: AcceptsStaleSettlement fails a_settled_tick_is_not_settled_otherwise;
    any_instant: AnswersAnyInstant fails a_claim_that_is_no_tick_is_invalid;
    lapsed_extension: ExtendsLapsedLeases fails a_lapsed_lease_is_not_extended;
    ignored_abandonment: ForgetsAbandonment fails an_abandoned_tick_is_free_at_once;
    late_instance: ForgetsFinishedTicks fails a_finished_tick_stays_finished;
    crash_loop: ForgetsFinishedTicks fails a_tick_whose_owners_keep_dying_is_closed;
    all_schedules_new: ForgetsKnownSchedules fails a_claim_learns_which_schedules_are_known;
    no_fence: GivesTheSameFence fails fences_rise_strictly_within_a_namespace;
    low_fence: GivesTheSameFence fails a_fence_is_not_below_the_store_time;
    no_keep_alive: IgnoresExtensions fails an_extended_lease_keeps_others_out;
    zombie: IgnoresExtensions fails an_owner_that_lost_the_tick_cannot_extend_it;
    host_name_owner: InheritsByName fails a_restarted_process_does_not_inherit_what_it_held;
    first_attempt_again: RestartsAttempts
        fails a_takeover_has_the_next_attempt_and_keeps_the_former_owner;
    missing_record: SkipsTheOldestRecord fails records_are_read_in_order_and_in_pages;
    lost_occurrences: TakeoverSeesTheCursor
        fails a_takeover_learns_the_tick_that_was_before_it_at_first;
    long_trust: TrustsTooLong fails trust_ends_no_later_than_the_lease;
    local_clock: UsesTheLocalClock fails a_tick_of_the_future_is_too_early;
    two_winners: WinsTwice fails of_many_claims_at_once_one_wins;
    lost_update: WinsTwice fails a_counter_that_only_owners_touch_is_exact;
}
