//! Who asks: a browser that has seen the page carries a cookie, and reports it asks for are shown
//! to it alone. A client without the cookie gets handles that whoever knows them may use.

use axum::extract::Request;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use standfast_core::{Context, Id128, SessionRef};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const COOKIE_NAME: &str = "visitor";

/// Puts the visitor's session, if there is one, and the request's id where handlers find them.
pub(super) async fn recognise(mut request: Request, next: Next) -> Response {
    let visitor = secret(request.headers()).map(session);
    let request_id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.len() <= 64)
        .map_or_else(|| Id128::random().to_string(), str::to_owned);
    let mut context = Context::default();
    context.session = visitor;
    context.request_id = Some(request_id.clone());
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    request.extensions_mut().insert(context);
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The header that makes whoever has no cookie a visitor.
pub(super) fn welcome(headers: &HeaderMap) -> Option<(HeaderName, String)> {
    if secret(headers).is_some() {
        return None;
    }
    let secret = Id128::random();
    let day = 24 * 60 * 60;
    let cookie = format!("{COOKIE_NAME}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={day}");
    Some((SET_COOKIE, cookie))
}

fn secret(headers: &HeaderMap) -> Option<Id128> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('=')?.parse().ok())
}

/// What is stored and logged of a visitor: it does not lead back to the cookie.
fn session(secret: Id128) -> SessionRef {
    Id128::derive("standfast-report:visitor:1", &[&secret.to_bytes()]).into()
}
