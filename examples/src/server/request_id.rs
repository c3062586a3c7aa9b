//! One name for each request: in its answer, its log lines, its job and its record.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use standfast_core::{Context, Id128};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the name that the client or a proxy gave it, or makes one up, and puts it where the
/// session layer and handlers find it.
pub(super) async fn name(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let id = given.filter(usable).map_or_else(|| Id128::random().to_string(), str::to_owned);
    let mut context = Context::default();
    context.request_id = Some(id.clone());
    request.extensions_mut().insert(context);
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
