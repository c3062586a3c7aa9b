//! Cases about preconditions.

use futures_util::stream;

use super::{BlobHarness, error, read, seed};
use crate::{Blobs, Body, ErrorKind, PutOutcome};

/// The store, if it holds conditions; if not, its refusal was checked.
pub(super) async fn conditional(
    harness: &dyn BlobHarness,
    content: &[(&str, &str)],
) -> Option<Blobs> {
    let blobs = seed(harness, content).await;
    if blobs.capabilities().conditional {
        return Some(blobs);
    }
    let version = blobs.put("there", "old").await.unwrap().version;
    let refused = [
        blobs.put("there", "new").if_absent().await.map(drop),
        blobs.put("there", "new").if_match(&version).await.map(drop),
        blobs.delete_if("there", &version).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(error(refused).kind(), ErrorKind::Unsupported);
    }
    assert_eq!(read(&blobs, "there").await.as_deref(), Some("old"));
    None
}

/// A second put is told so and changes nothing; after a delete the key is free again.
pub async fn if_absent_stores_once(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let first = blobs.put("a", "1").if_absent().await.unwrap();
    assert!(matches!(first, PutOutcome::Stored(_)));
    assert_eq!(blobs.put("a", "2").if_absent().await.unwrap(), PutOutcome::Exists);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
    blobs.delete("a").await.unwrap();
    assert!(matches!(blobs.put("a", "3").if_absent().await.unwrap(), PutOutcome::Stored(_)));
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("3"));
}

/// Streams of known and unknown length, short and long.
pub async fn if_absent_holds_for_bodies_of_every_form(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[("a", "1")]).await else { return };
    for len in [5, 6_000_000_u64] {
        let pieces = || stream::iter([Ok::<_, std::io::Error>(vec![7; len as usize])]);
        for body in [Body::stream(pieces()), Body::sized_stream(len, pieces())] {
            assert_eq!(blobs.put("a", body).if_absent().await.unwrap(), PutOutcome::Exists);
        }
        let stored = blobs.put(format!("b{len}"), Body::stream(pieces())).if_absent().await;
        assert!(matches!(stored.unwrap(), PutOutcome::Stored(meta) if meta.size == len));
    }
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
}

/// And what it stored is what is there.
pub async fn of_many_puts_if_absent_one_is_stored(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    for round in 0..10 {
        let key = format!("round/{round}");
        let putters: Vec<_> = (0..8)
            .map(|putter: u32| {
                let (blobs, key) = (blobs.clone(), key.clone());
                tokio::spawn(async move {
                    blobs.put(key, putter.to_string()).if_absent().await.unwrap().stored()
                })
            })
            .collect();
        let mut winners = Vec::new();
        for (putter, task) in putters.into_iter().enumerate() {
            winners.extend(task.await.unwrap().map(|_| putter.to_string()));
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(read(&blobs, &key).await.as_ref(), winners.first());
    }
}

/// A put with an older version is told so and changes nothing.
pub async fn if_match_replaces_that_version_only(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let first = blobs.put("a", "1").await.unwrap().version;
    let outcome = blobs.put("a", "2").if_match(&first).await.unwrap();
    let second = outcome.stored().expect("the version matches").version;
    assert_eq!(blobs.put("a", "3").if_match(&first).await.unwrap(), PutOutcome::Mismatch);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("2"));
    assert!(blobs.put("a", "4").if_match(&second).await.unwrap().stored().is_some());
}

/// Also of what was there once.
pub async fn if_match_of_nothing_is_a_mismatch(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let version = blobs.put("a", "1").await.unwrap().version;
    blobs.delete("a").await.unwrap();
    assert_eq!(blobs.put("a", "2").if_match(&version).await.unwrap(), PutOutcome::Mismatch);
    assert_eq!(read(&blobs, "a").await, None);
}

/// Read, add one, put if nobody else did: no round is lost, whoever else writes.
pub async fn a_counter_by_if_match_loses_no_increment(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[("counter", "0")]).await else { return };
    let counters: Vec<_> = (0..5)
        .map(|_| {
            let blobs = blobs.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    loop {
                        let blob = blobs.get("counter").await.unwrap();
                        let version = blob.meta().version.clone();
                        let text = blob.bytes(100).await.unwrap();
                        let count: u32 = std::str::from_utf8(&text).unwrap().parse().unwrap();
                        let next = (count + 1).to_string();
                        let put = blobs.put("counter", next).if_match(&version).await.unwrap();
                        if put.stored().is_some() {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for counter in counters {
        counter.await.unwrap();
    }
    assert_eq!(read(&blobs, "counter").await.as_deref(), Some("50"));
}

/// Not even when the same bytes come back after a delete, unless versions name contents.
pub async fn a_version_never_comes_back(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let first = blobs.put("a", "1").await.unwrap().version;
    blobs.delete("a").await.unwrap();
    let again = blobs.put("a", "1").await.unwrap().version;
    if !blobs.capabilities().unique_versions {
        assert_eq!(again, first, "contents have names, or puts have");
        let outcome = blobs.put("a", "2").if_match(&first).await.unwrap();
        return assert!(outcome.stored().is_some());
    }
    assert_eq!(blobs.put("a", "2").if_match(&first).await.unwrap(), PutOutcome::Mismatch);
}
