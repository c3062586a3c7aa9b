//! The rules of a bucket: a store's own are as it wants them, and all others stay as they are.
#![cfg(feature = "s3-url")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag,
};
use standfast_blobstore::{ErrorKind, S3BlobStore, S3Config, S3Lifecycle};
use standfast_core::Id128;
use support::s3::Service;

/// Rules that this crate could not have written.
fn of_others() -> Vec<LifecycleRule> {
    let tag = Tag::builder().key("kind").value("log").build().unwrap();
    let both = LifecycleRuleAndOperator::builder().prefix("logs/").tags(tag).build();
    let logs = LifecycleRule::builder()
        .id("logs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().and(both).build())
        .expiration(LifecycleExpiration::builder().days(30).build());
    let old = LifecycleRule::builder()
        .id("standfast")
        .status(ExpirationStatus::Disabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .noncurrent_version_expiration(
            NoncurrentVersionExpiration::builder().noncurrent_days(5).build(),
        );
    vec![logs.build().unwrap(), old.build().unwrap()]
}

async fn rules(client: &aws_sdk_s3::Client, bucket: &str) -> Vec<LifecycleRule> {
    let answer = client.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    answer.map(|answer| answer.rules.unwrap_or_default()).unwrap_or_default()
}

fn ids(rules: &[LifecycleRule]) -> Vec<&str> {
    let mut ids: Vec<_> = rules.iter().map(|rule| rule.id().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn rules_are_merged_and_those_of_others_stay() {
    let Some(service) = Service::find() else { return };
    let client = service.client().await;
    let bucket = format!("rules-{}", Id128::random());
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    let store = |prefix| S3BlobStore::from_parts(&client, &bucket, prefix, S3Config::default());
    let (store, whole) = (store("a/b").unwrap(), store("").unwrap());
    let wanted = S3Lifecycle::default().with_abort_uploads_after(2).with_delete_after("tmp/", 30);

    let foreign = BucketLifecycleConfiguration::builder().set_rules(Some(of_others()));
    let put = client.put_bucket_lifecycle_configuration().bucket(&bucket);
    put.lifecycle_configuration(foreign.build().unwrap()).send().await.unwrap();
    let others = rules(&client, &bucket).await;
    assert_eq!(others.len(), 2);

    // A plan changes nothing; what it says is done, once.
    let plan = store.plan_lifecycle(&wanted).await.unwrap();
    assert_eq!((plan.added.len(), plan.changed.len(), plan.removed.len()), (3, 0, 0));
    assert_eq!(plan.others, 2);
    assert_eq!(rules(&client, &bucket).await, others);
    assert_eq!(store.ensure_lifecycle(&wanted).await.unwrap(), plan);
    assert!(store.ensure_lifecycle(&wanted).await.unwrap().is_empty());
    let there = rules(&client, &bucket).await;
    assert_eq!(there.len(), 5);
    assert!(others.iter().all(|rule| there.contains(rule)));
    let uploads = there.iter().find(|rule| rule.id() == Some("standfast:a/b/:uploads")).unwrap();
    assert_eq!(uploads.filter().unwrap().prefix(), Some("a/b/"));
    let days = uploads.abort_incomplete_multipart_upload().unwrap().days_after_initiation();
    assert_eq!(days, Some(2));

    // Another store of the same bucket, whose prefix begins the first one's.
    let short = S3Lifecycle::default().with_abort_uploads_after(7);
    assert_eq!(whole.ensure_lifecycle(&short).await.unwrap().others, 5);
    assert_eq!(rules(&client, &bucket).await.len(), 7);

    // Other wishes.
    let less = S3Lifecycle::default().with_delete_after("tmp/", 10);
    let plan = store.ensure_lifecycle(&less).await.unwrap();
    assert_eq!((plan.added.len(), plan.changed.len(), plan.removed.len()), (0, 1, 2));
    let there = rules(&client, &bucket).await;
    assert_eq!(there.len(), 5);
    assert!(others.iter().all(|rule| there.contains(rule)));

    // None at all, and nobody else's either: then there is no configuration.
    whole.ensure_lifecycle(&S3Lifecycle::default()).await.unwrap();
    store.ensure_lifecycle(&S3Lifecycle::default()).await.unwrap();
    assert_eq!(ids(&rules(&client, &bucket).await), ids(&others));
    client.delete_bucket_lifecycle().bucket(&bucket).send().await.unwrap();
    store.ensure_lifecycle(&wanted).await.unwrap();
    let plan = store.ensure_lifecycle(&S3Lifecycle::default()).await.unwrap();
    assert_eq!((plan.removed.len(), rules(&client, &bucket).await.len()), (3, 0));
    client.delete_bucket().bucket(&bucket).send().await.unwrap();
}

#[tokio::test]
async fn rules_that_cannot_be_meant_are_refused() {
    let Some(service) = Service::find() else { return };
    let (store, _) = service.store(S3Config::default()).await;
    let wrong = [
        S3Lifecycle::default().with_abort_uploads_after(0),
        S3Lifecycle::default().with_delete_after("tmp/", 0),
        S3Lifecycle::default().with_delete_after("", 1),
    ];
    for wrong in wrong {
        assert_eq!(store.plan_lifecycle(&wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(store.ensure_lifecycle(&wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
