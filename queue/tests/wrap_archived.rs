//! What the archive holds of what happened, and what happens while it fails.
#![cfg(feature = "blobstore")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faulty_blobs;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use faulty_blobs::{BlobFault, FaultyBlobs};
use standfast_blobstore::MemoryBlobStore;
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Error, ErrorKind, HealthCheck};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::wrap::{
    Archive, ArchiveConfig, ArchiveEvent, ArchiveReceived, ArchiveRecord, Archived,
};
use standfast_queue::{
    Envelope, MemoryQueue, MemoryQueueConfig, OutgoingMessage, Priority, Queue, ReceiveOptions,
    SendOutcome, SettleOutcome, Settlement,
};

type Inner = Faulty<MemoryQueue>;

struct Fixture {
    clock: ManualClock,
    blobs: FaultyBlobs,
    inner: Inner,
    queue: Arc<Archived<Inner>>,
}

fn fixture() -> Fixture {
    configured(|_| {})
}

fn configured(change: impl FnOnce(&mut ArchiveConfig)) -> Fixture {
    // five seconds before an hour ends
    let clock = ManualClock::at("2026-03-01T01:59:55Z".parse().unwrap());
    let store = MemoryBlobStore::new().with_clock(Arc::new(clock.clone()));
    let blobs = FaultyBlobs::on(store);
    let mut memory = MemoryQueueConfig::default();
    memory.clock = Arc::new(clock.clone());
    memory.max_len = 20;
    let inner = Faulty::new(MemoryQueue::with_config(memory));
    let mut config = ArchiveConfig::default();
    config.linger = Duration::ZERO;
    config.clock = Arc::new(clock.clone());
    change(&mut config);
    let queue = Archived::with_config(inner.clone(), Arc::new(blobs.clone()), config).unwrap();
    Fixture { clock, blobs, inner, queue: Arc::new(queue) }
}

impl Fixture {
    async fn records(&self) -> Vec<ArchiveRecord> {
        self.queue.flush().await;
        let archive = Archive::new(Arc::new(self.blobs.clone()), "archive").unwrap();
        let (mut records, mut found) = (archive.records(None, None), Vec::new());
        while let Some(record) = records.next().await.unwrap() {
            found.push(record);
        }
        assert_eq!((records.damaged(), records.truncated()), (0, 0));
        found
    }

    async fn events(&self) -> Vec<(ArchiveEvent, String)> {
        let told = |record: ArchiveRecord| {
            let body = record.envelope.map(|envelope| envelope.body.clone()).unwrap_or_default();
            (record.event, String::from_utf8(body.to_vec()).unwrap())
        };
        self.records().await.into_iter().map(told).collect()
    }

    async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        self.queue.send(std::slice::from_ref(message)).await.unwrap().remove(0)
    }
}

fn mail(body: &'static str) -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("mail", body))
}

fn event(event: ArchiveEvent, body: &str) -> (ArchiveEvent, String) {
    (event, body.to_owned())
}

fn failed(outcome: &SendOutcome) -> ErrorKind {
    match outcome {
        SendOutcome::Failed(error) => error.kind(),
        other => panic!("it fails, and is not {other:?}"),
    }
}

#[tokio::test]
async fn everything_is_in_the_archive_and_in_order() {
    let t = configured(|config| config.outcomes = true);
    let grouped = mail("a").priority(Priority::High).group("g");
    t.send(&grouped).await;
    t.clock.advance(Duration::from_secs(1));
    t.inner.send(&[mail("foreign")]).await.unwrap();
    for how in [
        Settlement::Ack,
        Settlement::Release {
            delay: Duration::ZERO,
            counted: true,
            error: Some("no disk".to_owned()),
        },
        Settlement::DeadLetter { reason: "no use".to_owned() },
    ] {
        let received = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap().deliveries.remove(0);
        t.clock.advance(Duration::from_secs(1));
        t.queue.settle(&[(received.receipt, how)]).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
    }
    let records = t.records().await;
    let told: Vec<_> = records
        .iter()
        .map(|one| (one.event, one.attempt, one.detail.as_deref(), one.envelope.is_some()))
        .collect();
    assert_eq!(
        told,
        [
            (ArchiveEvent::Sent, None, None, true),
            (ArchiveEvent::Received, Some(1), None, true),
            (ArchiveEvent::Acked, None, None, false),
            (ArchiveEvent::Received, Some(1), None, true),
            (ArchiveEvent::Released, None, Some("no disk"), false),
            (ArchiveEvent::Received, Some(2), None, true),
            (ArchiveEvent::DeadLettered, None, Some("no use"), false),
        ]
    );
    assert_eq!(records[0].envelope, Some(grouped.envelope));
    assert_eq!(records[0].priority, Some(Priority::High));
    assert_eq!(records[0].group.as_deref(), Some("g"));
    assert_eq!(records[3].envelope.as_ref().unwrap().body, "foreign");
    assert!(records.is_sorted_by_key(|record| record.at));
}

