//! What callers hold of a tick.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Error, ErrorKind, Fence, Health, HealthCheck, JobId, Result};
use standfast_cron_lock::testkit::async_trait;
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockCapabilities, CronLockConfig, CronLockExt,
    ExtendOutcome, MemoryCronLock, Owner, RecordQuery, SettleOutcome, Settlement, TickRecord,
    TickState, TryClaim,
};

const LEASE: Duration = Duration::from_secs(30);

/// A store whose answers to settlements get lost while `is_cut`, although it acts on them.
#[derive(Debug)]
struct Cut {
    inner: MemoryCronLock,
    is_cut: AtomicBool,
}

#[async_trait]
impl CronLock for Cut {
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
        self.inner.claim(at, owner, options).await
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        self.inner.extend(at, fence, lease).await
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        let outcome = self.inner.settle(at, fence, settlement).await?;
        if self.is_cut.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Timeout, "memory", "cron-lock.settle"));
        }
        Ok(outcome)
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        self.inner.records(query).await
    }
}

#[async_trait]
impl HealthCheck for Cut {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

struct Fixture {
    clock: ManualClock,
    lock: Cut,
    owner: Owner,
    options: ClaimOptions,
    at: DateTime<Utc>,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        let config = CronLockConfig::default();
        let at = config.tick_at(clock.now());
        let inner = MemoryCronLock::with_config("guard", config, Arc::new(clock.clone())).unwrap();
        let lock = Cut { inner, is_cut: AtomicBool::new(false) };
        Self { clock, lock, owner: Owner::new("one"), options: ClaimOptions::new(LEASE), at }
    }

    async fn state(&self) -> TickState {
        self.lock.records(&RecordQuery::default()).await.unwrap()[0].state
    }
}

#[tokio::test]
async fn a_settlement_whose_answer_is_lost_gives_the_guard_back() {
    let f = Fixture::new();
    let TryClaim::Won(guard) = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap() else {
        panic!("nobody else is here")
    };
    f.lock.is_cut.store(true, Ordering::Relaxed);
    let jobs = [JobId::random()];
    let unsettled = guard.finish(jobs).await.unwrap_err();
    assert_eq!(unsettled.error.kind(), ErrorKind::Timeout);
    assert_eq!(unsettled.guard.finish(jobs).await.unwrap(), SettleOutcome::Settled);
    assert_eq!(f.state().await, TickState::Done);
    let again = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap();
    assert!(matches!(again, TryClaim::Lost(Claim::Finished(_))));
}

#[tokio::test]
async fn each_way_to_settle_is_recorded() {
    let f = Fixture::new();
    let TryClaim::Won(guard) = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap() else {
        panic!("nobody else is here")
    };
    assert_eq!(guard.abandon().await.unwrap(), SettleOutcome::Settled);
    assert_eq!(f.state().await, TickState::Abandoned);
    let TryClaim::Won(guard) = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap() else {
        panic!("the tick was let go")
    };
    assert_eq!(guard.fail("queue is full").await.unwrap(), SettleOutcome::Settled);
    assert_eq!(f.state().await, TickState::Failed);
}

#[tokio::test]
async fn a_guard_knows_until_when_it_can_be_trusted() {
    let f = Fixture::new();
    let TryClaim::Won(mut guard) = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap()
    else {
        panic!("nobody else is here")
    };
    f.clock.advance(LEASE / 2);
    assert!(matches!(guard.extend(LEASE).await.unwrap(), ExtendOutcome::Extended { .. }));
    assert_eq!(guard.trusted_until(), f.clock.instant() + LEASE);
    let clock = f.clock.clone();
    let (mut is_lost, waiter) = (false, async { clock.advance(LEASE) });
    tokio::join!(
        async {
            guard.lost(&f.clock).await;
            is_lost = true;
        },
        waiter
    );
    assert!(is_lost);
    assert_eq!(guard.extend(LEASE).await.unwrap(), ExtendOutcome::Lapsed);
}

#[tokio::test]
async fn a_dropped_guard_leaves_the_tick_to_its_lease() {
    let f = Fixture::new();
    drop(f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap());
    assert_eq!(f.state().await, TickState::Claimed);
    let held = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap();
    assert!(matches!(held, TryClaim::Lost(Claim::Held(_))));
    f.clock.advance(LEASE);
    let TryClaim::Won(guard) = f.lock.try_claim(f.at, &f.owner, &f.options).await.unwrap() else {
        panic!("the lease is over")
    };
    assert_eq!(guard.tick().attempt, 2);
    assert_eq!(guard.finish([]).await.unwrap(), SettleOutcome::Settled);
}
