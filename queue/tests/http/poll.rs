use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::json;
use standfast_core::{Context, Error, ErrorKind, SessionRef};
use standfast_queue::{JobFailure, JobState, Progress, StatusHandle, StatusStore, StatusUpdate};

use crate::fixture::{Fixture, KEEP, from_session, json, owned_by, text, whole};

#[tokio::test]
async fn a_job_is_followed_from_the_queue_to_its_result() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let response = fixture.poll().await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["etag"], "\"1\"");
    let body = text(response).await;
    let expected = r#"{"status":"wait","state":"queued","attempt":1,"progress":{"done":0,"total":null,"message":null},"error":null,"retry_at":null,"cancel_requested":false,"version":1}"#;
    assert_eq!(body, expected);

    let progress = Progress::new(3, 10).message("reading");
    let running = StatusUpdate::new("report", JobState::Running).progress(progress);
    fixture.advance(running).await;
    fixture.clock.advance(Duration::from_secs(7));
    let response = fixture.poll().await;
    assert_eq!(response.headers()["retry-after"], "3");
    let status = json(response).await;
    assert_eq!(status["state"], "running");
    assert_eq!(status["progress"], json!({"done": 3, "total": 10, "message": "reading"}));

    let failure = JobFailure::new("no more disk").detail("secret stack");
    let retry = StatusUpdate::new("report", JobState::Queued)
        .execution(1, 2, 2)
        .error(failure)
        .retry_in(Duration::from_secs(40));
    fixture.advance(retry).await;
    let response = fixture.poll().await;
    assert_eq!(response.headers()["retry-after"], "40");
    let status = json(response).await;
    assert_eq!((&status["attempt"], &status["error"]), (&json!(2), &json!("no more disk")));
    let retry_at = fixture.store.inner.get(&fixture.handle).await.unwrap().unwrap().retry_at;
    assert_eq!(status["retry_at"], json!(retry_at.unwrap()));

    let done = StatusUpdate::new("report", JobState::Succeeded).execution(1, 2, 2);
    fixture.advance(done.result(json!({"rows": 3}))).await;
    let response = fixture.poll().await;
    assert!(!response.headers().contains_key("retry-after"));
    let expected = json!({"status": "ready", "result": {"rows": 3}, "version": 4});
    assert_eq!(json(response).await, expected);
}

#[tokio::test]
async fn a_failure_is_told_in_its_words_and_without_its_detail() {
    let fixture = Fixture::new();
    let failed = StatusUpdate::new("report", JobState::Failed);
    fixture.advance(failed.error(JobFailure::new("no rows").detail("at main.rs:7"))).await;
    let expected = json!({"status": "failed", "error": "no rows", "version": 1});
    assert_eq!(json(fixture.poll().await).await, expected);

    let fixture = Fixture::new();
    fixture.reach(JobState::Failed).await;
    assert_eq!(json(fixture.poll().await).await["error"], "the job failed");
}

