//! A job, a worker for it, and a wait for its result, over Redis:
//!
//! ```sh
//! cargo run --features redis --example redis_job -- redis://127.0.0.1:6379
//! ```
//!
//! Sender and worker share a URL and names, no memory: each could be a process of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::{BoxError, CancellationToken};
use standfast_queue::{Job, JobContext, JobError, Jobs, RedisQueue, RedisStatusStore};

#[derive(Serialize, Deserialize)]
struct Factors {
    of: u64,
}

impl Job for Factors {
    const KIND: &'static str = "factors";
    type Output = Vec<u64>;
}

async fn factors(job: Factors, ctx: JobContext) -> Result<Vec<u64>, JobError> {
    let (mut rest, mut found) = (job.of, Vec::new());
    for candidate in 2..=job.of.isqrt() {
        while rest.is_multiple_of(candidate) {
            found.push(candidate);
            rest /= candidate;
        }
        ctx.progress(candidate, job.of.isqrt());
    }
    found.extend((rest > 1).then_some(rest));
    Ok(found)
}

fn jobs(url: &str) -> Result<Jobs, BoxError> {
    Ok(Jobs::new(RedisQueue::from_url(url, "factors")?, RedisStatusStore::from_url(url)?))
}

pub(crate) async fn run(url: &str) -> Result<Vec<u64>, BoxError> {
    let stop = CancellationToken::new();
    let worker = jobs(url)?.worker(()).on(factors).run_until(stop.clone().cancelled_owned());
    let worker = tokio::spawn(worker);
    let handle = jobs(url)?.send(Factors { of: 600_851_475_143 }).await?;
    let found = handle.wait(Duration::from_secs(30)).await?;
    stop.cancel();
    println!("{:?}", worker.await?);
    Ok(found)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).ok_or("give the URL of a Redis")?;
    println!("{:?}", run(&url).await?);
    Ok(())
}
