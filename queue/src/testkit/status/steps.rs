//! T1 to T4 and T8: which step follows which, and what it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use serde_json::json;
use standfast_core::{ErrorKind, Reason, SessionRef};

use super::kit::{advance, applied, at, get, known, refused, step};
use crate::handle::StatusHandle;
use crate::status::{JobFailure, JobState, MAX_CHECKPOINT, Progress, StatusUpdate};
use crate::testkit::harness::StatusHarness;

use JobState::{Cancelled, Failed, Queued, Running, Succeeded};

pub(crate) async fn a_job_goes_from_queued_to_its_end(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = StatusHandle::random();
    let queued = applied(&*store, &handle, step(Queued)).await;
    assert_eq!((queued.state, queued.kind.as_str()), (Queued, "case"), "it waits");
    assert_eq!((queued.run, queued.attempt, queued.delivery), (1, 1, 1), "for the first time");
    assert_eq!((queued.started_at, queued.finished_at), (None, None), "it has not begun");
    h.pass_time(2 * h.unit()).await;
    let running = applied(&*store, &handle, step(Running)).await;
    let pause = TimeDelta::from_std(2 * h.unit()).expect("a short span");
    let started = running.started_at.expect("it has begun");
    assert!(started - queued.created_at >= pause, "when it began, by the store's clock");
    assert_eq!(running.created_at, queued.created_at, "when the handle was first known");
    h.pass_time(2 * h.unit()).await;
    let ended = applied(&*store, &handle, step(Succeeded).result(json!({"rows": 3}))).await;
    assert_eq!(ended.started_at, Some(started), "when it began");
    assert!(ended.finished_at.expect("it has ended") - started >= pause, "when it ended");
    assert_eq!(ended.finished_at, Some(ended.updated_at), "the end was the last change");
    assert_eq!(ended.result, Some(json!({"rows": 3})), "what came of it");
    assert_eq!(known(&*store, &handle).await, ended, "what a get shows is what a step returned");
    let other = h.another(&store).await;
    assert_eq!(known(&*other, &handle).await, ended, "whoever asks");
}

pub(crate) async fn the_first_step_makes_the_status(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let owner = SessionRef::random();
    for state in [Queued, Running, Succeeded, Failed, Cancelled] {
        let handle = StatusHandle::random();
        assert_eq!(get(&*store, &handle).await, None, "nobody knows the handle");
        let first = step(state).execution(3, 2, 4).owner(Some(owner));
        let status = applied(&*store, &handle, first).await;
        let found = (status.state, status.run, status.attempt, status.delivery, status.owner);
        assert_eq!(found, (state, 3, 2, 4, Some(owner)), "as the step says");
        assert_eq!(status.started_at.is_some(), state != Queued, "whether it has begun");
        assert_eq!(status.finished_at.is_some(), state.is_terminal(), "whether it has ended");
        assert_eq!(known(&*store, &handle).await, status, "it is stored");
    }
}

