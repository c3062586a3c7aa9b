//! Cases about blobs that end by themselves.

use std::future::IntoFuture as _;
use std::time::Duration;

use super::conditional::conditional;
use super::{BlobHarness, error, keys_of, read, seed};
use crate::{
    Blobs, CopyOptions, CopyOutcome, ErrorKind, Expiry, ExpiryChange, GetOutcome, ListOptions,
    PutOutcome,
};

/// The store, if blobs can expire there; if not, its refusal was checked.
async fn expiring(harness: &dyn BlobHarness, content: &[(&str, &str)]) -> Option<Blobs> {
    let blobs = seed(harness, content).await;
    if blobs.capabilities().expiry {
        return Some(blobs);
    }
    blobs.put("there", "old").await.unwrap();
    let soon = ExpiryChange::Set(Expiry::In(harness.moment()));
    let refused = [
        blobs.put("there", "new").expires_in(harness.moment()).await.map(drop),
        blobs.copy_with("there", "copy", &CopyOptions::default().with_expiry(soon)).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(error(refused).kind(), ErrorKind::Unsupported);
    }
    assert_eq!(read(&blobs, "there").await.as_deref(), Some("old"));
    assert_eq!(read(&blobs, "copy").await, None);
    let swept = blobs.sweep(100).await.unwrap();
    assert!(swept.complete && swept.removed == 0, "{swept:?}");
    None
}

/// For reads, heads, copies, and listings where the store says so.
pub async fn a_blob_is_gone_at_its_instant_and_not_before(harness: &dyn BlobHarness) {
    let Some(blobs) = expiring(harness, &[("stays", "1")]).await else { return };
    let meta = blobs.put("t/a", "1").expires_in(harness.moment()).await.unwrap();
    let lives = (meta.expires_at.expect("it expires") - meta.modified_at).to_std().unwrap();
    assert_eq!(lives, harness.moment());
    assert_eq!(read(&blobs, "t/a").await.as_deref(), Some("1"));
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["stays", "t/a"]);
    harness.pass_time(harness.moment()).await;
    assert_eq!(read(&blobs, "t/a").await, None);
    let outcome = blobs.get("t/a").if_match(&meta.version).await.unwrap();
    assert!(matches!(outcome, GetOutcome::Missing), "{outcome:?}");
    let copied = blobs.copy_with("t/a", "b", &CopyOptions::default()).await.unwrap();
    assert_eq!(copied, CopyOutcome::SourceMissing);
    if blobs.capabilities().exact_listing {
        assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["stays"]);
        let page = blobs.list_page(ListOptions::all().with_delimiter("/")).await.unwrap();
        assert_eq!(page.prefixes, [""; 0]);
    }
}

/// Its key is free, and its version matches nothing.
pub async fn an_expired_blob_is_absent_for_preconditions(harness: &dyn BlobHarness) {
    if expiring(harness, &[]).await.is_none() {
        return;
    }
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let first = blobs.put("a", "1").expires_in(harness.moment()).await.unwrap().version;
    assert_eq!(blobs.put("a", "2").if_absent().await.unwrap(), PutOutcome::Exists);
    harness.pass_time(harness.moment()).await;
    assert_eq!(blobs.put("a", "3").if_match(&first).await.unwrap(), PutOutcome::Mismatch);
    assert!(blobs.put("a", "4").if_absent().await.unwrap().stored().is_some());
    assert_eq!(blobs.put("a", "5").if_absent().await.unwrap(), PutOutcome::Exists);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("4"));
}

