//! Cases about signed URLs, asked as a client would. A store that cannot sign must say so.

use bytes::Bytes;
use http::{Request, Response};

use super::keys::strange;
use super::{BlobHarness, error, key, read, seed};
use crate::{Blobs, ErrorKind, LenBound, Sha256Digest, SignRequest, SignedMethod, SignedUrl};

/// The store, if it signs; if not, its refusal was checked.
async fn signing(harness: &dyn BlobHarness, content: &[(&str, &str)]) -> Option<Blobs> {
    let blobs = seed(harness, content).await;
    if blobs.capabilities().max_sign_for.is_some() {
        return Some(blobs);
    }
    let refused = error(blobs.signed_url("a", harness.moment()).await);
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    None
}

async fn sign(blobs: &Blobs, request: &SignRequest) -> SignedUrl {
    blobs.store().sign(request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// Asks `url` with the method and headers that it names, and some more.
async fn ask(
    harness: &dyn BlobHarness,
    blobs: &Blobs,
    url: &SignedUrl,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    let mut request = Request::builder().method(url.method.as_str()).uri(url.as_str());
    for (name, value) in &url.headers {
        request = request.header(name, value);
    }
    send(harness, blobs, request, headers, body).await
}

async fn send(
    harness: &dyn BlobHarness,
    blobs: &Blobs,
    mut request: http::request::Builder,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let uploads = request.method_ref() == Some(&http::Method::PUT);
    let chunked = headers.iter().any(|(name, _)| *name == "transfer-encoding");
    if uploads && !chunked {
        request = request.header("content-length", body.len());
    }
    let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
    harness.fetch(blobs.store(), request.unwrap_or_else(|error| panic!("{error}"))).await
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap_or("no text"))
}

/// To its end, with what is kept beside it; and a HEAD tells the same.
pub async fn a_signed_url_reads_a_private_blob(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    let put = blobs.put("a/b.txt", "hello").content_type("text/plain").cache_control("no-store");
    let meta = put.metadata("rows", "7").await.unwrap();
    for method in [SignedMethod::Get, SignedMethod::Head] {
        let url = sign(&blobs, &SignRequest::new(method, key("a/b.txt"), harness.moment())).await;
        assert!(url.effective_expires_at > meta.modified_at);
        let response = ask(harness, &blobs, &url, &[], "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/plain");
        assert_eq!(header(&response, "content-length"), "5");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(header(&response, "x-amz-meta-rows"), "7");
        assert_eq!(header(&response, "etag"), format!("\"{}\"", meta.version));
        let body = if method == SignedMethod::Get { "hello" } else { "" };
        assert_eq!(response.body(), body);
    }
}

/// Without a token, with half of one, or with one that was changed.
pub async fn a_forged_url_is_refused(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "secret")]).await else { return };
    let url = blobs.signed_url("a", harness.moment()).await.unwrap();
    let (path, query) = url.as_str().split_once('?').expect("a signed URL has a query");
    let last = if query.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{path}?{}{last}", &query[..query.len() - 1]);
    let half = format!("{path}?{}", &query[..query.len() / 2]);
    for forged in [path, &*changed, &*half] {
        let response = send(harness, &blobs, Request::get(forged), &[], "").await;
        // S3 calls a token that it cannot read a bad request.
        let halved = forged == half && response.status() == 400;
        assert!(halved || response.status() == 403, "{forged}: {}", response.status());
        assert!(!response.body().windows(6).any(|window| window == b"secret"));
    }
}

/// Others are refused, as S3 refuses them.
pub async fn a_signed_url_is_good_for_one_method_and_key(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "1"), ("b", "2")]).await else { return };
    let url = blobs.signed_url("a", harness.moment()).await.unwrap();
    for method in ["HEAD", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri(url.as_str());
        assert_eq!(send(harness, &blobs, request, &[], "").await.status(), 403, "{method}");
    }
    let (path, query) = url.as_str().split_once('?').expect("a signed URL has a query");
    let other = format!("{}b?{query}", &path[..path.len() - 1]);
    assert_eq!(send(harness, &blobs, Request::get(other), &[], "").await.status(), 403);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
}

