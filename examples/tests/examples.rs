//! The small examples do what they say.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "a test has a `main` of its own")]

#[path = "../examples/blob.rs"]
mod blob;
#[path = "../examples/cron.rs"]
mod cron;
#[path = "../examples/job.rs"]
mod job;
#[path = "../examples/replay.rs"]
mod replay;
#[path = "../examples/session.rs"]
mod session;

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use tower_service::Service as _;

/// Status, cookie and text of an answer.
async fn ask(app: &Router, request: Request<Body>) -> (StatusCode, Option<String>, String) {
    let response = app.clone().call(request).await.unwrap();
    let cookie = response.headers().get(header::SET_COOKIE).map(|cookie| {
        let cookie = cookie.to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    });
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, cookie, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_job_is_done_at_its_second_attempt() {
    let [greeting, failure] = job::run().await.unwrap();
    assert_eq!(greeting, "hello Ada");
    assert!(failure.contains("nobody to greet"), "{failure}");
}

#[tokio::test]
async fn a_session_keeps_a_cart_and_tells_once() {
    let app = session::app("http://127.0.0.1:8090").unwrap();
    let post = Request::post("/").body(Body::from("tea")).unwrap();
    let (status, cookie, _) = ask(&app, post).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = cookie.unwrap();
    let show = || Request::get("/").header(header::COOKIE, &cookie).body(Body::empty()).unwrap();
    let (_, _, first) = ask(&app, show()).await;
    assert_eq!(first, "cart [\"tea\"], view 1, told [\"tea added\"]\n");
    let (_, _, second) = ask(&app, show()).await;
    assert_eq!(second, "cart [\"tea\"], view 2, told []\n");
}

#[tokio::test]
async fn of_three_instances_one_sends_each_job() {
    let (ticks, jobs) = cron::run(Duration::from_secs(3)).await.unwrap();
    // every second tick, none of them twice
    assert!(ticks > 4 && jobs > 1 && jobs <= ticks as u64 / 2 + 1, "{jobs} jobs of {ticks} ticks");
}

#[tokio::test]
async fn a_link_shows_a_private_file_until_it_ends() {
    let base = "http://127.0.0.1:8091";
    let (app, link) = blob::publish(base, Duration::from_secs(60)).await.unwrap();
    let path = link.strip_prefix(base).unwrap();
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(ask(&app, get(path)).await.2, "<h1>Report 7</h1>");
    assert_eq!(ask(&app, get("/files/r/7.html")).await.0, StatusCode::FORBIDDEN);
    let (app, link) = blob::publish(base, Duration::from_secs(1)).await.unwrap();
    let path = link.strip_prefix(base).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(&app, get(path)).await.0, StatusCode::FORBIDDEN, "it has ended");
}

#[tokio::test]
async fn what_was_done_wrongly_is_done_again() {
    assert_eq!(replay::run().await.unwrap(), ["run 2: 124", "run 2: 248", "run 2: 372"]);
}

#[test]
fn each_is_a_page_long() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 60, "{}: {lines} lines", file.display());
    }
}
