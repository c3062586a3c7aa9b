//! T6: what wakes a waiter, and what does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kit::{LONG, advance, applied, at, known, step, waiter, woken};
use crate::handle::StatusHandle;
use crate::status::{JobState, Progress};
use crate::testkit::harness::StatusHarness;

use JobState::{Queued, Running, Succeeded};

pub(crate) async fn a_step_wakes_a_waiter(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let other = h.another(&store).await;
    let handle = at(&*store, &[Queued]).await;
    let steps = [step(Running), step(Running).progress(Progress::new(1, 2)), step(Succeeded)];
    for update in steps {
        let seen = known(&*store, &handle).await.version;
        let task = waiter(h, &store, handle, seen, LONG).await;
        assert!(!task.is_finished(), "it waits for the next version");
        let stored = applied(&*other, &handle, update).await;
        assert_eq!(woken(h, task).await, Some(stored), "the status as it is now");
    }
}

pub(crate) async fn a_version_that_is_over_is_not_waited_for(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let now = known(&*store, &handle).await;
    for seen in [0, now.version.wrapping_sub(1), now.version.wrapping_add(7), u64::MAX] {
        let began = Instant::now();
        let found = store.wait(&handle, seen, LONG).await.expect("the store answers a wait");
        assert_eq!(found.as_ref(), Some(&now), "version {seen} is not the one that is stored");
        assert!(began.elapsed() < h.wake_bound(), "it is answered at once");
    }
}

pub(crate) async fn a_request_to_cancel_wakes_a_waiter(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    for states in [&[Queued][..], &[Queued, Running][..]] {
        let handle = at(&*store, states).await;
        let seen = known(&*store, &handle).await.version;
        let task = waiter(h, &store, handle, seen, LONG).await;
        store.request_cancel(&handle).await.expect("the store takes a request");
        let status = woken(h, task).await.expect("the handle is known");
        assert!(status.cancel_requested, "the request is there to be seen");
    }
}

pub(crate) async fn a_removal_wakes_a_waiter(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    let seen = known(&*store, &handle).await.version;
    let task = waiter(h, &store, handle, seen, LONG).await;
    assert!(store.remove(&handle).await.expect("the store removes"), "it was known");
    assert_eq!(woken(h, task).await, None, "there is nothing to wait for any more");
}

pub(crate) async fn an_expiry_wakes_a_waiter(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    store.advance(&handle, &step(Succeeded), 4 * h.unit()).await.expect("the store takes a step");
    let seen = known(&*store, &handle).await.version;
    let task = waiter(h, &store, handle, seen, LONG).await;
    h.pass_time(6 * h.unit()).await;
    assert_eq!(woken(h, task).await, None, "there is nothing to wait for any more");
}

pub(crate) async fn a_wait_ends_in_its_time_with_what_is_there(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    let now = known(&*store, &handle).await;
    let task = waiter(h, &store, handle, now.version, 6 * h.unit()).await;
    h.pass_time(2 * h.unit()).await;
    tokio::time::sleep(h.idle()).await;
    assert!(!task.is_finished(), "it waits as long as it was told to");
    h.pass_time(5 * h.unit()).await;
    assert_eq!(woken(h, task).await.as_ref(), Some(&now), "nothing has changed");
    let brief = store.wait(&handle, now.version, Duration::ZERO).await;
    assert_eq!(brief.expect("the store answers a wait"), Some(now), "no wait is a get");
}

pub(crate) async fn a_wait_for_nobody_returns_at_once(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let task = waiter(h, &store, StatusHandle::random(), 0, LONG).await;
    assert_eq!(woken(h, task).await, None, "nobody knows the handle");
}

pub(crate) async fn what_changes_nothing_wakes_nobody(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued, Running]).await;
    let running = known(&*store, &handle).await;
    let task = waiter(h, &store, handle, running.version, LONG).await;
    assert!(!advance(&*store, &handle, step(Queued)).await.is_applied(), "it is an earlier step");
    applied(&*store, &StatusHandle::random(), step(Queued)).await;
    known(&*store, &handle).await;
    tokio::time::sleep(h.idle()).await;
    assert!(!task.is_finished(), "neither a refused step nor another job wakes it");
    applied(&*store, &handle, step(Succeeded)).await;
    assert_eq!(woken(h, task).await.map(|status| status.state), Some(Succeeded), "its end does");
}

pub(crate) async fn a_waiter_that_goes_leaves_the_others(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    let seen = known(&*store, &handle).await.version;
    let goes = waiter(h, &store, handle, seen, LONG).await;
    let stays = waiter(h, &store, handle, seen, LONG).await;
    goes.abort();
    drop(goes.await);
    applied(&*store, &handle, step(Running)).await;
    assert_eq!(woken(h, stays).await.map(|status| status.state), Some(Running), "it is woken");
}

pub(crate) async fn no_change_is_missed_between_two_waits(h: &dyn StatusHarness) {
    let store = h.fresh_store().await;
    let handle = at(&*store, &[Queued]).await;
    let follower = tokio::spawn({
        let store = h.another(&store).await;
        async move {
            let mut seen = 0;
            loop {
                let status = store.wait(&handle, seen, LONG).await.expect("the store answers");
                let status = status.expect("the handle is known");
                assert_ne!(status.version, seen, "a wait that long returns with news");
                seen = status.version;
                if status.state.is_terminal() {
                    return status.progress.done;
                }
            }
        }
    });
    for done in 1..=200 {
        let busy = step(Running).progress(Progress::new(done, 200));
        applied(&*store, &handle, busy).await;
        if done % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    applied(&*store, &handle, step(Succeeded)).await;
    let done = tokio::time::timeout(h.wake_bound(), follower).await.expect("the end is seen");
    assert_eq!(done.expect("the follower does not panic"), 200, "with all that came before");
}

pub(crate) async fn ten_thousand_waiters_are_woken(h: &dyn StatusHarness) {
    const WAITERS: usize = 10_000;
    const HANDLES: usize = 100;
    let store = h.fresh_store().await;
    let mut handles = Vec::new();
    for _ in 0..HANDLES {
        let handle = at(&*store, &[Queued]).await;
        handles.push((handle, known(&*store, &handle).await.version));
    }
    let tasks: Vec<_> = (0..WAITERS)
        .map(|number| {
            let (handle, seen) = handles[number % HANDLES];
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.wait(&handle, seen, LONG).await })
        })
        .collect();
    tokio::time::sleep(10 * h.idle()).await;
    let began = Instant::now();
    for (handle, _) in &handles {
        applied(&*store, handle, step(Running)).await;
    }
    let all = async {
        for task in tasks {
            let status = task.await.expect("a wait does not panic");
            let status = status.expect("the store answers a wait").expect("the handle is known");
            assert_eq!(status.state, Running, "each is woken by its own job");
        }
    };
    let bound = Duration::from_secs(10);
    tokio::time::timeout(bound, all).await.expect("nobody sleeps on");
    println!("{WAITERS} waiters woken in {:?}", began.elapsed());
}