pub(crate) async fn a_later_step_is_applied_and_an_earlier_one_refused(h: &dyn StatusHarness) {
    /// (state, run, delivery, units done)
    type Place = (JobState, u32, u32, u64);
    let table: &[(Place, Place, bool)] = &[
        ((Queued, 1, 1, 0), (Queued, 1, 1, 0), false),
        ((Queued, 1, 1, 0), (Running, 1, 1, 0), true),
        ((Queued, 1, 1, 0), (Succeeded, 1, 1, 0), true),
        ((Queued, 1, 1, 0), (Queued, 1, 2, 0), true),
        ((Queued, 1, 2, 0), (Running, 1, 1, 9), false),
        ((Queued, 1, 2, 0), (Failed, 1, 1, 0), false),
        ((Queued, 1, 2, 0), (Running, 1, 3, 0), true),
        ((Running, 1, 1, 0), (Queued, 1, 1, 0), false),
        ((Running, 1, 1, 3), (Running, 1, 1, 3), true),
        ((Running, 1, 1, 3), (Running, 1, 1, 4), true),
        ((Running, 1, 1, 3), (Running, 1, 1, 2), false),
        ((Running, 1, 1, 9), (Queued, 1, 2, 0), true),
        ((Running, 1, 1, 9), (Running, 1, 2, 0), true),
        ((Running, 1, 2, 0), (Running, 1, 1, 9), false),
        ((Running, 1, 2, 0), (Succeeded, 1, 1, 0), false),
        ((Running, 1, 2, 9), (Succeeded, 1, 2, 0), true),
        ((Running, 1, 2, 0), (Failed, 1, 2, 0), true),
        ((Running, 2, 1, 0), (Succeeded, 1, 9, 9), false),
        ((Running, 1, 9, 9), (Queued, 2, 1, 0), true),
        ((Succeeded, 1, 1, 0), (Succeeded, 1, 1, 0), false),
        ((Succeeded, 1, 1, 0), (Failed, 1, 1, 0), false),
        ((Succeeded, 1, 1, 0), (Running, 1, 2, 0), false),
        ((Succeeded, 1, 1, 0), (Succeeded, 1, 9, 9), false),
        ((Failed, 1, 1, 0), (Succeeded, 1, 2, 0), false),
        ((Cancelled, 1, 1, 0), (Running, 1, 1, 0), false),
        ((Succeeded, 1, 1, 0), (Queued, 2, 1, 0), true),
        ((Failed, 1, 5, 0), (Running, 2, 1, 0), true),
        ((Cancelled, 1, 1, 0), (Succeeded, 2, 1, 0), true),
        ((Failed, 2, 1, 0), (Succeeded, 1, 1, 0), false),
        ((Failed, 2, 1, 0), (Queued, 1, 1, 0), false),
    ];
    let store = h.fresh_store().await;
    let update = |(state, run, delivery, done): Place| {
        step(state).execution(run, delivery, delivery).progress(Progress::new(done, None))
    };
    for (index, (stored, next, follows)) in table.iter().enumerate() {
        println!("row {index}: {stored:?}, then {next:?}");
        let handle = StatusHandle::random();
        applied(&*store, &handle, update(*stored)).await;
        if *follows {
            let status = applied(&*store, &handle, update(*next)).await;
            let found = (status.state, status.run, status.delivery, status.progress.done);
            assert_eq!(found, *next, "row {index}: as the step says");
            assert_eq!(known(&*store, &handle).await, status, "row {index}: it is stored");
        } else {
            refused(&*store, &handle, update(*next)).await;
        }
    }
}

pub(crate) async fn a_step_that_is_repeated_after_a_timeout_harms_nothing(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = StatusHandle::random();
    let steps = [
        step(Queued),
        step(Running).progress(Progress::new(1, 2)).checkpoint("one"),
        step(Succeeded).result(json!("done")),
    ];
    for update in steps {
        let first = applied(&*store, &handle, update.clone()).await;
        advance(&*store, &handle, update).await;
        let mut second = (*known(&*store, &handle).await).clone();
        (second.version, second.updated_at) = (first.version, first.updated_at);
        assert_eq!(second, *first, "the same status");
    }
}

pub(crate) async fn an_end_is_never_left_within_its_run(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for end in [Succeeded, Failed, Cancelled] {
        let handle = at(&*store, &[Queued, Running, end]).await;
        for state in [Queued, Running, Succeeded, Failed, Cancelled] {
            for delivery in [1, 2, 100] {
                let late = step(state).execution(1, delivery, delivery);
                refused(&*store, &handle, late.progress(Progress::new(9, 9))).await;
            }
        }
    }
}