#[tokio::test]
async fn a_send_is_acknowledged_when_its_segment_is_stored_and_not_before() {
    let t = fixture();
    let gate = Gate::new();
    t.blobs.next("put", BlobFault::Hold(gate.clone()));
    let queue = Arc::clone(&t.queue);
    let sending = tokio::spawn(async move { queue.send(&[mail("a")]).await.unwrap() });
    while t.blobs.calls("put") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(t.inner.calls(QueueOperation::Send), 0, "nothing is sent before it is stored");
    assert!(!sending.is_finished());
    gate.open();
    assert!(sending.await.unwrap()[0].is_sent());
    assert_eq!(t.events().await, [event(ArchiveEvent::Sent, "a")]);
}

#[tokio::test]
async fn sends_at_the_same_time_share_segments() {
    let t = configured(|config| {
        config.linger = Duration::from_millis(20);
        config.clock = Arc::new(standfast_core::SystemClock);
    });
    let sends: Vec<_> = (0..20)
        .map(|_| {
            let queue = Arc::clone(&t.queue);
            tokio::spawn(async move { queue.send(&[mail("a")]).await.unwrap().remove(0) })
        })
        .collect();
    for send in sends {
        assert!(send.await.unwrap().is_sent());
    }
    assert_eq!(t.records().await.len(), 20);
    assert!(t.blobs.calls("put") <= 3, "{} segments for 20 sends", t.blobs.calls("put"));
}

#[tokio::test]
async fn what_comes_while_segments_are_on_their_way_goes_together() {
    let t = configured(|config| config.max_flights = 1);
    let gate = Gate::new();
    t.blobs.next("put", BlobFault::Hold(gate.clone()));
    let sends: Vec<_> = (0..20)
        .map(|_| {
            let queue = Arc::clone(&t.queue);
            tokio::spawn(async move { queue.send(&[mail("a")]).await.unwrap().remove(0) })
        })
        .collect();
    while t.blobs.calls("put") == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for send in sends {
        assert!(send.await.unwrap().is_sent());
    }
    assert!(t.blobs.calls("put") <= 2, "{} segments", t.blobs.calls("put"));
}

#[tokio::test]
async fn a_segment_holds_no_more_than_it_may_and_one_hour() {
    let t = configured(|config| {
        config.max_flights = 1;
        config.max_segment_bytes = 2000;
    });
    let gate = Gate::new();
    t.blobs.next("put", BlobFault::Hold(gate.clone()));
    let mut sends = Vec::new();
    // the first one flies, three and two of these fill segments, then the hour ends
    for number in 0..7 {
        let queue = Arc::clone(&t.queue);
        let mail = OutgoingMessage::new(Envelope::new("mail", vec![b'x'; 200]));
        sends.push(tokio::spawn(async move { queue.send(&[mail]).await.unwrap().remove(0) }));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if number == 5 {
            t.clock.advance(Duration::from_secs(10));
        }
    }
    gate.open();
    for send in sends {
        assert!(send.await.unwrap().is_sent());
    }
    let folder = |key: &String| key[..key.rfind('/').unwrap()].to_owned();
    let folders: Vec<_> = t.blobs.keys().await.iter().map(folder).collect();
    let (first, second) = ("archive/segments/2026/03/01/01", "archive/segments/2026/03/01/02");
    assert_eq!(folders, [first, first, first, second]);
    assert_eq!(t.records().await.len(), 7);
}

#[tokio::test]
async fn one_call_is_of_one_hour() {
    let t = fixture();
    t.clock.advance(Duration::from_secs(5) - Duration::from_micros(10));
    let batch: Vec<_> = (0..20).map(|_| mail("")).collect();
    t.queue.send(&batch).await.unwrap();
    t.queue.send(&batch[..1]).await.unwrap();
    let hour = "2026-03-01T02:00:00Z".parse().unwrap();
    let archive = Archive::new(Arc::new(t.blobs.clone()), "archive").unwrap();
    let mut records = archive.records(Some(hour), None);
    let mut found = 0;
    while records.next().await.unwrap().is_some() {
        found += 1;
    }
    assert_eq!(found, 21, "whoever begins at the hour finds all of it");
}

