//! Cases about signed forms, sent as a browser would. A store that has none must say so.

use bytes::Bytes;
use http::{Request, Response};

use super::{BlobHarness, error, key, read, seed};
use crate::{Attributes, Blobs, ErrorKind, LenBound, Sha256Digest, SignRequest, SignedUrl};

/// The store, if it signs forms; if not, its refusal was checked.
async fn forms(harness: &dyn BlobHarness) -> Option<Blobs> {
    let blobs = seed(harness, &[("a", "old")]).await;
    if blobs.capabilities().sign_form {
        return Some(blobs);
    }
    let refused = error(blobs.signed_form("a", harness.moment()).await);
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    None
}

async fn sign(blobs: &Blobs, request: &SignRequest) -> SignedUrl {
    blobs.store().sign(request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// Sends the file in a form with these fields.
async fn send(
    harness: &dyn BlobHarness,
    blobs: &Blobs,
    form: &SignedUrl,
    fields: &[(String, String)],
    file: &str,
) -> Response<Bytes> {
    let mut body = String::new();
    for (name, value) in fields {
        body += "--boundary-of-parts\r\n";
        body += &format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--boundary-of-parts\r\n";
    body += "Content-Disposition: form-data; name=\"file\"; filename=\"other.bin\"\r\n";
    body += &format!("Content-Type: image/png\r\n\r\n{file}\r\n--boundary-of-parts--\r\n");
    let request = Request::builder()
        .method(form.method.as_str())
        .uri(form.as_str())
        .header("content-type", "multipart/form-data; boundary=boundary-of-parts")
        .header("content-length", body.len())
        .body(Bytes::from(body));
    harness.fetch(blobs.store(), request.unwrap_or_else(|error| panic!("{error}"))).await
}

/// Under its key, with its attributes, until its end.
pub async fn a_form_stores_a_file_as_signed(harness: &dyn BlobHarness) {
    let Some(blobs) = forms(harness).await else { return };
    let attributes = Attributes::default()
        .with_cache_control("no-store")
        .with_metadata("rows", "7")
        .with_metadata("note", "");
    let request = SignRequest::form(key("b/ä \"7\" $x.csv"), harness.moment())
        .with_content_type("text/csv")
        .with_len(LenBound::AtMost(4))
        .with_sha256(Sha256Digest::of(b"four"))
        .with_blob_expires_in(harness.moment() * 3)
        .with_attributes(attributes.clone());
    let form = sign(&blobs, &request).await;
    assert!(!format!("{form:?}").contains("fields"), "nobody logs what grants something");
    let sent = send(harness, &blobs, &form, &form.fields, "four").await;
    assert_eq!(sent.status(), 200, "{:?}", sent.body());
    let meta = blobs.head(&request.key).await.unwrap().expect("it was just stored");
    assert_eq!((meta.size, meta.sha256), (4, request.sha256));
    assert_eq!(meta.attributes, attributes.with_content_type("text/csv"));
    assert!(meta.expires_at.is_some());
    assert_eq!(blobs.get_bytes(&request.key).await.unwrap(), "four");
    harness.pass_time(harness.moment() * 4).await;
    assert!(!blobs.exists(&request.key).await.unwrap());
}

/// Not a byte more or less, no other key, type or attribute, no field more and none left out.
pub async fn a_form_is_held_to_what_was_signed(harness: &dyn BlobHarness) {
    let Some(blobs) = forms(harness).await else { return };
    let request = SignRequest::form(key("a"), harness.moment() * 10)
        .with_content_type("text/csv")
        .with_attributes(Attributes::default().with_metadata("rows", "7"));
    let form = sign(&blobs, &request.clone().with_len(LenBound::AtMost(4))).await;
    assert_eq!(send(harness, &blobs, &form, &form.fields, "five!").await.status(), 400);
    for (at, (name, value)) in form.fields.iter().enumerate() {
        let mut changed = form.fields.clone();
        changed[at].1 = format!("{value}0");
        let changed = send(harness, &blobs, &form, &changed, "new").await;
        assert!((400..404).contains(&changed.status().as_u16()), "another {name}");
        let mut without = form.fields.clone();
        without.remove(at);
        let without = send(harness, &blobs, &form, &without, "new").await;
        assert!((400..404).contains(&without.status().as_u16()), "no {name}");
    }
    for name in ["x-amz-meta-more", "cache-control", "content-disposition", "content-encoding"] {
        let mut more = form.fields.clone();
        more.insert(0, (name.to_owned(), "1".to_owned()));
        assert_eq!(send(harness, &blobs, &form, &more, "new").await.status(), 403, "{name}");
    }
    let sized = sign(&blobs, &request.clone().with_len(LenBound::Exactly(3))).await;
    for other in ["no", "four"] {
        assert_eq!(send(harness, &blobs, &sized, &sized.fields, other).await.status(), 400);
    }
    let hashed = sign(&blobs, &request.with_sha256(Sha256Digest::of(b"new"))).await;
    assert_eq!(send(harness, &blobs, &hashed, &hashed.fields, "not").await.status(), 400);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
    assert_eq!(send(harness, &blobs, &sized, &sized.fields, "new").await.status(), 200);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("new"));
}

/// And what no form can promise is not signed.
pub async fn a_form_ends_with_its_time(harness: &dyn BlobHarness) {
    let Some(blobs) = forms(harness).await else { return };
    let form = blobs.signed_form("a", harness.moment()).await.unwrap();
    harness.pass_time(harness.moment() + std::time::Duration::from_secs(1)).await;
    assert_eq!(send(harness, &blobs, &form, &form.fields, "new").await.status(), 403);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
    let once = blobs.signed_form("a", harness.moment()).once().await;
    assert_eq!(error(once).kind(), ErrorKind::Invalid);
}
