//! Q7: one message of a key per window.

use std::time::Duration;

use super::kit::{
    LONG, ack, again, assert_nothing, bodies, bury, fresh, id, is_unsupported, message, put, send,
    send_all, take,
};
use crate::handle::StatusHandle;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// A window of which the harness can see the end: as long as asked for, or the backend's own.
fn window(queue: &dyn Queue, asked: Duration) -> Duration {
    queue.capabilities().dedupe_window.unwrap_or(asked)
}

fn keyed(body: &str, key: &str) -> OutgoingMessage {
    message(body).dedupe(key, LONG)
}

async fn is_duplicate(queue: &dyn Queue, message: OutgoingMessage, of: &OutgoingMessage) {
    match send(queue, message).await {
        SendOutcome::Sent if !queue.capabilities().tells_duplicates => {}
        SendOutcome::Duplicate(original) => {
            assert_eq!(original.id, id(of), "which message came first");
            let known = original.handle.is_none() || original.handle == of.envelope.handle;
            assert!(known, "the handle, where it is known, is that of the first");
        }
        outcome => panic!("it is a duplicate, not {outcome:?}"),
    }
}

pub(crate) async fn a_second_message_of_a_key_is_a_duplicate(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    let mut first = keyed("first", "key");
    let with_handle = (*first.envelope).clone().with_handle(StatusHandle::random());
    first.envelope = with_handle.into();
    put(&queue, again(&first)).await;
    is_duplicate(&queue, keyed("second", "key"), &first).await;
    is_duplicate(&queue, keyed("third", "key").delay(LONG), &first).await;
    put(&queue, keyed("other", "another key")).await;
    put(&queue, message("no key")).await;
    let mut seen = bodies(&super::kit::take_all(&queue, 3, LONG).await);
    seen.sort();
    assert_eq!(seen, ["first", "no key", "other"], "the first of each key, and what has none");
    assert_nothing(&queue).await;
}

pub(crate) async fn a_window_outlives_its_message(h: &dyn QueueHarness) {
    for end in 0..3 {
        let queue = fresh(h).await;
        if !queue.capabilities().dedupe {
            return is_unsupported(&queue, keyed("a", "key")).await;
        }
        let first = keyed("first", "key");
        put(&queue, again(&first)).await;
        match end {
            0 => ack(&queue, &take(&queue, LONG).await).await,
            1 => bury(&queue, &take(&queue, LONG).await, "no use").await,
            _ => drop(queue.purge().await.expect("the queue purges")),
        }
        is_duplicate(&queue, keyed("second", "key"), &first).await;
        assert_nothing(&queue).await;
    }
}

pub(crate) async fn a_window_ends_and_runs_from_the_first_send(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    let window = window(&queue, 8 * h.unit());
    if !h.can_pass(2 * window) {
        return; // the backend's own window is longer than a test; the cases above hold within it
    }
    let first = message("first").dedupe("key", window);
    put(&queue, again(&first)).await;
    h.pass_time(window / 2).await;
    is_duplicate(&queue, message("second").dedupe("key", LONG), &first).await;
    h.pass_time(window * 3 / 4).await; // a duplicate prolongs nothing
    let third = message("third").dedupe("key", LONG);
    put(&queue, again(&third)).await;
    is_duplicate(&queue, keyed("fourth", "key"), &third).await;
}

pub(crate) async fn a_message_repeated_in_its_window_is_no_duplicate_of_itself(
    h: &dyn QueueHarness,
) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    let sent = keyed("a", "key");
    put(&queue, again(&sent)).await;
    put(&queue, again(&sent)).await;
    ack(&queue, &take(&queue, LONG).await).await;
    // a sender that timed out and repeats: it is told that its message was sent, and it was
    put(&queue, sent).await;
    assert_nothing(&queue).await;
}

pub(crate) async fn keys_that_look_alike_do_not_meet(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    let long = "k".repeat(256);
    let keys = ["a", "A", "a ", " a", "a:b", "a:b:c", "{a}", "ä", "a\u{308}", "a\nb", &long];
    for key in keys {
        put(&queue, keyed(key, key)).await;
    }
    for key in keys {
        let outcome = send(&queue, keyed(key, key)).await;
        let known = match outcome {
            SendOutcome::Sent => !queue.capabilities().tells_duplicates,
            ref outcome => matches!(outcome, SendOutcome::Duplicate(_)),
        };
        assert!(known, "{key:?} is known, not {outcome:?}");
    }
    super::kit::take_all(&queue, keys.len(), LONG).await;
    assert_nothing(&queue).await;
}

pub(crate) async fn a_key_is_kept_within_one_batch_too(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    let batch = [keyed("first", "key"), keyed("second", "key"), keyed("other", "another key")];
    let outcomes = send_all(&queue, &batch).await;
    match &outcomes[..] {
        [SendOutcome::Sent, SendOutcome::Duplicate(original), SendOutcome::Sent] => {
            assert_eq!(original.id, id(&batch[0]), "the duplicate is of the first");
        }
        [SendOutcome::Sent, SendOutcome::Sent, SendOutcome::Sent]
            if !queue.capabilities().tells_duplicates => {}
        _ => panic!("sent, duplicate, sent, but it is {outcomes:?}"),
    }
    let mut seen = bodies(&super::kit::take_all(&queue, 2, LONG).await);
    seen.sort();
    assert_eq!(seen, ["first", "other"], "the first of each key");
    assert_nothing(&queue).await;
}

pub(crate) async fn a_refused_message_leaves_its_key_free(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_len: 1, ..QueueSetup::default() }).await;
    if !queue.capabilities().dedupe {
        return is_unsupported(&queue, keyed("a", "key")).await;
    }
    put(&queue, message("in the way")).await;
    let outcome = send(&queue, keyed("a", "key")).await;
    if !queue.capabilities().bounded {
        return assert!(outcome.is_sent(), "no bound is promised, so it is sent: {outcome:?}");
    }
    assert!(matches!(outcome, SendOutcome::Full), "the queue is full, not {outcome:?}");
    ack(&queue, &take(&queue, LONG).await).await;
    put(&queue, keyed("b", "key")).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["b"], "the key was free");
}
