//! Cases about deleting and copying.

use super::conditional::conditional;
use super::visibility::public_key;
use super::{BlobHarness, error, key, keys_of, read, seed};
use crate::{
    Attributes, CopyOptions, CopyOutcome, DeleteOutcome, ErrorKind, Expiry, ExpiryChange,
    ListOptions, Precondition, Version, Visibility,
};

/// And what was never there, too.
pub async fn a_deleted_blob_is_gone_and_deleting_again_succeeds(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "1"), ("a/b", "2")]).await;
    for _ in 0..2 {
        blobs.delete("a").await.unwrap();
        blobs.delete("never/there").await.unwrap();
        assert_eq!(read(&blobs, "a").await, None);
        assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["a/b"]);
    }
    if blobs.capabilities().reports_missing {
        let outcome = blobs.store().delete(&key("a"), &crate::DeleteOptions::default()).await;
        assert!(matches!(outcome.unwrap(), DeleteOutcome::Missing));
    }
}

/// The one that somebody put meanwhile stays.
pub async fn a_delete_if_match_spares_other_versions(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[]).await else { return };
    let first = blobs.put("a", "1").await.unwrap().version;
    let second = blobs.put("a", "2").await.unwrap().version;
    if !blobs.capabilities().conditional_delete {
        for version in [&first, &second] {
            let refused = error(blobs.delete_if("a", version).await);
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
        }
        return assert_eq!(read(&blobs, "a").await.as_deref(), Some("2"));
    }
    let spared = blobs.delete_if("a", &first).await.unwrap();
    assert!(matches!(spared, DeleteOutcome::Mismatch), "{spared:?}");
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("2"));
    assert!(matches!(blobs.delete_if("a", &second).await.unwrap(), DeleteOutcome::Deleted));
    assert_eq!(read(&blobs, "a").await, None);
}

/// In order, in batches of any size; more than the store takes at once is refused by the store.
pub async fn each_key_of_a_batch_has_its_outcome(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", ""), ("b/c", ""), ("d", "")]).await;
    let keys = ["a", "never", "b/c"].map(key);
    let outcomes = blobs.delete_many(&keys).await.unwrap();
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(DeleteOutcome::is_gone), "{outcomes:?}");
    if blobs.capabilities().reports_missing {
        assert!(matches!(outcomes[1], DeleteOutcome::Missing));
        assert!(matches!(outcomes[2], DeleteOutcome::Deleted));
    }
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["d"]);
    let max = blobs.capabilities().max_delete_batch;
    let many = vec![key("never"); max + 1];
    assert_eq!(error(blobs.store().delete_many(&many).await).kind(), ErrorKind::Invalid);
    assert_eq!(blobs.delete_many(&many).await.unwrap().len(), max + 1);
    assert_eq!(blobs.delete_prefix("").await.unwrap(), 1);
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, [""; 0]);
}

/// Bytes, attributes, checksums, expiry and visibility.
pub async fn a_copy_keeps_everything_but_key_and_version(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let put = blobs.put("a", "hello").content_type("text/plain").metadata("rows", "7");
    let put =
        if blobs.capabilities().expiry { put.expires_in(harness.moment() * 100) } else { put };
    let original = put.await.unwrap();
    let copy = blobs.copy("a", "b/c").await.unwrap();
    assert_eq!(copy.key, key("b/c"));
    if blobs.capabilities().unique_versions {
        assert_ne!(copy.version, original.version);
    }
    assert_eq!((copy.size, copy.crc64), (original.size, original.crc64));
    assert_eq!((&copy.attributes, copy.expires_at), (&original.attributes, original.expires_at));
    assert_eq!(blobs.head("b/c").await.unwrap().unwrap(), copy);
    assert_eq!(read(&blobs, "b/c").await.as_deref(), Some("hello"));
}

