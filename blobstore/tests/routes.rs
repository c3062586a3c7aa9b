//! What `BlobRoutes` promises beyond the suite: safe headers, CORS, limits, health of mounting.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use standfast_blobstore::testkit::serve;
use standfast_blobstore::*;

const HOUR: Duration = Duration::from_secs(3600);

fn routes() -> (Blobs, BlobRoutes) {
    let signer = UrlSigner::new("https://app.example/blobs/", SigningKey::random());
    let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new().with_signer(signer.clone()));
    let routes = BlobRoutes::new(Arc::clone(&store), signer).strip_prefix("/blobs");
    (Blobs::from(store), routes)
}

async fn ask(
    routes: &BlobRoutes,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    serve(routes.clone(), request.body(Bytes::new()).unwrap()).await
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_is_sandboxed_and_what_could_run_is_saved() {
    let (blobs, routes) = routes();
    for (content_type, disposition) in [
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/pdf", "attachment"),
        ("image/png", ""),
        ("text/plain; charset=utf-8", ""),
    ] {
        blobs.put("a", "x").content_type(content_type).await.unwrap();
        let url = blobs.signed_url("a", HOUR).await.unwrap();
        let response = ask(&routes, Method::GET, url.as_str(), &[]).await;
        assert_eq!(header(&response, "content-disposition"), disposition, "{content_type}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "content-security-policy"), "sandbox");
        assert_eq!(header(&response, "cache-control"), "private, no-cache");
    }
    blobs.put("b", "x").await.unwrap();
    let url = blobs.signed_url("b", HOUR).await.unwrap();
    let response = ask(&routes, Method::GET, url.as_str(), &[]).await;
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    let response = ask(&routes, Method::GET, "/blobs/b", &[]).await;
    assert_eq!(response.status(), 403);
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn an_application_can_show_its_own_report() {
    let (blobs, routes) = routes();
    blobs.put("r/7.html", "<h1>7</h1>").content_type("text/html").await.unwrap();
    let url = blobs.signed_url("r/7.html", HOUR).inline().await.unwrap();
    let response = ask(&routes, Method::GET, url.as_str(), &[]).await;
    assert_eq!(header(&response, "content-disposition"), "inline");
    assert_eq!(header(&response, "content-security-policy"), "sandbox");
    assert_eq!(response.body(), "<h1>7</h1>");
}

#[tokio::test]
async fn other_methods_are_not_allowed_and_other_paths_not_found() {
    let (blobs, routes) = routes();
    blobs.put("a", "1").public().await.unwrap();
    for method in [Method::POST, Method::PATCH, Method::TRACE] {
        let response = ask(&routes, method, "/blobs/a", &[]).await;
        assert_eq!(response.status(), 405);
        assert!(header(&response, "allow").contains("PUT"));
    }
    for path in
        ["/a", "/blobs", "/blobs/", "/blobs//a", "/blobs/%2e%2e/a", "/blobs/%ff", "/blobs/%"]
    {
        assert_eq!(ask(&routes, Method::GET, path, &[]).await.status(), 404, "{path}");
    }
    assert_eq!(ask(&routes, Method::GET, "/blobs/%61", &[]).await.status(), 200);
    assert_eq!(ask(&routes, Method::DELETE, "/blobs/a", &[]).await.status(), 403);
    assert_eq!(ask(&routes, Method::PUT, "/blobs/a", &[]).await.status(), 403);
    let response = ask(&routes, Method::HEAD, "/blobs/none", &[]).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (403, 0));
}

#[tokio::test]
async fn two_tokens_are_none() {
    let (blobs, routes) = routes();
    blobs.put("a", "1").await.unwrap();
    let url = blobs.signed_url("a", HOUR).await.unwrap();
    let query = url.as_str().split_once('?').unwrap().1;
    let response = ask(&routes, Method::GET, &format!("{url}&{query}"), &[]).await;
    assert_eq!(response.status(), 403);
    let response = ask(&routes, Method::GET, &format!("{url}&utm=1"), &[]).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_browser_that_asks_first_is_answered() {
    let (blobs, routes) = routes();
    let url = blobs.signed_put("a", HOUR).await.unwrap();
    let asks = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type"),
    ];
    let refused = ask(&routes, Method::OPTIONS, url.as_str(), &asks).await;
    assert_eq!(refused.status(), 403, "not without being told to");
    let cors = Cors::origins(["https://app.example"]).with_methods(["PUT", "GET"]);
    let routes = routes.cors(cors.with_max_age(HOUR));
    let allowed = ask(&routes, Method::OPTIONS, url.as_str(), &asks).await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(header(&allowed, "access-control-allow-origin"), "https://app.example");
    assert_eq!(header(&allowed, "access-control-allow-methods"), "PUT");
    assert_eq!(header(&allowed, "access-control-allow-headers"), "content-type");
    assert_eq!(header(&allowed, "access-control-max-age"), "3600");
    let strange = [("origin", "https://evil.example"), asks[1]];
    assert_eq!(ask(&routes, Method::OPTIONS, url.as_str(), &strange).await.status(), 403);
    let other = [asks[0], ("access-control-request-method", "DELETE")];
    assert_eq!(ask(&routes, Method::OPTIONS, url.as_str(), &other).await.status(), 403);
    let put = ask(&routes, Method::PUT, url.as_str(), &asks[..1]).await;
    assert_eq!(put.status(), 200);
    assert_eq!(header(&put, "access-control-allow-origin"), "https://app.example");
    assert_eq!(header(&put, "vary"), "origin");
}

#[tokio::test]
async fn dates_are_conditions_too() {
    let (blobs, routes) = routes();
    let meta = blobs.put("a", "0123").await.unwrap();
    let url = blobs.signed_url("a", HOUR).await.unwrap();
    let date = |at: i64| {
        let at = meta.modified_at + chrono::TimeDelta::seconds(at);
        at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let etag = format!("\"{}\"", meta.version);
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("if-modified-since", &date(0))], 304),
        (&[("if-modified-since", &date(-1))], 200),
        (&[("if-unmodified-since", &date(0))], 200),
        (&[("if-unmodified-since", &date(-1))], 412),
        (&[("if-none-match", "\"x\""), ("if-modified-since", &date(0))], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", &format!("\"x\", W/{etag}"))], 304),
        (&[("range", "bytes=0-1"), ("if-range", &etag)], 206),
        (&[("range", "bytes=0-1"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=0-1"), ("if-range", &date(0))], 206),
        (&[("range", "bytes=0-1, 3-3")], 200),
    ];
    for (headers, status) in table {
        let response = ask(&routes, Method::GET, url.as_str(), headers).await;
        assert_eq!(response.status().as_u16(), *status, "{headers:?}");
    }
}

#[tokio::test]
async fn an_upload_over_the_limit_of_the_routes_is_refused() {
    let (blobs, routes) = routes();
    let routes = routes.max_upload(3);
    let url = blobs.signed_put("a", HOUR).await.unwrap();
    let put = |body: &'static str| {
        let request = Request::put(url.as_str()).body(Bytes::from(body)).unwrap();
        serve(routes.clone(), request)
    };
    assert_eq!(put("four").await.status(), 400);
    assert!(!blobs.exists("a").await.unwrap());
    assert_eq!(put("123").await.status(), 200);
}

#[tokio::test]
async fn a_signed_upload_can_be_public_or_temporary() {
    let (blobs, routes) = routes();
    let key = BlobKey::new("a").unwrap();
    let request = SignRequest::put(key.clone(), HOUR).with_visibility(Visibility::Public);
    let url = blobs.store().sign(&request).await.unwrap();
    assert_eq!(ask(&routes, Method::PUT, url.as_str(), &[]).await.status(), 200);
    assert_eq!(ask(&routes, Method::GET, "/blobs/a", &[]).await.status(), 200);
    let request = SignRequest::put(key, HOUR).with_blob_expires_in(HOUR);
    let url = blobs.store().sign(&request).await.unwrap();
    assert_eq!(ask(&routes, Method::PUT, url.as_str(), &[]).await.status(), 200);
    assert!(blobs.head("a").await.unwrap().unwrap().expires_at.is_some());
    assert_eq!(ask(&routes, Method::GET, "/blobs/a", &[]).await.status(), 403);
}
