//! The page at `/` with its assets, compiled in.

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::get;

use super::{App, visitor};

const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(index))
        .route("/app.css", asset("text/css; charset=utf-8", include_str!("../../web/app.css")))
        .route("/app.js", asset("text/javascript; charset=utf-8", include_str!("../../web/app.js")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("../../web/icon.svg")))
}

async fn index(headers: HeaderMap) -> impl IntoResponse {
    let page = include_str!("../../web/index.html");
    let kind = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (kind, AppendHeaders(visitor::welcome(&headers)), page)
}

fn asset(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter<App> {
    get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
}
