//! Entries of a batch fail alone, and are told.

use standfast_core::ErrorKind;
use standfast_queue::{
    Envelope, ExtendOutcome, OutgoingMessage, Queue, ReceiveOptions, SendOutcome, SettleOutcome,
    Settlement,
};

use crate::sqs_support::Service;
use crate::sqs_support::fault::Fault;

fn messages(count: usize) -> Vec<OutgoingMessage> {
    (0..count).map(|number| Envelope::new("case", number.to_string()).into()).collect()
}

#[tokio::test]
async fn each_entry_that_fails_is_told_and_can_be_repeated() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let batch = messages(3);
    service.http.fail("SendMessageBatch", 1, Fault::Entry(1, "InternalError"));
    let outcomes = queue.send(&batch).await.expect("it answers");
    let [SendOutcome::Sent, SendOutcome::Failed(error), SendOutcome::Sent] = &outcomes[..] else {
        panic!("the second fails alone: {outcomes:?}");
    };
    assert!(error.is_retryable() && error.kind() == ErrorKind::Unavailable, "{error}");
    assert!(queue.send(&batch[1..2]).await.expect("it answers")[0].is_sent());

    let deliveries = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers").deliveries;
    let receipts: Vec<_> = deliveries.iter().map(|one| one.receipt.clone()).collect();
    service.http.fail("ChangeMessageVisibilityBatch", 1, Fault::Entry(0, "RequestThrottled"));
    let lease = std::time::Duration::from_secs(60);
    let outcomes = queue.extend(&receipts, lease).await.expect("it answers");
    let [ExtendOutcome::Failed(error), ExtendOutcome::Extended, ExtendOutcome::Extended] =
        &outcomes[..]
    else {
        panic!("the first fails alone: {outcomes:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");

    let acks: Vec<_> = receipts.into_iter().map(|receipt| (receipt, Settlement::Ack)).collect();
    service.http.fail("DeleteMessageBatch", 1, Fault::Entry(2, "InternalError"));
    service.http.fail("DeleteMessageBatch", 1, Fault::Entry(0, "ReceiptHandleIsInvalid"));
    let outcomes = queue.settle(&acks).await.expect("it answers");
    let [SettleOutcome::Settled, SettleOutcome::Settled, SettleOutcome::Failed(error)] =
        &outcomes[..]
    else {
        panic!("the third fails alone: {outcomes:?}");
    };
    assert!(error.is_retryable(), "{error}");
    let outcomes = queue.settle(&acks[2..]).await.expect("it answers");
    assert!(matches!(outcomes[..], [SettleOutcome::Stale]), "as the service says: {outcomes:?}");
}

#[tokio::test]
async fn a_dead_letter_whose_message_could_not_be_deleted_is_stored_once() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    queue.send(&messages(1)).await.expect("it is sent");
    let received = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers").deliveries;
    let bury = Settlement::DeadLetter { reason: "no use".to_owned() };
    let batch = [(received[0].receipt.clone(), bury)];
    service.http.fail("DeleteMessageBatch", 1, Fault::Answer(503, "ServiceUnavailable"));
    let outcomes = queue.settle(&batch).await.expect("it answers");
    assert!(matches!(outcomes[..], [SettleOutcome::Failed(_)]), "{outcomes:?}");
    let outcomes = queue.settle(&batch).await.expect("it answers");
    assert!(matches!(outcomes[..], [SettleOutcome::Settled]), "{outcomes:?}");
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.dead), (0, 0, 1), "one dead letter, and no more");
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_one_request_takes_several() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let large = vec![b'x'; 60_000];
    let batch: Vec<_> =
        (0..10).map(|_| OutgoingMessage::new(Envelope::new("case", large.clone()))).collect();
    let outcomes = queue.send(&batch).await.expect("it answers");
    assert!(outcomes.iter().all(SendOutcome::is_sent), "{outcomes:?}");
    assert_eq!(service.http.asked("SendMessageBatch"), 3, "four of them are one request");
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_order_of_what_follows_a_failure() {
    let Some(service) = Service::find() else { return };
    let queue = service.fifo().await;
    let large = vec![b'x'; 60_000];
    let batch: Vec<_> = (0..10)
        .map(|_| OutgoingMessage::new(Envelope::new("case", large.clone())).group("g"))
        .collect();
    service.http.fail("SendMessageBatch", 1, Fault::Answer(503, "ServiceUnavailable"));
    let error = queue.send(&batch).await.expect_err("the first request fails");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(service.http.asked("SendMessageBatch"), 1, "nothing overtakes what has failed");
    let outcomes = queue.send(&batch).await.expect("it answers");
    assert!(outcomes.iter().all(SendOutcome::is_sent), "{outcomes:?}");
    for message in &batch {
        let received = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers");
        assert_eq!(received.deliveries.len(), 1, "one of a group at a time");
        let receipt = received.deliveries[0].receipt.clone();
        assert_eq!(receipt.id(), message.envelope.id, "in order");
        queue.settle(&[(receipt, Settlement::Ack)]).await.expect("it answers");
    }
}
