//! Load on a queue while something fails, and the book that is kept about every message.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standfast_core::JobId;
use standfast_core::redis::{Durability, Redis, RedisConfig};
use standfast_queue::{
    Envelope, OutgoingMessage, Queue, ReceiveOptions, RedisQueue, RedisQueueConfig, SendOutcome,
    SettleOutcome, Settlement,
};

/// The lease of the workers: what they hold when they die is back after it.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Opens the queue of the test, each time with connections of its own.
pub(crate) fn opener(url: &str, durability: Durability) -> impl Fn() -> RedisQueue {
    move || {
        let mut redis = RedisConfig::from_url(url).expect("the server's URL is one");
        redis.timeout = Duration::from_secs(3);
        let redis = Redis::from_config(redis).expect("the configuration is one");
        let mut config = RedisQueueConfig::default();
        config.durability = durability;
        RedisQueue::from_parts(redis, "ledger", config).expect("the name is one")
    }
}

#[derive(Default)]
struct Entry {
    accepted: bool,
    delivered: u32,
    acked: u32,
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
pub(crate) struct Ledger(Arc<Mutex<Book>>);

/// The sums of a ledger.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) sent: usize,
    pub(crate) delivered: usize,
    pub(crate) duplicated: usize,
    pub(crate) lost: usize,
    pub(crate) errors: u32,
    pub(crate) last_error: String,
    /// From the end of the fault to the first send and the first ack that succeeded.
    pub(crate) send_again: Duration,
    pub(crate) ack_again: Duration,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, delivered {}, duplicated {}, lost {}, errors {}, sends again after {:?}, \
             acks again after {:?}",
            self.sent,
            self.delivered,
            self.duplicated,
            self.lost,
            self.errors,
            self.send_again,
            self.ack_again
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

    /// Sends batches until told to stop; one that failed is repeated with the same ids, as a
    /// sender does that does not know what became of it.
    pub(crate) async fn produce(self, queue: RedisQueue, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let batch: Vec<OutgoingMessage> =
                (0..5).map(|_| Envelope::new("ledger", "some body").into()).collect();
            loop {
                match queue.send(&batch).await {
                    Ok(outcomes) => {
                        let mut book = self.book();
                        book.sends.push(Instant::now());
                        let mut all = true;
                        for (message, outcome) in batch.iter().zip(outcomes) {
                            let accepted = matches!(outcome, SendOutcome::Sent);
                            all &= accepted;
                            book.entries.entry(message.envelope.id).or_default().accepted |=
                                accepted;
                        }
                        if all {
                            break;
                        }
                    }
                    Err(error) => self.failed(&error),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Receives and acks until told to stop.
    pub(crate) async fn consume(self, queue: RedisQueue, stop: Arc<AtomicBool>) {
        let options = ReceiveOptions::new(10).wait(Duration::from_millis(500)).lease(LEASE);
        while !stop.load(Ordering::Relaxed) {
            let deliveries = match queue.receive(&options).await {
                Ok(batch) => {
                    assert!(batch.dead.is_empty(), "nothing crashes: {:?}", batch.dead);
                    batch.deliveries
                }
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let mut acks = Vec::new();
            for received in &deliveries {
                self.book().entries.entry(received.receipt.id()).or_default().delivered += 1;
                acks.push((received.receipt.clone(), Settlement::Ack));
            }
            match queue.settle(&acks).await {
                Ok(outcomes) => {
                    let mut book = self.book();
                    for ((receipt, _), outcome) in acks.iter().zip(outcomes) {
                        if matches!(outcome, SettleOutcome::Settled) {
                            book.entries.entry(receipt.id()).or_default().acked += 1;
                            book.acks.push(Instant::now());
                        }
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// The sums, with what came after `healed`.
    pub(crate) fn sums(&self, healed: Instant) -> Sums {
        let book = self.book();
        let accepted = || book.entries.values().filter(|entry| entry.accepted);
        let after = |times: &[Instant]| {
            let first = times.iter().filter(|at| **at >= healed).min();
            first.map_or(Duration::MAX, |at| *at - healed)
        };
        Sums {
            sent: accepted().count(),
            delivered: accepted().filter(|entry| entry.delivered > 0).count(),
            duplicated: book.entries.values().filter(|entry| entry.delivered > 1).count(),
            lost: accepted().filter(|entry| entry.delivered == 0).count(),
            errors: book.errors,
            last_error: book.last_error.clone(),
            send_again: after(&book.sends),
            ack_again: after(&book.acks),
        }
    }
}

/// Runs `fault` while two producers and two consumers work, each with connections of its own;
/// `fault` answers when it was healed. Returns when every message is accounted for.
pub(crate) async fn under_load(
    what: &str,
    open: impl Fn() -> RedisQueue,
    fault: impl Future<Output = Instant>,
) -> Sums {
    let ledger = Ledger::default();
    let (stop_sending, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ledger.clone().produce(open(), Arc::clone(&stop_sending))))
        .collect();
    let consumers: Vec<_> =
        (0..2).map(|_| tokio::spawn(ledger.clone().consume(open(), Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let healed = fault.await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop_sending.store(true, Ordering::Relaxed);
    for producer in producers {
        tokio::time::timeout(Duration::from_secs(60), producer)
            .await
            .expect("a producer comes to its end")
            .expect("it does not panic");
    }
    let queue = open();
    let drained = async {
        loop {
            let stats = queue.stats().await;
            if stats.is_ok_and(|stats| stats.ready + stats.leased + stats.delayed == 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
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
    assert!(sums.sent > 100, "{what}: there was load: {sums}");
    sums
}
