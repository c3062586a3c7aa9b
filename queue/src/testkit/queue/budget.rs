//! Q5: messages that crash their workers end as dead letters, and dead letters are bounded.

use std::time::Duration;

use super::kit::{
    LONG, ack, assert_counts, assert_nothing, bodies, bury, dead, dead_bodies, fresh, message, put,
    put_dead, receive, release, settled, take, waiter, woken,
};
use crate::dead::DeadLetter;
use crate::delivery::{ReceiveOptions, Settlement};
use crate::testkit::harness::{QueueHarness, QueueSetup};

fn crashes(max_crashes: u32) -> QueueSetup {
    QueueSetup { max_crashes, ..QueueSetup::default() }
}

pub(crate) async fn a_message_that_crashes_too_often_is_buried(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(3)).await;
    let id = put(&queue, message("a")).await;
    for attempt in 1..=3 {
        let received = take(&queue, 2 * h.unit()).await;
        assert_eq!(received.attempt, attempt, "each lease that ran out is an attempt");
        h.pass_time(4 * h.unit()).await;
    }
    let batch = receive(&queue, 10, LONG).await;
    assert!(batch.deliveries.is_empty(), "a buried message is not delivered");
    let letters = dead(&queue).await;
    assert_eq!(letters.len(), 1, "it is with the dead letters");
    assert_eq!(letters[0].envelope.id, id, "the same message");
    if queue.capabilities().counts_crashes {
        assert_eq!(letters[0].reason, DeadLetter::CRASHED, "why it is there");
        let counts = (letters[0].attempts, letters[0].deliveries, letters[0].crashes);
        assert_eq!(counts, (3, 3, 3), "attempts, deliveries and crashes");
        assert_eq!(batch.dead.len(), 1, "the receive that buried it reports it");
        assert_eq!(batch.dead[0].envelope.id, id, "what it reports");
        assert_eq!(batch.dead[0].crashes, 3, "what it reports about it");
    }
    assert_counts(&queue, [0, 0, 0, 1]).await;
}

pub(crate) async fn a_crash_budget_of_one_bears_no_crash(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(1)).await;
    put(&queue, message("a")).await;
    take(&queue, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    assert!(receive(&queue, 1, LONG).await.deliveries.is_empty(), "it is not delivered again");
    assert_eq!(dead_bodies(&queue).await, ["a"], "it is dead");
}

pub(crate) async fn a_death_is_reported_once(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(1)).await;
    let other = h.another(&queue).await;
    for body in ["a", "b", "c"] {
        put(&queue, message(body)).await;
        take(&queue, 2 * h.unit()).await;
    }
    h.pass_time(4 * h.unit()).await;
    let mut reported = Vec::new();
    for receiver in [&queue, &other, &queue, &other] {
        reported.extend(receive(receiver, 1, LONG).await.dead);
    }
    let mut reported: Vec<_> =
        reported.iter().map(|letter| String::from_utf8_lossy(&letter.envelope.body)).collect();
    reported.sort();
    if queue.capabilities().counts_crashes {
        assert_eq!(reported, ["a", "b", "c"], "each death is told to one receiver");
    }
}

pub(crate) async fn a_death_is_told_to_a_receiver_that_waits(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(1)).await;
    put(&queue, message("a")).await;
    take(&queue, 4 * h.unit()).await;
    let wait = ReceiveOptions::new(1).wait(8 * h.unit());
    let task = waiter(h, &queue, wait).await;
    h.pass_time(6 * h.unit()).await;
    let batch = if queue.capabilities().counts_crashes {
        let batch = woken(h, task).await;
        assert_eq!(batch.dead.len(), 1, "the death is reported as it happens");
        batch
    } else {
        h.pass_time(6 * h.unit()).await;
        woken(h, task).await
    };
    assert!(batch.deliveries.is_empty(), "a buried message is not delivered");
}

pub(crate) async fn releases_do_not_use_up_the_crash_budget(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(2)).await;
    if !queue.capabilities().counts_crashes {
        return one_budget_for_all(h).await;
    }
    put(&queue, message("a")).await;
    for round in 0..8 {
        let received = take(&queue, LONG).await;
        settled(&queue, &received, release(Duration::ZERO, round % 2 == 0)).await;
    }
    take(&queue, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    let survivor = take(&queue, 2 * h.unit()).await; // one crash of two
    assert_eq!((survivor.attempt, survivor.delivery, survivor.crashes), (6, 10, 1));
    h.pass_time(4 * h.unit()).await;
    let batch = receive(&queue, 1, LONG).await;
    assert!(batch.deliveries.is_empty(), "the second crash is the last");
    let letters = dead(&queue).await;
    let counts = (letters[0].attempts, letters[0].deliveries, letters[0].crashes);
    assert_eq!(counts, (6, 10, 2), "attempts, deliveries and crashes");
}

