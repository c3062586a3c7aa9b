//! The page at `/`.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use standfast_session::http::Session;
use standfast_session::{Flash, FlashLevel};

use super::{App, visitor};
use crate::report::Html;

/// How long the page waits for its session.
const BRIEFLY: Duration = Duration::from_secs(2);

pub(super) fn router() -> Router<App> {
    Router::new().route("/", get(index))
}

/// The page is shown whatever the sessions do: without one, its reports are those of a script.
async fn index(State(app): State<App>, session: Session) -> impl IntoResponse {
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
    let page = app.page.html.replace("<!-- flashes -->", &flashes);
    let kind = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, app.page.policy.clone()),
        (CACHE_CONTROL, "no-store".to_owned()),
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
