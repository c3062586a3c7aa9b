//! What ShedLock asks of every provider, in our words.
//!
//! | ShedLock | here |
//! |---|---|
//! | the name of a lock | a namespace |
//! | `lock` | `claim` of one tick |
//! | `unlock` | `abandon` where the work may be done again, `finish` where it is done |
//! | `lockAtMostFor` | the lease |
//! | `lockAtLeastFor` | not needed: a finished tick stays finished |
//! | `extend` | `extend`, by a guard that stays the same |

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::testkit::ManualClock;
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockConfig, CronLockExt, ExtendOutcome, MemoryCronLock,
    Owner, SettleOutcome, TickGuard, TryClaim,
};

use crate::fuzz::counted;

struct Provider {
    clock: ManualClock,
    lock: MemoryCronLock,
    at: DateTime<Utc>,
    owner: Owner,
    options: ClaimOptions,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Provider {
    fn new(lease: Duration) -> Self {
        let clock = ManualClock::new();
        let config = CronLockConfig::default();
        let at = config.tick_at(standfast_core::Clock::now(&clock));
        let lock = MemoryCronLock::with_config("shed", config, Arc::new(clock.clone())).unwrap();
        let (owner, options) = (Owner::new("one"), ClaimOptions::new(lease));
        Self { clock, lock, at, owner, options }
    }

    async fn lock(&self) -> Option<TickGuard<'_, MemoryCronLock>> {
        match self.lock.try_claim(self.at, &self.owner, &self.options).await.unwrap() {
            TryClaim::Won(guard) => Some(guard),
            _ => None,
        }
    }

    async fn locked(&self) -> TickGuard<'_, MemoryCronLock> {
        self.lock().await.expect("it is free")
    }

    async fn assert_locked(&self) {
        assert!(self.lock().await.is_none());
    }

    async fn assert_unlocked(&self) {
        unlock(self.locked().await).await;
    }
}

async fn unlock(guard: TickGuard<'_, MemoryCronLock>) {
    assert_eq!(guard.abandon().await.unwrap(), SettleOutcome::Settled);
}

#[tokio::test]
async fn a_lock_is_made_and_unlocked() {
    let provider = Provider::new(ms(5_000));
    let guard = provider.locked().await;
    provider.assert_locked().await;
    unlock(guard).await;
    provider.assert_unlocked().await;
}

#[tokio::test]
async fn a_second_lock_is_refused() {
    let provider = Provider::new(ms(5_000));
    let guard = provider.locked().await;
    let claim = provider.lock.claim(provider.at, &Owner::new("two"), &provider.options).await;
    assert!(matches!(claim.unwrap(), Claim::Held(_)));
    unlock(guard).await;
}

#[tokio::test]
async fn two_names_are_two_locks() {
    let (one, two) = (Provider::new(ms(5_000)), Provider::new(ms(5_000)));
    let first = one.locked().await;
    let second = two.locked().await;
    unlock(first).await;
    unlock(second).await;
}

#[tokio::test]
async fn a_lock_is_taken_twice_in_a_row() {
    let provider = Provider::new(ms(5_000));
    for _ in 0..2 {
        provider.assert_unlocked().await;
    }
}

#[tokio::test]
async fn a_lock_times_out() {
    let provider = Provider::new(ms(50));
    let guard = provider.locked().await;
    provider.clock.advance(ms(49));
    provider.assert_locked().await;
    provider.clock.advance(ms(51));
    provider.assert_unlocked().await;
    // and its first owner is nobody now
    assert!(matches!(guard.abandon().await.unwrap(), SettleOutcome::Fenced { .. }));
}

#[tokio::test]
async fn a_lock_is_taken_right_after_it_was_unlocked() {
    let provider = Provider::new(ms(5_000));
    for _ in 0..10 {
        let guard = provider.locked().await;
        provider.assert_locked().await;
        unlock(guard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fuzz() {
    let locks = ["one", "two"].map(|name| MemoryCronLock::new(name).unwrap());
    assert_eq!(counted(locks).await, [400, 310]);
}

#[tokio::test]
async fn a_short_job_keeps_late_instances_out_without_lock_at_least_for() {
    let provider = Provider::new(ms(5_000));
    let guard = provider.locked().await;
    assert_eq!(guard.finish([]).await.unwrap(), SettleOutcome::Settled);
    for _ in 0..3 {
        provider.assert_locked().await;
        provider.clock.advance(ms(20_000));
    }
    // the next time is another tick
    let next = provider.at + Duration::from_secs(60);
    let claim = provider.lock.claim(next, &provider.owner, &provider.options).await.unwrap();
    assert!(matches!(claim, Claim::Claimed(_)));
}

async fn extended(guard: &mut TickGuard<'_, MemoryCronLock>, by: Duration) -> bool {
    matches!(guard.extend(by).await.unwrap(), ExtendOutcome::Extended { .. })
}

#[tokio::test]
async fn a_lock_is_extended_once_and_unlocked() {
    let provider = Provider::new(ms(100));
    let mut guard = provider.locked().await;
    assert!(extended(&mut guard, ms(10_000)).await);
    provider.clock.advance(ms(200));
    provider.assert_locked().await;
    unlock(guard).await;
    provider.assert_unlocked().await;
}

#[tokio::test]
async fn a_lock_is_extended_three_times() {
    let provider = Provider::new(ms(100));
    let mut guard = provider.locked().await;
    for _ in 0..3 {
        assert!(extended(&mut guard, ms(100)).await);
        provider.clock.advance(ms(90));
        provider.assert_locked().await;
    }
    unlock(guard).await;
    provider.assert_unlocked().await;
}

#[tokio::test]
async fn a_lock_that_ran_out_is_not_extended() {
    let provider = Provider::new(ms(2));
    let mut guard = provider.locked().await;
    provider.clock.advance(ms(4));
    assert!(!extended(&mut guard, ms(10_000)).await);
    provider.assert_unlocked().await;
    // nor unlocked for whoever has it then
    let _other = provider.locked().await;
    assert!(!extended(&mut guard, ms(10_000)).await);
    assert!(matches!(guard.finish([]).await.unwrap(), SettleOutcome::Fenced { .. }));
    provider.assert_locked().await;
}

/// A guard that is settled is gone, so extending it, or settling it twice, does not compile; what
/// is left is the trait below, which answers.
#[tokio::test]
async fn a_lock_is_not_extended_after_it_was_unlocked() {
    let provider = Provider::new(ms(5_000));
    let guard = provider.locked().await;
    let fence = guard.tick().fence;
    unlock(guard).await;
    let outcome = provider.lock.extend(provider.at, fence, ms(100)).await.unwrap();
    assert!(matches!(outcome, ExtendOutcome::Fenced { .. }));
}

#[tokio::test]
async fn a_lock_survives_the_instance_that_looks_at_it() {
    let provider = Provider::new(ms(5_000));
    let guard = provider.locked().await;
    // nothing about it is kept but in the store
    let fresh = provider.lock.clone();
    let claim = fresh.claim(provider.at, &Owner::new("two"), &provider.options).await.unwrap();
    assert!(matches!(claim, Claim::Held(held) if held.owner == provider.owner));
    unlock(guard).await;
    let claim = fresh.claim(provider.at, &Owner::new("two"), &provider.options).await.unwrap();
    assert!(matches!(claim, Claim::Claimed(_)));
}
