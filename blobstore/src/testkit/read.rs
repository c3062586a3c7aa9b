//! Cases about reading.

use futures_util::TryStreamExt as _;

use super::{BlobHarness, error, read, seed};
use crate::{ByteRange, ErrorKind, GetOutcome, Version};

/// Clamped to the end, from the end, and none at all.
pub async fn a_range_gives_exactly_its_bytes(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "0123456789"), ("empty", "")]).await;
    let table: &[(ByteRange, &str)] = &[
        ((0..10).into(), "0123456789"),
        ((0..1).into(), "0"),
        ((3..7).into(), "3456"),
        ((9..10).into(), "9"),
        ((7..99).into(), "789"),
        ((4..).into(), "456789"),
        ((..4).into(), "0123"),
        ((5..5).into(), ""),
        (ByteRange::last(3), "789"),
        (ByteRange::last(99), "0123456789"),
        (ByteRange::last(0), ""),
    ];
    for (range, expected) in table {
        let blob = blobs.get("a").range(*range).await.unwrap();
        assert_eq!(blob.meta().size, 10);
        let served = blob.range();
        assert_eq!(served.end - served.start, expected.len() as u64, "{range:?}");
        assert_eq!(blob.bytes(10).await.unwrap(), expected, "{range:?}");
    }
    assert_eq!(blobs.get_bytes("empty").range(ByteRange::last(4)).await.unwrap(), "");
}

/// The size can be learned by asking for it.
pub async fn a_range_behind_the_end_is_refused(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "0123456789"), ("empty", "")]).await;
    for (key, range) in [("a", 10..11), ("a", 99..u64::MAX), ("empty", 0..1)] {
        let refused = error(blobs.get(key).range(range).await);
        assert_eq!(refused.kind(), ErrorKind::Range);
    }
}

/// Also what looks like a directory, and the directory of what looks like a file.
pub async fn what_is_not_there_is_missing(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a/b", "1")]).await;
    for key in ["a", "b", "a/b/c", "a/c"] {
        assert_eq!(read(&blobs, key).await, None, "{key}");
        assert_eq!(error(blobs.get(key).await).kind(), ErrorKind::NotFound);
        assert_eq!(error(blobs.get_bytes(key).range(5..).await).kind(), ErrorKind::NotFound);
        let conditional = blobs.get(key).if_match(&Version::new("1")).await.unwrap();
        assert!(matches!(conditional, GetOutcome::Missing));
    }
}

/// And another one is sent whole.
pub async fn the_version_one_has_is_not_modified(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let first = blobs.put("a", "1").await.unwrap().version;
    let outcome = blobs.get("a").if_none_match(&first).await.unwrap();
    assert!(matches!(outcome, GetOutcome::NotModified), "{outcome:?}");
    blobs.put("a", "2").await.unwrap();
    let outcome = blobs.get("a").if_none_match(&first).await.unwrap();
    assert_eq!(outcome.found().expect("another version").bytes(9).await.unwrap(), "2");
}

/// So that a read that broke can go on without mixing two versions.
pub async fn another_version_is_a_mismatch(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let first = blobs.put("a", "01").await.unwrap().version;
    let outcome = blobs.get("a").range(1..).if_match(&first).await.unwrap();
    assert_eq!(outcome.found().expect("this version").bytes(9).await.unwrap(), "1");
    blobs.put("a", "23").await.unwrap();
    let outcome = blobs.get("a").range(1..).if_match(&first).await.unwrap();
    assert!(matches!(outcome, GetOutcome::Mismatch), "{outcome:?}");
}

/// Replaced or deleted: what was begun is of one version to its end, or an error, never a mixture.
pub async fn a_reader_keeps_its_version_while_the_blob_is_replaced(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let size = 5_000_000;
    blobs.put("a", vec![b'1'; size]).await.unwrap();
    for replace in [true, false] {
        let mut pieces = blobs.get("a").await.unwrap().into_stream();
        let first = pieces.try_next().await.unwrap().expect("there is a first piece");
        match replace {
            true => drop(blobs.put("a", vec![b'2'; size]).await.unwrap()),
            false => blobs.delete("a").await.unwrap(),
        }
        let (byte, mut len) = (first[0], first.len());
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => {
                    assert!(piece.iter().all(|other| *other == byte), "two versions in one read");
                    len += piece.len();
                }
                Ok(None) => break assert_eq!(len, size),
                Err(changed) => break assert_eq!(changed.kind(), ErrorKind::Conflict),
            }
        }
    }
}

/// What was there stays until all of it can take its place, and nothing is left beside it.
pub async fn a_blob_is_saved_as_a_file_whole_or_not_at_all(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "new")]).await;
    let dir =
        std::env::temp_dir().join(format!("standfast-save-{}", standfast_core::Id128::random()));
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("file");
    std::fs::write(&path, "old").unwrap();
    assert_eq!(error(blobs.get_to_file("missing", &path).await).kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    let meta = blobs.get_to_file("a", &path).sync().await.unwrap();
    assert_eq!((meta.size, std::fs::read_to_string(&path).unwrap().as_str()), (3, "new"));
    let nowhere = error(blobs.get_to_file("a", dir.join("none/file")).await);
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    let left: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    std::fs::remove_dir_all(&dir).unwrap();
}
