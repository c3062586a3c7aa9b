use std::time::Duration;

use standfast_core::{Fence, JobId};

use super::{Fixture, fence_of, won};
use crate::testkit::CronLockHarness;
use crate::{Claim, ExtendOutcome, Owner, SettleOutcome, Settlement, TickState};

/// L2: a failure is an end like any other, and its reason is kept.
pub async fn a_failed_tick_stays_failed_and_says_why(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = fence_of(&f.win(f.at).await);
    let failed = f.one.settle(f.at, fence, &Settlement::fail("queue is full")).await.unwrap();
    assert_eq!(failed, SettleOutcome::Settled);
    let Claim::Finished(record) = f.rival(f.at).await else { panic!("the tick has failed") };
    assert_eq!(record.state, TickState::Failed);
    assert_eq!(record.error.as_deref(), Some("queue is full"));
    assert!(record.finished_at.is_some_and(|at| at >= record.claimed_at));
}

/// L5: who was overtaken cannot end the tick for the one who overtook it.
pub async fn an_owner_that_lost_the_tick_cannot_settle_it(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let stale = fence_of(&f.win(f.at).await);
    f.outlive_the_lease().await;
    let fresh = fence_of(&won(f.rival(f.at).await));
    for settlement in [Settlement::Abandon, Settlement::fail("late"), Settlement::finish([])] {
        let outcome = f.one.settle(f.at, stale, &settlement).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Fenced { owner: f.other.clone(), fence: fresh });
    }
    let record = f.record(f.at).await;
    assert_eq!((record.state, record.fence), (TickState::Claimed, fresh));
    let outcome = f.two.settle(f.at, fresh, &Settlement::finish([])).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Settled);
}

/// L5: who was overtaken cannot hold the tick any longer.
pub async fn an_owner_that_lost_the_tick_cannot_extend_it(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let stale = fence_of(&f.win(f.at).await);
    f.outlive_the_lease().await;
    let fresh = won(f.rival(f.at).await);
    let outcome = f.one.extend(f.at, stale, harness.lease() * 2).await.unwrap();
    let fence = fence_of(&fresh);
    assert_eq!(outcome, ExtendOutcome::Fenced { owner: f.other.clone(), fence });
    assert_eq!(f.record(f.at).await.lease_until, fresh.lease_until);
}

/// L5: an owner whose lease ran out has been told to stop, so it must not come back to life.
pub async fn a_lapsed_lease_is_not_extended(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = fence_of(&f.win(f.at).await);
    f.outlive_the_lease().await;
    let outcome = f.one.extend(f.at, fence, harness.lease()).await.unwrap();
    assert_eq!(outcome, ExtendOutcome::Lapsed);
    won(f.rival(f.at).await);
}

/// L5: as long as it is extended the tick has one owner.
pub async fn an_extended_lease_keeps_others_out(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = fence_of(&f.win(f.at).await);
    for _ in 0..3 {
        harness.pass(harness.lease() / 2).await;
        let outcome = f.one.extend(f.at, fence, harness.lease()).await.unwrap();
        assert!(matches!(outcome, ExtendOutcome::Extended { .. }), "{outcome:?}");
        assert!(matches!(f.rival(f.at).await, Claim::Held(held) if held.fence == fence));
    }
}

