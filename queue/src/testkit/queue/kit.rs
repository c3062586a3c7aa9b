//! What the cases are written with.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use standfast_core::{ErrorKind, JobId};
use tokio::task::JoinHandle;

use crate::dead::{DeadLetter, DeadLetterFilter, RedriveOptions, Redriven};
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, Received, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// A span that no case lets pass: for leases whose end is not the question.
pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

/// An empty queue with the usual setup.
pub(super) async fn fresh(h: &dyn QueueHarness) -> Arc<dyn Queue> {
    h.fresh_queue(&QueueSetup::default()).await
}

/// A message whose body is `body`.
pub(super) fn message(body: &str) -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("case", body.to_owned()))
}

/// The same message, by the same id, as a sender repeats it.
pub(super) fn again(message: &OutgoingMessage) -> OutgoingMessage {
    message.clone()
}

/// The same message once it is gone; or, where its id stays taken for longer than a case lasts,
/// another one like it.
pub(super) fn once_more(queue: &dyn Queue, message: &OutgoingMessage) -> OutgoingMessage {
    let mut message = message.clone();
    if queue.capabilities().id_window.is_some() {
        let envelope = (*message.envelope).clone().with_id(JobId::random());
        message.envelope = Arc::new(envelope);
    }
    message
}

/// The id of a message that is to be sent.
pub(super) fn id(message: &OutgoingMessage) -> JobId {
    message.envelope.id
}

/// Sends in as many calls as the backend wants, and checks that there is one outcome per entry.
pub(super) async fn send_all(queue: &dyn Queue, batch: &[OutgoingMessage]) -> Vec<SendOutcome> {
    let mut outcomes = Vec::new();
    for chunk in batch.chunks(queue.capabilities().max_batch.min(1_000)) {
        let sent = queue.send(chunk).await.expect("the queue takes a send");
        assert_eq!(sent.len(), chunk.len(), "one outcome per message (Q11)");
        outcomes.extend(sent);
    }
    outcomes
}

/// Sends one message and says what became of it.
pub(super) async fn send(queue: &dyn Queue, message: OutgoingMessage) -> SendOutcome {
    send_all(queue, &[message]).await.remove(0)
}

/// Sends messages that must be taken.
pub(super) async fn put_all(queue: &dyn Queue, batch: &[OutgoingMessage]) {
    for (index, outcome) in send_all(queue, batch).await.into_iter().enumerate() {
        assert!(outcome.is_sent(), "message {index} is taken, not {outcome:?}");
    }
}

/// Sends a message that must be taken.
pub(super) async fn put(queue: &dyn Queue, message: OutgoingMessage) -> JobId {
    put_all(queue, std::slice::from_ref(&message)).await;
    message.envelope.id
}

/// Asserts that the backend refuses what it says it does not have.
pub(super) async fn is_unsupported(queue: &dyn Queue, message: OutgoingMessage) {
    refused(send(queue, message).await, ErrorKind::Unsupported);
    assert_nothing(queue).await;
}

/// Asserts that a message was refused with an error of this kind.
pub(super) fn refused(outcome: SendOutcome, kind: ErrorKind) {
    match outcome {
        SendOutcome::Failed(error) => assert_eq!(error.kind(), kind, "why it is refused: {error}"),
        outcome => panic!("the message is refused as {kind}, not {outcome:?}"),
    }
}

/// One receive that does not wait.
pub(super) async fn receive(queue: &dyn Queue, max: usize, lease: Duration) -> Batch {
    let max = max.min(queue.capabilities().max_batch);
    let options = ReceiveOptions::new(max).lease(lease);
    let batch = queue.receive(&options).await.expect("the queue answers a receive");
    assert!(batch.deliveries.len() <= max, "at most {max} messages are received");
    batch
}

/// Receives until there are `count` or no more.
pub(super) async fn take_up_to(queue: &dyn Queue, count: usize, lease: Duration) -> Vec<Received> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let batch = receive(queue, count - deliveries.len(), lease).await;
        if batch.is_empty() {
            break;
        }
        deliveries.extend(batch.deliveries);
    }
    deliveries
}

