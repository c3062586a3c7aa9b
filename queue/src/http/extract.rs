use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use standfast_core::{Context, SessionRef};

use super::query::{InvalidQuery, StatusQuery};
use super::respond::error;
use super::{Accepted, IdempotencyKey, InvalidIdempotencyKey};
use crate::handle::StatusHandle;

/// The [`Context`] that the layers above have put into the extensions of a request, with the
/// session that they have put there; an empty one if they have not.
///
/// ```
/// use axum::{Router, routing::post};
/// use standfast_queue::http::{Accepted, IdempotencyKey, RequestContext};
/// use standfast_queue::StatusHandle;
///
/// async fn report(RequestContext(context): RequestContext, key: IdempotencyKey) -> Accepted {
///     let (_id, handle) = key.ids(b"of the server", context.session);
///     Accepted::new(handle, "/is_ready")
/// }
/// let app: Router = Router::new().route("/get_report", post(report));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestContext(pub Context);

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut context = parts.extensions.get::<Context>().cloned().unwrap_or_default();
        if let Some(session) = parts.extensions.get::<SessionRef>() {
            context.session = Some(*session);
        }
        Ok(Self(context))
    }
}

/// The handle in the query: `?handle=…`.
impl<S: Sync> FromRequestParts<S> for StatusHandle {
    type Rejection = InvalidQuery;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, InvalidQuery> {
        StatusQuery::handle(parts.uri.query())
    }
}

/// Refuses a request without a key; extract `Option<IdempotencyKey>` to take both.
impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = InvalidIdempotencyKey;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, InvalidIdempotencyKey> {
        Self::from_headers(&parts.headers)?.ok_or(InvalidIdempotencyKey::Missing)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = InvalidIdempotencyKey;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, InvalidIdempotencyKey> {
        Self::from_headers(&parts.headers)
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        self.into_response().into_response()
    }
}

impl IntoResponse for InvalidQuery {
    fn into_response(self) -> Response {
        error(self.status(), &self.to_string()).into_response()
    }
}

impl IntoResponse for InvalidIdempotencyKey {
    fn into_response(self) -> Response {
        error(StatusCode::BAD_REQUEST, &self.to_string()).into_response()
    }
}
