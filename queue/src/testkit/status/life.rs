//! T5 and T7: how long a status lives, and who ends it.

use std::time::Duration;

use super::kit::{LONG, applied, at, get, known, refused, step};
use crate::handle::StatusHandle;
use crate::status::{CancelOutcome, JobFailure, JobState};
use crate::testkit::harness::StatusHarness;

use JobState::{Cancelled, Failed, Queued, Running, Succeeded};

pub(crate) async fn an_ended_status_is_kept_for_as_long_as_told(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for end in [Succeeded, Failed, Cancelled] {
        let handle = at(&*store, &[Queued, Running]).await;
        store.advance(&handle, &step(end), 4 * h.unit()).await.expect("the store takes a step");
        h.pass_time(2 * h.unit()).await;
        assert_eq!(known(&*store, &handle).await.state, end, "it is kept");
        h.pass_time(4 * h.unit()).await;
        assert_eq!(get(&*store, &handle).await, None, "it is forgotten");
        assert!(!store.remove(&handle).await.expect("the store removes"), "nobody knows it");
        let status = applied(&*store, &handle, step(Queued)).await;
        assert_eq!(status.finished_at, None, "what comes now is the first step");
    }
}

pub(crate) async fn a_status_that_has_not_ended_outlives_any_keep_for(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let days = Duration::from_secs(29 * 24 * 60 * 60);
    for states in [&[Queued][..], &[Queued, Running][..]] {
        let handle = StatusHandle::random();
        for state in states {
            let brief = Duration::ZERO;
            store.advance(&handle, &step(*state), brief).await.expect("the store takes a step");
        }
        let span = if h.can_pass(days) { days } else { 4 * h.unit() };
        h.pass_time(span).await;
        let last = states[states.len() - 1];
        assert_eq!(known(&*store, &handle).await.state, last, "it lives as long as its message");
    }
}

pub(crate) async fn a_status_outlives_the_wait_for_its_next_attempt(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let months = Duration::from_secs(90 * 24 * 60 * 60);
    let wait = if h.can_pass(months) { months } else { 4 * h.unit() };
    let handle = at(&*store, &[Queued, Running]).await;
    let waits = step(Queued).execution(1, 2, 2).retry_in(wait);
    store.advance(&handle, &waits, h.unit()).await.expect("the store takes a step");
    h.pass_time(wait).await;
    assert_eq!(known(&*store, &handle).await.state, Queued, "its message is still there");
}

pub(crate) async fn a_new_run_is_kept_although_its_last_end_ran_out(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    store.advance(&handle, &step(Failed), 4 * h.unit()).await.expect("the store takes a step");
    let again = step(Queued).execution(2, 1, 1);
    store.advance(&handle, &again, 4 * h.unit()).await.expect("the store takes a step");
    h.pass_time(6 * h.unit()).await;
    assert_eq!(known(&*store, &handle).await.run, 2, "the run that goes on is known");
}

pub(crate) async fn a_removed_status_is_gone(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for states in [&[Queued][..], &[Queued, Running][..], &[Queued, Running, Succeeded][..]] {
        let handle = at(&*store, states).await;
        assert!(store.remove(&handle).await.expect("the store removes"), "it was known");
        assert!(!store.remove(&handle).await.expect("the store removes"), "it is not any more");
        assert_eq!(get(&*store, &handle).await, None, "it is gone");
        let wait = store.wait(&handle, 0, LONG).await.expect("the store answers a wait");
        assert_eq!(wait, None, "there is nothing to wait for");
        let cancel = store.request_cancel(&handle).await.expect("the store takes a request");
        assert_eq!(cancel, CancelOutcome::Unknown, "nobody knows the handle");
    }
}

pub(crate) async fn a_job_that_waits_is_cancelled_at_once(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let first = at(&*store, &[Queued]).await;
    let retry = at(&*store, &[Queued, Running]).await;
    let waits = step(Queued).execution(1, 2, 2).retry_in(LONG).error(JobFailure::new("no disk"));
    applied(&*store, &retry, waits).await;
    for handle in [first, retry] {
        let before = known(&*store, &handle).await;
        let outcome = store.request_cancel(&handle).await.expect("the store takes a request");
        assert_eq!(outcome, CancelOutcome::Cancelled, "it waits, so it ends here");
        let status = known(&*store, &handle).await;
        assert_eq!((status.state, status.retry_at), (Cancelled, None), "it has ended");
        assert!(status.finished_at.is_some() && status.cancel_requested, "when, and why");
        assert_ne!(status.version, before.version, "that is a new version");
        let begins = step(Running).execution(1, before.attempt, before.delivery);
        refused(&*store, &handle, begins).await; // so the worker that has it does not begin
        let outcome = store.request_cancel(&handle).await.expect("the store takes a request");
        assert_eq!(outcome, CancelOutcome::Finished, "once is enough");
    }
}

pub(crate) async fn a_job_that_runs_is_asked_to_end(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let before = known(&*store, &handle).await;
    for round in 0..2 {
        let outcome = store.request_cancel(&handle).await.expect("the store takes a request");
        assert_eq!(outcome, CancelOutcome::Requested, "it will see the request, round {round}");
    }
    let asked = known(&*store, &handle).await;
    assert_eq!((asked.state, asked.finished_at), (Running, None), "it goes on");
    assert!(asked.cancel_requested, "the request is there to be seen");
    assert_ne!(asked.version, before.version, "that is a new version");
    let goes_on = applied(&*store, &handle, step(Running)).await;
    assert!(goes_on.cancel_requested, "no step of the job takes it away");
    let ended = applied(&*store, &handle, step(Cancelled)).await;
    assert_eq!(ended.state, Cancelled, "the job ends when it has seen it");
}

pub(crate) async fn a_job_that_runs_may_end_otherwise(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    store.request_cancel(&handle).await.expect("the store takes a request");
    let ended = applied(&*store, &handle, step(Succeeded)).await;
    assert_eq!(ended.state, Succeeded, "it was quicker than the request");
}

pub(crate) async fn a_job_that_has_ended_is_left_alone(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for end in [Succeeded, Failed, Cancelled] {
        let handle = at(&*store, &[Queued, Running, end]).await;
        let before = known(&*store, &handle).await;
        let outcome = store.request_cancel(&handle).await.expect("the store takes a request");
        assert_eq!(outcome, CancelOutcome::Finished, "it has ended");
        assert_eq!(known(&*store, &handle).await, before, "nothing changes");
    }
    let nobody = StatusHandle::random();
    let outcome = store.request_cancel(&nobody).await.expect("the store takes a request");
    assert_eq!(outcome, CancelOutcome::Unknown, "nobody knows the handle");
    assert_eq!(get(&*store, &nobody).await, None, "nor afterwards");
}
