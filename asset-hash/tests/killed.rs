//! A real publisher on the file system store, killed at random points.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use standfast_asset_hash::{AssetStore, Commit, Depth};
use standfast_blobstore::{Blobs, FsBlobStore};

const PROGRAM: &str = env!("CARGO_BIN_EXE_standfast-asset-hash");
/// How often a publisher is killed; 200 times with `STANDFAST_SOAK`.
const KILLS: u32 = 60;
const FILES: usize = 40;

fn publish(dir: &Path, commit: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("publish")
        .arg(dir.join("dist"))
        .args(["--commit", commit, "--concurrency", "4", "--store"])
        .arg(format!("file://{}/store", dir.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Half of the files are new in each version, so that files are uploaded and copied.
fn write_version(dir: &Path, version: u32) {
    for number in 0..FILES {
        let text = if number % 2 == 0 { format!("{number} in {version}") } else { "same".into() };
        fs::write(dir.join(format!("dist/{number}.js")), text.repeat(number * 20 + 1)).unwrap();
    }
}

/// The same numbers in every run.
fn pseudo_random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as f64 / (1_u64 << 31) as f64
}

#[tokio::test]
async fn whatever_a_killed_publisher_leaves_every_bound_commit_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("dist")).unwrap();
    fs::create_dir(dir.join("store")).unwrap();
    write_version(dir, 0);
    let began = Instant::now();
    assert!(publish(dir, "v0").status().unwrap().success());
    let whole = began.elapsed();

    let store = FsBlobStore::open(dir.join("store")).await.unwrap();
    let (blobs, assets) = (Blobs::new(store.clone()), AssetStore::new(store));
    let (mut random, mut killed, mut bound, mut version) = (1, 0, 0, 1);
    let kills = if std::env::var_os("STANDFAST_SOAK").is_some() { 200 } else { KILLS };
    let mut round = 0;
    while killed < kills {
        round += 1;
        assert!(round < 10 * kills, "publishers end before they can be killed");
        // again and again, until one gets through; the next one has other files
        write_version(dir, version);
        let commit = format!("v{version}");
        let mut publisher = publish(dir, &commit).spawn().unwrap();
        // a busy machine is slower than it was at first, so some get to their end
        let share = 1.4 * pseudo_random(&mut random);
        tokio::time::sleep(whole.mul_f64(share)).await;
        publisher.kill().unwrap();
        killed += u32::from(!publisher.wait().unwrap().success());

        if blobs.exists(format!("commits/{commit}.txt")).await.unwrap() {
            let commit = Commit::new(commit).unwrap();
            let verified = assets.verify(commit).depth(Depth::Contents).await.unwrap();
            assert!(verified.is_sound(), "after publisher {round}: {verified:?}");
            bound += 1;
            version += 1;
        }
    }
    println!("{killed} of {round} publishers were killed, {bound} had bound their commit");
    assert!(bound > 0, "nobody got through");
    // the next one gets through, and all that was ever bound is whole
    write_version(dir, version);
    assert!(publish(dir, &format!("v{version}")).status().unwrap().success());
    let inventory = assets.inventory().await.unwrap();
    assert!(inventory.dangling.is_empty());
    for set in &inventory.sets {
        let verified = assets.verify(set.id).depth(Depth::Contents).await.unwrap();
        assert!(verified.is_sound(), "{verified:?}");
    }
}
