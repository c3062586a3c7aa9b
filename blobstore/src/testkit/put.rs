//! Cases about storing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::time::timeout;

use super::{BlobHarness, error, keys_of, read, seed, slow};
use crate::{Attributes, Body, Crc64, ErrorKind, ListOptions, Reason, Sha256Digest, Version};

fn attributes() -> Attributes {
    Attributes::default()
        .with_content_type("text/html; charset=utf-8")
        .with_cache_control("no-store")
        .with_content_disposition("attachment; filename=\"a=b.html\"")
        .with_content_encoding("identity")
        .with_content_language("fi")
        .with_metadata("Rows", "7 of 9")
        .with_metadata("x-empty", "")
}

/// Bytes, attributes, size, checksum and time come back as they were given.
pub async fn what_was_put_is_read_back_with_its_attributes(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let put = blobs.put("r/7.html", "<h1>7</h1>").attributes(attributes()).await.unwrap();
    assert_eq!((put.size, put.expires_at), (10, None));
    assert_eq!(put.attributes, attributes());
    assert_eq!(blobs.head("r/7.html").await.unwrap().unwrap(), put);
    let blob = blobs.get("r/7.html").await.unwrap();
    assert_eq!((blob.meta(), blob.range()), (&put, 0..10));
    assert_eq!(blob.bytes(10).await.unwrap(), "<h1>7</h1>");
}

/// Nothing of the old blob shows through the new one.
pub async fn a_put_replaces_everything(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    blobs.put("a", "a long first content").attributes(attributes()).await.unwrap();
    let second = blobs.put("a", "2").await.unwrap();
    assert_eq!(second.attributes, Attributes::default());
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("2"));
    assert_eq!(blobs.head("a").await.unwrap().unwrap(), second);
}

/// Of other bytes in any case, and also of equal ones where the store says so.
pub async fn every_put_gives_a_new_version(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let mut versions: Vec<Version> = Vec::new();
    for round in 0..5 {
        let same = blobs.capabilities().unique_versions;
        let content = if same { "same".to_owned() } else { format!("round {round}") };
        let version = blobs.put("a", content).await.unwrap().version;
        assert!(!versions.contains(&version));
        versions.push(version);
    }
}

/// It is there, listed, and read to its end at once.
pub async fn an_empty_blob_is_a_blob(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "")]).await;
    assert_eq!(blobs.put("b", Body::chunks(vec![])).await.unwrap().size, 0);
    for key in ["a", "b"] {
        assert_eq!(read(&blobs, key).await.as_deref(), Some(""));
    }
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["a", "b"]);
}

/// Bytes, chunks, streams of known and unknown length, files and parts of files.
pub async fn bodies_of_every_form_are_stored_alike(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let path =
        std::env::temp_dir().join(format!("standfast-body-{}", standfast_core::Id128::random()));
    std::fs::write(&path, "..hello..").unwrap();
    let pieces = || stream::iter(["he", "", "llo"].map(Ok::<_, std::io::Error>));
    let whole = Body::file(path.with_extension("whole"));
    std::fs::write(path.with_extension("whole"), "hello").unwrap();
    let bodies = [
        Body::from("hello"),
        Body::chunks(vec![Bytes::from("hel"), Bytes::from("lo")]),
        Body::stream(pieces()),
        Body::sized_stream(5, pieces()),
        whole,
        Body::file_range(&path, 2..7),
    ];
    for body in bodies {
        let shown = format!("{body:?}");
        let meta = blobs.put("a", body).await.unwrap();
        assert_eq!(meta.size, 5, "{shown}");
        assert_eq!(read(&blobs, "a").await.as_deref(), Some("hello"), "{shown}");
    }
    std::fs::remove_file(path.with_extension("whole")).unwrap();
    let missing = error(blobs.put_file("a", path.with_extension("none")).await);
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let beyond = error(blobs.put("a", Body::file_range(&path, 2..99)).await);
    assert_eq!(beyond.kind(), ErrorKind::Invalid);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("hello"));
}

/// More than any buffer holds, in pieces of odd sizes.
pub async fn a_long_stream_of_unknown_length_is_stored_whole(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let all: Bytes = (0..9_000_001_u32).map(|at| (at % 251) as u8).collect();
    let pieces: Vec<_> = all.chunks(70_003).map(Bytes::copy_from_slice).collect();
    let body = Body::stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
    let meta = blobs.put("long", body).await.unwrap();
    assert_eq!((meta.size, meta.crc64), (9_000_001, Some(Crc64::of(&all))));
    assert!(blobs.get_bytes("long").await.unwrap() == all);
    assert!(
        blobs.get_bytes("long").range(8_000_000..8_500_000).await.unwrap()
            == all[8_000_000..8_500_000]
    );
}

/// Too short or too long: an error, and the old blob is what everybody sees.
pub async fn a_body_of_the_wrong_length_changes_nothing(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("old", "old")]).await;
    for len in [4, 6, 0, 3_000_000] {
        for key in ["old", "new"] {
            let pieces = stream::iter(["he", "llo"].map(Ok::<_, std::io::Error>));
            let failed = error(blobs.put(key, Body::sized_stream(len, pieces)).await);
            assert_eq!(failed.kind(), ErrorKind::Invalid);
            assert_eq!(failed.reason(), Some(Reason::LengthMismatch));
        }
    }
    assert_eq!(read(&blobs, "old").await.as_deref(), Some("old"));
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["old"]);
}

