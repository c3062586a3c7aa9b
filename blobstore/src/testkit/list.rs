//! Cases about listings.

use std::collections::BTreeSet;

use super::{BlobHarness, error, key, keys_of, seed};
use crate::{Blobs, ErrorKind, ListOptions};

const UNORDERED: &[&str] = &[
    "a/b/c", "a", "a-", "a-/x", "a.b", "a/b", "a0", "A", "a/b-", "a/b0", "a/b/", "b", "é/1", "é",
    "😀", "a b", "%", "%25", "a%", "a%/b", "~", "z/z/z/z", "B", "Z/y", "aB",
];

async fn filled(harness: &dyn BlobHarness) -> (Blobs, Vec<String>) {
    let legal: BTreeSet<_> = UNORDERED.iter().filter(|key| !key.ends_with('/')).collect();
    let blobs = seed(harness, &[]).await;
    for key in UNORDERED.iter().filter(|key| legal.contains(key)) {
        blobs.put(*key, "").await.unwrap();
    }
    let mut ordered: Vec<_> = legal.into_iter().map(|key| (*key).to_owned()).collect();
    for more in 0..4 {
        let long = "l".repeat(238 + more);
        for key in [long.clone(), format!("{long}/m"), format!("{long}-m")] {
            blobs.put(&key, "").await.unwrap();
            ordered.push(key);
        }
    }
    ordered.sort();
    (blobs, ordered)
}

/// Wherever slashes, long segments and bytes outside ASCII come in.
pub async fn keys_come_in_the_order_of_their_bytes(harness: &dyn BlobHarness) {
    let (blobs, ordered) = filled(harness).await;
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ordered);
}

/// Also pages of one.
pub async fn pages_of_every_size_make_the_same_listing(harness: &dyn BlobHarness) {
    let (blobs, ordered) = filled(harness).await;
    for limit in [1, 2, 3, 7, 1000, usize::MAX] {
        let options = ListOptions::all().with_limit(limit);
        let page = blobs.list_page(options.clone()).await.unwrap();
        assert!(page.blobs.len() <= limit);
        assert_eq!(keys_of(&blobs, options).await, ordered, "pages of {limit}");
    }
    let exact = ListOptions::all().with_limit(ordered.len());
    assert_eq!(blobs.list_page(exact).await.unwrap().next, None, "the last page says so");
}

/// It may end inside a segment.
pub async fn a_prefix_is_text_and_no_directory(harness: &dyn BlobHarness) {
    let (blobs, ordered) = filled(harness).await;
    for prefix in ["a", "a/", "a/b", "a-", "é", "%", "lll", "nothing", "/", "a//", ".."] {
        let expected: Vec<_> =
            ordered.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(keys_of(&blobs, ListOptions::prefix(prefix)).await, expected, "{prefix:?}");
    }
}

/// Once each, in order, across pages, whatever the delimiter.
pub async fn a_delimiter_shows_what_keys_have_in_common(harness: &dyn BlobHarness) {
    let (blobs, ordered) = filled(harness).await;
    for delimiter in ["/", "b", "a/b", "-", "é"] {
        for prefix in ["", "a", "a/", "a/b"] {
            for limit in [1, 3, 1000] {
                check_delimited(&blobs, &ordered, prefix, delimiter, limit).await;
            }
        }
    }
}

async fn check_delimited(
    blobs: &Blobs,
    ordered: &[String],
    prefix: &str,
    delimiter: &str,
    limit: usize,
) {
    let (mut keys, mut commons) = (Vec::new(), BTreeSet::new());
    for key in ordered.iter().filter(|key| key.starts_with(prefix)) {
        match key[prefix.len()..].find(delimiter) {
            Some(at) => {
                commons.insert(key[..prefix.len() + at + delimiter.len()].to_owned());
            }
            None => keys.push(key.clone()),
        }
    }
    let mut options = ListOptions::prefix(prefix).with_delimiter(delimiter).with_limit(limit);
    let (mut found_keys, mut found_commons) = (Vec::new(), Vec::new());
    loop {
        let page = blobs.list_page(options.clone()).await.unwrap();
        assert!(page.blobs.len() + page.prefixes.len() <= limit);
        found_keys.extend(page.blobs.into_iter().map(|entry| entry.key.to_string()));
        found_commons.extend(page.prefixes);
        let Some(token) = page.next else { break };
        options = options.with_token(token);
    }
    let shown = format!("prefix {prefix:?} delimiter {delimiter:?} limit {limit}");
    assert_eq!(found_keys, keys, "{shown}");
    assert_eq!(found_commons, commons.into_iter().collect::<Vec<_>>(), "{shown}");
}

