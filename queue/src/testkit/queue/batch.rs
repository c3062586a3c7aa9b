//! Q11: one outcome per entry, in order.

use std::sync::Arc;

use standfast_core::{ErrorKind, Reason};

use super::kit::{
    LONG, ack, again, assert_counts, assert_nothing, bodies, dead_bodies, fresh, message, put,
    put_all, release, take, take_all,
};
use crate::delivery::{ExtendOutcome, Received, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::receipt::Receipt;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// More entries than any case needs, and few enough to be stored.
const MANY: usize = 1_000;

pub(crate) async fn a_mixed_send_tells_of_each_message(h: &dyn QueueHarness) {
    let setup = QueueSetup { max_body: Some(1_000), ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    let limit = queue.capabilities().max_body;
    let first = message("first");
    let big = Envelope::new("case", vec![b'x'; limit.saturating_add(1).min(100_000_000)]);
    let batch =
        [again(&first), big.into(), message("no name").group(""), again(&first), message("last")];
    let outcomes = queue.send(&batch).await.expect("the queue takes a send");
    let [SendOutcome::Sent, big, SendOutcome::Failed(name), SendOutcome::Sent, SendOutcome::Sent] =
        &outcomes[..]
    else {
        panic!("each message has its outcome, in order, but they are {outcomes:?}");
    };
    if limit < 100_000_000 {
        super::kit::refused(big.clone(), ErrorKind::TooLarge);
    }
    assert_eq!(name.kind(), ErrorKind::Invalid, "a group without a name is invalid: {name}");
    let mut seen = bodies(&super::kit::take_up_to(&queue, 10, LONG).await);
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["first", "last"], "what is in order is stored although others are not");
}

/// Receipts, in turn: live, made up, live, already settled, live.
async fn mixed(h: &dyn QueueHarness, queue: &Arc<dyn crate::Queue>) -> Vec<Received> {
    put_all(queue, &["a", "b", "c", "d"].map(message)).await;
    let mut live = take_all(queue, 4, 8 * h.unit()).await;
    live.sort_by_key(|received| received.envelope().body.clone());
    let settled = live.pop().expect("there are four");
    ack(queue, &settled).await;
    let unknown = Receipt::new(3, Arc::new(Envelope::new("case", "unknown")));
    let made_up = Received::new(unknown, settled.due_at, settled.lease_until);
    live.insert(1, made_up);
    live.insert(3, settled);
    live
}

pub(crate) async fn a_mixed_settle_tells_of_each_receipt(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let entries = mixed(h, &queue).await;
    let ways = [
        Settlement::Ack,
        Settlement::Ack,
        release(std::time::Duration::ZERO, true),
        Settlement::Ack,
        Settlement::DeadLetter { reason: "no use".to_owned() },
    ];
    let batch: Vec<_> = entries.iter().map(|received| received.receipt.clone()).zip(ways).collect();
    let outcomes = queue.settle(&batch).await.expect("the queue answers a settle");
    use SettleOutcome::{Settled, Stale};
    if queue.capabilities().fenced {
        let as_it_should = matches!(outcomes[..], [Settled, Stale, Settled, Stale, Settled]);
        assert!(as_it_should, "settled, stale, settled, stale, settled, but it is {outcomes:?}");
        assert_counts(&queue, [1, 0, 0, 1]).await;
    } else {
        assert_eq!(outcomes.len(), 5, "one outcome per receipt");
    }
    assert_eq!(bodies([&take(&queue, LONG).await]), ["b"], "what was released");
    assert_nothing(&queue).await;
    assert_eq!(dead_bodies(&queue).await, ["c"], "what was dead-lettered");
}

pub(crate) async fn a_mixed_extension_tells_of_each_receipt(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let entries = mixed(h, &queue).await;
    let receipts: Vec<_> = entries.iter().map(|received| received.receipt.clone()).collect();
    let outcomes = queue.extend(&receipts, LONG).await.expect("the queue answers an extend");
    use ExtendOutcome::{Extended, Stale};
    if queue.capabilities().fenced {
        let as_it_should = matches!(outcomes[..], [Extended, Stale, Extended, Stale, Extended]);
        assert!(as_it_should, "live, stale, live, stale, live, but it is {outcomes:?}");
    } else {
        assert_eq!(outcomes.len(), 5, "one outcome per receipt");
    }
    h.pass_time(10 * h.unit()).await;
    assert_nothing(&queue).await;
}

pub(crate) async fn a_receipt_twice_in_a_batch_settles_once(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let receipt = take(&queue, LONG).await.receipt;
    let batch = [
        (receipt.clone(), release(std::time::Duration::ZERO, true)),
        (receipt.clone(), Settlement::Ack),
        (receipt, Settlement::DeadLetter { reason: "no use".to_owned() }),
    ];
    let outcomes = queue.settle(&batch).await.expect("the queue answers a settle");
    use SettleOutcome::{Settled, Stale};
    if queue.capabilities().fenced {
        let once = matches!(outcomes[..], [Settled, Stale, Stale]);
        assert!(once, "the first entry counts, but it is {outcomes:?}");
        assert_counts(&queue, [1, 0, 0, 0]).await;
        assert_eq!(take(&queue, LONG).await.attempt, 2, "it was released");
    } else {
        assert_eq!(outcomes.len(), 3, "one outcome per entry");
    }
}

pub(crate) async fn an_empty_batch_is_no_error(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = queue.send(&[]).await.expect("nothing can be sent");
    let settled = queue.settle(&[]).await.expect("nothing can be settled");
    let extended = queue.extend(&[], LONG).await.expect("nothing can be extended");
    let outcomes = (sent.len(), settled.len(), extended.len());
    assert_eq!(outcomes, (0, 0, 0), "no outcome for no entry");
    assert_counts(&queue, [0, 0, 0, 0]).await;
}

pub(crate) async fn a_batch_of_many_is_taken_or_refused_as_a_whole(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let limit = queue.capabilities().max_batch;
    let count = limit.saturating_add(1).min(MANY);
    let batch: Vec<OutgoingMessage> =
        (0..count).map(|number| message(&number.to_string())).collect();
    let sent = queue.send(&batch).await;
    if count <= limit {
        assert_eq!(sent.expect("it is within the limit").len(), count, "one outcome each");
        let deliveries = take_all(&queue, count, LONG).await;
        let receipts: Vec<_> = deliveries.iter().map(|one| one.receipt.clone()).collect();
        let extended = queue.extend(&receipts, LONG).await.expect("it is within the limit");
        assert_eq!(extended.len(), count, "one outcome each");
        return super::kit::ack_all(&queue, &deliveries).await;
    }
    let error = sent.expect_err("more than the limit is refused");
    let why = (error.kind(), error.reason());
    assert_eq!(why, (ErrorKind::Invalid, Some(Reason::BatchTooLarge)), "{error}");
    assert_counts(&queue, [0, 0, 0, 0]).await;
    put(&queue, message("a")).await;
    let receipt = take(&queue, LONG).await.receipt;
    let error = queue.extend(&vec![receipt.clone(); count], LONG).await;
    let error = error.expect_err("more than the limit is refused");
    assert_eq!(error.reason(), Some(Reason::BatchTooLarge), "{error}");
    let error = queue.settle(&vec![(receipt, Settlement::Ack); count]).await;
    let error = error.expect_err("more than the limit is refused");
    assert_eq!(error.reason(), Some(Reason::BatchTooLarge), "{error}");
    assert_counts(&queue, [0, 1, 0, 0]).await;
}
