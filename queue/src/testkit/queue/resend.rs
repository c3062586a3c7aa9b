//! Q8: the sender chooses the id, so that it can repeat a send whose outcome it does not know.

use super::kit::{
    LONG, ack, again, assert_counts, assert_nothing, bodies, fresh, id, message, put, put_all,
    redrive_all, release, send_all, settled, take,
};
use crate::delivery::Received;
use crate::envelope::Envelope;
use crate::message::OutgoingMessage;
use crate::queue::Queue;
use crate::testkit::harness::QueueHarness;

/// Sends the message again and asserts that there is one of it; a backend that knows no ids may
/// hold two.
async fn is_one(queue: &dyn Queue, sent: &OutgoingMessage, counts: [u64; 4]) {
    put(queue, again(sent)).await;
    put(queue, again(sent)).await;
    if queue.capabilities().idempotent_send {
        assert_counts(queue, counts).await;
    }
}

async fn ends_with(queue: &dyn Queue, received: &Received) {
    ack(queue, received).await;
    if queue.capabilities().idempotent_send {
        assert_nothing(queue).await;
    }
}

pub(crate) async fn a_send_repeated_while_it_is_ready_is_one_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    put(&queue, again(&sent)).await;
    is_one(&queue, &sent, [1, 0, 0, 0]).await;
    ends_with(&queue, &take(&queue, LONG).await).await;
}

pub(crate) async fn a_send_repeated_while_it_is_leased_is_one_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    put(&queue, again(&sent)).await;
    let received = take(&queue, LONG).await;
    is_one(&queue, &sent, [0, 1, 0, 0]).await;
    ends_with(&queue, &received).await;
}

pub(crate) async fn a_send_repeated_while_it_is_delayed_is_one_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a").delay(4 * h.unit());
    put(&queue, again(&sent)).await;
    is_one(&queue, &sent, [0, 0, 1, 0]).await;
    if queue.capabilities().idempotent_send {
        // nor does another delay make it sooner or later
        put(&queue, OutgoingMessage { delay: std::time::Duration::ZERO, ..again(&sent) }).await;
        assert_nothing(&queue).await;
        put(&queue, OutgoingMessage { delay: LONG, ..again(&sent) }).await;
    }
    h.pass_time(6 * h.unit()).await;
    ends_with(&queue, &take(&queue, LONG).await).await;
}

pub(crate) async fn a_send_repeated_while_it_waits_for_its_retry_is_one_message(
    h: &dyn QueueHarness,
) {
    let queue = fresh(h).await;
    let sent = message("a");
    put(&queue, again(&sent)).await;
    let first = take(&queue, LONG).await;
    settled(&queue, &first, release(4 * h.unit(), true)).await;
    is_one(&queue, &sent, [0, 0, 1, 0]).await;
    if queue.capabilities().idempotent_send {
        h.pass_time(6 * h.unit()).await;
        let second = take(&queue, LONG).await;
        assert_eq!(second.attempt, 2, "the repeated send is no new run");
        ends_with(&queue, &second).await;
    }
}

pub(crate) async fn a_send_repeated_behind_its_group_is_one_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups || !queue.capabilities().idempotent_send {
        let sent = message("a");
        put(&queue, again(&sent)).await;
        return is_one(&queue, &sent, [1, 0, 0, 0]).await;
    }
    let [head, behind] = ["a", "b"].map(|body| message(body).group("g"));
    put_all(&queue, &[head, again(&behind)]).await;
    is_one(&queue, &behind, [2, 0, 0, 0]).await;
    for body in ["a", "b"] {
        let received = take(&queue, LONG).await;
        assert_eq!(bodies([&received]), [body], "each once, in order");
        ack(&queue, &received).await;
    }
    assert_nothing(&queue).await;
}

pub(crate) async fn the_first_send_of_an_id_wins(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let first = message("first");
    let second = Envelope::new("case", "second").with_id(id(&first));
    let batch = [first, second.clone().into()];
    let outcomes = send_all(&queue, &batch).await;
    assert!(outcomes.iter().all(|outcome| outcome.is_sent()), "both are sent: {outcomes:?}");
    put(&queue, second.into()).await;
    if queue.capabilities().idempotent_send {
        let received = take(&queue, LONG).await;
        assert_eq!(bodies([&received]), ["first"], "the message stays what it was");
        ends_with(&queue, &received).await;
    }
}

pub(crate) async fn an_id_that_is_dead_can_be_sent_and_stays_dead(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    super::kit::put_dead(&queue, again(&sent), "no use").await;
    put(&queue, again(&sent)).await;
    if queue.capabilities().id_window.is_some() {
        assert_nothing(&queue).await; // its id is taken still, for the same run
        assert_eq!(redrive_all(&queue).await, (1, 0), "but not for the next one");
        return assert_eq!(take(&queue, LONG).await.envelope().run, 2, "which is sent");
    }
    assert_counts(&queue, [1, 0, 0, 1]).await;
    if queue.capabilities().idempotent_send {
        // the one that is queued goes first; the dead one waits for its turn
        assert_eq!(redrive_all(&queue).await, (0, 1), "what is queued is not sent twice");
        assert_counts(&queue, [1, 0, 0, 1]).await;
        ack(&queue, &take(&queue, LONG).await).await;
        assert_eq!(redrive_all(&queue).await, (1, 0), "now there is room for it");
        assert_eq!(take(&queue, LONG).await.envelope().run, 2, "as the next run");
    }
}
