//! Fifty writers of one key, fifty times over.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use standfast_blobstore::testkit::BlobHarness;
use standfast_blobstore::{Blobs, PutOutcome};

const WRITERS: usize = 50;
const ROUNDS: usize = 50;

/// Of all puts if absent one is stored, and it is what everybody reads. Several rounds at a time: a
/// service may have writers of one key wait for each other for a long time.
async fn if_absent(harness: &dyn BlobHarness) {
    let blobs = Blobs::from(harness.store().await);
    stream::iter(0..ROUNDS).for_each_concurrent(10, |round| one_round(&blobs, round)).await;
}

async fn one_round(blobs: &Blobs, round: usize) {
    let key = format!("round/{round}");
    let puts = (0..WRITERS).map(|writer| {
        let (blobs, key) = (blobs.clone(), key.clone());
        tokio::spawn(async move { blobs.put(key, writer.to_string()).if_absent().await.unwrap() })
    });
    let outcomes: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    let stored = |outcome: &PutOutcome| matches!(outcome, PutOutcome::Stored(_));
    let winners: Vec<_> = (0..WRITERS).filter(|at| stored(&outcomes[*at])).collect();
    assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
    assert_eq!(blobs.get_bytes(&key).await.unwrap(), winners[0].to_string());
}

/// Every writer reads and writes fifty times; who is told that it wrote has its line in the end,
/// and nobody else has.
async fn compare_and_swap(harness: &dyn BlobHarness) {
    let blobs = Blobs::from(harness.store().await);
    blobs.put("ledger", "").await.unwrap();
    let start = Arc::new(tokio::sync::Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let (blobs, start) = (blobs.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let mut lines = Vec::new();
            for round in 0..ROUNDS {
                let ledger = blobs.get("ledger").await.unwrap();
                let version = ledger.meta().version.clone();
                let mut text = ledger.bytes(1 << 20).await.unwrap().to_vec();
                let line = format!("{writer}-{round}");
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
                match blobs.put("ledger", text).if_match(&version).await.unwrap() {
                    PutOutcome::Stored(_) => lines.push(line),
                    outcome => assert_eq!(outcome, PutOutcome::Mismatch),
                }
            }
            lines
        })
    });
    let mut told: Vec<String> = Vec::new();
    for lines in join_all(writers).await {
        told.extend(lines.unwrap());
    }
    assert!(told.len() >= ROUNDS, "only {} writes were stored", told.len());
    let ledger = blobs.get_bytes("ledger").await.unwrap();
    let mut there: Vec<_> = std::str::from_utf8(&ledger).unwrap().lines().collect();
    there.sort_unstable();
    told.sort_unstable();
    assert_eq!(there, told);
}

macro_rules! contention {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn of_fifty_puts_if_absent_one_is_stored() {
                super::if_absent(&$harness).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn of_fifty_writers_nobody_loses_an_update() {
                super::compare_and_swap(&$harness).await;
            }
        }
    };
}

contention!(memory, crate::support::memory());
contention!(fs, crate::support::fs());
#[cfg(feature = "s3-url")]
contention!(
    s3,
    match crate::support::s3::Harness::find(false) {
        Some(harness) => harness,
        None => return,
    }
);
