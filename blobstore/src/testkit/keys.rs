//! Cases about keys.

use std::time::Duration;

use super::{BlobHarness, error, keys_of, read, seed};
use crate::{Blobs, ErrorKind, ListOptions};

const STRANGE: &[&str] = &[
    " ",
    " leading and trailing ",
    "%",
    "%2e%2e/%2F",
    "+",
    "a+b c&d=e?f#g",
    "back\\slash",
    "quo\"te's `<>|*:;!$(){}[]^~@,",
    "...",
    ".hidden/..x",
    "a/.standfast/b",
    ".standfast2",
    "C:",
    "nul.txt",
    "Großbuchstaben/ÄÖÜ",
    "日本語/キー",
    "😀/👩‍👩‍👧",
    "%=",
    "%+",
    "a%",
    "a%/b%",
    "\u{a0}\u{2028}\u{feff}",
];

/// Those that the store takes; what its service would change is refused.
pub(super) async fn strange(blobs: &Blobs) -> Vec<&'static str> {
    if blobs.capabilities().backslash {
        return STRANGE.to_vec();
    }
    let (refused, taken) = STRANGE.iter().partition::<Vec<&str>, _>(|key| key.contains('\\'));
    for key in refused {
        let outcomes = [
            blobs.put(key, "1").await.map(drop),
            blobs.get(key).await.map(drop),
            blobs.delete(key).await,
            blobs.signed_url(key, Duration::from_secs(60)).await.map(drop),
        ];
        for outcome in outcomes {
            assert_eq!(error(outcome).kind(), ErrorKind::Unsupported);
        }
    }
    taken
}

/// Put, read, listed, copied and deleted.
pub async fn strange_keys_are_kept_byte_for_byte(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let strange = strange(&blobs).await;
    for key in &strange {
        blobs.put(*key, (*key).to_owned()).await.unwrap_or_else(|e| panic!("{key:?}: {e}"));
    }
    let mut expected: Vec<_> = strange.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, expected);
    for key in &strange {
        assert_eq!(read(&blobs, key).await.as_deref(), Some(*key));
        let copy = format!("copy/{key}");
        assert_eq!(blobs.copy(*key, &copy).await.unwrap().key.as_str(), copy);
        assert_eq!(read(&blobs, &copy).await.as_deref(), Some(*key));
        blobs.delete(*key).await.unwrap();
        assert_eq!(read(&blobs, key).await, None);
    }
    assert_eq!(keys_of(&blobs, ListOptions::prefix("copy/")).await.len(), strange.len());
}

/// In case, or in how an accent is composed.
pub async fn keys_that_look_alike_are_different(harness: &dyn BlobHarness) {
    let alike = ["readme", "README", "Readme", "caf\u{e9}", "cafe\u{301}", "a%62", "ab", "a%2562"];
    let blobs = seed(harness, &[]).await;
    for key in alike {
        blobs.put(key, key).await.unwrap();
    }
    for key in alike {
        assert_eq!(read(&blobs, key).await.as_deref(), Some(key));
    }
    assert_eq!(keys_of(&blobs, ListOptions::all()).await.len(), alike.len());
}

/// Whichever comes first, and whichever goes first.
pub async fn a_key_and_the_keys_below_it_live_together(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "1"), ("a/b", "2"), ("c/d/e", "3"), ("c/d", "4")]).await;
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["a", "a/b", "c/d", "c/d/e"]);
    blobs.delete("a").await.unwrap();
    blobs.delete("c/d/e").await.unwrap();
    assert_eq!(read(&blobs, "a/b").await.as_deref(), Some("2"));
    assert_eq!(read(&blobs, "c/d").await.as_deref(), Some("4"));
    blobs.put("c/d/e/f", "5").await.unwrap();
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["a/b", "c/d", "c/d/e/f"]);
}

/// Up to the longest, with and without characters that some stores must escape.
pub async fn long_segments_do_not_collide(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let mut keys = Vec::new();
    for len in 236..=255 {
        keys.push("x".repeat(len));
        keys.push(format!("{}/x", "y".repeat(len)));
    }
    keys.extend(["%".repeat(255), "%".repeat(254), "É".repeat(127), "😀".repeat(63)]);
    keys.push(format!("{}{}", "z%/".repeat(290), "z".repeat(26)));
    for key in &keys {
        blobs.put(key, key.clone()).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    for key in &keys {
        assert_eq!(read(&blobs, key).await.as_ref(), Some(key));
    }
    keys.sort();
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, keys);
}
