//! What `Traced` and `TracedStatus` count for those who listen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use standfast_core::{Error, ErrorKind};
use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
use standfast_queue::wrap::{Traced, TracedStatus};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, JobState, MemoryQueue, MemoryQueueConfig,
    MemoryStatusStore, OutgoingMessage, Queue, ReceiveOptions, Settlement, StatusHandle,
    StatusStore, StatusUpdate,
};

/// Adds up what it is told; histograms as their number of observations.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Entry(Book, String);

impl Book {
    fn entry(&self, key: &Key) -> Arc<Entry> {
        let mut labels: Vec<_> = key
            .labels()
            .filter(|label| label.key() != "backend")
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        Arc::new(Entry(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }

    fn read(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

impl Entry {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Entry {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Entry {
    fn increment(&self, value: f64) {
        self.add(value);
    }
    fn decrement(&self, value: f64) {
        self.add(-value);
    }
    fn set(&self, value: f64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl HistogramFn for Entry {
    fn record(&self, _: f64) {
        self.add(1.0);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.entry(key))
    }
}

fn mail() -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("mail", "hello"))
}

#[tokio::test]
async fn a_recorder_that_comes_later_sees_what_happens_from_then_on() {
    let mut config = MemoryQueueConfig::default();
    config.max_len = 5;
    let inner = Faulty::new(MemoryQueue::with_config(config));
    let queue = Traced::new(inner.clone(), "mails");
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);

    let day = Duration::from_secs(24 * 60 * 60);
    let dropped = mail().drop_after(Duration::ZERO);
    let twice = [mail().dedupe("march", day), mail().dedupe("march", day)];
    queue.send(&twice).await.unwrap();
    queue.send(&[mail(), mail(), mail(), dropped, mail()]).await.unwrap();
    let down = || Error::new(ErrorKind::Unavailable, "memory", "queue.send");
    inner.script(
        QueueOperation::Send,
        [Fault::ErrorBefore(down()), Fault::Entries(vec![(0, down())])],
    );
    queue.send(&[mail()]).await.unwrap_err();
    queue.send(&[mail()]).await.unwrap();
    queue.stats().await.unwrap();
    let deliveries = queue.receive(&ReceiveOptions::new(10)).await.unwrap().deliveries;
    let receipts: Vec<_> = deliveries.into_iter().map(|received| received.receipt).collect();
    queue.extend(&receipts[..2], day).await.unwrap();
    let settlements = [
        Settlement::Ack,
        Settlement::Ack,
        Settlement::release(),
        Settlement::DeadLetter { reason: "no".into() },
    ];
    let batch: Vec<_> = receipts.iter().cloned().zip(settlements).collect();
    queue.settle(&batch).await.unwrap();
    queue.settle(&batch[..1]).await.unwrap();
    queue.extend(&receipts[..1], day).await.unwrap();
    queue.purge_dead_letters(&DeadLetterFilter::default()).await.unwrap();

    for (metric, value) in [
        ("sent_total queue=mails", 5.0),
        ("duplicates_total queue=mails", 1.0),
        ("full_total queue=mails", 1.0),
        ("received_total queue=mails", 4.0),
        ("dropped_total queue=mails", 1.0),
        ("settled_total queue=mails settlement=ack", 2.0),
        ("settled_total queue=mails settlement=release", 1.0),
        ("settled_total queue=mails settlement=dead_letter", 1.0),
        ("extended_total queue=mails", 2.0),
        ("stale_total operation=settle queue=mails", 1.0),
        ("stale_total operation=extend queue=mails", 1.0),
        ("errors_total kind=unavailable operation=send queue=mails", 2.0),
        ("call_seconds operation=send queue=mails", 4.0),
        ("call_seconds operation=operate queue=mails", 1.0),
        ("messages queue=mails state=ready", 5.0),
        ("messages queue=mails state=leased", 0.0),
    ] {
        assert_eq!(book.read(&format!("standfast_queue_{metric}")), value, "{metric}\n{book:#?}");
    }
}

#[tokio::test]
async fn steps_of_a_status_are_counted_by_the_state_they_led_to() {
    let store = TracedStatus::new(MemoryStatusStore::new());
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);
    let (handle, day) = (StatusHandle::random(), Duration::from_secs(24 * 60 * 60));
    for state in [JobState::Queued, JobState::Running, JobState::Succeeded, JobState::Running] {
        store.advance(&handle, &StatusUpdate::new("report", state), day).await.unwrap();
    }
    store.get(&handle).await.unwrap();
    for (metric, value) in [
        ("advanced_total state=queued", 1.0),
        ("advanced_total state=running", 1.0),
        ("advanced_total state=succeeded", 1.0),
        ("refused_total ", 1.0),
        ("call_seconds operation=advance", 4.0),
        ("call_seconds operation=get", 1.0),
    ] {
        assert_eq!(book.read(&format!("standfast_status_{metric}")), value, "{metric}\n{book:#?}");
    }
}
