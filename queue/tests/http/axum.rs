use axum::body::Body;
use axum::routing::post;
use axum::{Extension, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use standfast_core::{Context, SessionRef};
use standfast_queue::http::{Accepted, IdempotencyKey, RequestContext};
use standfast_queue::{JobState, StatusHandle};
use tower_service::Service;

use crate::fixture::{Fixture, owned_by};

async fn start(RequestContext(context): RequestContext, key: Option<IdempotencyKey>) -> Accepted {
    let handle = key.map_or_else(StatusHandle::random, |key| key.ids(b"s", context.session).1);
    Accepted::new(handle, "/is_ready")
}

async fn strict(_: IdempotencyKey) {}

async fn show(handle: StatusHandle) -> String {
    handle.to_string()
}

fn app(fixture: &Fixture, session: SessionRef) -> Router {
    let mut context = Context::default();
    context.session = Some(session);
    Router::new()
        .route("/get_report", post(start))
        .route("/strict", post(strict))
        .route("/show", axum::routing::get(show))
        .route_service("/is_ready", fixture.routes.clone())
        .route_service("/cancel", fixture.routes.clone())
        .nest_service("/jobs", fixture.routes.clone())
        .layer(Extension(context))
}

async fn call(app: &Router, request: http::request::Builder) -> (StatusCode, Value) {
    let response = app.clone().call(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body);
    (status, json.unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

#[tokio::test]
async fn routes_can_be_mounted_and_nested() {
    let (fixture, session) = (Fixture::new(), SessionRef::random());
    fixture.advance(owned_by(session)).await;
    let (app, handle) = (app(&fixture, session), fixture.handle);
    for path in ["/is_ready", "/jobs", "/jobs/"] {
        let uri = format!("{path}?handle={handle}");
        let (status, answer) = call(&app, Request::get(uri)).await;
        assert_eq!((status, &answer["state"]), (StatusCode::OK, &json!("queued")), "{path}");
    }
    let (status, _) = call(&app, Request::post(format!("/cancel?handle={handle}"))).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let uri = format!("/jobs/events?handle={handle}");
    let (status, answer) = call(&app, Request::get(uri)).await;
    assert_eq!(status, StatusCode::OK);
    let end = "data: {\"status\":\"cancelled\",\"version\":2}\n\n";
    assert!(answer.as_str().unwrap().ends_with(end));
}

#[tokio::test]
async fn a_request_with_a_key_meets_its_first_answer() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let app = app(&fixture, SessionRef::random());
    let keyed = || Request::post("/get_report").header("idempotency-key", "\"k\"");
    let (first, second) = (call(&app, keyed()).await, call(&app, keyed()).await);
    assert_eq!(first.0, StatusCode::ACCEPTED);
    assert_eq!(first, second);
    let without = || Request::post("/get_report");
    assert_ne!(call(&app, without()).await, call(&app, without()).await);
}

#[tokio::test]
async fn what_cannot_be_extracted_is_400_in_words() {
    let app = app(&Fixture::new(), SessionRef::random());
    let key = |value: &str| Request::post("/get_report").header("idempotency-key", value);
    for (request, words) in [
        (key("\"open"), "the idempotency key is malformed"),
        (key("a").header("idempotency-key", "b"), "the idempotency key is repeated"),
        (key(&"k".repeat(256)), "the idempotency key is longer than 255 characters"),
        (Request::post("/strict"), "the request has no idempotency key"),
        (Request::get("/show"), "the query names no handle"),
        (Request::get("/show?handle=7"), "the handle is malformed"),
    ] {
        let expected = (StatusCode::BAD_REQUEST, json!({ "error": words }));
        assert_eq!(call(&app, request).await, expected);
    }
    let handle = StatusHandle::random();
    let uri = format!("/show?wait=mine&handle={handle}");
    assert_eq!(call(&app, Request::get(uri)).await.1, handle.to_string());
}
