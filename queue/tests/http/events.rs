use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use standfast_core::{CancellationToken, Error, ErrorKind};
use standfast_queue::{JobState, Progress, StatusStore, StatusUpdate};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::fixture::{Fixture, settle, text};

/// What a client hears, chunk by chunk.
struct Listener(mpsc::UnboundedReceiver<String>);

impl Listener {
    async fn connect(fixture: &Fixture, request: Request<()>) -> Self {
        let response = fixture.call(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (said, mut heard) = mpsc::unbounded_channel();
        let mut body = response.into_body();
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let bytes = frame.unwrap().into_data().unwrap();
                if said.send(String::from_utf8(bytes.to_vec()).unwrap()).is_err() {
                    break;
                }
            }
        });
        settle().await;
        assert_eq!(heard.try_recv().unwrap(), "retry: 2000\n\n");
        Self(heard)
    }

    /// The chunks since the last call.
    async fn heard(&mut self) -> Vec<String> {
        settle().await;
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    async fn is_over(&mut self) -> bool {
        settle().await;
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }
}

fn wait(version: u64, state: &str, done: u64) -> String {
    format!(
        "id: {version}\ndata: {{\"status\":\"wait\",\"state\":\"{state}\",\"attempt\":1,\
         \"progress\":{{\"done\":{done},\"total\":null,\"message\":null}},\"error\":null,\
         \"retry_at\":null,\"cancel_requested\":false,\"version\":{version}}}\n\n"
    )
}

fn ready(version: u64) -> String {
    format!(
        "id: {version}\ndata: {{\"status\":\"ready\",\"result\":null,\"version\":{version}}}\n\n"
    )
}

fn progress(done: u64) -> StatusUpdate {
    StatusUpdate::new("report", JobState::Running).progress(Progress::new(done, None))
}

fn after(mut request: Request<()>, id: &str) -> Request<()> {
    request.headers_mut().insert("last-event-id", id.parse().unwrap());
    request
}

const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn each_change_is_an_event_and_the_end_ends_the_stream() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    assert_eq!(listener.heard().await, [wait(1, "queued", 0)]);
    fixture.clock.advance(PAUSE);
    fixture.advance(progress(1)).await;
    assert_eq!(listener.heard().await, [wait(2, "running", 1)]);
    fixture.clock.advance(PAUSE);
    fixture.reach(JobState::Succeeded).await;
    assert_eq!(listener.heard().await, [ready(3)]);
    assert!(listener.is_over().await);
}

#[tokio::test]
async fn a_poll_that_accepts_events_gets_them() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Succeeded).await;
    let mut request = fixture.get("/is_ready", "");
    request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    assert_eq!(text(fixture.call(request).await).await, format!("retry: 2000\n\n{}", ready(1)));
}

#[tokio::test]
async fn changes_in_quick_succession_are_told_as_one() {
    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    assert_eq!(listener.heard().await, [wait(1, "running", 0)]);
    for done in 1..=50 {
        fixture.advance(progress(done)).await;
        assert!(listener.heard().await.is_empty());
    }
    fixture.clock.advance(PAUSE);
    assert_eq!(listener.heard().await, [wait(51, "running", 50)]);
    // a second of a thousand changes is ten events
    let mut events = 0;
    for done in 1..=1000 {
        fixture.advance(progress(50 + done)).await;
        fixture.clock.advance(Duration::from_millis(1));
        events += listener.heard().await.len();
    }
    assert_eq!(events, 10);
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_is_alive() {
    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    listener.heard().await;
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_millis(14_999));
        assert!(listener.heard().await.is_empty());
        fixture.clock.advance(Duration::from_millis(1));
        assert_eq!(listener.heard().await, [":\n\n"]);
    }
    fixture.advance(progress(1)).await;
    assert_eq!(listener.heard().await, [wait(2, "running", 1)]);
}

#[tokio::test]
async fn a_client_that_comes_back_hears_only_what_it_has_missed() {
    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let again = after(fixture.get("/is_ready/events", ""), "1");
    let mut listener = Listener::connect(&fixture, again.clone()).await;
    assert!(listener.heard().await.is_empty());
    fixture.advance(progress(1)).await;
    assert_eq!(listener.heard().await, [wait(2, "running", 1)]);
    let mut missed = Listener::connect(&fixture, again).await;
    assert_eq!(missed.heard().await, [wait(2, "running", 1)]);
    for nonsense in ["", "x", "-1", "18446744073709551616"] {
        let request = after(fixture.get("/is_ready/events", ""), nonsense);
        let mut listener = Listener::connect(&fixture, request).await;
        assert_eq!(listener.heard().await, [wait(2, "running", 1)], "{nonsense}");
    }

    fixture.reach(JobState::Succeeded).await;
    let ended = after(fixture.get("/is_ready/events", ""), "3");
    let response = fixture.call(ended).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_stop_ends_every_stream() {
    let mut fixture = Fixture::new();
    let stop = CancellationToken::new();
    fixture.routes = fixture.routes.until(stop.clone());
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    listener.heard().await;
    stop.cancel();
    assert!(listener.is_over().await);
    let mut late = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    assert_eq!(late.heard().await, [wait(1, "running", 0)]);
    assert!(late.is_over().await);
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_status_or_its_time() {
    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    listener.heard().await;
    fixture.clock.advance(PAUSE);
    settle().await;
    fixture.store.remove(&fixture.handle).await.unwrap();
    assert!(listener.is_over().await);

    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    listener.heard().await;
    fixture.clock.advance(Duration::from_secs(3600));
    assert!(listener.is_over().await);
}

#[tokio::test]
async fn a_stream_outlives_a_store_that_is_down() {
    let fixture = Fixture::new();
    fixture.advance(progress(0)).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    listener.heard().await;
    fixture.store.set_down(true);
    let mut beats = 0;
    for _ in 0..60 {
        fixture.clock.advance(Duration::from_secs(1));
        let heard = listener.heard().await;
        assert!(heard.iter().all(|chunk| chunk == ":\n\n"), "{heard:?}");
        beats += heard.len();
    }
    assert_eq!(beats, 4);
    fixture.reach(JobState::Succeeded).await;
    fixture.store.set_down(false);
    fixture.clock.advance(Duration::from_secs(7));
    assert_eq!(listener.heard().await, [ready(2)]);
    assert!(listener.is_over().await);
}

#[tokio::test]
async fn a_hook_that_fails_is_asked_again() {
    let mut fixture = Fixture::new();
    let works = Arc::new(AtomicBool::new(false));
    let hook = Arc::clone(&works);
    fixture.routes = fixture.routes.on_ready(move |_| {
        let works = hook.load(Ordering::Relaxed);
        async move {
            let error = Error::new(ErrorKind::Unavailable, "s3", "sign");
            if works { Ok(json!({"url": "/r"})) } else { Err(error) }
        }
    });
    fixture.reach(JobState::Succeeded).await;
    let mut listener = Listener::connect(&fixture, fixture.get("/is_ready/events", "")).await;
    for _ in 0..5 {
        assert!(listener.heard().await.is_empty());
        fixture.clock.advance(Duration::from_secs(2));
    }
    works.store(true, Ordering::Relaxed);
    fixture.clock.advance(Duration::from_secs(10));
    let event = "id: 1\ndata: {\"status\":\"ready\",\"url\":\"/r\",\"version\":1}\n\n";
    assert_eq!(listener.heard().await.last().unwrap(), event);
    assert!(listener.is_over().await);
}
