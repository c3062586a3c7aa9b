//! A real publisher, killed at random points: on the file system, and in a bucket.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use standfast_asset_hash::{AssetStore, Commit, Depth, SetName, SetState};
use standfast_blobstore::{BlobStore, FsBlobStore};

const PROGRAM: &str = env!("CARGO_BIN_EXE_standfast-asset-hash");
/// How often a publisher is killed; 200 times with `STANDFAST_SOAK`.
const KILLS: u32 = 60;
const FILES: usize = 40;

fn publish(dir: &Path, store: &str, commit: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("publish")
        .arg(dir.join("dist"))
        .args(["--commit", commit, "--concurrency", "4", "--store", store])
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

/// Kills publishers to the store at `url`, and looks through `store` at what they leave.
async fn kill_publishers(dir: &Path, url: &str, store: impl BlobStore) {
    fs::create_dir(dir.join("dist")).unwrap();
    write_version(dir, 0);
    let began = Instant::now();
    assert!(publish(dir, url, "v0").status().unwrap().success());
    let mut whole = began.elapsed();

    let assets = AssetStore::new(store);
    let (mut random, mut killed, mut bound, mut version) = (1, 0, 0, 1);
    let kills = if std::env::var_os("STANDFAST_SOAK").is_some() { 200 } else { KILLS };
    let mut round = 0;
    while killed < kills {
        round += 1;
        assert!(round < 10 * kills, "publishers end before they can be killed");
        // again and again, until one gets through; the next one has other files
        write_version(dir, version);
        let mut publisher = publish(dir, url, &format!("v{version}")).spawn().unwrap();
        // some get to their end
        tokio::time::sleep(whole.mul_f64(1.2 * pseudo_random(&mut random))).await;
        publisher.kill().unwrap();
        // The first one had to wake the service, and a busy machine gets slower: whoever ended
        // before says that it takes less now, and the others that it may take more.
        if publisher.wait().unwrap().success() {
            whole = whole.mul_f64(0.8);
        } else {
            whole = whole.mul_f64(1.05);
            killed += 1;
        }

        // whatever was left: each commit names a set that is there, and the newest set, of which
        // the files may have been moved just now, is whole, whether a commit names it or not
        let inventory = assets.inventory().await.unwrap();
        assert!(inventory.dangling.is_empty(), "after publisher {round}: {inventory:?}");
        assert!(inventory.sets.iter().all(|set| set.state == SetState::Live));
        let commit = Commit::new(format!("v{version}")).unwrap();
        let is_bound = inventory.sets.iter().any(|set| set.commits.contains(&commit));
        let newest = SetName::from(inventory.sets[0].id);
        for name in [Some(newest), is_bound.then(|| commit.into())].into_iter().flatten() {
            let verified = assets.verify(name).depth(Depth::Contents).await.unwrap();
            assert!(verified.is_sound(), "after publisher {round}: {verified:?}");
        }
        bound += u32::from(is_bound);
        version += u32::from(is_bound);
    }
    println!("{killed} of {round} publishers were killed, {bound} had bound their commit");
    assert!(bound > 0, "nobody got through");
    // the next one gets through, and all that was ever bound is whole
    write_version(dir, version);
    assert!(publish(dir, url, &format!("v{version}")).status().unwrap().success());
    let inventory = assets.inventory().await.unwrap();
    assert!(inventory.dangling.is_empty());
    for set in &inventory.sets {
        let verified = assets.verify(set.id).depth(Depth::Contents).await.unwrap();
        assert!(verified.is_sound(), "{verified:?}");
    }
}

#[tokio::test]
async fn whatever_a_killed_publisher_leaves_every_bound_commit_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("store");
    fs::create_dir(&at).unwrap();
    let store = FsBlobStore::open(&at).await.unwrap();
    kill_publishers(dir.path(), &format!("file://{}", at.display()), store).await;
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn whatever_a_killed_publisher_leaves_in_a_bucket_every_bound_commit_is_whole() {
    let Some(bucket) = support::bucket::Bucket::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    kill_publishers(dir.path(), &bucket.url(), bucket.store().await).await;
}