pub(crate) async fn a_new_run_begins_with_nothing(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = StatusHandle::random();
    let owner = Some(SessionRef::random());
    let first = applied(&*store, &handle, step(Queued).owner(owner)).await;
    let busy = step(Running).progress(Progress::new(7, 9).message("seven")).checkpoint("seven");
    applied(&*store, &handle, busy).await;
    store.request_cancel(&handle).await.expect("the store takes a request");
    applied(&*store, &handle, step(Failed).error(JobFailure::new("no disk"))).await;
    let next = applied(&*store, &handle, step(Queued).execution(2, 1, 1)).await;
    assert_eq!((next.state, next.run), (Queued, 2), "the next run waits");
    assert_eq!(next.progress, Progress::default(), "no progress of the run before");
    assert_eq!((&next.checkpoint, &next.result, &next.error), (&None, &None, &None), "nor else");
    assert_eq!((next.started_at, next.finished_at), (None, None), "it has not begun");
    assert!(!next.cancel_requested, "the request was about the run before");
    assert_eq!((next.owner, next.created_at), (owner, first.created_at), "whose it is stays");
}

pub(crate) async fn a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint(
    h: &dyn StatusHarness,
) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    let busy = step(Running).progress(Progress::new(7, 9)).checkpoint("at seven");
    let running = applied(&*store, &handle, busy).await;
    let error = JobFailure::new("no disk").detail("/dev/full");
    let waits = step(Queued).execution(1, 2, 2).error(error.clone()).retry_in(4 * h.unit());
    let waits = applied(&*store, &handle, waits).await;
    assert_eq!((waits.state, waits.attempt, waits.delivery), (Queued, 2, 2), "it waits again");
    assert_eq!(waits.error, Some(error.clone()), "why it waits again");
    let retry_in = waits.retry_at.expect("it says until when") - waits.updated_at;
    assert_eq!(retry_in.to_std().ok(), Some(4 * h.unit()), "by the store's clock");
    assert_eq!(waits.checkpoint.as_deref(), Some(&b"at seven"[..]), "the checkpoint is kept");
    assert_eq!(waits.progress, Progress::default(), "progress begins anew");
    let again = applied(&*store, &handle, step(Running).execution(1, 2, 2)).await;
    assert_eq!(again.checkpoint.as_deref(), Some(&b"at seven"[..]), "and handed on");
    assert_eq!((again.retry_at, again.error.clone()), (None, Some(error)), "it waits no more");
    assert_eq!(again.started_at, running.started_at, "when the run first ran");
    let ended = applied(&*store, &handle, step(Succeeded).execution(1, 2, 2)).await;
    assert_eq!(ended.error, None, "what succeeded has no error");
}

pub(crate) async fn progress_and_checkpoint_stay_until_they_change(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let progress = Progress::new(2, 9).message("two of nine");
    let first = step(Running).progress(progress.clone()).checkpoint(&b"\x00\xff"[..]);
    applied(&*store, &handle, first).await;
    let same = applied(&*store, &handle, step(Running)).await;
    assert_eq!(same.progress, progress, "a step that says nothing changes nothing");
    assert_eq!(same.checkpoint.as_deref(), Some(&b"\x00\xff"[..]), "any bytes");
    let next = step(Running).progress(Progress::new(3, None)).checkpoint("");
    let next = applied(&*store, &handle, next).await;
    assert_eq!(next.progress, Progress::new(3, None), "the step's own");
    assert_eq!(next.checkpoint.as_deref(), Some(&b""[..]), "an empty one is one");
    let ended = applied(&*store, &handle, step(Failed).error(JobFailure::new("no disk"))).await;
    assert_eq!(ended.progress, Progress::new(3, None), "how far it came");
    assert_eq!(ended.error, Some(JobFailure::new("no disk")), "why it ended");
}

pub(crate) async fn a_checkpoint_over_the_limit_is_too_large(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let full = step(Running).checkpoint(vec![7; MAX_CHECKPOINT]);
    let status = applied(&*store, &handle, full).await;
    assert_eq!(status.checkpoint.as_ref().map(|it| it.len()), Some(MAX_CHECKPOINT), "all of it");
    let over = step(Running).progress(Progress::new(1, 2)).checkpoint(vec![7; MAX_CHECKPOINT + 1]);
    let error = store.advance(&handle, &over, super::kit::LONG).await;
    let error = error.expect_err("one byte too much");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(error.reason(), Some(Reason::BodyTooLarge), "{error}");
    assert_eq!(known(&*store, &handle).await, status, "nothing of the step is stored");
}

