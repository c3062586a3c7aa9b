//! Load on a queue while something fails, and the book that is kept about every message.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standfast_core::JobId;
use standfast_queue::{
    Envelope, OutgoingMessage, Queue, ReceiveOptions, SettleOutcome, Settlement, SqsQueue,
};

/// The lease of the workers: what they hold when they die is back after it.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Entry {
    accepted: bool,
    delivered: u32,
    acked: bool,
    after_ack: u32,
}

#[derive(Default)]
struct Book {
    entries: HashMap<JobId, Entry>,
    errors: u32,
    last_error: String,
}

/// What became of every message that was sent while something failed.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

/// The sums of a ledger.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) sent: usize,
    pub(crate) duplicated: usize,
    /// Delivered although the worker knows that it was acked: the send was stored twice.
    pub(crate) after_ack: usize,
    pub(crate) lost: usize,
    pub(crate) errors: u32,
    last_error: String,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, duplicated, after_ack, lost, errors, .. } = self;
        write!(
            f,
            "sent {sent}, delivered more than once {duplicated}, after its ack {after_ack}, lost \
             {lost}, errors {errors}"
        )
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &standfast_core::Error) {
        let mut book = self.book();
        book.errors += 1;
        book.last_error = error.to_string();
    }

    /// Sends batches until told to stop; what failed is repeated with the same ids, as a sender
    /// does that does not know what became of it.
    async fn produce(self, queue: SqsQueue, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let mut batch: Vec<OutgoingMessage> =
                (0..5).map(|_| Envelope::new("ledger", "some body").into()).collect();
            while !batch.is_empty() {
                match queue.send(&batch).await {
                    Ok(outcomes) => {
                        let mut again = Vec::new();
                        for (message, outcome) in batch.into_iter().zip(outcomes) {
                            let id = message.envelope.id;
                            let accepted = outcome.is_sent();
                            self.book().entries.entry(id).or_default().accepted |= accepted;
                            if !accepted {
                                again.push(message);
                            }
                        }
                        batch = again;
                    }
                    Err(error) => self.failed(&error),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Receives and acks until told to stop; an ack that failed is repeated while the lease lasts.
    async fn consume(self, queue: SqsQueue, stop: Arc<AtomicBool>) {
        let options = ReceiveOptions::new(10).wait(Duration::from_secs(1)).lease(LEASE);
        while !stop.load(Ordering::Relaxed) {
            let deliveries = match queue.receive(&options).await {
                Ok(batch) => {
                    assert!(batch.dead.is_empty(), "nothing crashes: {:?}", batch.dead);
                    batch.deliveries
                }
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let mut acks = Vec::new();
            for received in deliveries {
                let mut book = self.book();
                let entry = book.entries.entry(received.receipt.id()).or_default();
                entry.delivered += 1;
                entry.after_ack += u32::from(entry.acked);
                acks.push((received.receipt, Settlement::Ack));
            }
            while !acks.is_empty() {
                match queue.settle(&acks).await {
                    Ok(outcomes) => {
                        let mut again = Vec::new();
                        for (ack, outcome) in acks.into_iter().zip(outcomes) {
                            match outcome {
                                SettleOutcome::Settled => {
                                    let mut book = self.book();
                                    book.entries.entry(ack.0.id()).or_default().acked = true;
                                }
                                SettleOutcome::Failed(error) => {
                                    self.failed(&error);
                                    again.push(ack);
                                }
                                _ => {}
                            }
                        }
                        acks = again;
                    }
                    Err(error) => self.failed(&error),
                }
            }
        }
    }

    fn sums(&self) -> Sums {
        let book = self.book();
        let count =
            |which: fn(&Entry) -> bool| book.entries.values().filter(|entry| which(entry)).count();
        Sums {
            sent: count(|entry| entry.accepted),
            duplicated: count(|entry| entry.delivered > 1),
            after_ack: count(|entry| entry.after_ack > 0),
            lost: count(|entry| entry.accepted && entry.delivered == 0),
            errors: book.errors,
            last_error: book.last_error.clone(),
        }
    }
}

/// Runs `fault` while two producers and two consumers work. Returns when every message is accounted
/// for.
pub(crate) async fn under_load(
    what: &str,
    open: impl Fn() -> SqsQueue,
    fault: impl Future<Output = ()>,
) -> Sums {
    let ledger = Ledger::default();
    let (stop_sending, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ledger.clone().produce(open(), Arc::clone(&stop_sending))))
        .collect();
    let consumers: Vec<_> =
        (0..2).map(|_| tokio::spawn(ledger.clone().consume(open(), Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    fault.await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop_sending.store(true, Ordering::Relaxed);
    for producer in producers {
        let ended = tokio::time::timeout(Duration::from_secs(60), producer).await;
        ended.expect("a producer comes to its end").expect("it does not panic");
    }
    let queue = open();
    let drained = async {
        loop {
            let stats = queue.stats().await;
            if stats.is_ok_and(|stats| stats.ready + stats.leased + stats.delayed == 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let drained = tokio::time::timeout(Duration::from_secs(60), drained).await;
    stop.store(true, Ordering::Relaxed);
    for consumer in consumers {
        let ended = tokio::time::timeout(Duration::from_secs(30), consumer).await;
        ended.expect("a consumer comes to its end").expect("no loop ends by itself");
    }
    let sums = ledger.sums();
    println!("{what}: {sums}");
    assert!(drained.is_ok(), "{what}: the queue runs empty: {sums} {}", sums.last_error);
    assert!(sums.sent > 50, "{what}: there was load: {sums}");
    assert_eq!(sums.lost, 0, "{what}: nothing is lost: {sums}");
    sums
}
