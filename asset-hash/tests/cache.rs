//! The cache of digests and the asynchronous form, on real files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, FileTimes};
use std::path::Path;
use std::time::Duration;

use standfast_asset_hash::{AssetTree, Progress};
use standfast_core::ErrorKind;

fn tree(root: &Path, cache: &Path) -> (AssetTree, Progress) {
    let progress = Progress::new();
    (AssetTree::new(root).cache(cache).progress(progress.clone()), progress)
}

#[test]
fn only_what_changed_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (root, cache) = (dir.path().join("tree"), dir.path().join("cache"));
    fs::create_dir(&root).unwrap();
    for number in 0..20 {
        fs::write(root.join(number.to_string()), format!("content {number}")).unwrap();
    }
    let read = || {
        let (tree, progress) = tree(&root, &cache);
        let manifest = tree.read().unwrap().into_manifest();
        assert_eq!(manifest, AssetTree::new(&root).read().unwrap().into_manifest());
        progress.steps().of_files
    };
    assert_eq!(read(), 20);
    assert_eq!(read(), 20, "what is so young is read again");
    // the clock of the file system has to go on for them to be old
    std::thread::sleep(Duration::from_millis(2_200));
    assert_eq!(read(), 20);
    assert_eq!(read(), 0);

    fs::write(root.join("3"), "Content 3").unwrap();
    fs::write(root.join("new"), "").unwrap();
    fs::remove_file(root.join("4")).unwrap();
    assert_eq!(read(), 2);

    // the same size and the old time of content: the inode tells
    let before = fs::metadata(root.join("5")).unwrap().modified().unwrap();
    fs::write(root.join("5"), "Content 5").unwrap();
    let file = fs::File::options().write(true).open(root.join("5")).unwrap();
    file.set_times(FileTimes::new().set_modified(before)).unwrap();
    assert_eq!(read(), 3, "and the two that are still young");
}

#[tokio::test]
async fn hashing_does_not_block_and_ends_when_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "1").unwrap();
    let set = AssetTree::new(dir.path()).read_async().await.unwrap();
    assert_eq!(set.manifest().files().len(), 1);

    let progress = Progress::new();
    let tree = AssetTree::new(dir.path()).progress(progress.clone());
    drop(tree.clone().read_async());
    let mut read = Box::pin(tree.clone().read_async());
    // begun, then dropped
    tokio::select! { biased; _ = &mut read => panic!("at once"), () = std::future::ready(()) => {} }
    drop(read);
    assert_eq!(tree.read().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "1").unwrap();
    let cache = dir.path().join("missing/cache");
    let error = AssetTree::new(dir.path()).cache(cache).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
