//! Load on a queue while something fails, and the book that is kept about every message.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standfast_core::{Error, JobId};
use standfast_queue::{
    Envelope, OutgoingMessage, Queue, ReceiveOptions, SettleOutcome, Settlement,
};

/// How long who was refused waits before the next try.
const PAUSE: Duration = Duration::from_millis(20);

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
    /// When something was done: sends and settlements apart.
    sends: Vec<Instant>,
    acks: Vec<Instant>,
}

/// What became of every message that was sent while something failed.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Book>>);

/// The sums of a ledger.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) sent: usize,
    pub(crate) duplicated: usize,
    /// Delivered although the worker knows that it was acked: the send was stored twice.
    pub(crate) after_ack: usize,
    pub(crate) lost: usize,
    pub(crate) errors: u32,
    pub(crate) last_error: String,
    /// From the end of the fault to the first send and the first ack that succeeded.
    pub(crate) send_again: Duration,
    pub(crate) ack_again: Duration,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, duplicated, after_ack, lost, errors, send_again, ack_again, .. } = self;
        write!(
            f,
            "sent {sent}, delivered more than once {duplicated}, after its ack {after_ack}, lost \
             {lost}, errors {errors}, sends again after {send_again:?}, acks again after \
             {ack_again:?}"
        )
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &Error) {
        let mut book = self.book();
        book.errors += 1;
        book.last_error = error.to_string();
    }

    /// Sends batches until told to stop; what failed is repeated with the same ids, as a sender
    /// does that does not know what became of it.
    async fn produce(self, queue: impl Queue, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let mut batch: Vec<OutgoingMessage> =
                (0..5).map(|_| Envelope::new("ledger", "some body").into()).collect();
            while !batch.is_empty() {
                match queue.send(&batch).await {
                    Ok(outcomes) => {
                        let mut book = self.book();
                        book.sends.push(Instant::now());
                        let outcomes = batch.into_iter().zip(outcomes);
                        let again = outcomes.filter_map(|(message, outcome)| {
                            let entry = book.entries.entry(message.envelope.id).or_default();
                            entry.accepted |= outcome.is_sent();
                            (!outcome.is_sent()).then_some(message)
                        });
                        batch = again.collect();
                    }
                    Err(error) => self.failed(&error),
                }
                tokio::time::sleep(PAUSE / 2).await;
            }
        }
    }

    /// Receives and acks until told to stop; an ack that failed is repeated while the lease lasts.
    async fn consume(self, queue: impl Queue, lease: Duration, stop: Arc<AtomicBool>) {
        let options = ReceiveOptions::new(10).wait(Duration::from_secs(1)).lease(lease);
        while !stop.load(Ordering::Relaxed) {
            let deliveries = match queue.receive(&options).await {
                Ok(batch) => {
                    assert!(batch.dead.is_empty(), "nothing crashes: {:?}", batch.dead);
                    batch.deliveries
                }
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep(PAUSE).await;
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
                        let outcomes = acks.into_iter().zip(outcomes);
                        let again = outcomes.filter_map(|(ack, outcome)| match outcome {
                            SettleOutcome::Settled => {
                                let mut book = self.book();
                                book.acks.push(Instant::now());
                                book.entries.entry(ack.0.id()).or_default().acked = true;
                                None
                            }
                            SettleOutcome::Failed(error) => {
                                self.failed(&error);
                                Some(ack)
                            }
                            _ => None,
                        });
                        acks = again.collect();
                    }
                    Err(error) => {
                        self.failed(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// The sums, with what came after `healed`.
    fn sums(&self, healed: Instant) -> Sums {
        let book = self.book();
        let count =
            |which: fn(&Entry) -> bool| book.entries.values().filter(|entry| which(entry)).count();
        let after = |times: &[Instant]| {
            let first = times.iter().filter(|at| **at >= healed).min();
            first.map_or(Duration::MAX, |at| *at - healed)
        };
        Sums {
            sent: count(|entry| entry.accepted),
            duplicated: count(|entry| entry.delivered > 1),
            after_ack: count(|entry| entry.after_ack > 0),
            lost: count(|entry| entry.accepted && entry.delivered == 0),
            errors: book.errors,
            last_error: book.last_error.clone(),
            send_again: after(&book.sends),
            ack_again: after(&book.acks),
        }
    }
}

/// Runs `fault` while two producers and two consumers work, each on a queue of its own, with leases
/// so long; `fault` answers when it was healed. Returns when every message is accounted for.
pub(crate) async fn under_load<Q: Queue>(
    what: &str,
    lease: Duration,
    open: impl Fn() -> Q,
    fault: impl Future<Output = Instant>,
) -> Sums {
    let ledger = Ledger::default();
    let (stop_sending, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ledger.clone().produce(open(), Arc::clone(&stop_sending))))
        .collect();
    let consumers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ledger.clone().consume(open(), lease, Arc::clone(&stop))))
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let healed = fault.await;
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
    let sums = ledger.sums(healed);
    println!("{what}: {sums}");
    assert!(drained.is_ok(), "{what}: the queue runs empty: {sums} {}", sums.last_error);
    assert!(sums.sent > 50, "{what}: there was load: {sums}");
    sums
}
