//! What becomes of bodies, messages and blobs when something fails between them.
#![cfg(feature = "blobstore")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faulty_blobs;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faulty_blobs::{BlobFault, FaultyBlobs};
use standfast_blobstore::{Blobs, MemoryBlobStore};
use standfast_core::testkit::ManualClock;
use standfast_core::{Error, ErrorKind, HealthCheck};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::wrap::{ClaimCheck, ClaimCheckConfig};
use standfast_queue::{
    Batch, DeadLetterFilter, DeadLetters, Envelope, MemoryQueue, MemoryQueueConfig,
    OutgoingMessage, Queue, QueueAdmin, ReceiveOptions, Received, RedriveOptions, SendOutcome,
    SettleOutcome, Settlement,
};

const HEADER: &str = "claim_check";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Inner = Faulty<MemoryQueue>;

/// A claim check that keeps bodies over 10 bytes in a store that can fail.
struct Fixture {
    clock: ManualClock,
    blobs: FaultyBlobs,
    inner: Inner,
    queue: Arc<ClaimCheck<Inner>>,
}

fn fixture() -> Fixture {
    configured(|_| {})
}

fn configured(change: impl FnOnce(&mut ClaimCheckConfig)) -> Fixture {
    let clock = ManualClock::new();
    let store = MemoryBlobStore::new().with_clock(Arc::new(clock.clone()));
    let blobs = FaultyBlobs::on(store);
    let mut memory = MemoryQueueConfig::default();
    memory.clock = Arc::new(clock.clone());
    memory.max_len = 20;
    let inner = Faulty::new(MemoryQueue::with_config(memory));
    let mut config = ClaimCheckConfig::default();
    config.threshold = 10;
    config.clock = Arc::new(clock.clone());
    change(&mut config);
    let queue = ClaimCheck::with_config(inner.clone(), Arc::new(blobs.clone()), config).unwrap();
    Fixture { clock, blobs, inner, queue: Arc::new(queue) }
}

impl Fixture {
    async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        self.queue.send(std::slice::from_ref(message)).await.unwrap().remove(0)
    }

    async fn receive(&self) -> Batch {
        self.queue.receive(&ReceiveOptions::new(10)).await.unwrap()
    }

    async fn take(&self) -> Received {
        self.receive().await.deliveries.remove(0)
    }

    async fn settle(&self, received: &Received, how: Settlement) -> SettleOutcome {
        self.queue.settle(&[(received.receipt.clone(), how)]).await.unwrap().remove(0)
    }

    async fn ack(&self, received: &Received) {
        assert!(matches!(self.settle(received, Settlement::Ack).await, SettleOutcome::Settled));
    }

    async fn bury(&self) {
        let received = self.take().await;
        let how = Settlement::DeadLetter { reason: "no use".to_owned() };
        assert!(matches!(self.settle(&received, how).await, SettleOutcome::Settled));
    }

    async fn blob_count(&self) -> usize {
        self.blobs.keys().await.len()
    }
}

fn body(byte: u8) -> Bytes {
    vec![byte; 1000].into()
}

fn large(byte: u8) -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("film", body(byte)))
}

fn all() -> DeadLetterFilter {
    DeadLetterFilter::default()
}

#[tokio::test]
async fn a_large_body_is_elsewhere_until_its_ack_and_a_small_one_never() {
    let t = fixture();
    assert!(t.send(&large(1)).await.is_sent());
    assert!(t.send(&Envelope::new("mail", "0123456789").into()).await.is_sent());
    let inside = t.inner.peek(10).await.unwrap();
    assert!(inside[0].body.is_empty());
    assert!(inside[0].headers.contains_key(HEADER));
    assert_eq!(inside[1].body, "0123456789");
    assert_eq!(t.blob_count().await, 1);
    assert_eq!(t.queue.peek(10).await.unwrap()[0].body, body(1), "a look shows the body");

    let batch = t.receive().await;
    assert_eq!(batch.deliveries[0].envelope().body, body(1));
    assert!(!batch.deliveries[0].envelope().headers.contains_key(HEADER));
    t.settle(&batch.deliveries[0], Settlement::release()).await;
    assert_eq!(t.blob_count().await, 1, "a release needs it again");
    t.ack(&t.take().await).await;
    assert_eq!(t.blob_count().await, 0);
    t.ack(&batch.deliveries[1]).await;
}

