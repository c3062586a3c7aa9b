//! What other processes see of an `FsBlobStore` whose writers are killed or race with one another.
//!
//! The writers are this very test binary, started again with the name of one test and a directory
//! in the environment.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt as _, stream};
use standfast_blobstore::{Blobs, Body, FsBlobStore, PutOutcome};
use support::TempDir;

const DIR: &str = "STANDFAST_TEST_CRASH_DIR";
const KEYS: u64 = 4;

fn start(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn open(dir: &Path) -> Blobs {
    Blobs::new(FsBlobStore::open(dir).await.unwrap())
}

/// Puts for ever: bytes in one go and streams in pieces, each content a run of one byte.
#[tokio::test]
async fn writer() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let blobs = open(Path::new(&dir)).await;
    for round in u64::from(std::process::id()).. {
        let byte = (round % 251) as u8;
        let len = 50_000 + (round % 7) as usize * 300_000;
        let key = format!("k/{}", round % KEYS);
        let body = match round % 2 {
            0 => Body::from(vec![byte; len]),
            _ => Body::stream(stream::iter(
                (0..len / 10_000).map(move |_| Ok::<_, std::io::Error>(vec![byte; 10_000])),
            )),
        };
        blobs.put(key, body).metadata("byte", byte.to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_whole_blobs_and_no_debris() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    let mut seen = 0;
    for round in 0..12_u64 {
        let mut writers = [start("writer", dir.path()), start("writer", dir.path())];
        let until = Instant::now() + Duration::from_millis(150 + round * 23);
        while Instant::now() < until {
            for entry in blobs.list("").try_collect::<Vec<_>>().await.unwrap() {
                // Reading to the end verifies length and checksum.
                let blob = blobs.get(&entry.key).await.unwrap();
                let byte: u8 = blob.meta().attributes.metadata["byte"].parse().unwrap();
                let content = blob.bytes(1 << 30).await.unwrap();
                assert!(content.iter().all(|other| *other == byte));
                seen += 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for writer in &mut writers {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
    }
    assert!(seen > 50, "only {seen} blobs were read");
    // The next to open clears what the dead left; ours and its own are the only ones that stay.
    let _next = open(dir.path()).await;
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".standfast/tmp")).unwrap().collect();
    assert_eq!(left.len(), 4, "{left:?}");
    for entry in left {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
        }
    }
}

/// Claims one key after another, and says under its own key how many it got.
#[tokio::test]
async fn claimer() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let blobs = open(Path::new(&dir)).await;
    let mut won = 0;
    for round in 0..200 {
        let put = blobs.put(format!("claim/{round}"), std::process::id().to_string());
        if matches!(put.if_absent().await.unwrap(), PutOutcome::Stored(_)) {
            won += 1;
        }
        loop {
            let counter = blobs.get("counter").await.unwrap();
            let version = counter.meta().version.clone();
            let text = counter.bytes(100).await.unwrap();
            let count: u32 = std::str::from_utf8(&text).unwrap().parse().unwrap();
            let put = blobs.put("counter", (count + 1).to_string()).if_match(&version);
            if matches!(put.await.unwrap(), PutOutcome::Stored(_)) {
                break;
            }
        }
    }
    blobs.put(format!("won/{}", std::process::id()), won.to_string()).await.unwrap();
}

#[tokio::test]
async fn of_many_processes_one_creates_and_none_overwrites() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    blobs.put("counter", "0").await.unwrap();
    let claimers: Vec<_> = (0..4).map(|_| start("claimer", dir.path())).collect();
    for mut claimer in claimers {
        assert!(claimer.wait().unwrap().success());
    }
    let mut won = 0;
    for entry in blobs.list("won/").try_collect::<Vec<_>>().await.unwrap() {
        let text = blobs.get_bytes(&entry.key).await.unwrap();
        won += std::str::from_utf8(&text).unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(won, 200, "every key was won once");
    assert_eq!(blobs.get_bytes("counter").await.unwrap(), "800", "no increment was lost");
}