pub(crate) async fn versions_differ(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = StatusHandle::random();
    let mut seen = Vec::new();
    let steps: [StatusUpdate; 6] = [
        step(Queued),
        step(Running),
        step(Running),
        step(Running).progress(Progress::new(1, 2)),
        step(Failed),
        step(Queued).execution(2, 1, 1),
    ];
    for update in steps {
        seen.push(applied(&*store, &handle, update).await.version);
    }
    applied(&*store, &handle, step(Running).execution(2, 1, 1)).await;
    store.request_cancel(&handle).await.expect("the store takes a request");
    seen.push(known(&*store, &handle).await.version);
    store.remove(&handle).await.expect("the store forgets");
    seen.push(applied(&*store, &handle, step(Queued)).await.version);
    for (index, version) in seen.iter().enumerate() {
        assert!(!seen[..index].contains(version), "each version is new: {seen:?}");
    }
}

pub(crate) async fn handles_do_not_meet(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handles = [(); 20].map(|()| StatusHandle::random());
    for (index, handle) in handles.iter().enumerate() {
        let own = StatusUpdate::new(index.to_string(), Queued);
        applied(&*store, handle, own).await;
    }
    assert!(store.remove(&handles[0]).await.expect("the store removes"), "it was known");
    for (index, handle) in handles.iter().enumerate().skip(1) {
        assert_eq!(known(&*store, handle).await.kind, index.to_string(), "its own status");
    }
}

pub(crate) async fn one_of_many_ends_wins(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for round in 0..20 {
        let handle = at(&*store, &[Queued, Running]).await;
        let wins = Arc::new(AtomicU32::new(0)); // read, then written: two winners at once show
        let start = Arc::new(tokio::sync::Barrier::new(8));
        let mut tasks = Vec::new();
        for number in 0..8_u32 {
            let store = h.another(&store).await;
            let (wins, start) = (Arc::clone(&wins), Arc::clone(&start));
            tasks.push(tokio::spawn(async move {
                start.wait().await;
                let end = step([Succeeded, Failed][number as usize % 2]).result(json!(number));
                let advance = advance(&*store, &handle, end).await;
                if advance.is_applied() {
                    let seen = wins.load(Ordering::SeqCst);
                    wins.store(seen + 1, Ordering::SeqCst);
                }
                (number, advance)
            }));
        }
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.expect("a step does not panic"));
        }
        assert_eq!(wins.load(Ordering::SeqCst), 1, "one end of eight, in round {round}");
        let stored = known(&*store, &handle).await;
        for (number, advance) in told {
            assert_eq!(advance.status(), &stored, "everybody is told the end that won");
            let won = stored.result == Some(json!(number));
            assert_eq!(advance.is_applied(), won, "the winner is the one that is stored");
        }
    }
}

pub(crate) async fn steps_at_once_leave_the_latest(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let mut tasks = Vec::new();
    for task in 0..6_u64 {
        let store = h.another(&store).await;
        tasks.push(tokio::spawn(async move {
            let mut versions = Vec::new();
            for done in 0..40 {
                let done = done * 6 + task;
                let busy = step(Running).progress(Progress::new(done, None));
                let advance = advance(&*store, &handle, busy).await;
                if advance.is_applied() {
                    versions.push((advance.status().version, advance.status().progress.done));
                }
            }
            versions
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a step does not panic"));
    }
    assert_eq!(known(&*store, &handle).await.progress.done, 239, "the latest step is stored");
    let mut versions: Vec<u64> = all.iter().map(|(version, _)| *version).collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), all.len(), "each step that was applied has a version of its own");
}

pub(crate) async fn a_store_that_answers_is_healthy(h: &dyn StatusHarness) {
    let health = h.fresh_store().await.health().await;
    assert!(health.is_usable(), "it can be used: {health:?}");
    assert!(!health.asked.is_empty(), "it says what was asked");
}