#[tokio::test]
async fn a_stale_ack_deletes_nothing() {
    let t = fixture();
    t.send(&large(1)).await;
    let slow = t.take().await;
    t.clock.advance(Duration::from_secs(31));
    let next = t.take().await;
    assert!(matches!(t.settle(&slow, Settlement::Ack).await, SettleOutcome::Stale));
    assert_eq!(t.blob_count().await, 1);
    t.ack(&next).await;
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn a_dead_letter_keeps_its_body_and_takes_it_into_its_next_run() {
    let t = fixture();
    t.send(&large(1)).await;
    t.bury().await;
    assert_eq!(t.blob_count().await, 1);
    let page = t.queue.list_dead_letters(&all(), None, 10).await.unwrap();
    assert_eq!(page.letters[0].envelope.body, body(1));
    let redriven = t.queue.redrive(&all(), &RedriveOptions::default()).await.unwrap();
    assert_eq!(redriven.sent, 1);
    let received = t.take().await;
    assert_eq!((received.envelope().run, &received.envelope().body), (2, &body(1)));
    t.ack(&received).await;
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn an_ack_leaves_the_body_that_a_dead_letter_of_the_same_id_needs() {
    let t = fixture();
    let message = large(1);
    t.send(&message).await;
    t.bury().await;
    t.send(&message).await;
    t.ack(&t.take().await).await;
    assert_eq!(t.blob_count().await, 1);
    t.queue.redrive(&all(), &RedriveOptions::default()).await.unwrap();
    assert_eq!(t.take().await.envelope().body, body(1));
    t.clock.advance(90 * DAY);
    assert_eq!(t.blob_count().await, 0, "what no ack may delete expires");
}

#[tokio::test]
async fn a_redrive_to_another_queue_sends_whole_messages() {
    let t = configured(|config| config.max_fetch = 1500);
    for byte in 0..5 {
        t.send(&large(byte)).await;
        t.bury().await;
    }
    let plain: Arc<dyn Queue> = Arc::new(MemoryQueue::new());
    let few = RedriveOptions::default().to(Arc::clone(&plain)).limit(3);
    assert_eq!(t.queue.redrive(&all(), &few).await.unwrap().sent, 3);
    let arrived = plain.receive(&ReceiveOptions::new(10)).await.unwrap().deliveries;
    let bodies: Vec<_> = arrived.iter().map(|one| one.envelope().body.clone()).collect();
    assert_eq!(bodies, [body(0), body(1), body(2)]);
    assert!(arrived.iter().all(|one| one.envelope().run == 2));
    assert!(!arrived[0].envelope().headers.contains_key(HEADER));

    let elsewhere = fixture();
    let other = Arc::clone(&elsewhere.queue);
    let to = RedriveOptions::default().to(other);
    assert_eq!(t.queue.redrive(&all(), &to).await.unwrap().sent, 2);
    assert_eq!(elsewhere.take().await.envelope().body, body(3));
    assert_eq!(elsewhere.blob_count().await, 2, "the other store has bodies of its own");
}

#[tokio::test]
async fn a_dead_letter_without_its_body_holds_up_no_redrive() {
    let t = fixture();
    for byte in 0..2 {
        t.send(&large(byte)).await;
        t.bury().await;
    }
    let lost = t.blobs.keys().await.remove(0);
    t.blobs.lose(&lost).await;
    let plain: Arc<dyn Queue> = Arc::new(MemoryQueue::new());
    let to = RedriveOptions::default().to(Arc::clone(&plain));
    let redriven = t.queue.redrive(&all(), &to).await.unwrap();
    assert_eq!((redriven.sent, redriven.kept), (1, 1));
    let left = t.queue.list_dead_letters(&all(), None, 10).await.unwrap().letters;
    assert!(left[0].envelope.body.is_empty() && left[0].envelope.headers.contains_key(HEADER));
    let error = t.queue.resolve(&left[0].envelope).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(plain.stats().await.unwrap().ready, 1);
}

#[tokio::test]
async fn a_missing_body_is_a_dead_letter_that_says_so() {
    let t = fixture();
    t.send(&large(1)).await;
    t.send(&large(2)).await;
    let inside = t.inner.peek(2).await.unwrap();
    let key = t.blobs.keys().await.into_iter().find(|key| key.contains(&inside[0].id.to_string()));
    t.blobs.lose(&key.unwrap()).await;
    let batch = t.receive().await;
    assert_eq!(batch.deliveries.len(), 1, "the other one is delivered");
    assert_eq!(batch.dead.len(), 1, "the worker learns it");
    assert_eq!(batch.dead[0].reason, ClaimCheck::<Inner>::MISSING);
    assert_eq!((batch.dead[0].envelope.id, batch.dead[0].attempts), (inside[0].id, 1));
    let page = t.queue.list_dead_letters(&all(), None, 10).await.unwrap();
    assert_eq!(page.letters[0].reason, ClaimCheck::<Inner>::MISSING);
}

#[tokio::test]
async fn a_missing_body_waits_for_its_lease_when_it_cannot_be_buried() {
    let t = fixture();
    t.send(&large(1)).await;
    t.blobs.lose(&t.blobs.keys().await[0]).await;
    let down = Error::new(ErrorKind::Unavailable, "memory", "queue.settle");
    t.inner.script(QueueOperation::Settle, [Fault::ErrorBefore(down)]);
    assert!(t.receive().await.is_empty());
    t.clock.advance(Duration::from_secs(31));
    assert_eq!(t.receive().await.dead.len(), 1);
}

#[tokio::test]
async fn a_damaged_body_is_tried_three_times() {
    let t = fixture();
    t.send(&large(1)).await;
    let key = t.blobs.keys().await.remove(0);
    Blobs::new(t.blobs.inner().clone()).put(key.as_str(), body(2)).await.unwrap();
    for _ in 0..2 {
        assert!(t.receive().await.is_empty());
    }
    let batch = t.receive().await;
    assert_eq!(batch.dead[0].reason, ClaimCheck::<Inner>::DAMAGED);
    let last = batch.dead[0].last_error.as_deref().unwrap();
    assert!(last.contains("not the bytes that were sent"), "{last}");
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_receiver_waits_with_the_dead() {
    let t = fixture();
    t.send(&large(1)).await;
    let mut config = ClaimCheckConfig::default();
    (config.threshold, config.max_body) = (10, 999);
    config.clock = Arc::new(t.clock.clone());
    let store = Arc::new(t.blobs.clone());
    let strict = ClaimCheck::with_config(t.inner.clone(), store, config).unwrap();
    let batch = strict.receive(&ReceiveOptions::new(1)).await.unwrap();
    assert_eq!(batch.dead[0].reason, ClaimCheck::<Inner>::TOO_LARGE);
    t.queue.redrive(&all(), &RedriveOptions::default()).await.unwrap();
    assert_eq!(t.take().await.envelope().body, body(1));
}

#[tokio::test]
async fn a_store_that_is_down_fails_only_what_needs_it_and_sends_nothing() {
    for (fault, kind) in [
        (BlobFault::Before(ErrorKind::Unavailable), ErrorKind::Unavailable),
        (BlobFault::Before(ErrorKind::Denied), ErrorKind::Denied),
        // stored or not, the message is surely not sent
        (BlobFault::After(ErrorKind::OutcomeUnknown), ErrorKind::Unavailable),
    ] {
        let t = fixture();
        t.blobs.next("put", fault);
        let batch = [large(1), Envelope::new("mail", "small").into(), large(2)];
        let outcomes = t.queue.send(&batch).await.unwrap();
        let failed: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                SendOutcome::Failed(error) => Some(error.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(failed.len(), 1, "{outcomes:?}");
        assert_eq!(failed[0].kind(), kind);
        assert_eq!(failed[0].is_retryable(), kind == ErrorKind::Unavailable);
        assert_eq!(t.inner.stats().await.unwrap().ready, 2);
        for outcome in t.queue.send(&batch).await.unwrap() {
            assert!(outcome.is_sent(), "the repeated send is whole: {outcome:?}");
        }
        let bodies: Vec<_> =
            t.receive().await.deliveries.iter().map(|one| one.envelope().body.len()).collect();
        assert_eq!(bodies.iter().sum::<usize>(), 2005, "{bodies:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_holds_messages_back_and_counts_no_attempt() {
    let t = fixture();
    t.send(&large(1)).await;
    t.blobs.always("get", BlobFault::Before(ErrorKind::Unavailable));
    let error = t.queue.receive(&ReceiveOptions::new(10)).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(t.receive().await.is_empty(), "it waits for a while");
    t.send(&Envelope::new("mail", "small").into()).await;
    t.clock.advance(Duration::from_secs(5));
    let batch = t.receive().await;
    assert_eq!(batch.deliveries.len(), 1, "what needs no store is delivered");
    t.blobs.heal();
    t.clock.advance(Duration::from_secs(5));
    let received = t.take().await;
    assert_eq!((received.attempt, &received.envelope().body), (1, &body(1)));
}

#[tokio::test]
async fn a_send_whose_answer_is_lost_is_one_message_and_one_blob() {
    let t = fixture();
    let message = large(1);
    let lost = Error::new(ErrorKind::OutcomeUnknown, "memory", "queue.send");
    t.inner.script(QueueOperation::Send, [Fault::ErrorAfter(lost)]);
    assert!(t.queue.send(std::slice::from_ref(&message)).await.is_err());
    assert!(t.send(&message).await.is_sent());
    assert_eq!(t.blob_count().await, 1);
    let batch = t.receive().await;
    assert_eq!(batch.deliveries.len(), 1);
    t.ack(&batch.deliveries[0]).await;
    assert_eq!(t.blob_count().await, 1, "nobody can know that there is no second message");
    t.clock.advance(90 * DAY);
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn a_body_that_is_put_before_the_process_dies_expires() {
    let t = fixture();
    let down = Error::new(ErrorKind::Unavailable, "memory", "queue.send");
    t.inner.script(QueueOperation::Send, [Fault::ErrorBefore(down)]);
    assert!(t.queue.send(&[large(1)]).await.is_err());
    assert_eq!(t.blob_count().await, 1);
    t.clock.advance(90 * DAY - Duration::from_secs(1));
    assert_eq!(t.blob_count().await, 1);
    t.clock.advance(Duration::from_secs(1));
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn a_message_that_the_queue_refuses_takes_its_body_back() {
    let t = fixture();
    let hour = Duration::from_secs(3600);
    assert!(t.send(&large(1).dedupe("key", hour)).await.is_sent());
    assert!(matches!(t.send(&large(2).dedupe("key", hour)).await, SendOutcome::Duplicate(_)));
    assert_eq!(t.blob_count().await, 1);
    for byte in 3..22 {
        assert!(t.send(&large(byte)).await.is_sent());
    }
    assert!(matches!(t.send(&large(99)).await, SendOutcome::Full));
    assert_eq!(t.blob_count().await, 20);
    let down = Error::new(ErrorKind::Unavailable, "memory", "queue.send");
    t.inner.script(QueueOperation::Send, [Fault::Entries(vec![(0, down)])]);
    assert!(matches!(t.send(&large(98)).await, SendOutcome::Failed(_)));
    assert_eq!(t.blob_count().await, 20);
}

#[tokio::test]
async fn a_body_is_there_for_whoever_sends_the_id_again_while_it_is_acked() {
    let t = fixture();
    let message = large(1);
    t.send(&message).await;
    let received = t.take().await;
    let gate = Gate::new();
    t.blobs.next("delete", BlobFault::Hold(gate.clone()));
    let queue = Arc::clone(&t.queue);
    let ack = [(received.receipt.clone(), Settlement::Ack)];
    let acking = tokio::spawn(async move { queue.settle(&ack).await });
    while t.blobs.calls("delete") == 0 {
        tokio::task::yield_now().await;
    }
    // acked, and its body not yet deleted: the id is free, and the same bytes have the same key
    assert!(t.send(&message).await.is_sent());
    gate.open();
    acking.await.unwrap().unwrap();
    assert_eq!(t.take().await.envelope().body, body(1));
}

#[tokio::test]
async fn an_ack_stands_when_the_body_cannot_be_deleted() {
    let t = fixture();
    t.send(&large(1)).await;
    t.blobs.next("delete", BlobFault::Before(ErrorKind::Unavailable));
    t.ack(&t.take().await).await;
    assert_eq!(t.inner.stats().await.unwrap().leased, 0);
    t.clock.advance(90 * DAY);
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn an_acked_body_can_stay_for_a_while() {
    let t = configured(|config| config.linger = Duration::from_secs(60));
    t.send(&large(1)).await;
    t.ack(&t.take().await).await;
    t.clock.advance(Duration::from_secs(59));
    assert_eq!(t.blob_count().await, 1);
    t.clock.advance(Duration::from_secs(1));
    assert_eq!(t.blob_count().await, 0);
}

#[tokio::test]
async fn bodies_are_kept_after_the_ack_for_an_archive_of_references() {
    let t = configured(|config| config.keep_after_ack = true);
    t.send(&large(1)).await;
    let archived = t.inner.peek(1).await.unwrap().remove(0);
    t.ack(&t.take().await).await;
    // sent on by its reference, as a replay from inside does
    let again = OutgoingMessage::new(archived.next_run());
    assert!(t.send(&again).await.is_sent());
    let received = t.take().await;
    assert_eq!((received.envelope().run, &received.envelope().body), (2, &body(1)));
    t.clock.advance(90 * DAY);
    let SendOutcome::Failed(error) = t.send(&again).await else { panic!("its body is gone") };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_body_that_is_received_late_gets_its_time_again() {
    let t = fixture();
    t.send(&large(1)).await;
    t.clock.advance(80 * DAY);
    t.bury().await;
    t.clock.advance(29 * DAY);
    t.queue.redrive(&all(), &RedriveOptions::default()).await.unwrap();
    let received = t.take().await;
    assert_eq!(received.envelope().body, body(1));
    t.ack(&received).await;
    assert_eq!(t.blob_count().await, 0, "it is still the only one that refers to it");
}

#[tokio::test]
async fn a_delay_counts_on_top_of_what_a_body_is_kept() {
    let t = fixture();
    t.send(&large(1).delay(400 * DAY)).await;
    t.send(&large(2).delay(Duration::MAX)).await;
    t.clock.advance(400 * DAY);
    assert_eq!(t.take().await.envelope().body, body(1));
}

#[tokio::test]
async fn a_receive_brings_no_more_into_memory_than_it_may() {
    let t = configured(|config| config.max_fetch = 3500);
    for byte in 0..10 {
        t.send(&large(byte)).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let batch = t.receive().await;
        let bytes: usize = batch.deliveries.iter().map(|one| one.envelope().body.len()).sum();
        assert!((1..=3500).contains(&bytes), "{bytes} bytes at once");
        for received in batch.deliveries {
            assert_eq!(received.attempt, 1, "what had no room is not counted");
            seen.push(received.envelope().body[0]);
            t.ack(&received).await;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    let released = t.inner.entries(QueueOperation::Settle) - 10;
    assert!(released <= 10, "later receives ask for what fits: {released} came for nothing");
}

#[tokio::test]
async fn one_body_over_the_bound_is_received_alone() {
    let t = configured(|config| config.max_fetch = 1);
    for byte in 0..3 {
        t.send(&large(byte)).await;
    }
    for _ in 0..3 {
        let batch = t.receive().await;
        assert_eq!(batch.deliveries.len(), 1);
        t.ack(&batch.deliveries[0]).await;
    }
    let page = t.queue.list_dead_letters(&all(), None, 10).await.unwrap();
    assert!(page.letters.is_empty());
}

#[tokio::test]
async fn a_listing_shows_the_reference_of_what_has_no_room() {
    let t = configured(|config| config.max_fetch = 1500);
    for byte in 0..2 {
        t.send(&large(byte)).await;
        t.bury().await;
    }
    let letters = t.queue.list_dead_letters(&all(), None, 10).await.unwrap().letters;
    assert_eq!(letters[0].envelope.body, body(0));
    assert!(letters[1].envelope.body.is_empty());
    let whole = t.queue.resolve(&letters[1].envelope).await.unwrap();
    assert_eq!(whole.body, body(1));
    assert!(!whole.headers.contains_key(HEADER));
}

#[tokio::test]
async fn leases_last_while_bodies_come_slowly() {
    let t = fixture();
    t.send(&Envelope::new("mail", "small").into()).await;
    t.send(&large(1)).await;
    let gate = Gate::new();
    t.blobs.next("get", BlobFault::Hold(gate.clone()));
    let queue = Arc::clone(&t.queue);
    let options = ReceiveOptions::new(2).lease(Duration::from_secs(30));
    let receiving = tokio::spawn(async move { queue.receive(&options).await.unwrap() });
    while t.blobs.calls("get") == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..12 {
        t.clock.advance(Duration::from_secs(10));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    gate.open();
    let batch = receiving.await.unwrap();
    assert!(t.inner.calls(QueueOperation::Extend) >= 10);
    let ends = batch.deliveries[0].lease_until;
    let clock: &dyn standfast_core::Clock = &t.clock;
    assert!(ends > clock.instant(), "the delivery knows its longer lease");
    for received in &batch.deliveries {
        t.ack(received).await;
    }
}

#[tokio::test]
async fn a_reference_of_a_newer_library_is_left_to_it() {
    let t = fixture();
    let mut envelope = Envelope::new("film", "");
    envelope.headers.insert(HEADER.to_owned(), serde_json::json!({"v": 2, "where": "beyond"}));
    t.inner.send(&[envelope.clone().into()]).await.unwrap();
    let error = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    t.clock.advance(Duration::from_secs(5));
    let left = t.inner.receive(&ReceiveOptions::new(1)).await.unwrap().deliveries.remove(0);
    assert_eq!((left.attempt, &**left.envelope()), (1, &envelope), "untouched");
}

#[tokio::test]
async fn what_only_looks_like_a_reference_is_refused_or_passed_on() {
    let t = fixture();
    let with = |body: &'static str| {
        let mut envelope = Envelope::new("film", body);
        envelope.headers.insert(HEADER.to_owned(), serde_json::json!("mine"));
        OutgoingMessage::new(envelope)
    };
    let refused = |outcome| match outcome {
        SendOutcome::Failed(error) => error.kind(),
        other => panic!("refused, not {other:?}"),
    };
    assert_eq!(refused(t.send(&with("")).await), ErrorKind::Invalid);
    assert_eq!(refused(t.send(&with("a body over the threshold")).await), ErrorKind::Invalid);
    assert!(t.send(&with("small")).await.is_sent());
    assert_eq!(t.take().await.envelope().body, "small");
    assert_eq!(t.blobs.calls("put"), 0);
}

#[tokio::test]
async fn limits_and_health_are_those_of_both() {
    let t = fixture();
    assert_eq!(t.queue.capabilities().max_body, 64 * 1024 * 1024);
    assert!(t.queue.health().await.asked.contains(" and "));
    let wrong = |change: fn(&mut ClaimCheckConfig)| {
        let mut config = ClaimCheckConfig::default();
        change(&mut config);
        let store = Arc::new(MemoryBlobStore::new());
        ClaimCheck::with_config(MemoryQueue::new(), store, config).unwrap_err().kind()
    };
    assert_eq!(wrong(|config| config.prefix = "../up".to_owned()), ErrorKind::Invalid);
    assert_eq!(wrong(|config| config.concurrency = 0), ErrorKind::Invalid);
    assert_eq!(wrong(|config| config.keep_for = Duration::ZERO), ErrorKind::Invalid);
    let shown = format!("{:?}", t.queue);
    assert!(shown.contains("claims") && !shown.contains("store"), "{shown}");
}
