//! ShedLock's fuzz test of lock providers, in our words.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standfast_cron_lock::{ClaimOptions, CronLock, CronLockExt, Owner, SettleOutcome, TryClaim};
use tokio::task::JoinSet;

/// Eight threads, two locks, a hundred rounds each, but ten for one: 400 and 310.
pub(crate) async fn counted<L: CronLock + Clone>(locks: [L; 2]) -> [u64; 2] {
    let counters = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let config = locks[0].capabilities().config;
    let at = config.tick_at(locks[0].now().await.unwrap());
    // long, so that it does not run out while the machine is busy
    let options = ClaimOptions::new(config.max_lease);
    let mut threads = JoinSet::new();
    for thread in 0..8 {
        let (lock, counter) = (locks[thread % 2].clone(), Arc::clone(&counters[thread % 2]));
        let (options, rounds) = (options.clone(), if thread == 7 { 10 } else { 100 });
        threads.spawn(async move {
            let owner = Owner::new(format!("thread-{thread}"));
            let mut round = 0;
            while round < rounds {
                let TryClaim::Won(guard) = lock.try_claim(at, &owner, &options).await.unwrap()
                else {
                    tokio::task::yield_now().await;
                    continue;
                };
                // not atomic as a whole, on purpose
                let seen = counter.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                counter.store(seen + 1, Ordering::Relaxed);
                round += 1;
                assert_eq!(guard.abandon().await.unwrap(), SettleOutcome::Settled);
            }
        });
    }
    threads.join_all().await;
    counters.map(|counter| counter.load(Ordering::Relaxed))
}
