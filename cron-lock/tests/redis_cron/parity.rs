//! The scripts say what the reference says: calls drawn at random, on Redis and in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::testkit::redis::single;
use standfast_core::{Fence, JobId, SystemClock};
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockConfig, ExtendOutcome, MemoryCronLock, Owner,
    RecordQuery, SettleOutcome, Settlement,
};

use crate::support::{MINUTE, namespace, with_rules};

/// A small generator: what it makes is the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, most: u64) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % most).unwrap()
    }
}

/// Long enough never to run out here, and one that always has.
const LEASES: [Duration; 2] = [Duration::from_secs(300), Duration::from_millis(20)];

/// One of the two locks, and what its fences are called: the same grant has another number there.
struct Side {
    lock: Arc<dyn CronLock>,
    names: BTreeMap<u64, usize>,
    fences: Vec<Fence>,
}

impl Side {
    fn new(lock: impl CronLock) -> Self {
        Self { lock: Arc::new(lock), names: BTreeMap::new(), fences: vec![Fence::new(1)] }
    }

    fn name(&self, fence: Fence) -> usize {
        self.names.get(&fence.get()).copied().unwrap_or_default()
    }

    async fn claim(&mut self, at: DateTime<Utc>, owner: &Owner, options: &ClaimOptions) -> String {
        match self.lock.claim(at, owner, options).await.unwrap() {
            Claim::Claimed(won) => {
                let highest = self.fences[self.fences.len() - 1];
                assert!(won.tick.fence.supersedes(highest), "fences rise");
                self.names.insert(won.tick.fence.get(), self.fences.len());
                self.fences.push(won.tick.fence);
                let lease = won.lease_until - won.now;
                format!("won {} {:?} {:?} {lease}", won.tick.attempt, won.tick.previous, won.known)
            }
            Claim::Finished(record) => format!("finished {:?}", record.state),
            Claim::Held(held) => format!("held {} {}", held.owner, self.name(held.fence)),
            Claim::TooOld { cursor, .. } => format!("old {cursor:?}"),
            other => format!("{:?}", std::mem::discriminant(&other)),
        }
    }

    async fn extend(&self, at: DateTime<Utc>, fence: usize) -> String {
        match self.lock.extend(at, self.fences[fence], LEASES[0]).await.unwrap() {
            ExtendOutcome::Extended { .. } => "extended".to_owned(),
            ExtendOutcome::Fenced { owner, fence } => format!("{owner} {}", self.name(fence)),
            other => format!("{other:?}"),
        }
    }

    async fn settle(&self, at: DateTime<Utc>, fence: usize, settlement: &Settlement) -> String {
        match self.lock.settle(at, self.fences[fence], settlement).await.unwrap() {
            SettleOutcome::Fenced { owner, fence } => format!("{owner} {}", self.name(fence)),
            other => format!("{other:?}"),
        }
    }

    /// What the records say that does not depend on the clock.
    async fn records(&self) -> Vec<String> {
        let records = self.lock.records(&RecordQuery::default()).await.unwrap();
        let plain = records.into_iter().map(|it| {
            let former: Vec<_> =
                it.former.iter().map(|it| (self.name(it.fence), it.owner.clone())).collect();
            format!(
                "{} {:?} {:?} {:?} {:?} {} {} {} {} {} {:?} {:?} {former:?}",
                it.at,
                it.previous,
                it.known,
                it.schedules,
                it.state,
                it.owner,
                self.name(it.fence),
                it.attempt,
                it.crashes,
                it.finished_at.is_some(),
                it.error,
                it.jobs,
            )
        });
        plain.collect()
    }
}

#[tokio::test]
async fn random_calls_do_the_same_in_redis_and_in_memory() {
    let Some(server) = single() else { return };
    let mut noise = Noise(5);
    let (mut said, owners) = (BTreeMap::<String, u32>::new(), ["a", "b", "c"].map(Owner::new));
    for _ in 0..40 {
        let rules = CronLockConfig::default();
        let memory = MemoryCronLock::with_config("parity", rules.clone(), Arc::new(SystemClock));
        let redis = with_rules(&server.url(), &namespace(), rules.clone());
        let first = rules.tick_at(redis.now().await.unwrap()) - MINUTE * 8;
        let (mut memory, mut redis) = (Side::new(memory.unwrap()), Side::new(redis));
        for _ in 0..50 {
            let at = first + MINUTE * u32::try_from(noise.below(5)).unwrap();
            let owner = &owners[noise.below(3)];
            let fences = u64::try_from(memory.fences.len()).unwrap();
            let fence = match noise.below(3) {
                0 => noise.below(fences),
                _ => memory.fences.len() - 1,
            };
            let mut ids = vec!["x", "y", "z"];
            ids.retain(|_| noise.below(2) == 0);
            let (left, right) = match noise.below(8) {
                lease @ 0..=3 => {
                    let lease = LEASES[usize::from(lease == 3)];
                    let options = ClaimOptions::new(lease).with_schedules(ids);
                    let answers = (
                        memory.claim(at, owner, &options).await,
                        redis.claim(at, owner, &options).await,
                    );
                    if lease == LEASES[1] {
                        tokio::time::sleep(lease * 2).await;
                    }
                    answers
                }
                4 => (memory.extend(at, fence).await, redis.extend(at, fence).await),
                how => {
                    let settlement = match how {
                        5 => Settlement::finish([JobId::derive("t", "s", at)]),
                        6 if noise.below(2) == 0 => Settlement::fail("full"),
                        _ => Settlement::Abandon,
                    };
                    (
                        memory.settle(at, fence, &settlement).await,
                        redis.settle(at, fence, &settlement).await,
                    )
                }
            };
            assert_eq!(right, left);
            let word = left.split([' ', '/']).next().unwrap_or_default();
            *said.entry(word.to_owned()).or_default() += 1;
            assert_eq!(redis.records().await, memory.records().await);
        }
    }
    println!("{said:?}");
    for word in ["won", "held", "finished", "old", "extended", "Lapsed", "Missing", "Settled", "a"]
    {
        assert!(said.get(word).is_some_and(|count| *count > 5), "{word}: {said:?}");
    }
}