#[tokio::test]
async fn a_range_can_begin_and_end_within_a_segment() {
    let t = fixture();
    let start = t.clock.now();
    let batch: Vec<_> = (0..10).map(|_| mail("")).collect();
    t.queue.send(&batch).await.unwrap();
    let archive = Archive::new(Arc::new(t.blobs.clone()), "archive").unwrap();
    let at = |number| start + TimeDelta::microseconds(number);
    let mut records = archive.records(Some(at(4)), Some(at(7)));
    let mut found = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        found.push(record.id);
    }
    let expected: Vec<_> = batch[4..7].iter().map(|message| message.envelope.id).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn records_of_one_time_have_one_order() {
    let t = fixture();
    for _ in 0..12 {
        // each is another process, and the clock stands still
        let mut config = ArchiveConfig::default();
        config.linger = Duration::ZERO;
        config.clock = Arc::new(t.clock.clone());
        let store = Arc::new(t.blobs.clone());
        let queue = Archived::with_config(t.inner.clone(), store, config).unwrap();
        queue.send(&[mail("")]).await.unwrap();
    }
    let records = t.records().await;
    assert_eq!(records.len(), 12);
    assert!(records.is_sorted_by_key(|record| (record.at, record.id)));
}

#[tokio::test]
async fn an_archive_that_is_down_fails_sends_and_sends_nothing() {
    for (kind, told) in [
        (ErrorKind::Unavailable, ErrorKind::Unavailable),
        (ErrorKind::Denied, ErrorKind::Denied),
        (ErrorKind::Throttled, ErrorKind::Throttled),
        // nobody knows about the segment, but about the message everybody does
        (ErrorKind::OutcomeUnknown, ErrorKind::Unavailable),
    ] {
        let t = fixture();
        t.blobs.always("put", BlobFault::Before(kind));
        let message = mail("a");
        let outcomes = t.queue.send(&[message.clone(), mail("b")]).await.unwrap();
        assert_eq!(outcomes.iter().map(failed).collect::<Vec<_>>(), [told, told]);
        assert_eq!(t.inner.calls(QueueOperation::Send), 0);
        t.queue.flush().await;
        t.blobs.heal();
        assert!(t.send(&message).await.is_sent(), "after the outage all is as before");
        assert_eq!(t.events().await, [event(ArchiveEvent::Sent, "a")]);
    }
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_repeated_under_its_name() {
    let t = fixture();
    t.blobs.next("put", BlobFault::After(ErrorKind::OutcomeUnknown));
    assert!(t.send(&mail("a")).await.is_sent());
    assert_eq!(t.blobs.calls("put"), 2);
    assert_eq!(t.blobs.keys().await.len(), 1);
    assert_eq!(t.events().await, [event(ArchiveEvent::Sent, "a")]);
}

#[tokio::test]
async fn what_may_be_archived_and_was_not_sent_is_noted() {
    let t = fixture();
    for _ in 0..2 {
        t.blobs.next("put", BlobFault::After(ErrorKind::OutcomeUnknown));
    }
    // the second put finds the first one's segment, and its answer is lost as well
    assert_eq!(failed(&t.send(&mail("a")).await), ErrorKind::Unavailable);
    let records = t.records().await;
    assert_eq!(records[0].event, ArchiveEvent::Sent);
    assert_eq!(records[1].event, ArchiveEvent::Unsent);
    assert_eq!(records[1].of, Some(records[0].at));
}

#[tokio::test]
async fn what_the_queue_does_not_take_is_noted_as_unsent() {
    let t = fixture();
    let hour = Duration::from_secs(3600);
    assert!(t.send(&mail("a").dedupe("key", hour)).await.is_sent());
    assert!(matches!(t.send(&mail("b").dedupe("key", hour)).await, SendOutcome::Duplicate(_)));
    let down = |kind| Error::new(kind, "memory", "queue.send");
    t.inner.script(
        QueueOperation::Send,
        [
            Fault::Entries(vec![(0, down(ErrorKind::Unavailable))]),
            Fault::Entries(vec![(0, down(ErrorKind::OutcomeUnknown))]),
            Fault::ErrorAfter(down(ErrorKind::OutcomeUnknown)),
        ],
    );
    assert_eq!(failed(&t.send(&mail("c")).await), ErrorKind::Unavailable);
    assert_eq!(failed(&t.send(&mail("d")).await), ErrorKind::OutcomeUnknown);
    let error = t.queue.send(&[mail("e")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "the queue's own word is passed on");
    let records = t.records().await;
    let unsent = records.iter().filter(|record| record.event == ArchiveEvent::Unsent);
    let why: Vec<_> = unsent.map(|record| record.detail.as_deref().unwrap()).collect();
    assert_eq!(why, ["duplicate", "unavailable"]);
}

#[tokio::test]
async fn what_is_refused_before_any_io_is_not_archived() {
    let t = fixture();
    let outcomes = t.queue.send(&[mail("a").group(""), mail("b")]).await.unwrap();
    assert_eq!(failed(&outcomes[0]), ErrorKind::Invalid);
    assert!(outcomes[1].is_sent());
    assert_eq!(failed(&t.send(&mail("a").group("")).await), ErrorKind::Invalid);
    assert_eq!(t.events().await, [event(ArchiveEvent::Sent, "b")]);
}

#[tokio::test]
async fn what_waits_for_the_store_is_bounded() {
    let t = configured(|config| {
        config.max_waiting_bytes = 1000;
        config.max_flights = 1;
        config.outcomes = true;
    });
    let batch: Vec<_> = (0..15).map(|_| mail("leased")).collect();
    t.inner.send(&batch).await.unwrap();
    let leased = t.queue.receive(&ReceiveOptions::new(15)).await.unwrap().deliveries;
    let gate = Gate::new();
    t.blobs.always("put", BlobFault::Hold(gate.clone()));
    let send = |size: usize| {
        let queue = Arc::clone(&t.queue);
        let message = OutgoingMessage::new(Envelope::new("mail", vec![0; size]));
        tokio::spawn(async move { queue.send(&[message]).await.unwrap().remove(0) })
    };
    let before = t.blobs.calls("put");
    let flying = send(5000); // larger than what may wait, but nothing does
    while t.blobs.calls("put") == before {
        tokio::task::yield_now().await;
    }
    let waiting = send(10);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(failed(&send(1000).await.unwrap()), ErrorKind::Unavailable);
    for received in leased {
        // what nobody waits for is dropped rather than heaped up
        let acked = t.queue.settle(&[(received.receipt, Settlement::Ack)]).await.unwrap();
        assert!(matches!(acked[0], SettleOutcome::Settled));
    }
    gate.open();
    assert!(flying.await.unwrap().is_sent() && waiting.await.unwrap().is_sent());
    t.queue.flush().await;
    let archive = Archive::new(Arc::new(t.blobs.clone()), "archive").unwrap();
    let (mut records, mut acked) = (archive.records(None, None), 0);
    while let Some(record) = records.next().await.unwrap() {
        acked += usize::from(record.event == ArchiveEvent::Acked);
    }
    assert!((1..10).contains(&acked), "{acked} of 15 acks had room");
}

#[tokio::test]
async fn a_send_that_is_dropped_while_it_waits_is_archived_and_not_sent() {
    let t = fixture();
    let gate = Gate::new();
    t.blobs.next("put", BlobFault::Hold(gate.clone()));
    let queue = Arc::clone(&t.queue);
    let sending = tokio::spawn(async move { queue.send(&[mail("a")]).await });
    while t.blobs.calls("put") == 0 {
        tokio::task::yield_now().await;
    }
    let queue = Arc::clone(&t.queue);
    let other = tokio::spawn(async move { queue.send(&[mail("b")]).await.unwrap().remove(0) });
    sending.abort();
    drop(sending.await);
    gate.open();
    assert!(other.await.unwrap().is_sent(), "nobody else is held up");
    assert_eq!(t.inner.stats().await.unwrap().ready, 1);
    assert_eq!(t.events().await.len(), 2);
}

#[tokio::test]
async fn what_is_received_is_archived_before_it_is_handed_over() {
    let t = fixture();
    t.inner.send(&[mail("a")]).await.unwrap();
    t.blobs.always("put", BlobFault::Before(ErrorKind::Unavailable));
    let error = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, "queue.receive"));
    let stats = t.inner.stats().await.unwrap();
    assert_eq!((stats.leased, stats.delayed), (0, 1), "it is given back for a while");
    t.blobs.heal();
    t.clock.advance(Duration::from_secs(1));
    let received = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap().deliveries.remove(0);
    assert_eq!(received.attempt, 1, "and not counted");
    assert_eq!(t.events().await, [event(ArchiveEvent::Received, "a")]);
}