/// Receives exactly `count` messages.
pub(super) async fn take_all(queue: &dyn Queue, count: usize, lease: Duration) -> Vec<Received> {
    let deliveries = take_up_to(queue, count, lease).await;
    assert_eq!(deliveries.len(), count, "how many messages are delivered");
    deliveries
}

/// Receives a message that must be there.
pub(super) async fn take(queue: &dyn Queue, lease: Duration) -> Received {
    take_all(queue, 1, lease).await.remove(0)
}

/// Asserts that no message is delivered now, and nothing reported either.
pub(super) async fn assert_nothing(queue: &dyn Queue) {
    let batch = receive(queue, 10, LONG).await;
    assert!(batch.is_empty(), "nothing is delivered or reported, but there is {batch:?}");
}

/// Settles one delivery.
pub(super) async fn settle(queue: &dyn Queue, of: &Received, how: Settlement) -> SettleOutcome {
    let batch = [(of.receipt.clone(), how)];
    let mut outcomes = queue.settle(&batch).await.expect("the queue answers a settle");
    assert_eq!(outcomes.len(), 1, "one outcome per settlement (Q11)");
    outcomes.remove(0)
}

/// Settles a delivery that must still be held.
pub(super) async fn settled(queue: &dyn Queue, of: &Received, how: Settlement) {
    let outcome = settle(queue, of, how.clone()).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{how:?} is done, not {outcome:?}");
}

/// Acks a delivery that must still be held.
pub(super) async fn ack(queue: &dyn Queue, of: &Received) {
    settled(queue, of, Settlement::Ack).await;
}

/// Acks deliveries that must still be held.
pub(super) async fn ack_all(queue: &dyn Queue, deliveries: &[Received]) {
    for chunk in deliveries.chunks(queue.capabilities().max_batch.min(1_000)) {
        let batch: Vec<_> =
            chunk.iter().map(|received| (received.receipt.clone(), Settlement::Ack)).collect();
        let outcomes = queue.settle(&batch).await.expect("the queue answers a settle");
        assert_eq!(outcomes.len(), chunk.len(), "one outcome per settlement (Q11)");
        for outcome in outcomes {
            assert!(matches!(outcome, SettleOutcome::Settled), "an ack is done, not {outcome:?}");
        }
    }
}

/// Dead-letters a delivery that must still be held.
pub(super) async fn bury(queue: &dyn Queue, of: &Received, reason: &str) {
    settled(queue, of, Settlement::DeadLetter { reason: reason.to_owned() }).await;
}

/// Sends a message and dead-letters it.
pub(super) async fn put_dead(queue: &dyn Queue, message: OutgoingMessage, reason: &str) -> JobId {
    let id = put(queue, message).await;
    let received = take(queue, LONG).await;
    assert_eq!(received.receipt.id(), id, "the only message is delivered");
    bury(queue, &received, reason).await;
    id
}

/// A release after `delay`.
pub(super) fn release(delay: Duration, counted: bool) -> Settlement {
    Settlement::Release { delay, counted, error: None }
}

/// Extends one delivery.
pub(super) async fn extend(queue: &dyn Queue, of: &Received, lease: Duration) -> ExtendOutcome {
    let receipts = [of.receipt.clone()];
    let mut outcomes = queue.extend(&receipts, lease).await.expect("the queue answers an extend");
    assert_eq!(outcomes.len(), 1, "one outcome per extension (Q11)");
    outcomes.remove(0)
}

/// Extends a delivery that must still be held.
pub(super) async fn extended(queue: &dyn Queue, of: &Received, lease: Duration) {
    let outcome = extend(queue, of, lease).await;
    assert!(matches!(outcome, ExtendOutcome::Extended), "it is extended, not {outcome:?}");
}

/// Asserts that a receipt is refused in every way it can be used, and changes nothing. A backend
/// that is not fenced says so, and must only answer.
pub(super) async fn assert_stale(queue: &dyn Queue, of: &Received) {
    let fenced = queue.capabilities().fenced;
    let uses = [
        Settlement::Ack,
        release(Duration::ZERO, true),
        release(LONG, false),
        Settlement::DeadLetter { reason: "a stale receipt".to_owned() },
    ];
    for how in uses {
        if !fenced {
            break; // what it does to the message is not promised
        }
        let outcome = settle(queue, of, how.clone()).await;
        assert!(matches!(outcome, SettleOutcome::Stale), "{how:?} is stale, not {outcome:?}");
    }
    let outcome = extend(queue, of, LONG).await;
    let stale = matches!(outcome, ExtendOutcome::Stale);
    assert!(stale || !fenced, "an extension is stale, not {outcome:?}");
}

