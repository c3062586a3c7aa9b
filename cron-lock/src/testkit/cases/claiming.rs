use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standfast_core::{Id128, Reason, Result};
use tokio::task::JoinSet;

use super::{Fixture, MINUTE, won};
use crate::testkit::CronLockHarness;
use crate::{Claim, ClaimOptions, CronLockConfig, Owner, SettleOutcome, Settlement};
use standfast_core::ErrorKind;

/// L1: the winner is told its tick, everybody else who holds it.
pub async fn a_first_claim_wins_and_a_second_one_is_held(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    assert_eq!(claimed.tick.namespace, f.namespace);
    assert_eq!((claimed.tick.at, claimed.tick.attempt), (f.at, 1));
    assert_eq!(claimed.lease_until, claimed.now + harness.lease());
    let Claim::Held(held) = f.rival(f.at).await else { panic!("the tick has an owner") };
    assert_eq!((held.owner, held.fence), (f.owner.clone(), claimed.tick.fence));
    assert!(!held.remaining.is_zero() && held.remaining <= harness.lease());
    // an owner that asks again learns that it holds the tick; it does not get it twice
    let again = f.one.claim(f.at, &f.owner, &f.options).await.unwrap();
    assert!(matches!(again, Claim::Held(held) if held.owner == f.owner));
}

/// L1: an instant between two ticks is refused before any I/O.
pub async fn a_claim_that_is_no_tick_is_invalid(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    for off in [Duration::from_micros(1), Duration::from_secs(1), MINUTE / 2] {
        invalid(f.one.claim(f.at + off, &f.owner, &f.options).await);
    }
}

/// L1: a lease of nothing or above the longest is refused, for claims and extensions.
pub async fn a_lease_out_of_range_is_invalid(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let longest = f.one.capabilities().config.max_lease;
    for lease in [Duration::ZERO, longest + Duration::from_micros(1)] {
        invalid(f.one.claim(f.at, &f.owner, &ClaimOptions::new(lease)).await);
    }
    let claimed = won(f.one.claim(f.at, &f.owner, &ClaimOptions::new(longest)).await.unwrap());
    let fence = claimed.tick.fence;
    for lease in [Duration::ZERO, longest + Duration::from_micros(1)] {
        invalid(f.one.extend(f.at, fence, lease).await);
    }
}

/// L1: ids and namespaces have one naming rule.
pub async fn a_schedule_id_that_breaks_the_rule_is_invalid(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let long = "x".repeat(81);
    for id in ["", "a b", "a:b", "é", "{x}", &long] {
        let options = f.options.clone().with_schedules([id]);
        let error = f.one.claim(f.at, &f.owner, &options).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), refused(), "{id:?}");
        let error = harness.open(id, CronLockConfig::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), refused(), "{id:?}");
    }
}

/// L2: whoever comes late is told that the tick is done, and by whom, long after the lease.
pub async fn a_finished_tick_stays_finished(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let claimed = f.win(f.at).await;
    let done = f.one.settle(f.at, claimed.tick.fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(done, SettleOutcome::Settled);
    for _ in 0..2 {
        let Claim::Finished(record) = f.rival(f.at).await else { panic!("the tick is done") };
        assert_eq!((record.owner, record.fence), (f.owner.clone(), claimed.tick.fence));
        f.outlive_the_lease().await;
    }
}

/// L2, L3: at any moment one owner per tick, and of a crowd exactly one per tick.
pub async fn of_many_claims_at_once_one_wins(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let start = f.at - MINUTE * 20;
    for step in 0..20 {
        let at = start + MINUTE * step;
        let mut claims = JoinSet::new();
        for _ in 0..16 {
            let (lock, options) = (Arc::clone(&f.one), f.options.clone());
            claims.spawn(async move { lock.claim(at, &Owner::new("crowd"), &options).await });
        }
        let answers = claims.join_all().await;
        let wins = answers.iter().filter(|a| matches!(a, Ok(Claim::Claimed(_)))).count();
        let held = answers.iter().filter(|a| matches!(a, Ok(Claim::Held(_)))).count();
        assert_eq!((wins, held), (1, 15), "tick {at}");
    }
}

/// L2: a read-modify-write that only the owner of a tick does loses nothing, whoever abandons,
/// finishes or comes late.
pub async fn a_counter_that_only_owners_touch_is_exact(harness: &dyn CronLockHarness) {
    const WORKERS: u64 = 8;
    const ROUNDS: u64 = 25;
    let f = Fixture::new(harness).await;
    let counter = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let lock = if worker % 2 == 0 { Arc::clone(&f.one) } else { Arc::clone(&f.two) };
        // long, so that it does not run out while the machine is busy
        let lease = lock.capabilities().config.max_lease;
        let (counter, at) = (Arc::clone(&counter), f.at);
        workers.spawn(async move {
            let owner = Owner::new(format!("worker-{worker}"));
            let mut rounds = 0;
            while rounds < ROUNDS {
                let claim = lock.claim(at, &owner, &ClaimOptions::new(lease)).await.unwrap();
                let Claim::Claimed(claimed) = claim else {
                    tokio::task::yield_now().await;
                    continue;
                };
                // not atomic as a whole, on purpose
                let seen = counter.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                counter.store(seen + 1, Ordering::Relaxed);
                rounds += 1;
                let fence = claimed.tick.fence;
                let let_go = lock.settle(at, fence, &Settlement::Abandon).await.unwrap();
                assert_eq!(let_go, SettleOutcome::Settled);
            }
        });
    }
    workers.join_all().await;
    assert_eq!(counter.load(Ordering::Relaxed), WORKERS * ROUNDS);
}