#[tokio::test]
async fn an_archive_that_is_slow_takes_no_more_than_half_of_a_lease() {
    let t = fixture();
    t.inner.send(&[mail("a")]).await.unwrap();
    let gate = Gate::new();
    t.blobs.next("put", BlobFault::Hold(gate.clone()));
    let queue = Arc::clone(&t.queue);
    let options = ReceiveOptions::new(1).lease(Duration::from_secs(30));
    let receiving = tokio::spawn(async move { queue.receive(&options).await });
    while t.blobs.calls("put") == 0 {
        tokio::task::yield_now().await;
    }
    t.clock.advance(Duration::from_secs(15));
    assert_eq!(receiving.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(t.inner.stats().await.unwrap().leased, 0);
    gate.open();
    t.queue.flush().await;
}

#[tokio::test]
async fn deaths_are_told_although_the_archive_is_down() {
    let t = fixture();
    t.inner.send(&[mail("dies")]).await.unwrap();
    for _ in 0..5 {
        t.inner.receive(&ReceiveOptions::new(1)).await.unwrap();
        t.clock.advance(Duration::from_secs(31));
    }
    t.inner.send(&[mail("a")]).await.unwrap();
    t.blobs.always("put", BlobFault::Before(ErrorKind::Unavailable));
    let batch = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap();
    assert_eq!((batch.deliveries.len(), batch.dead.len()), (0, 1));
}

#[tokio::test]
async fn latency_can_be_had_for_completeness() {
    let t = configured(|config| config.received = ArchiveReceived::BestEffort);
    t.inner.send(&[mail("a"), mail("b")]).await.unwrap();
    t.blobs.next("put", BlobFault::Before(ErrorKind::Unavailable));
    for _ in 0..2 {
        let batch = t.queue.receive(&ReceiveOptions::new(1)).await.unwrap();
        assert_eq!(batch.deliveries.len(), 1);
        t.queue.flush().await;
    }
    assert_eq!(t.events().await, [event(ArchiveEvent::Received, "b")], "the first is lost to it");

    let t = configured(|config| config.received = ArchiveReceived::Not);
    t.inner.send(&[mail("a")]).await.unwrap();
    t.queue.receive(&ReceiveOptions::new(1)).await.unwrap();
    assert!(t.records().await.is_empty());
}

#[tokio::test]
async fn segments_expire() {
    let t = configured(|config| config.keep_for = Duration::from_secs(60));
    t.send(&mail("a")).await;
    t.clock.advance(Duration::from_secs(59));
    assert_eq!(t.records().await.len(), 1);
    t.clock.advance(Duration::from_secs(1));
    assert!(t.records().await.is_empty());
}

#[tokio::test]
async fn records_are_read_by_range_across_processes() {
    let t = fixture();
    let other = {
        let mut config = ArchiveConfig::default();
        config.linger = Duration::ZERO;
        config.clock = Arc::new(t.clock.clone());
        Archived::with_config(t.inner.clone(), Arc::new(t.blobs.clone()), config).unwrap()
    };
    let start = t.clock.now();
    for number in 0..10_i32 {
        let queue = if number % 2 == 0 { &*t.queue } else { &other };
        let message = OutgoingMessage::new(Envelope::new("mail", number.to_string()));
        queue.send(&[message]).await.unwrap();
        t.clock.advance(Duration::from_secs(20 * 60));
    }
    let archive = Archive::new(Arc::new(t.blobs.clone()), "archive").unwrap();
    for (from, to) in [(0, 10), (3, 7), (2, 2), (9, 10), (0, 1)] {
        let at = |number: i32| start + TimeDelta::minutes(20 * i64::from(number));
        let mut records = archive.records(Some(at(from)), Some(at(to)));
        let mut found = Vec::new();
        while let Some(record) = records.next().await.unwrap() {
            let body = record.envelope.unwrap().body.clone();
            found.push(String::from_utf8(body.to_vec()).unwrap().parse::<i32>().unwrap());
        }
        assert_eq!(found, (from..to).collect::<Vec<_>>());
        assert_eq!(records.segments(), u64::try_from(to - from).unwrap(), "no other is opened");
    }
}

#[tokio::test]
async fn configuration_and_health_are_checked() {
    let t = fixture();
    assert!(t.queue.health().await.asked.contains(" and "));
    let wrong = |change: fn(&mut ArchiveConfig)| {
        let mut config = ArchiveConfig::default();
        change(&mut config);
        let store = Arc::new(MemoryBlobStore::new());
        Archived::with_config(MemoryQueue::new(), store, config).unwrap_err().kind()
    };
    assert_eq!(wrong(|config| config.prefix = "../up".to_owned()), ErrorKind::Invalid);
    assert_eq!(wrong(|config| config.keep_for = Duration::ZERO), ErrorKind::Invalid);
    assert!(Archive::new(Arc::new(MemoryBlobStore::new()), "").is_err());
}