/// The declared form of a backend that counts every delivery alike: it buries in the end.
async fn one_budget_for_all(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(2)).await;
    put(&queue, message("a")).await;
    for _ in 0..100 {
        let batch = receive(&queue, 1, LONG).await;
        let Some(received) = batch.deliveries.first() else { break };
        settled(&queue, received, release(Duration::ZERO, true)).await;
    }
    let (letters, stats) = (dead(&queue).await, queue.stats().await.expect("the queue counts"));
    assert!(!letters.is_empty() || stats.ready > 0, "the message is queued or dead, never neither");
}

pub(crate) async fn a_dead_lettered_message_is_not_delivered(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let received = take(&queue, 2 * h.unit()).await;
    bury(&queue, &received, "no use").await;
    assert_nothing(&queue).await; // nor is it reported: who buried it knows
    h.pass_time(4 * h.unit()).await;
    assert_nothing(&queue).await;
    assert_counts(&queue, [0, 0, 0, 1]).await;
}

pub(crate) async fn a_dead_letter_keeps_what_is_known(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    put(&queue, sent.clone()).await;
    let first = take(&queue, LONG).await;
    let error = Some("no disk".to_owned());
    let fail = Settlement::Release { delay: Duration::ZERO, counted: true, error };
    settled(&queue, &first, fail).await;
    let second = take(&queue, LONG).await;
    settled(&queue, &second, release(Duration::ZERO, false)).await;
    h.pass_time(2 * h.unit()).await;
    let third = take(&queue, LONG).await;
    bury(&queue, &third, "a reason, \"quoted\" & ünïcode").await;
    let letters = dead(&queue).await;
    assert_eq!(letters.len(), 1, "one message is dead");
    let letter = &letters[0];
    assert_eq!(letter.envelope, sent.envelope, "the whole message");
    assert_eq!(letter.reason, "a reason, \"quoted\" & ünïcode", "the reason as it was given");
    if queue.capabilities().counts_crashes {
        assert_eq!(letter.last_error.as_deref(), Some("no disk"), "the last error");
        let counts = (letter.attempts, letter.deliveries, letter.crashes);
        assert_eq!(counts, (2, 3, 0), "attempts, deliveries and crashes");
        assert_eq!(letter.due_at, first.due_at, "when the run was first due");
    }
    let lived = (letter.died_at - letter.due_at).to_std().expect("it died after it was due");
    assert!(lived >= 2 * h.unit(), "when it died, {lived:?} after it was due");
}

pub(crate) async fn a_first_delivery_that_is_buried_counts_as_one_attempt(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_dead(&queue, message("a"), "no use").await;
    let letter = dead(&queue).await.remove(0);
    let counts = (letter.attempts, letter.deliveries, letter.crashes);
    assert_eq!(counts, (1, 1, 0), "attempts, deliveries and crashes");
}

pub(crate) async fn the_oldest_dead_letters_make_room(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_dead: 3, ..QueueSetup::default() }).await;
    for body in ["a", "b", "c", "d", "e"] {
        put_dead(&queue, message(body), "no use").await;
    }
    if queue.capabilities().bounded {
        assert_eq!(dead_bodies(&queue).await, ["c", "d", "e"], "the newest three are kept");
        let stats = queue.stats().await.expect("the queue counts");
        assert_eq!((stats.dead, stats.dead_evicted), (3, 2), "what is kept and what is gone");
    } else {
        assert_eq!(dead_bodies(&queue).await.len(), 5, "no bound is promised, so all are kept");
    }
}

pub(crate) async fn dead_letters_are_kept_for_as_long_as_told(h: &dyn QueueHarness) {
    let setup = QueueSetup { keep_dead: 8 * h.unit(), ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    put_dead(&queue, message("a"), "no use").await;
    h.pass_time(4 * h.unit()).await;
    put_dead(&queue, message("b"), "no use").await;
    assert_eq!(dead_bodies(&queue).await.len(), 2, "both are kept so far");
    h.pass_time(6 * h.unit()).await;
    if queue.capabilities().bounded {
        assert_eq!(dead_bodies(&queue).await, ["b"], "the older one is gone");
        let (sent, _) = super::kit::redrive_all(&queue).await;
        assert_eq!(sent, 1, "what is gone is not sent again");
        let stats = queue.stats().await.expect("the queue counts");
        assert_eq!(stats.dead_evicted, 1, "what is gone is counted");
    }
}

pub(crate) async fn a_crash_leaves_the_other_messages_alone(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&crashes(1)).await;
    put(&queue, message("a")).await;
    take(&queue, 2 * h.unit()).await;
    put(&queue, message("b")).await;
    h.pass_time(4 * h.unit()).await;
    let batch = receive(&queue, 10, LONG).await;
    assert_eq!(bodies(&batch.deliveries), ["b"], "the death does not hold up what is ready");
    ack(&queue, &batch.deliveries[0]).await;
}
