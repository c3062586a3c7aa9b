//! Q13: stats count what there is.

use super::kit::{
    LONG, assert_counts, bury, fresh, message, put, put_all, put_dead, release, settled, take,
    take_all,
};
use crate::testkit::harness::QueueHarness;

pub(crate) async fn each_message_is_counted_where_it_is(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let mut batch: Vec<_> = ["a", "b", "c", "d", "e"].map(message).into();
    batch.extend(["f", "g"].map(|body| message(body).delay(LONG)));
    put_all(&queue, &batch).await;
    assert_counts(&queue, [5, 0, 2, 0]).await;
    let out = take_all(&queue, 3, LONG).await;
    assert_counts(&queue, [2, 3, 2, 0]).await;
    bury(&queue, &out[0], "no use").await;
    settled(&queue, &out[1], release(LONG, true)).await;
    assert_counts(&queue, [2, 1, 3, 1]).await;
    super::kit::ack(&queue, &out[2]).await;
    assert_counts(&queue, [2, 0, 3, 1]).await;
}

pub(crate) async fn what_waits_behind_its_group_counts_as_ready(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return super::kit::is_unsupported(&queue, message("a").group("g")).await;
    }
    put_all(&queue, &["a", "b", "c"].map(|body| message(body).group("g"))).await;
    assert_counts(&queue, [3, 0, 0, 0]).await;
    take(&queue, LONG).await;
    assert_counts(&queue, [2, 1, 0, 0]).await;
}

pub(crate) async fn counts_follow_the_time_without_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &[message("a"), message("b").delay(2 * h.unit())]).await;
    take(&queue, 2 * h.unit()).await;
    assert_counts(&queue, [0, 1, 1, 0]).await;
    h.pass_time(4 * h.unit()).await;
    assert_counts(&queue, [2, 0, 0, 0]).await;
}

pub(crate) async fn the_age_of_the_oldest_is_how_long_it_has_been_due(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let age = async |what: &str| {
        let stats = queue.stats().await.expect("the queue counts");
        println!("{what}: {:?}", stats.oldest_age);
        stats.oldest_age
    };
    let known = queue.capabilities().age_of_oldest;
    assert_eq!(age("empty").await, None, "nothing has no age");
    put(&queue, message("b").delay(2 * h.unit())).await;
    assert_eq!(age("delayed").await, None, "what is not due has no age");
    h.pass_time(6 * h.unit()).await;
    put(&queue, message("c")).await;
    let found = age("due").await;
    if known {
        let found = found.expect("there is an oldest");
        assert!(found >= 3 * h.unit(), "due for 4 units, not {found:?}");
        assert!(found <= 6 * h.unit(), "its delay is not part of it: {found:?}");
    } else {
        assert_eq!(found, None, "what is not known is not made up");
    }
    take_all(&queue, 2, LONG).await;
    assert_eq!(age("leased").await, None, "what is out has no age");
}

pub(crate) async fn a_pause_is_told(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().pause {
        return super::admin::cannot_pause(&queue).await;
    }
    for paused in [false, true, false] {
        if paused {
            queue.pause().await.expect("the queue pauses");
        } else {
            queue.resume().await.expect("the queue resumes");
        }
        let stats = h.another(&queue).await.stats().await.expect("the queue counts");
        assert_eq!(stats.paused, paused, "whether it is paused");
    }
}

pub(crate) async fn a_queue_that_answers_is_healthy(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_dead(&queue, message("a"), "no use").await;
    let health = queue.health().await;
    assert!(health.is_usable(), "it can be used: {health:?}");
    assert!(!health.asked.is_empty(), "it says what was asked");
}
