//! Clusters and groups watched by sentinels that lose a primary while ticks are claimed. No stale
//! write that is accepted follows a higher fence; what was acknowledged and is gone is counted, and
//! is nothing where replicas were waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::redis::{Durability, Redis, RedisConfig, slot};
use standfast_core::testkit::redis::{RedisCluster, RedisSentinel, RedisServerConfig};
use standfast_core::{CancellationToken, Fence};
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockConfig, Owner, RecordQuery, RedisCronConfig,
    RedisCronLock, SettleOutcome, Settlement, TickState,
};

use crate::support::{SOON, key, namespace};

const REPLICATED: Durability =
    Durability::Replicated { replicas: 1, timeout: Duration::from_secs(1) };
const INSTANCES: usize = 6;

fn open(url: &str, namespace: &str, durability: Durability) -> RedisCronLock {
    let mut config = RedisCronConfig::default();
    let mut rules = CronLockConfig::default();
    rules.resolution = Duration::from_millis(50);
    rules.retention = Duration::from_secs(2 * 60 * 60);
    config.rules = rules;
    config.durability = durability;
    let mut redis = RedisConfig::from_url(url).unwrap();
    redis.timeout = Duration::from_secs(3);
    RedisCronLock::from_parts(Redis::from_config(redis).unwrap(), namespace, config).unwrap()
}

/// A grant or a settlement that was answered.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: DateTime<Utc>,
    fence: Fence,
    is_end: bool,
    asked: Instant,
    answered: Instant,
}

/// What all instances were told.
#[derive(Clone, Debug, Default)]
struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,
    errors: Arc<Mutex<u64>>,
}

impl Ledger {
    fn enter(&self, at: DateTime<Utc>, fence: Fence, is_end: bool, asked: Instant) {
        let answered = Instant::now();
        let entry = Entry { at, fence, is_end, asked, answered };
        self.entries.lock().unwrap().push(entry);
    }

    fn fail(&self) {
        *self.errors.lock().unwrap() += 1;
    }

    /// What must hold whatever the store lost.
    fn check(&self) {
        let entries = self.entries.lock().unwrap();
        for (number, later) in entries.iter().enumerate() {
            for earlier in &entries[..number] {
                if earlier.answered > later.asked || earlier.is_end {
                    continue;
                }
                // fences rise, and who was overtaken ends nothing
                let of_one_tick = earlier.at == later.at;
                let is_stale = match later.is_end {
                    true => of_one_tick && earlier.fence > later.fence,
                    false => earlier.fence >= later.fence,
                };
                assert!(!is_stale, "{earlier:?}\nthen {later:?}");
            }
        }
    }

    /// How many ticks of an acknowledged end are not done by the records, and how many ended twice.
    async fn lost(&self, lock: &RedisCronLock) -> (usize, usize) {
        let mut ended = BTreeMap::<_, Vec<Fence>>::new();
        for entry in self.entries.lock().unwrap().iter().filter(|entry| entry.is_end) {
            ended.entry(entry.at).or_default().push(entry.fence);
        }
        let mut query = RecordQuery::default();
        let mut done = Vec::new();
        loop {
            let records = lock.records(&query).await.unwrap();
            let Some(last) = records.last() else { break };
            query.after = Some(last.at);
            done.extend(records.iter().filter(|it| it.state == TickState::Done).map(|it| it.at));
        }
        let gone = ended.keys().filter(|at| !done.contains(at)).count();
        (gone, ended.values().filter(|fences| fences.len() > 1).count())
    }
}

