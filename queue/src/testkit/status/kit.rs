//! What the cases are written with.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::handle::StatusHandle;
use crate::status::{Advance, JobState, JobStatus, StatusStore, StatusUpdate};
use crate::testkit::harness::StatusHarness;

/// A span that no case lets pass.
pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

/// A status, or that there is none: what waits and gets return.
pub(super) type Found = Option<Arc<JobStatus>>;

/// A step of the first delivery of the first run.
pub(super) fn step(state: JobState) -> StatusUpdate {
    StatusUpdate::new("case", state)
}

/// A step of a job of its own.
pub(super) async fn advance(
    store: &dyn StatusStore,
    handle: &StatusHandle,
    update: StatusUpdate,
) -> Advance {
    store.advance(handle, &update, LONG).await.expect("the store takes a step")
}

/// A step that must be applied; the status after it.
pub(super) async fn applied(
    store: &dyn StatusStore,
    handle: &StatusHandle,
    update: StatusUpdate,
) -> Arc<JobStatus> {
    let what = format!("{update:?}");
    match advance(store, handle, update).await {
        Advance::Applied(status) => status,
        Advance::Refused(status) => panic!("{what} is applied, not refused for {status:?}"),
    }
}

/// A step that must be refused and change nothing.
pub(super) async fn refused(store: &dyn StatusStore, handle: &StatusHandle, update: StatusUpdate) {
    let before = known(store, handle).await;
    let what = format!("{update:?}");
    match advance(store, handle, update).await {
        Advance::Applied(status) => panic!("{what} is refused, not applied as {status:?}"),
        Advance::Refused(status) => assert_eq!(status, before, "{what}: what is stored is told"),
    }
    assert_eq!(known(store, handle).await, before, "{what} changes nothing");
}

/// What is stored under the handle.
pub(super) async fn get(store: &dyn StatusStore, handle: &StatusHandle) -> Found {
    store.get(handle).await.expect("the store answers a get")
}

/// The status that must be there.
pub(super) async fn known(store: &dyn StatusStore, handle: &StatusHandle) -> Arc<JobStatus> {
    get(store, handle).await.expect("the handle is known")
}

/// A fresh handle that has gone through `states`.
pub(super) async fn at(store: &dyn StatusStore, states: &[JobState]) -> StatusHandle {
    let handle = StatusHandle::random();
    for state in states {
        applied(store, &handle, step(*state)).await;
    }
    handle
}

/// A wait on a task of its own; returns once it surely waits.
pub(super) async fn waiter(
    h: &dyn StatusHarness,
    store: &Arc<dyn StatusStore>,
    handle: StatusHandle,
    seen: u64,
    timeout: Duration,
) -> JoinHandle<Found> {
    let store = Arc::clone(store);
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut waits = pin!(store.wait(&handle, seen, timeout));
        // the first poll is where a backend in this process begins to wait
        let first = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
        let _ = began.send(());
        let ended = match first {
            Poll::Ready(ended) => ended,
            Poll::Pending => waits.await,
        };
        ended.expect("the store answers a wait")
    });
    has_begun.await.expect("the wait has begun");
    tokio::time::sleep(h.idle()).await;
    task
}

/// What a wait returns, promptly.
pub(super) async fn woken(h: &dyn StatusHarness, task: JoinHandle<Found>) -> Found {
    let bound = h.wake_bound();
    let ended = tokio::time::timeout(bound, task).await;
    let ended = ended.unwrap_or_else(|_| panic!("a wait returns within {bound:?} (T6)"));
    ended.expect("the wait does not panic")
}
