//! A cron tick: three instances tick, one wins each tick and sends the job that is due.
//!
//! ```sh
//! cargo run -p standfast-examples --example cron
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::{BoxError, SystemClock};
use standfast_cron_lock::{Cron, CronLockConfig, MemoryCronLock, RecordQuery, every};
use standfast_queue::{Job, Jobs, MemoryQueue, MemoryStatusStore};

#[derive(Serialize, Deserialize)]
struct Sync;

impl Job for Sync {
    const KIND: &'static str = "sync";
    type Output = ();
}

/// How many ticks were won, and how many jobs there are.
pub(crate) async fn run(span: Duration) -> Result<(usize, u64), BoxError> {
    let mut rules = CronLockConfig::default();
    rules.resolution = Duration::from_millis(200); // instead of a minute, to see something
    let lock = MemoryCronLock::with_config("example", rules, std::sync::Arc::new(SystemClock))?;
    let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());

    let mut instances = Vec::new();
    for _ in 0..3 {
        let (mut cron, jobs) = (Cron::new(lock.clone()), jobs.clone());
        cron.schedule(every(Duration::from_millis(400)).id("sync"), move |tick| {
            let jobs = jobs.clone();
            // whoever takes the tick over sends the same job
            async move { jobs.send(Sync).for_tick(&tick).await.map(drop) }
        })?;
        instances.push((cron.ledger(), tokio::spawn(cron.run_until(tokio::time::sleep(span)))));
    }
    let mut ledger = None;
    for (of_instance, running) in instances {
        println!("{:?}", running.await?);
        ledger = Some(of_instance);
    }
    let ledger = ledger.ok_or("there are instances")?;
    for record in ledger.records(&RecordQuery::default()).await? {
        println!("{} won by {} after {}", record.at, record.owner, record.claimed_at - record.at);
    }
    let ticks = ledger.records(&RecordQuery::default()).await?.len();
    Ok((ticks, jobs.queue().stats().await?.ready))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!("{:?}", run(Duration::from_secs(3)).await?);
    Ok(())
}
