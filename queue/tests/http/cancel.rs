use http::{Request, Response, StatusCode};
use serde_json::json;
use standfast_core::SessionRef;
use standfast_queue::http::{StatusBody, StatusEndpoint};
use standfast_queue::{JobState, StatusStore};

use crate::fixture::{Fixture, from_session, json, owned_by, whole};

fn request(fixture: &Fixture) -> Request<()> {
    let mut request = fixture.get("/cancel", "");
    *request.method_mut() = http::Method::POST;
    request
}

async fn cancel(fixture: &Fixture) -> Response<StatusBody> {
    fixture.call(request(fixture)).await
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let response = cancel(&fixture).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(json(response).await, json!({"status": "cancelled"}));
    let expected = json!({"status": "cancelled", "version": 2});
    assert_eq!(json(fixture.poll().await).await, expected);
}

#[tokio::test]
async fn a_running_job_is_asked_to_end() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    for _ in 0..2 {
        let response = cancel(&fixture).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let expected = json!({"status": "wait", "cancel_requested": true});
        assert_eq!(json(response).await, expected);
    }
    assert_eq!(json(fixture.poll().await).await["cancel_requested"], true);
}

#[tokio::test]
async fn a_job_that_has_ended_is_not_cancelled() {
    for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
        let fixture = Fixture::new();
        fixture.reach(state).await;
        let response = cancel(&fixture).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(json(response).await, json!({"error": "the job has ended"}));
    }
}

#[tokio::test]
async fn a_foreign_job_is_unknown_and_goes_on() {
    let owner = SessionRef::random();
    let (unknown, foreign) = (Fixture::new(), Fixture::new());
    foreign.advance(owned_by(owner)).await;
    let stranger = from_session(request(&foreign), SessionRef::random());
    let answers = [
        whole(cancel(&unknown).await).await,
        whole(cancel(&foreign).await).await,
        whole(foreign.call(stranger).await).await,
    ];
    assert!(answers[0].starts_with("404 "));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let status = foreign.store.inner.get(&foreign.handle).await.unwrap().unwrap();
    assert_eq!((status.state, status.cancel_requested), (JobState::Queued, false));

    let response = foreign.call(from_session(request(&foreign), owner)).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn any_path_can_be_any_endpoint() {
    let mut fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    fixture.routes = fixture.routes.only(StatusEndpoint::Cancel);
    let mut request = fixture.get("/jobs/stop", "");
    assert_eq!(fixture.call(request.clone()).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    *request.method_mut() = http::Method::POST;
    assert_eq!(fixture.call(request).await.status(), StatusCode::ACCEPTED);
    fixture.routes = fixture.routes.only(StatusEndpoint::Events);
    let response = fixture.call(fixture.get("/jobs/cancel", "")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    fixture.routes = fixture.routes.only(StatusEndpoint::Poll);
    let response = fixture.call(fixture.get("/jobs/events", "")).await;
    assert_eq!(json(response).await["status"], "wait");
}