/// The bodies as text.
pub(super) fn bodies<'a>(deliveries: impl IntoIterator<Item = &'a Received>) -> Vec<String> {
    let body = |received: &Received| String::from_utf8_lossy(&received.envelope().body).into();
    deliveries.into_iter().map(body).collect()
}

/// All dead letters that `filter` means, over as many pages as they take.
pub(super) async fn dead_of(queue: &dyn Queue, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
    let (mut letters, mut after) = (Vec::new(), None);
    loop {
        let page = queue.list_dead_letters(filter, after.as_ref(), 100).await;
        let page = page.expect("the queue lists its dead letters");
        letters.extend(page.letters);
        after = page.next;
        if after.is_none() {
            return letters;
        }
        assert!(letters.len() < 100_000, "a listing comes to its end");
    }
}

/// All dead letters.
pub(super) async fn dead(queue: &dyn Queue) -> Vec<DeadLetter> {
    dead_of(queue, &DeadLetterFilter::default()).await
}

/// The bodies of all dead letters.
pub(super) async fn dead_bodies(queue: &dyn Queue) -> Vec<String> {
    let letters = dead(queue).await;
    let body = |letter: &DeadLetter| String::from_utf8_lossy(&letter.envelope.body).into();
    letters.iter().map(body).collect()
}

/// Sends all dead letters again and says how many went and stayed.
pub(super) async fn redrive_all(queue: &dyn Queue) -> (u64, u64) {
    let Redriven { sent, kept } = queue
        .redrive(&DeadLetterFilter::default(), &RedriveOptions::default())
        .await
        .expect("the queue redrives");
    (sent, kept)
}

/// Asserts how many messages are ready, leased, delayed and dead, where counts are exact.
pub(super) async fn assert_counts(queue: &dyn Queue, counts: [u64; 4]) {
    let stats = queue.stats().await.expect("the queue counts");
    if queue.capabilities().exact_stats {
        let found = [stats.ready, stats.leased, stats.delayed, stats.dead];
        assert_eq!(found, counts, "how many are ready, leased, delayed and dead (Q13)");
    }
}

/// Whether it takes the backend nothing but a look to answer `peek` and `leased`.
pub(super) fn looks(queue: &dyn Queue) -> bool {
    queue.capabilities().lists_dead_letters
}

/// A receive of at most `max` that waits on a task of its own; returns once it surely waits.
pub(super) async fn waiter(
    h: &dyn QueueHarness,
    queue: &Arc<dyn Queue>,
    options: ReceiveOptions,
) -> JoinHandle<Batch> {
    let queue = Arc::clone(queue);
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut waits = pin!(queue.receive(&options));
        // the first poll is where a backend in this process begins to wait
        let first = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await;
        let _ = began.send(());
        let ended = match first {
            Poll::Ready(ended) => ended,
            Poll::Pending => waits.await,
        };
        ended.expect("the queue answers a receive")
    });
    has_begun.await.expect("the wait has begun");
    tokio::time::sleep(h.idle()).await;
    task
}

/// Options of a receive that waits for longer than any case takes.
pub(super) fn waiting(max: usize) -> ReceiveOptions {
    ReceiveOptions::new(max).wait(LONG).lease(LONG)
}

/// What a receive that waited returns, promptly.
pub(super) async fn woken(h: &dyn QueueHarness, task: JoinHandle<Batch>) -> Batch {
    let bound = h.wake_bound();
    let ended = tokio::time::timeout(bound, task).await;
    let ended =
        ended.unwrap_or_else(|_| panic!("a waiting receive returns within {bound:?} (Q12)"));
    ended.expect("the receive does not panic")
}

/// The only message of a batch.
pub(super) fn only(batch: &Batch) -> &Received {
    assert_eq!(batch.deliveries.len(), 1, "one message is delivered");
    &batch.deliveries[0]
}
