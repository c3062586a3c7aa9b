//! Q3: a receipt names one delivery.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::kit::{
    LONG, ack, again, assert_counts, assert_nothing, assert_stale, bury, dead, extended, fresh,
    message, once_more, put, redrive_all, release, settled, take,
};
use crate::delivery::{Received, Settlement};
use crate::envelope::Envelope;
use crate::message::OutgoingMessage;
use crate::receipt::Receipt;
use crate::testkit::harness::QueueHarness;

pub(crate) async fn a_receipt_is_stale_once_its_lease_ran_out(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let first = take(&queue, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    assert_stale(&queue, &first).await; // although nobody has received since
    let second = take(&queue, LONG).await;
    assert_eq!(second.attempt, 2, "the message is back as it was");
    ack(&queue, &second).await;
}

pub(crate) async fn a_slow_worker_cannot_settle_the_next_delivery(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let slow = take(&queue, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    let quick = take(&queue, LONG).await;
    assert_stale(&queue, &slow).await;
    assert_counts(&queue, [0, 1, 0, 0]).await;
    extended(&queue, &quick, LONG).await;
    ack(&queue, &quick).await;
    assert_stale(&queue, &slow).await;
    assert_counts(&queue, [0, 0, 0, 0]).await;
}

pub(crate) async fn a_receipt_is_stale_once_it_is_settled(h: &dyn QueueHarness) {
    let dead = || Settlement::DeadLetter { reason: "no use".to_owned() };
    for how in [Settlement::Ack, dead(), release(LONG, true), release(LONG, false)] {
        let queue = fresh(h).await;
        put(&queue, message("a")).await;
        let received = take(&queue, LONG).await;
        settled(&queue, &received, how).await;
        let before = queue.stats().await.expect("the queue counts");
        assert_stale(&queue, &received).await;
        let after = queue.stats().await.expect("the queue counts");
        let counts = |of: &crate::QueueStats| [of.ready, of.leased, of.delayed, of.dead];
        if queue.capabilities().exact_stats {
            assert_eq!(counts(&before), counts(&after), "a stale receipt changes nothing");
        }
    }
}

pub(crate) async fn a_receipt_is_stale_after_a_release_that_counts_nothing(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let first = take(&queue, LONG).await;
    settled(&queue, &first, release(Duration::ZERO, false)).await;
    let second = take(&queue, LONG).await;
    // the attempt is the same: only the token tells the two apart
    assert_stale(&queue, &first).await;
    ack(&queue, &second).await;
}

pub(crate) async fn a_receipt_is_stale_in_the_next_run(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let first = take(&queue, LONG).await;
    bury(&queue, &first, "no use").await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "the message is sent again");
    assert_stale(&queue, &first).await;
    let second = take(&queue, LONG).await;
    assert_stale(&queue, &first).await;
    ack(&queue, &second).await;
    assert!(dead(&queue).await.is_empty(), "nothing is dead");
}

pub(crate) async fn a_receipt_is_stale_after_a_purge(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    put(&queue, again(&sent)).await;
    let first = take(&queue, LONG).await;
    queue.purge().await.expect("the queue purges");
    assert_stale(&queue, &first).await;
    put(&queue, once_more(&queue, &sent)).await;
    assert_stale(&queue, &first).await;
    let second = take(&queue, LONG).await;
    assert_stale(&queue, &first).await;
    ack(&queue, &second).await;
}

pub(crate) async fn a_receipt_that_nobody_gave_is_refused(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let id = put(&queue, message("a")).await;
    let real = take(&queue, LONG).await;
    let envelope = Arc::clone(real.envelope());
    let unknown = Arc::new(Envelope::new("case", "b"));
    let made_up = [
        Receipt::new(u64::MAX, Arc::clone(&envelope)),
        Receipt::new(0, envelope),
        Receipt::new(real.receipt.token().as_number().unwrap_or(1), unknown),
    ];
    for receipt in made_up {
        assert_stale(&queue, &Received::new(receipt, real.due_at, real.lease_until)).await;
    }
    assert_eq!(real.receipt.id(), id, "the real receipt names the message");
    ack(&queue, &real).await;
}

pub(crate) async fn a_token_never_comes_again_for_an_id(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent: OutgoingMessage = message("a");
    let mut tokens = HashSet::new();
    for round in 0..18 {
        if round == 0 {
            put(&queue, again(&sent)).await;
        } else if round % 6 == 0 {
            put(&queue, once_more(&queue, &sent)).await;
        }
        let received = take(&queue, 2 * h.unit()).await;
        let fresh = tokens.insert(received.receipt.token().clone());
        assert!(fresh, "delivery {round} has a token of its own, not {:?}", received.receipt);
        match round % 6 {
            0 => settled(&queue, &received, release(Duration::ZERO, true)).await,
            1 => settled(&queue, &received, release(Duration::ZERO, false)).await,
            2 => h.pass_time(4 * h.unit()).await,
            3 => {
                bury(&queue, &received, "no use").await;
                redrive_all(&queue).await;
            }
            4 => {
                queue.purge().await.expect("the queue purges");
                put(&queue, once_more(&queue, &sent)).await;
            }
            _ => ack(&queue, &received).await,
        }
    }
}

pub(crate) async fn what_a_decorator_remembers_stays_on_the_receipt(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let mut received = take(&queue, LONG).await;
    let plain = received.receipt.clone();
    received.receipt = plain.clone().push(Arc::new(7_usize)).push(Arc::new("shard"));
    let (top, below) = received.receipt.pop::<&str>().expect("what was pushed last");
    let (bottom, inner) = below.pop::<usize>().expect("what was pushed first");
    assert_eq!((*top, *bottom), ("shard", 7), "what was pushed");
    assert_eq!(inner.token(), plain.token(), "the delivery is the same");
    assert!(received.receipt.pop::<u8>().is_none(), "nothing of another type");
    received.receipt = inner;
    extended(&queue, &received, LONG).await;
    ack(&queue, &received).await;
    assert_nothing(&queue).await;
}
