//! What an `FsBlobStore` does with its directory: links, debris, foreign files, damage.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_blobstore::{Blobs, Body, ErrorKind, FsBlobStore, Reason};
use support::TempDir;

async fn open(dir: &Path) -> Blobs {
    Blobs::new(FsBlobStore::open(dir).await.unwrap())
}

async fn listed(blobs: &Blobs) -> Vec<String> {
    blobs.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
}

fn staged(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir.join(".standfast/tmp")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    let (dir, outside) = (TempDir::new(), TempDir::new());
    let blobs = open(dir.path()).await;
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    blobs.put("d/x", "1").await.unwrap();
    symlink(outside.path(), dir.path().join("out%")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("leaf")).unwrap();
    for key in ["out/secret", "leaf"] {
        let error = blobs.get(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
    assert!(blobs.put("out/new", "1").await.is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(listed(&blobs).await, ["d/x"]);
    // A put takes the place of the link itself and leaves its target alone.
    blobs.put("leaf", "new").await.unwrap();
    assert_eq!(blobs.get_bytes("leaf").await.unwrap(), "new");
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn a_dropped_or_failed_upload_leaves_no_file() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    let first = stream::iter([Ok::<_, std::io::Error>(vec![7; 3_000_000])]);
    let put = blobs.put("a", Body::stream(first.chain(stream::pending()))).into_future();
    assert!(tokio::time::timeout(Duration::from_millis(300), put).await.is_err());
    let pieces = [Ok(vec![7; 3_000_000]), Err(std::io::Error::other("cut"))];
    blobs.put("a", Body::stream(stream::iter(pieces))).await.unwrap_err();
    let wrong = standfast_blobstore::Crc64::from_u64(7);
    blobs.put("a", vec![7; 10]).crc64(wrong).await.unwrap_err();
    let started = std::time::Instant::now();
    while !staged(dir.path()).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", staged(dir.path()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn debris_of_the_dead_is_swept_and_the_living_are_spared() {
    let dir = TempDir::new();
    let tmp = dir.path().join(".standfast/tmp");
    let living = open(dir.path()).await;
    std::fs::create_dir(tmp.join("dead")).unwrap();
    std::fs::write(tmp.join("dead/file"), "half").unwrap();
    std::fs::write(tmp.join("dead.lock"), "").unwrap();
    std::fs::write(tmp.join("alone.lock"), "").unwrap();
    let _second = open(dir.path()).await;
    assert!(!tmp.join("dead").exists() && !tmp.join("dead.lock").exists());
    assert!(!tmp.join("alone.lock").exists());
    living.put("a", "1").await.unwrap();
}

#[tokio::test]
async fn foreign_files_are_no_blobs() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    blobs.put("a", "1").await.unwrap();
    std::fs::write(dir.path().join("foreign"), "no attributes").unwrap();
    std::fs::write(dir.path().join("b%41"), "no name of ours").unwrap();
    std::fs::create_dir(dir.path().join("plain")).unwrap();
    assert_eq!(listed(&blobs).await, ["a"]);
    assert_eq!(blobs.get("foreign").await.unwrap_err().kind(), ErrorKind::Corrupt);
    blobs.put("foreign", "ours").await.unwrap();
    assert_eq!(listed(&blobs).await, ["a", "foreign"]);
}

#[tokio::test]
async fn damage_is_noticed() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    let content = vec![7; 3_000_000];
    blobs.put("flipped", content.clone()).await.unwrap();
    blobs.put("cut", content).await.unwrap();
    let path = dir.path().join("flipped");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_500_000] ^= 1;
    // In place, so that the attributes stay.
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let pieces: Vec<_> = blobs.get("flipped").await.unwrap().into_stream().collect().await;
    let (last, before) = pieces.split_last().unwrap();
    assert_eq!(last.as_ref().unwrap_err().kind(), ErrorKind::Checksum);
    let good: usize = before.iter().map(|piece| piece.as_ref().unwrap().len()).sum();
    assert!(good < 3_000_000, "the last piece was kept back");
    let target = dir.path().join("saved");
    blobs.get_to_file("flipped", &target).await.unwrap_err();
    assert!(!target.exists());
    assert!(blobs.get("flipped").skip_verify().await.unwrap().bytes(1 << 30).await.is_ok());
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("cut")).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(blobs.head("cut").await.unwrap_err().kind(), ErrorKind::Corrupt);
    blobs.delete("cut").await.unwrap();
}

#[tokio::test]
async fn a_deleted_tree_leaves_no_directories() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    for key in ["a/b/c/1", "a/b/c/2", &format!("{}/x", "l".repeat(250))] {
        blobs.put(key, "").await.unwrap();
    }
    assert_eq!(blobs.delete_prefix("").await.unwrap(), 3);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".standfast"]);
}

#[tokio::test]
async fn puts_and_deletes_in_one_directory_do_not_disturb_one_another() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let blobs = blobs.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    blobs.put(format!("d/e/{task}"), "1").await.unwrap();
                    blobs.delete(format!("d/e/{task}")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(listed(&blobs).await, [""; 0]);
}

#[tokio::test]
async fn a_large_flat_directory_is_listed_in_order() {
    let dir = TempDir::new();
    let blobs = open(dir.path()).await;
    let mut keys: Vec<_> = (0..5000).map(|at| format!("flat/{:x}", at * 7919 % 65_536)).collect();
    for key in &keys {
        blobs.put(key, "").await.unwrap();
    }
    keys.sort();
    assert_eq!(listed(&blobs).await, keys);
}

#[tokio::test]
async fn a_store_with_fsync_is_a_store() {
    let dir = TempDir::new();
    let blobs = Blobs::new(FsBlobStore::open(dir.path()).await.unwrap().with_fsync(true));
    blobs.put("a/b/c", "1").await.unwrap();
    blobs.put("a/b/c", "2").if_absent().await.map(drop).unwrap();
    assert_eq!(blobs.get_bytes("a/b/c").await.unwrap(), "1");
    blobs.delete("a/b/c").await.unwrap();
    assert!(blobs.health().await.is_usable());
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_left_alone() {
    let dir = TempDir::new();
    drop(open(dir.path()).await);
    std::fs::write(dir.path().join(".standfast/format"), "standfast blobs 2\n").unwrap();
    let error = FsBlobStore::open(dir.path()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::Unsupported, Some(Reason::NewerVersion))
    );
}

#[tokio::test]
async fn a_copied_store_without_attributes_says_why() {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    open(dir.path()).await.put("a", "1").await.unwrap();
    let blobs = open(copy.path()).await;
    std::fs::write(copy.path().join("a"), std::fs::read(dir.path().join("a")).unwrap()).unwrap();
    let error = blobs.get("a").await.unwrap_err();
    assert!(error.to_string().contains("attributes are missing"), "{error}");
}