#[tokio::test]
async fn a_hook_makes_what_is_ready_anew_for_each_answer() {
    let mut fixture = Fixture::new();
    let signed = std::sync::atomic::AtomicU32::new(0);
    fixture.routes = fixture.routes.on_ready(move |status| {
        let n = signed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = status.result.clone().unwrap_or_default();
        async move { Ok(json!({"url": format!("{}?{n}", key.as_str().unwrap()), "status": "x"})) }
    });
    let done = StatusUpdate::new("report", JobState::Succeeded).result("/r".into());
    fixture.advance(done).await;
    for n in 0..2 {
        let mut request = fixture.get("/is_ready", "");
        request.headers_mut().insert("if-none-match", "\"1\"".parse().unwrap());
        let response = fixture.call(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("etag"));
        let expected = format!(r#"{{"status":"ready","url":"/r?{n}","version":1}}"#);
        assert_eq!(text(response).await, expected);
    }
}

#[tokio::test]
async fn a_hook_that_fails_panics_or_hangs_is_503_and_tells_nothing() {
    let mut failing = Fixture::new();
    failing.routes = failing.routes.on_ready(|_| async {
        Err::<serde_json::Value, _>(Error::new(ErrorKind::Denied, "s3", "the secret bucket"))
    });
    failing.reach(JobState::Succeeded).await;
    let mut panicking = Fixture::new();
    panicking.routes = panicking.routes.on_ready(|status| async move {
        Ok(status.result.clone().expect("this job has a result"))
    });
    panicking.reach(JobState::Succeeded).await;
    let mut hanging = Fixture::new();
    hanging.routes =
        hanging.routes.on_ready(|_| std::future::pending::<Result<serde_json::Value, Error>>());
    hanging.reach(JobState::Succeeded).await;
    let answer = hanging.spawn(hanging.get("/is_ready", ""));
    crate::fixture::settle().await;
    assert!(!answer.is_finished());
    hanging.clock.advance(Duration::from_secs(10));
    for response in [failing.poll().await, panicking.poll().await, answer.await.unwrap()] {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(text(response).await, r#"{"error":"temporarily unavailable"}"#);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_503_with_its_own_pace() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    fixture.store.set_down(true);
    let cancel = Request::post(format!("/cancel?handle={}", fixture.handle)).body(()).unwrap();
    for request in [fixture.get("/", ""), fixture.get("/", "&wait=1"), fixture.get("/events", "")]
        .into_iter()
        .chain([cancel])
    {
        let response = fixture.call(request).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(text(response).await, r#"{"error":"temporarily unavailable"}"#);
    }
}

#[tokio::test]
async fn unknown_expired_and_foreign_handles_are_answered_alike() {
    let (owner, other) = (SessionRef::random(), SessionRef::random());
    let foreign = Fixture::new();
    foreign.advance(owned_by(owner)).await;
    let expired = Fixture::new();
    expired.reach(JobState::Succeeded).await;
    expired.clock.advance(KEEP);
    let unknown = Fixture::new();
    for path in ["/is_ready", "/is_ready/events"] {
        for rest in ["", "&wait=20s", "&wait=20s&seen=1"] {
            let mut answers = Vec::new();
            for fixture in [&foreign, &expired, &unknown] {
                answers.push(whole(fixture.call(fixture.get(path, rest)).await).await);
            }
            let with_other = from_session(foreign.get(path, rest), other);
            answers.push(whole(foreign.call(with_other).await).await);
            assert!(answers[0].starts_with("404 "), "{}", answers[0]);
            assert!(answers[0].ends_with(r#"{"error":"no such job"}"#), "{}", answers[0]);
            answers.dedup();
            assert_eq!(answers.len(), 1, "{answers:?}");
        }
    }
}

#[tokio::test]
async fn an_owner_is_found_in_the_extensions_or_by_a_hook() {
    let owner = SessionRef::random();
    let mut fixture = Fixture::new();
    fixture.advance(owned_by(owner)).await;
    let request = from_session(fixture.get("/is_ready", ""), owner);
    assert_eq!(fixture.call(request).await.status(), StatusCode::OK);

    let mut request = fixture.get("/is_ready", "");
    let mut context = Context::default();
    context.session = Some(owner);
    request.extensions_mut().insert(context);
    assert_eq!(fixture.call(request.clone()).await.status(), StatusCode::OK);

    fixture.routes = fixture
        .routes
        .session_by(|parts| parts.headers.get("x-session")?.to_str().ok()?.parse().ok());
    assert_eq!(fixture.call(request.clone()).await.status(), StatusCode::NOT_FOUND);
    request.headers_mut().insert("x-session", owner.to_string().parse().unwrap());
    assert_eq!(fixture.call(request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_malformed_is_refused_in_words_that_do_not_repeat_it() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let handle = fixture.handle;
    let long = format!("handle={handle}&{}", "x".repeat(3000));
    let cases = [
        (String::new(), 400, "the query names no handle"),
        ("handle=%3Cscript%3E".into(), 400, "the handle is malformed"),
        (format!("handle={handle}'--"), 400, "the handle is malformed"),
        (format!("handle={handle}&handle={handle}"), 400, "a parameter is repeated"),
        (
            format!("handle={handle}&wait=soon"),
            400,
            "`wait` is not a number of seconds such as `20s`",
        ),
        (format!("handle={handle}&wait=1&seen=-1"), 400, "`seen` is not a version"),
        (long, 414, "the query is too long"),
    ];
    for (query, code, words) in cases {
        for path in ["/is_ready", "/is_ready/events", "/cancel"] {
            let method = if path == "/cancel" { Method::POST } else { Method::GET };
            let request = Request::builder().method(method).uri(format!("{path}?{query}"));
            let response = fixture.call(request.body(()).unwrap()).await;
            assert_eq!(response.status(), code, "{path}?{query}");
            assert_eq!(json(response).await, json!({ "error": words }));
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_and_the_right_ones_named() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    let methods =
        [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::GET];
    for method in methods {
        for (path, allowed) in
            [("/is_ready", "GET, HEAD"), ("/is_ready/events", "GET, HEAD"), ("/cancel", "POST")]
        {
            if allowed.contains(method.as_str()) {
                continue;
            }
            let mut request = fixture.get(path, "");
            *request.method_mut() = method.clone();
            let response = fixture.call(request).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], allowed);
            let expected = json!({"error": "the method is not allowed"});
            assert_eq!(json(response).await, expected);
        }
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    let unknown = Request::get(format!("/?handle={}", StatusHandle::random())).body(()).unwrap();
    for request in [fixture.get("/is_ready", ""), fixture.get("/is_ready/events", ""), unknown] {
        let mut head = request.clone();
        *head.method_mut() = Method::HEAD;
        let (get, head) = (fixture.call(request).await, fixture.call(head).await);
        assert_eq!(head.status(), get.status());
        assert_eq!(head.headers(), get.headers());
        assert_eq!(text(head).await, "");
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    let tag = fixture.poll().await.headers()["etag"].clone();
    let mut request = fixture.get("/is_ready", "");
    request.headers_mut().insert("if-none-match", tag.clone());
    let response = fixture.call(request.clone()).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(response.headers()["etag"], tag);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(text(response).await, "");

    fixture.reach(JobState::Succeeded).await;
    let response = fixture.call(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["etag"], "\"2\"");
    assert_eq!(json(response).await, json!({"status": "ready", "result": null, "version": 2}));
}
