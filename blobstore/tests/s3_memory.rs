//! How much memory an upload of unknown length and a download take, whatever their length.
//!
//! The process that is measured is this very test binary, started again with the name of one test
//! and a length in the environment, because what the kernel counts is the peak of a process.
#![cfg(all(feature = "s3-url", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::process::Command;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use standfast_blobstore::{Blobs, Body, S3Config};
use support::s3::Service;

const MIB: usize = 1 << 20;
const LEN: &str = "STANDFAST_TEST_MEMORY_LEN";

/// The memory that the store is allowed for uploads.
const BUDGET: usize = 32 * MIB;

/// What everything else may take beyond it.
const SLACK: usize = 16 * MIB;

/// The most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// Pieces that are made as they are asked for, each of them another one.
fn pieces(len: usize) -> Body {
    let count = (len / (64 << 10)) as u64;
    Body::stream(stream::iter(
        (0..count).map(|at| Ok::<_, std::io::Error>(Bytes::from(at.to_le_bytes().repeat(8 << 10)))),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measured() {
    let Ok(len) = std::env::var(LEN) else { return };
    let len: usize = len.parse().unwrap();
    let service = Service::find().unwrap();
    let config = S3Config::default().with_part_size(8 * MIB).with_upload_memory(BUDGET);
    let blobs = Blobs::new(service.store(config).await.0);
    // Connections, buffers and threads are part of the baseline.
    blobs.put("small", pieces(MIB)).await.unwrap();
    blobs.get_bytes("small").await.unwrap();
    let before = peak();
    let meta = blobs.put("large", pieces(len)).await.unwrap();
    let uploaded = peak() - before;
    assert_eq!(meta.size, len as u64);
    let mut read = 0;
    let mut stream = blobs.get("large").await.unwrap().into_stream();
    while let Some(piece) = stream.next().await {
        // The stream verifies the checksum before it gives the last piece.
        read += piece.unwrap().len();
    }
    assert_eq!(read, len);
    let both = peak() - before;
    blobs.delete("large").await.unwrap();
    println!("{} MiB: {} KiB for the upload, {} for both", len / MIB, uploaded >> 10, both >> 10);
    assert!(uploaded > 8 * MIB, "it cannot take less than a part: is this measured at all?");
    assert!(both <= BUDGET + SLACK, "{both} bytes beyond the baseline");
}

#[test]
fn memory_does_not_grow_with_what_is_stored() {
    if std::env::var_os(LEN).is_some() || Service::find().is_none() {
        return;
    }
    let len = if std::env::var_os("STANDFAST_SOAK").is_some() { 1024 } else { 128 };
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "measured", "--nocapture", "--test-threads=1"])
        .env(LEN, (len * MIB).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("1 passed"), "{said}");
}