/// And not before.
pub async fn a_signed_url_ends_with_its_time(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "1")]).await else { return };
    let url = blobs.signed_url("a", harness.moment()).await.unwrap();
    let long = blobs.signed_url("a", harness.moment() * 20).await.unwrap();
    assert_eq!(ask(harness, &blobs, &url, &[], "").await.status(), 200);
    harness.pass_time(harness.moment()).await;
    assert_eq!(ask(harness, &blobs, &url, &[], "").await.status(), 403);
    assert_eq!(ask(harness, &blobs, &long, &[], "").await.status(), 200);
}

/// Whatever time was asked for, and it says so; S3 counts in whole seconds.
pub async fn a_signed_url_ends_with_its_blob(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    let meta = blobs.put("a", "1").expires_in(harness.moment()).await.unwrap();
    let url = blobs.signed_url("a", harness.moment() * 20).await.unwrap();
    let early = meta.expires_at.expect("it expires") - url.effective_expires_at;
    assert!((0..1000).contains(&early.num_milliseconds()), "{early} early");
    assert_eq!(ask(harness, &blobs, &url, &[], "").await.status(), 200);
    harness.pass_time(harness.moment()).await;
    let status = ask(harness, &blobs, &url, &[], "").await.status();
    assert!(status == 403 || status == 404, "{status}");
}

/// Not refused: its holder may know that there is nothing.
pub async fn a_signed_url_of_nothing_is_not_found(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    let url = blobs.signed_url("a", harness.moment()).await.unwrap();
    assert_eq!(ask(harness, &blobs, &url, &[], "").await.status(), 404);
}

/// 206 and 416, 304 and 412.
pub async fn ranges_and_conditions_are_answered_as_http_says(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "0123456789"), ("empty", "")]).await else { return };
    let url = blobs.signed_url("a", harness.moment()).await.unwrap();
    let table = [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
    ];
    for (range, status, body, content_range) in table {
        let response = ask(harness, &blobs, &url, &[("range", range)], "").await;
        assert_eq!(response.status(), status, "{range}");
        if status == 206 {
            assert_eq!(response.body(), body, "{range}");
            assert_eq!(header(&response, "content-length"), body.len().to_string());
            assert_eq!(header(&response, "content-range"), content_range);
        }
    }
    let etag = format!("\"{}\"", blobs.head("a").await.unwrap().unwrap().version);
    let other = "\"other\"";
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", other)], 200),
        (&[("if-match", &etag)], 200),
        (&[("if-match", other)], 412),
        (&[("range", "bytes=0-3"), ("if-match", &etag)], 206),
        (&[("range", "bytes=0-3"), ("if-match", other)], 412),
    ];
    for (headers, status) in table {
        let response = ask(harness, &blobs, &url, headers, "").await;
        assert_eq!(response.status().as_u16(), *status, "{headers:?}");
        if *status == 304 {
            assert_eq!(header(&response, "etag"), etag);
            assert!(response.body().is_empty());
        }
    }
    let url = blobs.signed_url("empty", harness.moment()).await.unwrap();
    assert_eq!(ask(harness, &blobs, &url, &[("range", "bytes=0-")], "").await.status(), 416);
}

/// Instead of those that were stored.
pub async fn a_signed_url_names_type_and_file(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    blobs.put("a", "1").content_type("text/html").content_disposition("inline").await.unwrap();
    let request = SignRequest::get(key("a"), harness.moment())
        .with_content_type("text/plain")
        .with_disposition("attachment; filename=\"b.txt\"");
    let response = ask(harness, &blobs, &sign(&blobs, &request).await, &[], "").await;
    assert_eq!(header(&response, "content-type"), "text/plain");
    assert_eq!(header(&response, "content-disposition"), "attachment; filename=\"b.txt\"");
}

/// Under its key, of the type that was sent, private, and visible only when it is whole.
pub async fn a_signed_upload_is_stored_as_signed(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "old")]).await else { return };
    let request = SignRequest::put(key("a"), harness.moment())
        .with_content_type("text/csv")
        .with_sha256(Sha256Digest::of(b"a,b"))
        .with_len(LenBound::Exactly(3));
    let url = sign(&blobs, &request).await;
    let response = ask(harness, &blobs, &url, &[], "a,b").await;
    assert_eq!(response.status(), 200, "{response:?}");
    let meta = blobs.head("a").await.unwrap().unwrap();
    assert_eq!(header(&response, "etag"), format!("\"{}\"", meta.version));
    assert_eq!(meta.attributes.content_type.as_deref(), Some("text/csv"));
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("a,b"));
}

