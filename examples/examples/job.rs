//! A job, a worker for it, and a wait for its result, in one process:
//!
//! ```sh
//! cargo run -p standfast-examples --example job
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_core::{BoxError, CancellationToken};
use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore};

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

impl Job for Greet {
    const KIND: &'static str = "greet";
    type Output = String;
}

/// Fails at first: a worker makes another attempt, and says so in the status meanwhile.
async fn greet(job: Greet, ctx: JobContext) -> Result<String, JobError> {
    if job.name.is_empty() {
        return Err(JobError::dead("nobody to greet"));
    }
    if ctx.attempt() == 1 {
        return Err(JobError::retry_in(Duration::from_millis(10), "lost for words"));
    }
    Ok(format!("hello {}", job.name))
}

pub(crate) async fn run() -> Result<[String; 2], BoxError> {
    let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    let stop = CancellationToken::new();
    let worker = jobs.worker(()).on(greet).run_until(stop.clone().cancelled_owned());
    let worker = tokio::spawn(worker);

    let ada = jobs.send(Greet { name: "Ada".into() }).dedupe("ada").await?;
    let again = jobs.send(Greet { name: "Ada".into() }).dedupe("ada").await?;
    assert_eq!(ada.id(), again.id(), "the same job");
    let nobody = jobs.send(Greet { name: String::new() }).await?;

    let greeting = ada.wait(Duration::from_secs(10)).await?;
    let failure = nobody.wait(Duration::from_secs(10)).await.expect_err("it is dead");
    stop.cancel();
    println!("{:?}", worker.await?);
    Ok([greeting, failure.to_string()])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!("{:?}", run().await?);
    Ok(())
}
