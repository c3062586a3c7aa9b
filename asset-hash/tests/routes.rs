//! Serving a set of this machine.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use standfast_asset_hash::{AssetRoutes, AssetTree, AssetUrls, LocalSet};
use tower_service::Service as _;

async fn send(routes: &AssetRoutes, request: Request<()>) -> Response<Bytes> {
    let (head, body) = routes.clone().call(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn get(routes: &AssetRoutes, url: &str) -> Response<Bytes> {
    send(routes, Request::get(url).body(()).unwrap()).await
}

#[tokio::test]
async fn an_embedded_set_is_served_at_its_addresses() {
    let set = LocalSet::embedded(&[("js/\u{e9} +%.js", b"run()"), ("empty", b"")]).unwrap();
    let urls = AssetUrls::new("/assets/{id}/", set.manifest().clone()).unwrap();
    let routes = AssetRoutes::new(set).strip_prefix("/assets/");
    let url = urls.url("js/\u{e9} +%.js").unwrap();

    let found = get(&routes, &url).await;
    assert_eq!((found.status().as_u16(), &found.body()[..]), (200, &b"run()"[..]));
    assert_eq!(found.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(found.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(found.headers()["content-length"], "5");
    let empty = get(&routes, &urls.url("empty").unwrap()).await;
    assert_eq!((empty.status().as_u16(), empty.body().len()), (200, 0));

    let tag = found.headers()["etag"].to_str().unwrap();
    let head = send(&routes, Request::head(&url).body(()).unwrap()).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    assert_eq!(head.headers()["content-length"], "5");
    for known in [tag, "*", &format!("\"x\", W/{tag}")] {
        let request = Request::get(&url).header("if-none-match", known).body(()).unwrap();
        assert_eq!(send(&routes, request).await.status().as_u16(), 304, "{known}");
    }
    let request = Request::get(&url).header("if-none-match", "\"x\"").body(()).unwrap();
    assert_eq!(send(&routes, request).await.status().as_u16(), 200);
}

#[tokio::test]
async fn what_is_not_in_the_set_is_not_found_and_not_cached() {
    let set = LocalSet::embedded(&[("a.js", b"1")]).unwrap();
    let id = set.manifest().id();
    let routes = AssetRoutes::new(set).strip_prefix("/assets");
    let other = "0".repeat(40);
    for path in [
        "/".to_owned(),
        "/assets".to_owned(),
        format!("/{id}/a.js"),
        format!("/assets/{id}"),
        format!("/assets/{id}/"),
        format!("/assets/{id}/b.js"),
        format!("/assets/{id}/../a.js"),
        format!("/assets/{id}/a.js%"),
        format!("/assets/{id}/%ff"),
        format!("/assets/{other}/a.js"),
    ] {
        let response = get(&routes, &path).await;
        assert_eq!(response.status().as_u16(), 404, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    let post = Request::post(format!("/assets/{id}/a.js")).body(()).unwrap();
    let response = send(&routes, post).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn files_of_a_directory_are_served_as_they_are_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.js");
    std::fs::write(&file, "1").unwrap();
    let set = AssetTree::new(dir.path()).read().unwrap();
    let urls = AssetUrls::new("/{id}/", set.manifest().clone()).unwrap();
    let routes = AssetRoutes::new(set);
    let url = urls.asset("a.js");
    let first = get(&routes, &url).await;
    assert_eq!(first.headers()["cache-control"], "no-cache");
    std::fs::write(&file, "2").unwrap();
    let second = get(&routes, &url).await;
    assert_eq!(second.body(), "2");
    assert_ne!(first.headers()["etag"], second.headers()["etag"]);
    std::fs::remove_file(file).unwrap();
    assert_eq!(get(&routes, &url).await.status().as_u16(), 404);
}