/// Its type, its length, its bytes; and an If-None-Match of the client counts.
pub async fn an_upload_is_held_to_what_was_signed(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "old")]).await else { return };
    let plain = SignRequest::put(key("a"), harness.moment());
    let typed = sign(&blobs, &plain.clone().with_content_type("text/csv")).await;
    for headers in [&[][..], &[("content-type", "text/html")]] {
        let request = Request::put(typed.as_str());
        assert_eq!(send(harness, &blobs, request, headers, "new").await.status(), 403);
    }
    let sized = sign(&blobs, &plain.clone().with_len(LenBound::Exactly(3))).await;
    assert_eq!(ask(harness, &blobs, &sized, &[], "four").await.status(), 403);
    let hashed = sign(&blobs, &plain.clone().with_sha256(Sha256Digest::of(b"new"))).await;
    assert_eq!(ask(harness, &blobs, &hashed, &[], "not").await.status(), 400);
    let free = sign(&blobs, &plain).await;
    let condition = [("if-none-match", "*")];
    assert_eq!(ask(harness, &blobs, &free, &condition, "new").await.status(), 412);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
    assert_eq!(ask(harness, &blobs, &sized, &[], "new").await.status(), 200);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("new"));
}

/// Whether its length was announced or not.
pub async fn an_upload_is_held_to_its_greatest_length(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "old")]).await else { return };
    let request = SignRequest::put(key("a"), harness.moment()).with_len(LenBound::AtMost(4));
    if !blobs.capabilities().sign_at_most {
        let refused = error(blobs.store().sign(&request).await);
        return assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
    let url = sign(&blobs, &request).await;
    let chunked = [("transfer-encoding", "chunked")];
    for headers in [&[][..], &chunked] {
        assert_eq!(ask(harness, &blobs, &url, headers, "five!").await.status(), 400);
        assert_eq!(read(&blobs, "a").await.as_deref(), Some("old"));
    }
    for headers in [&[][..], &chunked] {
        assert_eq!(ask(harness, &blobs, &url, headers, "four").await.status(), 200);
    }
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("four"));
}

/// The second upload is told that there is a blob.
pub async fn a_one_time_upload_works_once(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    let request = SignRequest::put(key("a"), harness.moment()).with_once();
    let url = sign(&blobs, &request).await;
    assert_eq!(ask(harness, &blobs, &url, &[], "1").await.status(), 200);
    assert_eq!(ask(harness, &blobs, &url, &[], "2").await.status(), 412);
    assert_eq!(read(&blobs, "a").await.as_deref(), Some("1"));
}

/// Also what is not there.
pub async fn a_signed_delete_deletes(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[("a", "1")]).await else { return };
    let request = SignRequest::new(SignedMethod::Delete, key("a"), harness.moment());
    let url = sign(&blobs, &request).await;
    for _ in 0..2 {
        assert_eq!(ask(harness, &blobs, &url, &[], "").await.status(), 204);
        assert_eq!(read(&blobs, "a").await, None);
    }
}

/// Whatever must be escaped on the way.
pub async fn strange_keys_can_be_signed(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    for key in strange(&blobs).await {
        blobs.put(key, key.to_owned()).await.unwrap();
        let url = blobs.signed_url(key, harness.moment()).await.unwrap();
        let response = ask(harness, &blobs, &url, &[], "").await;
        assert_eq!(response.status(), 200, "{key:?}");
        assert_eq!(response.body(), key);
    }
}

/// No time, too long, and conditions that mean nothing for the method.
pub async fn what_cannot_be_signed_is_refused(harness: &dyn BlobHarness) {
    let Some(blobs) = signing(harness, &[]).await else { return };
    let longest = blobs.capabilities().max_sign_for.expect("it signs");
    let get = SignRequest::get(key("a"), harness.moment());
    let wrong = [
        SignRequest::get(key("a"), std::time::Duration::ZERO),
        SignRequest::get(key("a"), longest + std::time::Duration::from_secs(1)),
        get.clone().with_once(),
        get.clone().with_len(LenBound::Exactly(1)),
        get.with_content_type("text/html\r\n"),
        SignRequest::put(key("a"), harness.moment()).with_disposition("inline"),
    ];
    for request in wrong {
        assert_eq!(error(blobs.store().sign(&request).await).kind(), ErrorKind::Invalid);
    }
    assert!(blobs.signed_url("a", longest).await.is_ok());
}
