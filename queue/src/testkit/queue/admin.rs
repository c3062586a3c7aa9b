//! What operators do: looking, pausing, purging.

use standfast_core::ErrorKind;

use super::kit::{
    LONG, ack, assert_counts, assert_nothing, bodies, bury, extended, fresh, looks, message, put,
    put_all, put_dead, redrive_all, take, take_all, waiter, waiting,
};
use crate::delivery::ReceiveOptions;
use crate::queue::Queue;
use crate::testkit::harness::QueueHarness;

/// The declared form of a backend that cannot pause.
pub(super) async fn cannot_pause(queue: &dyn Queue) {
    for result in [queue.pause().await, queue.resume().await] {
        let error = result.expect_err("it says that it cannot pause");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

/// The bodies that `peek` shows, if the backend can look.
async fn peeked(queue: &dyn Queue, limit: usize) -> Option<Vec<String>> {
    match queue.peek(limit).await {
        Ok(shown) => {
            let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
            Some(shown.iter().map(|envelope| text(&envelope.body)).collect())
        }
        Err(error) => {
            assert!(!looks(queue), "it can look: {error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            None
        }
    }
}

pub(crate) async fn a_look_ahead_changes_nothing(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &["a", "b", "c", "d"].map(message)).await;
    for _ in 0..8 {
        let Some(mut shown) = peeked(&queue, 10).await else { break };
        shown.sort();
        assert_eq!(shown, ["a", "b", "c", "d"], "what comes next");
        assert_eq!(peeked(&queue, 2).await.map(|shown| shown.len()), Some(2), "as many as asked");
        assert_eq!(peeked(&queue, 0).await.map(|shown| shown.len()), Some(0), "as many as asked");
    }
    assert_counts(&queue, [4, 0, 0, 0]).await;
    for received in take_all(&queue, 4, LONG).await {
        let numbers = (received.attempt, received.delivery, received.crashes);
        assert_eq!(numbers, (1, 1, 0), "a look is no delivery");
    }
}

pub(crate) async fn a_look_ahead_shows_what_can_be_delivered(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("leased")).await;
    let leased = take(&queue, 4 * h.unit()).await;
    assert_eq!(bodies([&leased]), ["leased"], "the only message");
    put_all(&queue, &[message("delayed").delay(4 * h.unit()), message("ready")]).await;
    let Some(shown) = peeked(&queue, 10).await else { return };
    assert_eq!(shown, ["ready"], "neither what is out nor what is not due");
    h.pass_time(6 * h.unit()).await;
    let mut shown = peeked(&queue, 10).await.expect("it can look");
    shown.sort();
    assert_eq!(shown, ["delayed", "leased", "ready"], "what is due by now");
}

pub(crate) async fn it_is_known_who_holds_what(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &["a", "b", "c"].map(message)).await;
    let named = ReceiveOptions::new(1).lease(LONG).worker("worker-7");
    let first = queue.receive(&named).await.expect("the queue answers a receive");
    let first = super::kit::only(&first).clone();
    take(&queue, 2 * h.unit()).await; // by nobody who says so, and soon over
    let shown = match queue.leased(10).await {
        Ok(shown) => shown,
        Err(error) => {
            assert!(!looks(&queue), "it can look: {error}");
            return assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    };
    assert_eq!(shown.len(), 2, "two are out");
    let held = shown.iter().find(|leased| leased.id == first.receipt.id());
    let held = held.expect("the first is out");
    assert_eq!(held.worker.as_deref(), Some("worker-7"), "who holds it");
    assert_eq!((held.kind.as_str(), held.attempt), ("case", 1), "what it is");
    let since = held.since;
    assert!(since >= first.due_at, "out since {since}, due since {}", first.due_at);
    assert_eq!(queue.leased(1).await.expect("it can look").len(), 1, "as many as asked");
    let unnamed = shown.iter().find(|leased| leased.id != first.receipt.id());
    assert_eq!(unnamed.expect("there are two").worker, None, "nobody said so");
    h.pass_time(4 * h.unit()).await;
    let shown = queue.leased(10).await.expect("it can look");
    assert_eq!(shown.len(), 1, "what has run out is not out");
    assert_eq!((shown[0].id, shown[0].since), (first.receipt.id(), since), "as before");
    extended(&queue, &first, LONG).await; // and looking has changed nothing
    ack(&queue, &first).await;
}

pub(crate) async fn a_paused_queue_delivers_nothing_and_takes_everything(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().pause {
        return cannot_pause(&queue).await;
    }
    put_all(&queue, &["a", "b", "c"].map(message)).await;
    let out = take_all(&queue, 2, LONG).await;
    queue.pause().await.expect("the queue pauses");
    queue.pause().await.expect("twice is no error");
    assert_nothing(&queue).await;
    assert_nothing(&h.another(&queue).await).await;
    put(&queue, message("d")).await;
    extended(&queue, &out[0], LONG).await;
    ack(&queue, &out[0]).await;
    super::kit::settled(&queue, &out[1], crate::Settlement::release()).await;
    assert_nothing(&queue).await;
    assert_counts(&queue, [3, 0, 0, 0]).await;
    queue.resume().await.expect("the queue resumes");
    queue.resume().await.expect("twice is no error");
    take_all(&queue, 3, LONG).await;
}

pub(crate) async fn leases_and_delays_go_on_in_a_pause(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().pause {
        return cannot_pause(&queue).await;
    }
    put(&queue, message("leased")).await;
    let held = take(&queue, 4 * h.unit()).await;
    put(&queue, message("delayed").delay(4 * h.unit())).await;
    queue.pause().await.expect("the queue pauses");
    let task = waiter(h, &queue, waiting(1)).await;
    h.pass_time(6 * h.unit()).await;
    tokio::time::sleep(h.idle()).await;
    assert!(!task.is_finished(), "what becomes due is not delivered");
    super::kit::assert_stale(&queue, &held).await;
    assert_counts(&queue, [2, 0, 0, 0]).await;
    queue.resume().await.expect("the queue resumes");
    let mut back = super::kit::woken(h, task).await.deliveries;
    back.extend(take_all(&queue, 2 - back.len(), LONG).await);
    let attempts: u32 = back.iter().map(|received| received.attempt).sum();
    assert_eq!(attempts, 3, "the lease that ran out is an attempt, the delay is none");
}

pub(crate) async fn a_purge_deletes_all_but_the_dead(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_dead(&queue, message("dead"), "no use").await;
    put_all(&queue, &["a", "b", "c", "d"].map(message)).await;
    put(&queue, message("delayed").delay(4 * h.unit())).await;
    let leased = take(&queue, 4 * h.unit()).await;
    let purged = queue.purge().await.expect("the queue purges");
    if queue.capabilities().exact_stats {
        assert_eq!(purged, 5, "how many are gone, those that are out included");
    }
    assert_counts(&queue, [0, 0, 0, 1]).await;
    assert_nothing(&queue).await;
    h.pass_time(6 * h.unit()).await;
    super::kit::assert_stale(&queue, &leased).await;
    assert_nothing(&queue).await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "the dead are kept");
    let dead = take(&queue, LONG).await;
    assert_eq!(bodies([&dead]), ["dead"], "and can be sent again");
    bury(&queue, &dead, "no use").await;
    let purged = queue.purge().await.expect("the queue purges");
    if queue.capabilities().exact_stats {
        assert_eq!(purged, 0, "there is nothing left");
    }
}

pub(crate) async fn a_purged_queue_goes_on(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    for _ in 0..3 {
        let again = || super::kit::once_more(&queue, &sent);
        put_all(&queue, &[again(), message("b").delay(2 * h.unit())]).await;
        queue.purge().await.expect("the queue purges");
        put(&queue, again()).await;
        let received = take(&queue, 2 * h.unit()).await;
        assert_eq!((received.attempt, received.crashes), (1, 0), "nothing of before counts");
        h.pass_time(4 * h.unit()).await;
        let received = take(&queue, LONG).await;
        assert_eq!(received.attempt, 2, "leases work as before");
        ack(&queue, &received).await;
        assert_nothing(&queue).await;
    }
}
