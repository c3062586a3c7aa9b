//! A suite that nothing fails proves nothing: each fault here breaks one rule of the contract, and
//! the case that names it must notice.

mod support;

use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Clock, Result};
use standfast_cron_lock::testkit::{CronLockHarness, async_trait, cases};
use standfast_cron_lock::{CronLock, CronLockConfig};
use support::Memory;
use support::broken::{Broken, Fault};

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
    cut_text: CutsText fails a_record_is_read_as_it_was_written;
    lapsed_extension: ExtendsLapsedLeases fails a_lapsed_lease_is_not_extended;
    ignored_abandonment: ForgetsAbandonment fails an_abandoned_tick_is_free_at_once;
    late_instance: ForgetsFinishedTicks fails a_finished_tick_stays_finished;
    crash_loop: ForgetsFinishedTicks fails a_tick_whose_owners_keep_dying_is_closed;
    all_schedules_new: ForgetsKnownSchedules fails a_claim_learns_which_schedules_are_known;
    many_schedules_new: ForgetsKnownSchedules fails a_thousand_schedules_are_known;
    no_fence: GivesTheSameFence fails fences_rise_strictly_within_a_namespace;
    low_fence: GivesTheSameFence fails a_fence_is_not_below_the_store_time;
    no_keep_alive: IgnoresExtensions fails an_extended_lease_keeps_others_out;
    zombie: IgnoresExtensions fails an_owner_that_lost_the_tick_cannot_extend_it;
    host_name_owner: InheritsByName fails a_restarted_process_does_not_inherit_what_it_held;
    oldest_owners: KeepsTheOldestOwners fails a_record_keeps_the_newest_former_owners;
    first_attempt_again: RestartsAttempts
        fails a_takeover_has_the_next_attempt_and_keeps_the_former_owner;
    missing_record: SkipsTheOldestRecord fails records_are_read_in_order_and_in_pages;
    lost_occurrences: TakeoverSeesTheCursor
        fails a_takeover_learns_the_tick_that_was_before_it_at_first;
    late_takeover: TakesOverWhatIsTooLate fails a_tick_that_is_too_late_is_not_taken_over;
    long_trust: TrustsTooLong fails trust_ends_no_later_than_the_lease;
    local_clock: UsesTheLocalClock fails a_tick_of_the_future_is_too_early;
    two_winners: WinsTwice fails of_many_claims_at_once_one_wins;
    lost_update: WinsTwice fails a_counter_that_only_owners_touch_is_exact;
}
