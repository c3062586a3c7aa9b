//! What credentials that end mean for what they sign.
#![cfg(feature = "s3-url")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::future;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, IdentityCache, ProvideCredentials, Region};
use chrono::{DateTime, SubsecRound as _, Utc};
use standfast_blobstore::{
    BlobKey, BlobStore as _, Blobs, ErrorKind, S3BlobStore, S3Config, SignRequest, SignedMethod,
    SignedUrl,
};
use support::s3::Service;

/// Gives one after another, each until it has ended.
#[derive(Debug)]
struct Renewed(Mutex<Vec<Credentials>>);

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(self.0.lock().unwrap().remove(0)))
    }
}

fn store(credentials: impl ProvideCredentials + 'static) -> S3BlobStore {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .credentials_provider(credentials)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    S3BlobStore::from_parts(&client, "reports", "", S3Config::default()).unwrap()
}

fn credentials(name: &str, left: Option<Duration>) -> Credentials {
    let ends = left.map(|left| SystemTime::now() + left);
    Credentials::new(name, "secret", Some("session".into()), ends, "test")
}

async fn sign(store: &S3BlobStore, method: SignedMethod, span: Duration) -> SignedUrl {
    let key = BlobKey::new("a").unwrap();
    store.sign(&SignRequest::new(method, key, span)).await.unwrap()
}

/// The keys of the service, as if they were those of a session.
fn keys(left: Option<Duration>) -> Credentials {
    let (id, secret) = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(std::env::var).into();
    let ends = left.map(|left| SystemTime::now() + left);
    Credentials::new(id.unwrap(), secret.unwrap(), None, ends, "test")
}

/// Blobs of the service by an SDK that keeps no credentials: each time that it is asked, it takes
/// the next.
async fn blobs(service: &Service, all: Vec<Credentials>) -> Blobs {
    let client = service.client().await;
    let settings = client.config().to_builder();
    let settings = settings.credentials_provider(Renewed(Mutex::new(all)));
    let settings = settings.identity_cache(IdentityCache::no_cache());
    let client = aws_sdk_s3::Client::from_conf(settings.build());
    let prefix = standfast_core::Id128::random().to_string();
    let store = S3BlobStore::from_parts(&client, service.bucket(), &prefix, S3Config::default());
    Blobs::new(store.unwrap())
}

/// Methods that are signed without a look at the blob.
const METHODS: [SignedMethod; 2] = [SignedMethod::Put, SignedMethod::Delete];

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_url_says_that_it_ends_with_its_credentials() {
    let session = credentials("session", Some(HOUR));
    let ends = DateTime::<Utc>::from(session.expiry().unwrap());
    let store = store(session);
    for method in METHODS {
        let long = sign(&store, method, 12 * HOUR).await;
        assert_eq!(long.effective_expires_at, ends.trunc_subsecs(0), "and not in twelve hours");
        assert!(long.as_str().contains("X-Amz-Security-Token=session"));
        let short = sign(&store, method, HOUR / 2).await;
        assert!(short.effective_expires_at < ends - HOUR / 3);
    }
}

#[tokio::test]
async fn credentials_that_never_end_end_no_url() {
    let store = store(credentials("user", None));
    for method in METHODS {
        let url = sign(&store, method, 12 * HOUR).await;
        assert!(url.effective_expires_at > Utc::now() + 11 * HOUR);
    }
}

#[tokio::test]
async fn a_url_ends_with_the_credentials_that_signed_it_and_no_others() {
    // The first are so near their end that they are renewed at once.
    let all = vec![credentials("old", Some(HOUR / 3600)), credentials("new", Some(2 * HOUR))];
    let store = store(Renewed(Mutex::new(all)));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let url = sign(&store, SignedMethod::Delete, 12 * HOUR).await;
        let name = if url.as_str().contains("Credential=old") { "old" } else { "new" };
        let left = url.effective_expires_at - Utc::now();
        assert_eq!(left > chrono::TimeDelta::hours(1), name == "new", "{name}: {left}");
        seen.push(name);
    }
    assert_eq!(seen, ["old", "new"]);
}

#[tokio::test]
async fn a_url_ends_with_its_blob_or_its_credentials_whichever_ends_first() {
    let Some(service) = Service::find() else { return };
    let session = keys(Some(HOUR));
    let ends = DateTime::<Utc>::from(session.expiry().unwrap());
    let blobs = blobs(&service, vec![session; 3]).await;
    for (half_hours, first) in [(1, "blob"), (4, "credentials")] {
        let blob = blobs.put("a", "1").expires_in(HOUR * half_hours / 2).await.unwrap();
        let url = blobs.signed_url("a", 12 * HOUR).await.unwrap();
        let expected = if first == "blob" { blob.expires_at.unwrap() } else { ends };
        assert_eq!(url.effective_expires_at, expected.trunc_subsecs(0), "{first}");
    }
}

#[tokio::test]
async fn credentials_serve_many_requests_unless_they_end_soon() {
    let Some(service) = Service::find() else { return };
    let once = blobs(&service, vec![keys(Some(HOUR))]).await;
    let each = blobs(&service, vec![keys(Some(HOUR / 180)); 3]).await;
    for blobs in [once, each] {
        blobs.put("a", "1").await.unwrap();
        assert_eq!(blobs.get_bytes("a").await.unwrap(), "1");
        blobs.delete("a").await.unwrap();
    }
}

#[tokio::test]
async fn credentials_that_the_service_refuses_are_not_kept() {
    let Some(service) = Service::find() else { return };
    let blobs = blobs(&service, vec![credentials("revoked", None), keys(None)]).await;
    assert_eq!(blobs.put("a", "1").await.unwrap_err().kind(), ErrorKind::Denied);
    blobs.put("a", "1").await.unwrap();
    assert_eq!(blobs.get_bytes("a").await.unwrap(), "1");
}

#[tokio::test]
async fn who_has_no_credentials_asks_unsigned_and_is_denied() {
    let Some(service) = Service::find() else { return };
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(service.value("endpoint").unwrap())
        .force_path_style(true)
        .allow_no_auth();
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let store = S3BlobStore::from_parts(&client, service.bucket(), "", S3Config::default());
    let blobs = Blobs::new(store.unwrap());
    let error = blobs.get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("403"), "the service said so: {error}");
}
