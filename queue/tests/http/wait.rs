use std::time::Duration;

use http::StatusCode;
use standfast_core::{CancellationToken, SessionRef};
use standfast_queue::{JobState, Progress, StatusStore, StatusUpdate};

use crate::fixture::{Fixture, from_session, json, owned_by, settle};

fn progress(done: u64) -> StatusUpdate {
    StatusUpdate::new("report", JobState::Running).progress(Progress::new(done, 9))
}

#[tokio::test]
async fn a_wait_is_over_when_the_job_has_ended_and_not_before() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let answer = fixture.spawn(fixture.get("/is_ready", "&wait=20s"));
    for done in 0..3 {
        fixture.advance(progress(done)).await;
        settle().await;
        assert!(!answer.is_finished());
    }
    fixture.reach(JobState::Succeeded).await;
    settle().await;
    assert!(answer.is_finished());
    assert_eq!(json(answer.await.unwrap()).await["status"], "ready");
    // and the next one need not wait
    let again = fixture.call(fixture.get("/is_ready", "&wait=20s&seen=5")).await;
    assert_eq!(json(again).await["version"], 5);
}

#[tokio::test]
async fn a_wait_with_what_was_seen_is_over_at_the_next_change() {
    let fixture = Fixture::new();
    fixture.advance(progress(1)).await;
    let answer = fixture.spawn(fixture.get("/is_ready", "&wait=20&seen=1"));
    settle().await;
    assert!(!answer.is_finished());
    fixture.advance(progress(2)).await;
    settle().await;
    assert!(answer.is_finished());
    let status = json(answer.await.unwrap()).await;
    assert_eq!((&status["version"], &status["progress"]["done"]), (&2.into(), &2.into()));

    let missed = fixture.call(fixture.get("/is_ready", "&wait=20&seen=1")).await;
    assert_eq!(json(missed).await["version"], 2);
}

#[tokio::test]
async fn a_wait_that_is_in_vain_is_answered_in_time() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Running).await;
    for (wait, seconds) in [("20s", 20), ("1", 1), ("999999", 60)] {
        let answer = fixture.spawn(fixture.get("/is_ready", &format!("&wait={wait}")));
        settle().await;
        fixture.clock.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
        settle().await;
        assert!(!answer.is_finished(), "{wait}");
        fixture.clock.advance(Duration::from_millis(1));
        settle().await;
        assert!(answer.is_finished(), "{wait}");
        assert_eq!(json(answer.await.unwrap()).await["status"], "wait");
    }
    let at_once = fixture.call(fixture.get("/is_ready", "&wait=0")).await;
    assert_eq!(at_once.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stop_answers_whoever_waits_and_nobody_waits_after_it() {
    let mut fixture = Fixture::new();
    let stop = CancellationToken::new();
    fixture.routes = fixture.routes.until(stop.clone());
    fixture.advance(progress(4)).await;
    let answer = fixture.spawn(fixture.get("/is_ready", "&wait=60s"));
    settle().await;
    assert!(!answer.is_finished());
    stop.cancel();
    let status = json(answer.await.unwrap()).await;
    assert_eq!((&status["status"], &status["progress"]["done"]), (&"wait".into(), &4.into()));
    let late = fixture.call(fixture.get("/is_ready", "&wait=60s")).await;
    assert_eq!(late.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_place_to_the_next() {
    let fixture = Fixture::with(|config| config.max_waiting = 1);
    fixture.reach(JobState::Running).await;
    let first = fixture.spawn(fixture.get("/is_ready", "&wait=60s"));
    settle().await;
    // beyond the limit a wait is a poll, and there are no events
    let second = fixture.call(fixture.get("/is_ready", "&wait=60s")).await;
    assert_eq!(json(second).await["status"], "wait");
    let events = fixture.call(fixture.get("/is_ready/events", "")).await;
    assert_eq!(events.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(events.headers()["retry-after"], "2");

    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let third = fixture.spawn(fixture.get("/is_ready", "&wait=60s"));
    settle().await;
    assert!(!third.is_finished());
    third.abort();
}

#[tokio::test]
async fn a_status_that_goes_away_or_to_somebody_else_ends_the_wait_with_404() {
    let gone = Fixture::new();
    gone.reach(JobState::Running).await;
    let answer = gone.spawn(gone.get("/is_ready", "&wait=60s"));
    settle().await;
    gone.store.remove(&gone.handle).await.unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::NOT_FOUND);

    let taken = Fixture::new();
    let (first, second) = (SessionRef::random(), SessionRef::random());
    taken.advance(owned_by(first)).await;
    let answer = taken.spawn(from_session(taken.get("/is_ready", "&wait=60s"), first));
    settle().await;
    taken.advance(owned_by(second).execution(2, 1, 1)).await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_store_that_is_lost_while_somebody_waits_is_503() {
    let fixture = Fixture::new();
    fixture.reach(JobState::Queued).await;
    let answer = fixture.spawn(fixture.get("/is_ready", "&wait=60s"));
    settle().await;
    fixture.store.set_down(true);
    fixture.reach(JobState::Running).await;
    let response = answer.await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "7");
}