/// Claims each tick as it comes, and settles what it wins, until stopped.
async fn instance(lock: RedisCronLock, ledger: Ledger, stop: CancellationToken) {
    let (owner, rules) = (Owner::new("web"), lock.capabilities().config);
    let options = ClaimOptions::new(Duration::from_secs(1)).with_schedules(["sync"]);
    let mut open: Option<DateTime<Utc>> = None;
    while !stop.is_cancelled() {
        let Ok(now) = lock.now().await else {
            ledger.fail();
            continue;
        };
        let at = open.take().unwrap_or_else(|| rules.tick_at(now));
        let asked = Instant::now();
        match lock.claim(at, &owner, &options).await {
            Ok(Claim::Claimed(won)) => {
                let fence = won.tick.fence;
                ledger.enter(at, fence, false, asked);
                // while its answer is missing it asks again, as the runner does
                for _ in 0..20 {
                    let asked = Instant::now();
                    match lock.settle(at, fence, &Settlement::finish([])).await {
                        Ok(SettleOutcome::Settled) => {
                            ledger.enter(at, fence, true, asked);
                            break;
                        }
                        Ok(_) => break,
                        Err(_) => ledger.fail(),
                    }
                }
            }
            // another time, when its lease may have ended
            Ok(Claim::Held(held)) if held.owner == owner => open = Some(at),
            Ok(_) => {}
            Err(_) => ledger.fail(),
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// What came of `fault` under load: acknowledged ends that are gone, and ticks that ended twice.
async fn under_load(
    what: &str,
    url: &str,
    namespace: &str,
    durability: Durability,
    fault: impl Future<Output = ()>,
) -> (usize, usize) {
    let (ledger, stop) = (Ledger::default(), CancellationToken::new());
    let lock = open(url, namespace, durability);
    lock.now().await.unwrap();
    let instances: Vec<_> = (0..INSTANCES)
        .map(|_| {
            let lock = open(url, namespace, durability);
            tokio::spawn(instance(lock, ledger.clone(), stop.clone()))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let before = ledger.entries.lock().unwrap().len();
    fault.await;
    let back = async {
        while lock.now().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, back).await.expect("it goes on soon");
    let at_return = ledger.entries.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop.cancel();
    for instance in instances {
        instance.await.unwrap();
    }
    let entries = ledger.entries.lock().unwrap().len();
    let (gone, twice) = ledger.lost(&lock).await;
    let errors = *ledger.errors.lock().unwrap();
    println!(
        "{what}: {} claims and ends answered, {errors} errors; {gone} ends gone, {twice} ended \
         twice",
        entries
    );
    assert!(before > 5 && entries > at_return + 5, "{what}: there was load before and after");
    ledger.check();
    (gone, twice)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_keeps_what_was_replicated() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let namespace = namespace();
    let at = slot(&key(&namespace, "records"));
    let what = "cluster primary killed, WAIT 1";
    let lost = under_load(what, &cluster.url(), &namespace, REPLICATED, async {
        let killed = cluster.kill_master_of(at).await;
        cluster.await_ready().await;
        killed.restart().await;
    })
    .await;
    assert_eq!(lost, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_goes_on() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let namespace = namespace();
    let at = slot(&key(&namespace, "records"));
    let what = "cluster primary killed, no WAIT";
    let (gone, twice) = under_load(what, &cluster.url(), &namespace, Durability::Primary, async {
        cluster.kill_master_of(at).await;
    })
    .await;
    assert!(gone + twice <= 5, "at most the last moments: {gone}, {twice}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_lose_a_primary_keep_what_was_replicated() {
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let what = "sentinel primary killed, WAIT 1";
    let lost = under_load(what, &group.url(), &namespace(), REPLICATED, async {
        group.kill_master().await;
    })
    .await;
    assert_eq!(lost, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_loses_nothing() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let namespace = namespace();
    let at = slot(&key(&namespace, "records"));
    let durability = Durability::Primary;
    let lost = under_load("slot moved", &cluster.url(), &namespace, durability, async {
        let home = cluster.node_of_slot(at).await;
        for other in [0, 5461, 10923] {
            let node = cluster.node_of_slot(other).await;
            if node.port() != home.port() {
                cluster.migrate_slot(at, node).await;
            }
        }
    })
    .await;
    assert_eq!(lost, (0, 0));
}
