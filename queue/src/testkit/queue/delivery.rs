//! Q1, Q2, Q4: what a delivery is and what ends it.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::kit::{
    LONG, ack, again, assert_counts, assert_nothing, bodies, fresh, message, put, put_all, receive,
    release, settled, take, take_all,
};
use crate::delivery::Settlement;
use crate::testkit::harness::QueueHarness;

pub(crate) async fn an_acked_message_is_not_delivered_again(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let received = take(&queue, 2 * h.unit()).await;
    ack(&queue, &received).await;
    assert_nothing(&queue).await;
    h.pass_time(4 * h.unit()).await;
    assert_nothing(&queue).await;
    assert_counts(&queue, [0, 0, 0, 0]).await;
}

pub(crate) async fn an_empty_queue_answers_at_once(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let began = Instant::now();
    assert_nothing(&queue).await;
    assert!(began.elapsed() < h.wake_bound(), "a receive without a wait does not wait");
    assert_counts(&queue, [0, 0, 0, 0]).await;
}

pub(crate) async fn no_more_is_delivered_than_was_asked_for(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &["a", "b", "c", "d"].map(message)).await;
    let mut seen = bodies(&receive(&queue, 3, LONG).await.deliveries);
    assert!(!seen.is_empty() && seen.len() <= 3, "some of at most 3, not {seen:?}");
    let rest = take_all(&queue, 4 - seen.len(), LONG).await;
    seen.extend(bodies(&rest));
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "d"], "each message is delivered once");
}

pub(crate) async fn an_unsettled_message_comes_back_after_its_lease(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let id = put(&queue, message("a")).await;
    let first = take(&queue, 4 * h.unit()).await;
    assert_eq!((first.attempt, first.delivery, first.crashes), (1, 1, 0), "the first delivery");
    h.pass_time(h.unit()).await;
    assert_nothing(&queue).await;
    h.pass_time(4 * h.unit()).await;
    let second = take(&queue, LONG).await;
    assert_eq!(second.receipt.id(), id, "the same message");
    assert_eq!((second.attempt, second.delivery), (2, 2), "the second attempt and delivery");
    let crashes = if queue.capabilities().counts_crashes { 1 } else { second.crashes };
    assert_eq!(second.crashes, crashes, "one lease ran out");
}

pub(crate) async fn each_lease_runs_for_itself(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &["a", "b"].map(message)).await;
    let short = take(&queue, 2 * h.unit()).await;
    let long = take(&queue, LONG).await;
    h.pass_time(4 * h.unit()).await;
    let back = take(&queue, LONG).await;
    assert_eq!(back.receipt.id(), short.receipt.id(), "only the short lease has run out");
    assert_nothing(&queue).await;
    ack(&queue, &long).await;
}

pub(crate) async fn an_extended_lease_lasts_longer(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let received = take(&queue, 4 * h.unit()).await;
    for _ in 0..2 {
        h.pass_time(2 * h.unit()).await;
        super::kit::extended(&queue, &received, 6 * h.unit()).await;
    }
    h.pass_time(2 * h.unit()).await; // 6 units: the first lease would have ended at 4
    assert_nothing(&queue).await;
    ack(&queue, &received).await;
}

