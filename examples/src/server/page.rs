//! The page at `/` with its assets, compiled in.

use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use standfast_session::http::Session;
use standfast_session::{Flash, FlashLevel};

use super::{App, visitor};
use crate::report::Html;

/// How long the page waits for its session.
const BRIEFLY: Duration = Duration::from_secs(2);

const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(index))
        .route("/app.css", asset("text/css; charset=utf-8", include_str!("../../web/app.css")))
        .route("/app.js", asset("text/javascript; charset=utf-8", include_str!("../../web/app.js")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("../../web/icon.svg")))
}

/// The page is shown whatever the sessions do: without one, its reports are those of a script.
async fn index(session: Session) -> impl IntoResponse {
    let flashes = match tokio::time::timeout(BRIEFLY, visitor::welcome(&session)).await {
        Ok(Ok(flashes)) => flashes,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the page is shown without a session");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!("the page is shown without a session, whose store does not answer");
            Vec::new()
        }
    };
    let flashes: String = flashes.iter().map(element).collect();
    let page = include_str!("../../web/index.html").replace("<!-- flashes -->", &flashes);
    let kind = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (kind, page)
}

fn element(flash: &Flash) -> String {
    let class = match flash.level {
        FlashLevel::Error | FlashLevel::Warning => "alert",
        _ => "flash",
    };
    format!("<p class=\"{class}\" role=\"status\">{}</p>", Html(&flash.text))
}

fn asset(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter<App> {
    get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
}
