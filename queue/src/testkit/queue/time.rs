//! Q6 and Q18: when a message is due, and when it has lost its point.

use std::time::Duration;

use super::kit::{
    LONG, ack, assert_counts, assert_nothing, bodies, fresh, is_unsupported, message, put, put_all,
    receive, release, settled, take, take_all,
};
use crate::testkit::harness::QueueHarness;

pub(crate) async fn a_delayed_message_is_not_early(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &[message("late").delay(6 * h.unit()), message("now")]).await;
    let now = take(&queue, LONG).await;
    assert_eq!(bodies([&now]), ["now"], "what is not delayed is delivered");
    assert_counts(&queue, [0, 1, 1, 0]).await;
    h.pass_time(3 * h.unit()).await;
    assert_nothing(&queue).await;
    h.pass_time(4 * h.unit()).await;
    let late = take(&queue, LONG).await;
    assert_eq!((late.attempt, late.delivery), (1, 1), "a delay is no attempt");
    assert_counts(&queue, [0, 2, 0, 0]).await;
}

pub(crate) async fn delayed_messages_come_as_they_are_due(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let delays = [("c", 9), ("a", 3), ("b", 6)];
    let batch = delays.map(|(body, units)| message(body).delay(units * h.unit()));
    put_all(&queue, &batch).await;
    for body in ["a", "b", "c"] {
        h.pass_time(3 * h.unit() + h.unit() / 2).await;
        let received = receive(&queue, 3, LONG).await.deliveries;
        assert_eq!(bodies(&received), [body], "one is due at a time");
    }
}

pub(crate) async fn a_delay_of_days_is_kept(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let days = Duration::from_secs(3 * 24 * 60 * 60);
    if queue.capabilities().max_delay.is_some_and(|most| most < days) {
        return is_unsupported(&queue, message("a").delay(days)).await;
    }
    put(&queue, message("a").delay(days)).await;
    h.pass_time(h.unit()).await;
    assert_nothing(&queue).await;
    if h.can_pass(days) {
        h.pass_time(days - 2 * h.unit()).await;
        assert_nothing(&queue).await;
        h.pass_time(h.unit()).await;
        let received = take(&queue, LONG).await;
        assert_eq!((received.attempt, received.delivery), (1, 1), "no hop counts as an attempt");
    }
}

pub(crate) async fn a_delay_without_end_is_taken(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let endless = message("a").delay(Duration::MAX);
    let taken = queue.capabilities().max_delay.is_none();
    if taken {
        put(&queue, endless).await;
    } else {
        is_unsupported(&queue, endless).await;
    }
    put(&queue, message("b")).await;
    let received = take_all(&queue, 1, LONG).await;
    assert_eq!(bodies(&received), ["b"], "what never comes due is in nobody's way");
    settled(&queue, &received[0], release(Duration::MAX, true)).await;
    assert_nothing(&queue).await;
    assert_counts(&queue, [0, 0, 1 + u64::from(taken), 0]).await;
}

pub(crate) async fn a_message_past_its_point_is_dropped_and_told(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().drop_after {
        return is_unsupported(&queue, message("a").drop_after(LONG)).await;
    }
    let batch = [message("a").drop_after(3 * h.unit()), message("b").drop_after(LONG)];
    put_all(&queue, &batch).await;
    h.pass_time(5 * h.unit()).await;
    let batch = receive(&queue, 10, LONG).await;
    assert_eq!(bodies(&batch.deliveries), ["b"], "what is in time is delivered, the rest is not");
    assert_eq!(batch.dropped.len(), 1, "what is dropped is told");
    assert_eq!(batch.dropped[0].body, "a", "which one is dropped");
    let stats = queue.stats().await.expect("the queue counts");
    assert_eq!((stats.dropped, stats.dead), (1, 0), "it is counted and not dead");
    assert_counts(&queue, [0, 1, 0, 0]).await;
    assert_nothing(&queue).await;
}

pub(crate) async fn a_message_in_time_is_not_dropped(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().drop_after {
        return is_unsupported(&queue, message("a").drop_after(LONG)).await;
    }
    put(&queue, message("a").drop_after(8 * h.unit())).await;
    h.pass_time(2 * h.unit()).await;
    let received = take(&queue, LONG).await;
    h.pass_time(8 * h.unit()).await;
    ack(&queue, &received).await; // work that began in time may end later
    let stats = queue.stats().await.expect("the queue counts");
    assert_eq!(stats.dropped, 0, "nothing is dropped");
}

pub(crate) async fn a_message_that_comes_back_too_late_is_dropped(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().drop_after {
        return is_unsupported(&queue, message("a").drop_after(LONG)).await;
    }
    put(&queue, message("a").drop_after(4 * h.unit())).await;
    put(&queue, message("b").drop_after(4 * h.unit())).await;
    take(&queue, 5 * h.unit()).await;
    let second = take(&queue, LONG).await;
    settled(&queue, &second, release(5 * h.unit(), false)).await;
    h.pass_time(7 * h.unit()).await;
    let batch = receive(&queue, 10, LONG).await;
    assert!(batch.deliveries.is_empty(), "neither a lease nor a release prolongs its time");
    assert_eq!(batch.dropped.len(), 2, "both are dropped and told");
}