/// L5: an extension by less than what is left leaves the lease as it is.
pub async fn an_extension_never_shortens_a_lease(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    let outcome = f.one.extend(f.at, fence_of(&claimed), Duration::from_millis(1)).await.unwrap();
    let ExtendOutcome::Extended { lease_until, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(lease_until, claimed.lease_until);
    assert!(matches!(f.rival(f.at).await, Claim::Held(_)));
}

/// L5: work that is done counts as done as long as nobody began it anew.
pub async fn a_lapsed_owner_may_still_settle_what_nobody_took(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = fence_of(&f.win(f.at).await);
    f.outlive_the_lease().await;
    let outcome = f.one.settle(f.at, fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Settled);
    assert!(matches!(f.rival(f.at).await, Claim::Finished(_)));
}

/// L5: the answer to a settlement may get lost; asking again is safe.
pub async fn a_repeated_settlement_is_answered_alike(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let jobs = [JobId::random(), JobId::random()];
    let fence = fence_of(&f.win(f.at).await);
    for _ in 0..2 {
        let outcome = f.one.settle(f.at, fence, &Settlement::finish(jobs)).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Settled);
    }
    let record = f.record(f.at).await;
    assert_eq!((record.state, &record.jobs[..]), (TickState::Done, &jobs[..]));
}

/// L5: the first settlement counts.
pub async fn a_settled_tick_is_not_settled_otherwise(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = fence_of(&f.win(f.at).await);
    let outcome = f.one.settle(f.at, fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Settled);
    for settlement in [Settlement::Abandon, Settlement::fail("late")] {
        let outcome = f.one.settle(f.at, fence, &settlement).await.unwrap();
        assert!(matches!(outcome, SettleOutcome::Fenced { .. }), "{outcome:?}");
    }
    let extended = f.one.extend(f.at, fence, harness.lease()).await.unwrap();
    assert!(matches!(extended, ExtendOutcome::Fenced { .. }), "{extended:?}");
    assert_eq!(f.record(f.at).await.state, TickState::Done);
}

/// L5: trust is measured from before the request, so it never outlasts the lease.
pub async fn trust_ends_no_later_than_the_lease(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let clock = harness.clock();
    let claimed = f.win(f.at).await;
    assert!(claimed.trusted_until <= clock.instant() + harness.lease());
    harness.pass(harness.lease() / 4).await;
    let outcome = f.one.extend(f.at, fence_of(&claimed), harness.lease()).await.unwrap();
    let ExtendOutcome::Extended { trusted_until, .. } = outcome else { panic!("{outcome:?}") };
    assert!(trusted_until > claimed.trusted_until);
    assert!(trusted_until <= clock.instant() + harness.lease());
    harness.pass(harness.lease() + harness.lease() / 4).await;
    assert!(trusted_until < clock.instant());
    won(f.rival(f.at).await);
}

/// L5: settling and extending create nothing.
pub async fn a_tick_nobody_claimed_is_missing(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let fence = Fence::new(u64::MAX >> 11);
    let settled = f.one.settle(f.at, fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(settled, SettleOutcome::Missing);
    let extended = f.one.extend(f.at, fence, harness.lease()).await.unwrap();
    assert_eq!(extended, ExtendOutcome::Missing);
    assert_eq!(f.win(f.at).await.tick.attempt, 1);
}

/// L6: a clean stop hands the tick on without waiting for the lease.
pub async fn an_abandoned_tick_is_free_at_once(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let first = fence_of(&f.win(f.at).await);
    let outcome = f.one.settle(f.at, first, &Settlement::Abandon).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Settled);
    assert_eq!(f.record(f.at).await.state, TickState::Abandoned);
    let claimed = won(f.rival(f.at).await);
    assert_eq!(claimed.tick.attempt, 2);
    assert!(fence_of(&claimed).supersedes(first));
}

/// L6, L7: a rolling deploy that abandons a tick many times does not close it.
pub async fn abandoning_does_not_count_as_a_crash(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let times = f.one.capabilities().config.max_crashes + 2;
    for attempt in 1..=times {
        let owner = Owner::new("deploy");
        let claimed = won(f.one.claim(f.at, &owner, &f.options).await.unwrap());
        assert_eq!(claimed.tick.attempt, attempt);
        let outcome = f.one.settle(f.at, fence_of(&claimed), &Settlement::Abandon).await.unwrap();
        assert_eq!(outcome, SettleOutcome::Settled);
    }
    assert_eq!(f.record(f.at).await.crashes, 0);
}
