//! What a probe finds out about services that take conditions and ignore them.
#![cfg(feature = "s3-url")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use standfast_blobstore::{Blobs, ErrorKind, PutOutcome, S3BlobStore, S3Config, S3Features};
use support::careless::Careless;

fn store(service: &Careless, believed: S3Features) -> S3BlobStore {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .endpoint_url("http://careless.example")
        .force_path_style(true)
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .http_client(service.clone())
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let config = S3Config::default().with_features(believed);
    S3BlobStore::from_parts(&client, "bucket", "tests", config).unwrap()
}

/// Every way to hold some of the four conditions.
fn services() -> impl Iterator<Item = S3Features> {
    (0..16_u8).map(|held| {
        let mut features = S3Features::PLAIN;
        features.conditional_put = held & 1 != 0;
        features.conditional_complete = held & 2 != 0;
        features.conditional_copy = held & 4 != 0;
        features.conditional_delete = held & 8 != 0;
        features
    })
}

#[tokio::test]
async fn a_probe_finds_every_condition_that_is_ignored() {
    for holds in services() {
        let found = store(&Careless::new(holds), S3Features::AWS).probe().await.unwrap();
        assert_eq!(found.conditional_put, holds.conditional_put, "{holds:?}");
        assert_eq!(found.conditional_complete, holds.conditional_complete, "{holds:?}");
        assert_eq!(found.conditional_copy, holds.conditional_copy, "{holds:?}");
        assert_eq!(found.conditional_delete, holds.conditional_delete, "{holds:?}");
    }
}

#[tokio::test]
async fn what_was_probed_is_refused_and_not_lost() {
    for holds in services() {
        let service = Careless::new(holds);
        let believing = store(&service, S3Features::AWS);
        let blobs = Blobs::new(believing.with_features(believing.probe().await.unwrap()));
        blobs.put("a", "first").await.unwrap();
        let second = blobs.put("a", "second").if_absent().await;
        match blobs.capabilities().conditional {
            true => assert_eq!(second.unwrap(), PutOutcome::Exists),
            false => assert_eq!(second.unwrap_err().kind(), ErrorKind::Unsupported),
        }
        assert_eq!(blobs.get_bytes("a").await.unwrap(), "first", "{holds:?}");
    }
    // What would have happened without the probe.
    let blobs = Blobs::new(store(&Careless::new(S3Features::PLAIN), S3Features::AWS));
    blobs.put("a", "first").await.unwrap();
    let second = blobs.put("a", "second").if_absent().await.unwrap();
    assert!(matches!(second, PutOutcome::Stored(_)));
}
