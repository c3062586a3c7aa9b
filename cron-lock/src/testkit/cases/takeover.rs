use super::{Fixture, MINUTE, fence_of, won};
use crate::testkit::CronLockHarness;
use crate::{Claim, Owner, SettleOutcome, Settlement, TickRecord, TickState};

/// L3: whatever is granted later has a higher fence: other ticks, takeovers, abandoned ones.
pub async fn fences_rise_strictly_within_a_namespace(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let mut fences = vec![fence_of(&f.win(f.at - MINUTE).await), fence_of(&f.win(f.at).await)];
    f.outlive_the_lease().await;
    fences.push(fence_of(&won(f.rival(f.at).await)));
    let let_go = f.two.settle(f.at, fences[2], &Settlement::Abandon).await.unwrap();
    assert_eq!(let_go, SettleOutcome::Settled);
    fences.push(fence_of(&f.win(f.at).await));
    fences.push(fence_of(&f.win(f.at + MINUTE).await));
    assert!(fences.windows(2).all(|pair| pair[1].supersedes(pair[0])), "{fences:?}");
}

/// L3: a store that forgot its last fence still gives out higher ones.
pub async fn a_fence_is_not_below_the_store_time(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    let micros = u64::try_from(claimed.now.timestamp_micros()).unwrap();
    assert!(fence_of(&claimed).get() >= micros);
    assert!(fence_of(&claimed).get() < 1 << 53);
}

/// L4: a process that was restarted under its old name waits like everybody else.
pub async fn a_restarted_process_does_not_inherit_what_it_held(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    f.win(f.at).await;
    let restarted = Owner::new(f.owner.name());
    let Claim::Held(held) = f.one.claim(f.at, &restarted, &f.options).await.unwrap() else {
        panic!("the lease of the former life still runs")
    };
    assert_eq!(held.owner, f.owner);
    assert_ne!(held.owner, restarted);
}

/// L7: a winner that dies is replaced when its lease ends, and the record says so.
pub async fn a_takeover_has_the_next_attempt_and_keeps_the_former_owner(
    harness: &dyn CronLockHarness,
) {
    let f = Fixture::new(harness).await;
    let first = f.win(f.at).await;
    harness.pass(harness.lease() / 2).await;
    assert!(matches!(f.rival(f.at).await, Claim::Held(_)));
    f.outlive_the_lease().await;
    let second = won(f.rival(f.at).await);
    assert_eq!(second.tick.attempt, 2);
    assert!(fence_of(&second).supersedes(fence_of(&first)));
    let record = f.record(f.at).await;
    assert_eq!((&record.owner, record.crashes), (&f.other, 1));
    assert_eq!(record.first_claimed_at, first.now);
    assert_eq!(record.former.len(), 1);
    assert_eq!(record.former[0].owner, f.owner);
    assert_eq!(record.former[0].fence, fence_of(&first));
    assert_eq!(record.former[0].lease_until, first.lease_until);
}

/// L7: of many owners a record keeps the last ten before the present one.
pub async fn a_record_keeps_the_newest_former_owners(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let owners: Vec<_> = (0..14).map(|n| Owner::new("x".repeat(n))).collect();
    let mut fences = Vec::new();
    for owner in &owners {
        let claimed = won(f.one.claim(f.at, owner, &f.options).await.unwrap());
        fences.push(fence_of(&claimed));
        let let_go = f.one.settle(f.at, fences[fences.len() - 1], &Settlement::Abandon).await;
        assert_eq!(let_go.unwrap(), SettleOutcome::Settled);
    }
    let record = f.record(f.at).await;
    assert_eq!((record.attempt, &record.owner), (14, &owners[13]));
    let kept = 13 - TickRecord::MAX_FORMER..13;
    let former: Vec<_> = record.former.iter().map(|former| former.owner.clone()).collect();
    assert_eq!(former, owners[kept.clone()]);
    let former: Vec<_> = record.former.iter().map(|former| former.fence).collect();
    assert_eq!(former, fences[kept]);
}

/// L7: a tick that kills its owners does not do so for ever.
pub async fn a_tick_whose_owners_keep_dying_is_closed(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let max = f.one.capabilities().config.max_crashes;
    for attempt in 1..=max {
        assert_eq!(f.win(f.at).await.tick.attempt, attempt);
        f.outlive_the_lease().await;
    }
    for _ in 0..2 {
        let Claim::Finished(record) = f.rival(f.at).await else { panic!("the tick is closed") };
        assert_eq!((record.state, record.crashes), (TickState::Exhausted, max));
        assert_eq!(record.owner, f.owner);
    }
    // the ticks after it are not affected
    assert_eq!(won(f.rival(f.at + MINUTE).await).tick.previous, Some(f.at));
}

/// L10: the previous tick is a fact about the tick, not about who asks when.
pub async fn a_takeover_learns_the_tick_that_was_before_it_at_first(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let (before, after) = (f.at - MINUTE * 4, f.at + MINUTE);
    f.win(before).await;
    f.win(f.at).await;
    // the next tick is claimed while the owner of this one is dead
    assert_eq!(f.win(after).await.tick.previous, Some(f.at));
    f.outlive_the_lease().await;
    assert_eq!(won(f.rival(f.at).await).tick.previous, Some(before));
    // and the takeover has moved nothing
    assert_eq!(f.win(after + MINUTE).await.tick.previous, Some(after));
}
