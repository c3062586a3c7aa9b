//! A replay: what a broken worker did to yesterday's jobs is done again by a repaired one.
//!
//! ```sh
//! cargo run -p standfast-examples --example replay
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standfast_blobstore::MemoryBlobStore;
use standfast_core::BoxError;
use standfast_queue::wrap::{Archive, Archived, ReplayFilter};
use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore};

#[derive(Serialize, Deserialize)]
struct Invoice {
    net: u64,
}

impl Job for Invoice {
    const KIND: &'static str = "invoice";
    type Output = String;
}

/// With tax in percent, as the state of the worker says.
async fn total(job: Invoice, tax: u64, ctx: JobContext) -> Result<String, JobError> {
    Ok(format!("run {}: {}", ctx.run(), job.net * (100 + tax) / 100))
}

pub(crate) async fn run() -> Result<Vec<String>, BoxError> {
    let store = MemoryBlobStore::new();
    let queue = Archived::new(MemoryQueue::new(), Arc::new(store.clone()))?; // each message is kept
    let jobs = Jobs::new(queue, MemoryStatusStore::new());
    let mut handles = Vec::new();
    for net in [100, 200, 300] {
        handles.push(jobs.send(Invoice { net }).await?);
    }
    jobs.worker(0).on(total).drain().await; // forgot the tax, and all are done

    let archive = Archive::new(Arc::new(store), "archive")?;
    let invoices = ReplayFilter::default().kind(Invoice::KIND);
    let replay = archive.replay("invoices without tax", invoices);
    println!("{} messages would be sent again", replay.dry_run().await?.matched);
    replay.run(jobs.queue()).await?;
    jobs.worker(24).on(total).drain().await;

    let mut results = Vec::new();
    for handle in handles {
        results.push(handle.wait(std::time::Duration::from_secs(10)).await?); // the same handles
    }
    Ok(results)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!("{:?}", run().await?);
    Ok(())
}