/// Also of puts of the very bytes that expired.
pub async fn of_many_puts_over_an_expired_blob_one_is_stored(harness: &dyn BlobHarness) {
    if expiring(harness, &[]).await.is_none() {
        return;
    }
    let Some(blobs) = conditional(harness, &[]).await else { return };
    for key in ["a", "b", "c"] {
        blobs.put(key, "same").expires_in(harness.moment()).await.unwrap();
    }
    harness.pass_time(harness.moment()).await;
    for key in ["a", "b", "c"] {
        let puts = (0..6).map(|_| {
            let put = blobs.put(key, "same").if_absent();
            tokio::spawn(put.into_future())
        });
        let mut stored = 0;
        for put in puts.collect::<Vec<_>>() {
            stored += u32::from(put.await.unwrap().unwrap().stored().is_some());
        }
        assert_eq!(stored, 1);
        assert_eq!(read(&blobs, key).await.as_deref(), Some("same"));
    }
}

/// Whether it replaces a live blob or an expired one.
pub async fn a_new_blob_does_not_inherit_an_expiry(harness: &dyn BlobHarness) {
    let Some(blobs) = expiring(harness, &[]).await else { return };
    for key in ["a", "b"] {
        blobs.put(key, "1").expires_in(harness.moment()).await.unwrap();
    }
    blobs.put("a", "2").await.unwrap();
    harness.pass_time(harness.moment()).await;
    blobs.put("b", "2").await.unwrap();
    for key in ["a", "b"] {
        assert_eq!(read(&blobs, key).await.as_deref(), Some("2"));
        assert_eq!(blobs.head(key).await.unwrap().unwrap().expires_at, None);
    }
}

/// A blob that nobody could ever read is a mistake.
pub async fn an_expiry_that_is_not_ahead_is_refused(harness: &dyn BlobHarness) {
    let Some(blobs) = expiring(harness, &[("a", "1")]).await else { return };
    let past = blobs.head("a").await.unwrap().unwrap().modified_at;
    let refused = [
        blobs.put("a", "2").expires_in(Duration::ZERO).await,
        blobs.put("a", "2").expires_in(Duration::MAX).await,
        blobs.put("a", "2").expires_at(past).await,
    ];
    for refused in refused {
        assert_eq!(error(refused).kind(), ErrorKind::Invalid);
    }
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
}

/// In as many steps as one likes; what was replaced or kept in time stays.
pub async fn a_sweep_removes_what_expired_and_nothing_else(harness: &dyn BlobHarness) {
    let Some(blobs) = expiring(harness, &[("stays", "1")]).await else { return };
    for key in ["t/1", "t/2", "t/u/3", "t/kept", "t/replaced"] {
        blobs.put(key, "1").expires_in(harness.moment()).await.unwrap();
    }
    let untouched = blobs.sweep(100).await.unwrap();
    assert!(untouched.complete && untouched.removed == 0);
    blobs.keep("t/kept").await.unwrap();
    blobs.put("t/replaced", "2").await.unwrap();
    harness.pass_time(harness.moment()).await;
    let first = blobs.sweep(2).await.unwrap();
    assert!(first.removed == 2 || first.complete, "{first:?}");
    let second = blobs.sweep(100).await.unwrap();
    assert!(second.complete, "{second:?}");
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["stays", "t/kept", "t/replaced"]);
    assert_eq!(blobs.sweep(100).await.unwrap().removed, 0);
}

/// Under its new key, with what was kept beside it; the temporary key is free.
pub async fn a_promoted_blob_stays(harness: &dyn BlobHarness) {
    let Some(blobs) = expiring(harness, &[]).await else { return };
    let put = blobs.put("tmp/1", "1").content_type("text/plain");
    put.expires_in(harness.moment()).await.unwrap();
    let meta = blobs.promote("tmp/1", "kept/1").await.unwrap();
    assert_eq!(meta.attributes.content_type.as_deref(), Some("text/plain"));
    assert_eq!(read(&blobs, "tmp/1").await, None);
    harness.pass_time(harness.moment()).await;
    assert_eq!(read(&blobs, "kept/1").await.as_deref(), Some("1"));
    assert_eq!(error(blobs.promote("tmp/1", "kept/2").await).kind(), ErrorKind::NotFound);
}