/// Exclusive of the key, and of nothing behind it.
pub async fn a_listing_starts_behind_a_key_that_need_not_exist(harness: &dyn BlobHarness) {
    let (blobs, ordered) = filled(harness).await;
    for start in ["", "a", "a/b", "a/aaa", "a/b/c", "lll", "zzz", "😀"] {
        let expected: Vec<_> = ordered.iter().filter(|key| key.as_str() > start).cloned().collect();
        let options = ListOptions::all().with_start_after(start).with_limit(4);
        assert_eq!(keys_of(&blobs, options).await, expected, "behind {start:?}");
    }
}

/// What was there all along appears exactly once.
pub async fn a_listing_is_not_disturbed_by_changes_behind_its_cursor(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", ""), ("b", ""), ("c/1", ""), ("c/2", ""), ("d", "")]).await;
    let first = blobs.list_page(ListOptions::all().with_limit(2)).await.unwrap();
    assert_eq!(first.blobs.len(), 2);
    blobs.delete("a").await.unwrap();
    blobs.delete("b").await.unwrap();
    blobs.put("a0", "").await.unwrap();
    let rest = ListOptions::all().with_limit(2).with_token(first.next.expect("there is more"));
    assert_eq!(keys_of(&blobs, rest).await, ["c/1", "c/2", "d"]);
}

/// Although a directory may be left of it.
pub async fn a_prefix_without_blobs_is_not_shown(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a/b/c", ""), ("a/d", ""), ("e/f/g", "")]).await;
    for key in ["a/b/c", "e/f/g"] {
        blobs.delete(key).await.unwrap();
    }
    let page = blobs.list_page(ListOptions::all().with_delimiter("/")).await.unwrap();
    assert_eq!((page.blobs.len(), page.prefixes), (0, vec!["a/".to_owned()]));
    let page = blobs.list_page(ListOptions::prefix("a/").with_delimiter("/")).await.unwrap();
    assert_eq!((page.blobs.len(), page.prefixes), (1, vec![]));
}

/// Rather than answered with something else.
pub async fn an_impossible_listing_is_refused(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    for options in [ListOptions::all().with_limit(0), ListOptions::all().with_delimiter("")] {
        assert_eq!(error(blobs.list_page(options).await).kind(), ErrorKind::Invalid);
    }
}

/// Size, version and time as a head says them; where listings are inexact, about that time.
pub async fn entries_say_what_is_there(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "12345")]).await;
    let meta = blobs.head("a").await.unwrap().unwrap();
    let page = blobs.list_page(ListOptions::all()).await.unwrap();
    let entry = &page.blobs[0];
    assert_eq!((&entry.key, entry.size), (&key("a"), 5));
    assert_eq!(entry.version, meta.version);
    let apart = (entry.modified_at - meta.modified_at).abs();
    let exact = blobs.capabilities().exact_listing;
    assert!(apart.is_zero() || (!exact && apart < chrono::TimeDelta::seconds(10)), "{apart}");
}

/// Random keys from few letters, compared with a sorted set, page by page.
pub async fn listings_agree_with_a_model(harness: &dyn BlobHarness) {
    let mut state = 0x2013_1122_u64;
    let mut random = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let blobs = seed(harness, &[]).await;
    let mut model = BTreeSet::new();
    let letters = ["a", "/", "-", "0", "%", "b", "."];
    while model.len() < 120 {
        let text: String =
            (0..1 + random(7)).map(|_| letters[random(letters.len() as u64) as usize]).collect();
        let Ok(key) = crate::BlobKey::new(&text) else { continue };
        blobs.put(key, "").await.unwrap();
        model.insert(text);
    }
    for _ in 0..20 {
        let pick = random(model.len() as u64) as usize;
        if let Some(gone) = model.iter().nth(pick).cloned() {
            blobs.delete(&gone).await.unwrap();
            model.remove(&gone);
        }
    }
    let ordered: Vec<_> = model.into_iter().collect();
    for (prefix, delimiter) in [("", "/"), ("a", "/"), ("a/", "-"), ("b", "a/"), ("-", "%")] {
        for limit in [1, 5, 1000] {
            check_delimited(&blobs, &ordered, prefix, delimiter, limit).await;
        }
    }
    for start in ordered.iter().step_by(9) {
        let options = ListOptions::all().with_start_after(start).with_limit(13);
        let expected: Vec<_> = ordered.iter().filter(|key| *key > start).cloned().collect();
        assert_eq!(keys_of(&blobs, options).await, expected);
    }
}
