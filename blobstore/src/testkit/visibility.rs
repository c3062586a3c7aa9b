//! Cases about who may read without a signed URL.

use bytes::Bytes;
use http::Request;

use super::{BlobHarness, error, read, seed};
use crate::{Blobs, ErrorKind, Visibility};

/// The key, or one where the store keeps what is public.
pub(super) fn public_key(blobs: &Blobs, key: &str) -> String {
    format!("{}{key}", blobs.capabilities().public_prefix.unwrap_or_default())
}

/// And becomes so again by a put that does not say otherwise.
pub async fn a_blob_is_private_unless_said_otherwise(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "secret")]).await;
    assert_eq!(blobs.head("a").await.unwrap().unwrap().visibility, Visibility::Private);
    if !blobs.capabilities().public {
        return;
    }
    assert_eq!(blobs.public_url("a").await.unwrap(), None);
    assert_eq!(blobs.public_url("none").await.unwrap(), None);
    if blobs.capabilities().public_prefix.is_some() {
        let there = public_key(&blobs, "a");
        let refused = [
            blobs.put("a", "news").public().await,
            blobs.put(&there, "secret").await,
            blobs.copy("a", &there).await,
        ];
        for refused in refused {
            assert_eq!(error(refused).kind(), ErrorKind::Unsupported);
        }
        assert_eq!(read(&blobs, &there).await, None);
        return assert_eq!(read(&blobs, "a").await.as_deref(), Some("secret"));
    }
    blobs.put("a", "news").public().await.unwrap();
    let url = blobs.public_url("a").await.unwrap().expect("it is public");
    blobs.put("a", "secret").await.unwrap();
    assert_eq!(blobs.public_url("a").await.unwrap(), None);
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let response = harness.fetch(blobs.store(), request).await;
    assert_eq!(response.status(), 403);
    let signed = blobs.url("a", harness.moment()).await.unwrap();
    assert!(signed.contains('?'), "a private blob's URL is signed");
}

/// At an address that lasts.
pub async fn a_public_blob_is_read_without_a_token(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[]).await;
    let key = public_key(&blobs, "logos/ä 1.png");
    let put = blobs.put(&key, "png").content_type("image/png").public().await;
    if !blobs.capabilities().public {
        return assert_eq!(error(put).kind(), ErrorKind::Unsupported);
    }
    assert_eq!(put.unwrap().visibility, Visibility::Public);
    let url = blobs.url(&key, harness.moment()).await.unwrap();
    assert_eq!(Some(&url), blobs.public_url(&key).await.unwrap().as_ref());
    harness.pass_time(harness.moment()).await;
    let request = Request::get(&url).body(Bytes::new()).unwrap();
    let response = harness.fetch(blobs.store(), request).await;
    assert_eq!((response.status().as_u16(), response.body().as_ref()), (200, &b"png"[..]));
    assert_eq!(response.headers()["content-type"], "image/png");
}

/// Caches would serve it after its end.
pub async fn a_public_blob_does_not_expire(harness: &dyn BlobHarness) {
    let blobs = seed(harness, &[("a", "old")]).await;
    let put = blobs.put("a", "new").public().expires_in(harness.moment());
    let refused = error(put.await);
    assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Unsupported));
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
}