/// None of the old ones show through.
pub async fn a_copy_takes_new_attributes_whole(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let put = blobs.put("a", "1").content_type("text/plain").metadata("rows", "7");
    let put =
        if blobs.capabilities().expiry { put.expires_in(harness.moment() * 100) } else { put };
    put.await.unwrap();
    let attributes = Attributes::default().with_content_language("fi");
    let options = CopyOptions::default()
        .with_attributes(attributes.clone())
        .with_expiry(ExpiryChange::Set(Expiry::Never));
    let copy = blobs.copy_with("a", "b", &options).await.unwrap().stored().unwrap();
    assert_eq!((copy.attributes, copy.expires_at), (attributes, None));
    let public = CopyOptions::default().with_visibility(Visibility::Public);
    if blobs.capabilities().public {
        let to = public_key(&blobs, "c");
        let refused = error(blobs.copy_with("a", &to, &public).await);
        assert_eq!(refused.kind(), ErrorKind::Invalid, "public and expiring");
        let copy = blobs.copy_with("b", &to, &public).await.unwrap().stored().unwrap();
        assert_eq!(copy.visibility, Visibility::Public);
    } else {
        assert_eq!(error(blobs.copy_with("b", "c", &public).await).kind(), ErrorKind::Unsupported);
    }
}

/// What becomes of the one does not touch the other.
pub async fn a_copy_lives_apart_from_its_original(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "1")]).await;
    blobs.copy("a", "b").await.unwrap();
    blobs.put("a", "2").content_type("text/html").await.unwrap();
    assert_eq!(read(&blobs, "b").await.as_deref(), Some("1"));
    assert_eq!(blobs.head("b").await.unwrap().unwrap().attributes, Attributes::default());
    blobs.delete("a").await.unwrap();
    assert_eq!(read(&blobs, "b").await.as_deref(), Some("1"));
}

/// Of the original and of what it would replace.
pub async fn a_copy_holds_its_conditions(harness: &dyn BlobHarness) {
    let Some(blobs) = conditional(harness, &[("a", "1"), ("b", "2")]).await else { return };
    let version = blobs.head("b").await.unwrap().unwrap().version;
    let with = |precondition| CopyOptions::default().with_precondition(precondition);
    let copy = async |from: &str, to: &str, options: CopyOptions| {
        blobs.copy_with(from, to, &options).await.unwrap()
    };
    assert_eq!(copy("none", "c", CopyOptions::default()).await, CopyOutcome::SourceMissing);
    assert_eq!(error(blobs.copy("none", "c").await).kind(), ErrorKind::NotFound);
    assert_eq!(copy("a", "b", with(Precondition::IfAbsent)).await, CopyOutcome::Exists);
    let other = Precondition::IfMatch(Version::new("other"));
    assert_eq!(copy("a", "b", with(other.clone())).await, CopyOutcome::Mismatch);
    assert_eq!(copy("a", "c", with(other)).await, CopyOutcome::Mismatch);
    let source = CopyOptions::default().with_source(Version::new("other"));
    assert_eq!(copy("a", "c", source).await, CopyOutcome::SourceMismatch);
    assert_eq!(keys_of(&blobs, ListOptions::all()).await, ["a", "b"]);
    assert_eq!(read(&blobs, "b").await.as_deref(), Some("2"));
    assert!(copy("a", "b", with(Precondition::IfMatch(version))).await.stored().is_some());
    assert!(copy("a", "c", with(Precondition::IfAbsent)).await.stored().is_some());
    assert_eq!(read(&blobs, "b").await.as_deref(), Some("1"));
}

/// Its bytes stay.
pub async fn a_copy_onto_itself_changes_its_attributes(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let before = blobs.put("a", "1").content_type("text/plain").await.unwrap();
    let attributes = Attributes::default().with_content_type("text/html");
    let options = CopyOptions::default().with_attributes(attributes.clone());
    let after = blobs.copy_with("a", "a", &options).await.unwrap().stored().unwrap();
    if blobs.capabilities().unique_versions {
        assert_ne!(before.version, after.version);
    }
    assert_eq!(blobs.head("a").await.unwrap().unwrap().attributes, attributes);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
}