pub(crate) async fn an_extension_counts_from_now_and_may_shorten(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let received = take(&queue, 16 * h.unit()).await;
    super::kit::extended(&queue, &received, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    let back = take(&queue, LONG).await;
    assert_eq!(back.receipt.id(), received.receipt.id(), "the lease ended 2 units after the call");
}

pub(crate) async fn a_released_message_comes_back_at_once(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let first = take(&queue, LONG).await;
    settled(&queue, &first, Settlement::release()).await;
    let second = take(&queue, LONG).await;
    assert_eq!(second.receipt.id(), first.receipt.id(), "the same message");
    assert_nothing(&queue).await;
}

pub(crate) async fn a_released_message_waits_for_its_delay(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let first = take(&queue, 2 * h.unit()).await;
    settled(&queue, &first, release(6 * h.unit(), true)).await;
    assert_counts(&queue, [0, 0, 1, 0]).await;
    h.pass_time(4 * h.unit()).await; // the lease would have ended here
    assert_nothing(&queue).await;
    h.pass_time(4 * h.unit()).await;
    take(&queue, LONG).await;
}

pub(crate) async fn a_release_counts_as_an_attempt_or_not(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let mut expected = (1, 1);
    for counted in [false, true, true, false, true] {
        let received = take(&queue, LONG).await;
        assert_eq!(received.delivery, expected.1, "every delivery is numbered");
        if queue.capabilities().counts_crashes {
            assert_eq!(received.attempt, expected.0, "only what counts raises the attempt");
            assert_eq!(received.crashes, 0, "a release is no crash");
        }
        settled(&queue, &received, release(Duration::ZERO, counted)).await;
        expected = (expected.0 + u32::from(counted), expected.1 + 1);
    }
}

pub(crate) async fn the_last_error_travels_with_the_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let fail = |error: Option<&str>| Settlement::Release {
        delay: Duration::ZERO,
        counted: true,
        error: error.map(str::to_owned),
    };
    let mut seen = Vec::new();
    for error in [Some("no disk"), Some("no network"), None] {
        let received = take(&queue, LONG).await;
        seen.push(received.last_error.clone());
        settled(&queue, &received, fail(error)).await;
    }
    seen.push(take(&queue, LONG).await.last_error);
    if queue.capabilities().counts_crashes {
        let seen: Vec<_> = seen.iter().map(Option::as_deref).collect();
        let network = Some("no network");
        assert_eq!(seen, [None, Some("no disk"), network, network], "what each delivery was told");
    }
}

pub(crate) async fn a_delivery_tells_when_it_was_due_and_when_its_lease_ends(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    h.pass_time(4 * h.unit()).await;
    let lease = 8 * h.unit();
    let before = h.now();
    let first = take(&queue, lease).await;
    let (early, late) = (before + lease, h.now() + lease);
    let until = first.lease_until;
    assert!(until >= early - h.unit(), "the lease is as long as asked: {:?} short", early - until);
    assert!(until <= late, "measured from before the request: {:?} long", until - late);
    settled(&queue, &first, release(4 * h.unit(), true)).await;
    h.pass_time(8 * h.unit()).await;
    let second = take(&queue, lease).await;
    assert_eq!(second.due_at, first.due_at, "when the run was first due");
    let delayed = message("b").delay(4 * h.unit());
    put(&queue, delayed).await;
    h.pass_time(6 * h.unit()).await;
    let apart = take(&queue, lease).await.due_at - first.due_at;
    // 4 units before the first receive, 8 after its release, 4 of delay
    let expected = TimeDelta::from_std(16 * h.unit()).expect("a short span");
    assert!(apart >= expected, "a delayed message is due after its delay: {apart} apart");
}

pub(crate) async fn what_was_sent_is_what_is_delivered(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let mut context = standfast_core::Context::default();
    context.request_id = Some("req-1 \"ü\"".to_owned());
    context.session = Some(standfast_core::SessionRef::random());
    context.headers.insert("tenant".to_owned(), "a\nb".to_owned());
    let mut envelope = crate::envelope::Envelope::new("report", "{\"rows\":3}")
        .with_handle(crate::handle::StatusHandle::random())
        .with_version(7)
        .with_context(context);
    envelope.run = 3;
    envelope.headers.insert("replayed_from".to_owned(), serde_json::json!({"at": [1, null]}));
    put(&queue, envelope.clone().into()).await;
    for _ in 0..2 {
        let received = take(&queue, LONG).await;
        assert_eq!(**received.envelope(), envelope, "every header and the body");
        settled(&queue, &received, Settlement::release()).await;
    }
}

pub(crate) async fn an_id_is_free_once_its_message_is_gone(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let first = message("a");
    for round in 0..3 {
        put(&queue, again(&first)).await;
        if round > 0 && queue.capabilities().id_window.is_some() {
            return assert_nothing(&queue).await; // its id is taken still, as the backend declares
        }
        let received = take(&queue, LONG).await;
        assert_eq!(received.attempt, 1, "round {round} begins anew");
        ack(&queue, &received).await;
        assert_nothing(&queue).await;
    }
}