/// L2: namespaces share neither ticks nor cursors.
pub async fn two_namespaces_know_nothing_of_each_other(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let elsewhere = format!("suite-{}", Id128::random());
    let elsewhere = harness.open(&elsewhere, CronLockConfig::default()).await.unwrap();
    f.win(f.at).await;
    let earlier = f.at - MINUTE;
    let claimed = won(elsewhere.claim(earlier, &f.other, &f.options).await.unwrap());
    assert_eq!(claimed.tick.previous, None);
    let claimed = won(elsewhere.claim(f.at, &f.other, &f.options).await.unwrap());
    assert_eq!(claimed.tick.previous, Some(earlier));
}

/// L8: a tick is not won before its time, by the store's clock.
pub async fn a_tick_of_the_future_is_too_early(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let config = f.one.capabilities().config;
    let early = config.tick_at(f.one.now().await.unwrap()) + MINUTE * 2;
    let Claim::TooEarly { now } = f.rival(early).await else { panic!("the tick is not due") };
    assert!(now < early);
    assert!(f.two.records(&crate::RecordQuery::default()).await.unwrap().is_empty());
    f.win(f.at).await;
}

/// L8: a tick beyond `max_late` is not won any more.
pub async fn a_tick_that_is_too_late_is_too_old(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let late = f.at - f.one.capabilities().config.max_late;
    assert!(matches!(f.rival(late).await, Claim::TooOld { cursor: None, .. }));
    f.win(late + MINUTE * 5).await;
}

/// L8: beyond `max_late` a tick whose owner died is left to the tick after it; its owner may still
/// say that the work is done.
pub async fn a_tick_that_is_too_late_is_not_taken_over(harness: &dyn CronLockHarness) {
    let lease = harness.lease();
    let mut config = CronLockConfig::default();
    (config.resolution, config.max_lease, config.max_late) = (lease / 4, lease, lease * 2);
    config.retention = lease * 30;
    let f = Fixture::with_config(harness, config).await;
    let claimed = f.win(f.at).await;
    harness.pass(lease * 2).await;
    let Claim::TooOld { cursor, .. } = f.rival(f.at).await else { panic!("nobody had it in time") };
    assert_eq!(cursor, Some(f.at));
    let record = f.record(f.at).await;
    assert_eq!((record.state, record.crashes), (crate::TickState::Claimed, 0));
    let done = f.one.settle(f.at, claimed.tick.fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(done, SettleOutcome::Settled);
    assert!(matches!(f.rival(f.at).await, Claim::Finished(_)));
}

/// L9: what the winner is told is the tick's own time, not the time of day.
pub async fn a_late_tick_carries_its_own_time(harness: &dyn CronLockHarness) {
    let f = Fixture::new(harness).await;
    let late = f.at - MINUTE * 30;
    let claimed = f.win(late).await;
    assert_eq!(claimed.tick.at, late);
    assert!(claimed.now >= late + MINUTE * 30);
}

/// L13: what a lock is opened with can be read back, and a name is kept.
pub async fn a_lock_tells_what_it_was_opened_with(harness: &dyn CronLockHarness) {
    let mut config = CronLockConfig { max_crashes: 7, ..CronLockConfig::default() };
    let f = Fixture::with_config(harness, config.clone()).await;
    assert_eq!(f.one.capabilities().config, config);
    assert_eq!(f.one.namespace(), f.namespace);
    assert!(f.one.capabilities().max_records >= crate::RecordQuery::default().limit);
    assert!(f.one.health().await.is_usable());
    config.retention = Duration::ZERO;
    invalid(harness.open("suite", config).await);
}

fn refused() -> (ErrorKind, Option<Reason>) {
    (ErrorKind::Invalid, Some(Reason::InvalidName))
}

fn invalid<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
}