/// Early or late, the old blob is what everybody sees.
pub async fn a_body_that_fails_changes_nothing(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("old", "old")]).await;
    for count in [0, 1, 40] {
        for key in ["old", "new"] {
            let pieces = (0..count).map(|_| Ok(Bytes::from(vec![7; 100_000])));
            let cut = std::iter::once(Err(std::io::Error::other("cut")));
            let failed = error(blobs.put(key, Body::stream(stream::iter(pieces.chain(cut)))).await);
            assert_eq!(failed.kind(), ErrorKind::Cancelled);
        }
    }
    assert_eq!(read(&blobs, "old").await.as_deref(), Some("old"));
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["old"]);
}

/// Neither reads nor listings show it, nor what it will replace as changed.
pub async fn an_upload_in_progress_is_nowhere(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("old", "old")]).await;
    let uploads = ["old", "new"].map(|key| {
        let blobs = blobs.clone();
        tokio::spawn(async move { blobs.put(key, slow(vec![7; 3_000_000])).await })
    });
    // There is no sign to wait for: that is the point. Later signs would be found by later looks.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(read(&blobs, "old").await.as_deref(), Some("old"));
        assert_eq!(read(&blobs, "new").await, None);
        assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["old"]);
    }
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}

/// However far it came.
pub async fn a_dropped_upload_changes_nothing(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("old", "old")]).await;
    for len in [1, 3_000_000] {
        for key in ["old", "new"] {
            let put = blobs.put(key, slow(vec![7; len]));
            let dropped = timeout(Duration::from_millis(30), put.into_future()).await;
            assert!(dropped.is_err());
        }
    }
    assert_eq!(read(&blobs, "old").await.as_deref(), Some("old"));
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["old"]);
}

/// Of either kind, for bodies of either kind.
pub async fn a_wrong_checksum_changes_nothing(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("old", "old")]).await;
    for key in ["old", "new"] {
        for stream in [false, true] {
            let body = || match stream {
                false => Body::from("hello"),
                true => Body::stream(stream::iter([Ok::<_, std::io::Error>("hello")])),
            };
            let wrong = error(blobs.put(key, body()).crc64(Crc64::of(b"hullo")).await);
            assert_eq!(wrong.kind(), ErrorKind::Checksum);
            let wrong = error(blobs.put(key, body()).sha256(Sha256Digest::of(b"hullo")).await);
            assert_eq!(wrong.kind(), ErrorKind::Checksum);
        }
    }
    assert_eq!(read(&blobs, "old").await.as_deref(), Some("old"));
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["old"]);
}

/// The one that the store computes always, the other one where it was given.
pub async fn checksums_are_kept(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let (crc64, sha256) = (Crc64::of(b"hello"), Sha256Digest::of(b"hello"));
    blobs.put("a", "hello").crc64(crc64).sha256(sha256).await.unwrap();
    let meta = blobs.head("a").await.unwrap().unwrap();
    assert_eq!((meta.crc64, meta.sha256), (Some(crc64), Some(sha256)));
    blobs.put("a", "hello").await.unwrap();
    let meta = blobs.head("a").await.unwrap().unwrap();
    assert_eq!((meta.crc64, meta.sha256), (Some(crc64), None));
}

/// Before any I/O.
pub async fn attributes_that_no_header_carries_are_refused(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "old")]).await;
    let wrong = [
        Attributes::default().with_content_type("text/html\r\nset-cookie: a=b"),
        Attributes::default().with_metadata("a b", "c"),
        Attributes::default().with_metadata("a", "ä"),
        Attributes::default().with_metadata("a", "x".repeat(2000)),
        (0..65).fold(Attributes::default(), |all, at| all.with_metadata(at.to_string(), "")),
    ];
    for attributes in wrong {
        let refused = error(blobs.put("a", "new").attributes(attributes).await);
        assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::TooLarge));
    }
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
}

/// As long as the rules allow, all at once.
pub async fn the_longest_attributes_are_kept(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let long = "v".repeat(Attributes::MAX_HEADER);
    let mut attributes = Attributes::default()
        .with_cache_control(&long)
        .with_content_disposition(&long)
        .with_content_encoding(&long)
        .with_content_language(&long)
        .with_content_type(&long);
    for at in 0..Attributes::MAX_ENTRIES {
        let value = if at % 2 == 0 { "v=v.v=v.v=v.v=v." } else { "" };
        attributes = attributes.with_metadata(format!("k{at:03}"), value);
    }
    attributes.metadata.insert("k001".into(), "v".repeat(480));
    let put = blobs.put("a", "1").attributes(attributes.clone()).sha256(Sha256Digest::of(b"1"));
    put.await.unwrap();
    assert_eq!(blobs.head("a").await.unwrap().unwrap().attributes, attributes);
}

/// Bytes, attributes and checksum are of one and the same put.
pub async fn of_concurrent_puts_one_is_there_whole(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "start")]).await;
    let writers: Vec<_> = (0..8_u8)
        .map(|writer| {
            let blobs = blobs.clone();
            tokio::spawn(async move {
                for round in 0..6 {
                    let content = vec![b'0' + writer; 1000 + usize::from(writer) * 10 + round];
                    blobs.put("a", content).metadata("by", writer.to_string()).await.unwrap();
                }
            })
        })
        .collect();
    let mut done = false;
    while !done {
        done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let blob = blobs.get("a").await.unwrap();
        let by = blob.meta().attributes.metadata.get("by").cloned();
        let content = blob.bytes(1 << 20).await.unwrap();
        match by {
            Some(by) => assert!(content.iter().all(|byte| *byte == by.as_bytes()[0])),
            None => assert_eq!(content, "start"),
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}
