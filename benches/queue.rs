//! The memory queue beside the channels that come nearest to it.
//!
//! On one thread the figures are the thread's own time, on two the clock's.
//!
//! A channel has no leases, no receipts and no redelivery: it shows what moving the same messages
//! costs at least.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use standfast_benches::{
    Bench, CpuTime, Results, Table, current_thread, nanos_per, quantile, resident, two_threads,
};
use standfast_core::Clock;
use standfast_queue::{
    Envelope, MemoryQueue, MemoryQueueConfig, OutgoingMessage, Priority, Queue, Receipt,
    ReceiveOptions, Settlement,
};
use tokio::runtime::{Runtime, RuntimeFlavor};
use tokio::sync::mpsc;

/// About what a small job weighs as JSON.
const BODY: &[u8] = &[b'x'; 150];
const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    let mut bench = Bench::from_args("queue");
    if bench.wants("memory") {
        memory(&bench);
    }
    for batch in [1, 10, 100] {
        if bench.wants(&format!("throughput-{batch}")) {
            throughput(&mut bench, batch);
        }
    }
    if bench.wants("tasks") {
        tasks(&mut bench);
    }
    if bench.wants("leased") {
        leased(&mut bench);
    }
    if bench.wants("queued") {
        queued(&mut bench);
    }
    if bench.wants("variants") {
        variants(&bench);
    }
    if bench.wants("latency") {
        latency(&mut bench);
    }
    bench.finish();
}

fn message() -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("bench", Bytes::from_static(BODY)))
}

fn messages(batch: usize) -> Vec<OutgoingMessage> {
    (0..batch).map(|_| message()).collect()
}

async fn receive(queue: &dyn Queue, max: usize) -> Vec<(Receipt, Settlement)> {
    let options = ReceiveOptions::new(max);
    let batch = queue.receive(&options).await.expect("memory does not fail");
    batch.deliveries.into_iter().map(|received| (received.receipt, Settlement::Ack)).collect()
}

/// Sends, receives and acks `count` messages, `batch` at a time.
async fn cycle(
    queue: &dyn Queue,
    count: usize,
    batch: usize,
    make: impl Fn(usize) -> Vec<OutgoingMessage>,
) {
    for _ in 0..count / batch {
        queue.send(&make(batch)).await.expect("memory does not fail");
        let acks = receive(queue, batch).await;
        assert_eq!(acks.len(), batch);
        queue.settle(&acks).await.expect("memory does not fail");
    }
}

/// How much memory a message takes while it waits, its own and the queue's.
fn memory(bench: &Bench) {
    let count = bench.count(1_000_000);
    let runtime = current_thread();
    let queue = MemoryQueue::new();
    let empty = resident();
    let mut all = messages(count);
    let built = resident();
    runtime.block_on(async {
        queue.send(&all).await.expect("memory does not fail");
        let per = |from: usize, to: usize| to.saturating_sub(from) / count;
        let queued = resident();
        println!("\nmemory for each of {count} messages of {} bytes, static body", BODY.len());
        println!("  the message itself       {:>5} bytes", per(empty, built));
        println!("  the queue, ready         {:>5} bytes", per(built, queued));
        all.clear();
        let mut receipts = receive(&queue, count).await;
        println!("  the queue, leased, with the caller's receipts {:>5} bytes", {
            per(built, resident())
        });
        receipts.clear();
    });
}

fn throughput(bench: &mut Bench, batch: usize) {
    let count = bench.count(200_000);
    let runtime = current_thread();
    let queue = MemoryQueue::new();
    let title = format!("throughput-{batch}: send, receive and ack, batches of {batch}, one task");
    let results = Table::new(title, &["ns/message"])
        .row("mpsc", || {
            let (sender, mut receiver) = mpsc::channel(1024);
            timed(&runtime, count, async {
                for _ in 0..count / batch {
                    for message in messages(batch) {
                        sender.send(message).await.expect("the receiver is there");
                    }
                    for _ in 0..batch {
                        black_box(receiver.recv().await);
                    }
                }
            })
        })
        .row("mpsc, many at a time", || {
            let (sender, mut receiver) = mpsc::channel(1024);
            let mut received = Vec::new();
            timed(&runtime, count, async {
                for _ in 0..count / batch {
                    let made = messages(batch);
                    let permits = sender.reserve_many(batch).await.expect("there is room");
                    for (permit, message) in permits.zip(made) {
                        permit.send(message);
                    }
                    receiver.recv_many(&mut received, batch).await;
                    black_box(&mut received).clear();
                }
            })
        })
        .row("async-channel", || {
            let (sender, receiver) = async_channel::bounded(1024);
            timed(&runtime, count, async {
                for _ in 0..count / batch {
                    for message in messages(batch) {
                        sender.send(message).await.expect("the receiver is there");
                    }
                    for _ in 0..batch {
                        black_box(receiver.recv().await).expect("it was sent");
                    }
                }
            })
        })
        .row("mpsc of numbers", || {
            let (sender, mut receiver) = mpsc::channel(1024);
            timed(&runtime, count, async {
                for _ in 0..count / batch {
                    for number in 0..batch {
                        sender.send(number).await.expect("the receiver is there");
                    }
                    for _ in 0..batch {
                        black_box(receiver.recv().await);
                    }
                }
            })
        })
        .row("making the messages", || {
            timed(&runtime, count, async {
                for _ in 0..count / batch {
                    black_box(messages(batch));
                }
            })
        })
        .row("queue", || timed(&runtime, count, cycle(&queue, count, batch, messages)))
        .run(bench);
    let rate = 1e3 / results.median("queue");
    println!("  queue: {rate:.2} M messages/s");
    if batch == 100 {
        bench.target("1.5 M messages/s at batches of 100", rate >= 1.5);
        let speed = results.speed("queue", "mpsc");
        bench.target("1.0 x mpsc at batches of 100", speed >= 1.0);
    }
}

/// What `work` takes of this thread for each of `count`; of the clock where it runs on others.
fn timed(runtime: &Runtime, count: usize, work: impl Future<Output = ()>) -> f64 {
    let (cpu, start) = (CpuTime::now(), Instant::now());
    runtime.block_on(work);
    match runtime.handle().runtime_flavor() {
        RuntimeFlavor::CurrentThread => cpu.nanos_per(count),
        _ => nanos_per(start, count),
    }
}

/// A task that sends and one that receives, as applications have them.
fn tasks(bench: &mut Bench) {
    let count = bench.count(200_000);
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let title = format!("tasks: one sends, one receives and acks, up to 100 at a time, {name}");
        let results = Table::new(title, &["ns/message"])
            .row("mpsc", || {
                let (sender, mut receiver) = mpsc::channel(1024);
                timed(&runtime, count, async {
                    let sending = tokio::spawn(async move {
                        for _ in 0..count {
                            sender.send(message()).await.expect("the receiver is there");
                        }
                    });
                    let receiving = tokio::spawn(async move {
                        while let Some(message) = receiver.recv().await {
                            black_box(message);
                        }
                    });
                    sending.await.expect("no panic");
                    receiving.await.expect("no panic");
                })
            })
            .row("async-channel", || {
                let (sender, receiver) = async_channel::bounded(1024);
                timed(&runtime, count, async {
                    let sending = tokio::spawn(async move {
                        for _ in 0..count {
                            sender.send(message()).await.expect("the receiver is there");
                        }
                    });
                    let receiving = tokio::spawn(async move {
                        while let Ok(message) = receiver.recv().await {
                            black_box(message);
                        }
                    });
                    sending.await.expect("no panic");
                    receiving.await.expect("no panic");
                })
            })
            .row("queue", || {
                let queue = MemoryQueue::new();
                timed(&runtime, count, async {
                    let sender = queue.clone();
                    let sending = tokio::spawn(async move {
                        for _ in 0..count / 10 {
                            sender.send(&messages(10)).await.expect("memory does not fail");
                            tokio::task::yield_now().await;
                        }
                    });
                    let receiving = tokio::spawn(async move {
                        let mut left = count / 10 * 10;
                        let options = ReceiveOptions::new(100).wait(HOUR);
                        while left > 0 {
                            let batch =
                                queue.receive(&options).await.expect("memory does not fail");
                            let deliveries = batch.deliveries.into_iter();
                            let acks: Vec<_> =
                                deliveries.map(|one| (one.receipt, Settlement::Ack)).collect();
                            left -= acks.len();
                            queue.settle(&acks).await.expect("memory does not fail");
                        }
                    });
                    sending.await.expect("no panic");
                    receiving.await.expect("no panic");
                })
            })
            .run(bench);
        if name == "one thread" {
            bench.target("1.0 x mpsc between two tasks", results.speed("queue", "mpsc") >= 1.0);
        }
    }
}

/// Many deliveries are out, and the oldest are acked first.
fn leased(bench: &mut Bench) {
    const BATCH: usize = 10;
    let count = bench.count(100_000);
    let runtime = current_thread();
    let sizes =
        [("10", 10), ("100", 100), ("1,000", 1000), ("10,000", 10_000), ("100,000", 100_000)];
    let mut table = Table::new("leased: as many deliveries out, batches of 10", &["ns/message"]);
    for (name, size) in sizes {
        let queue = MemoryQueue::new();
        let mut out = VecDeque::new();
        runtime.block_on(async {
            queue.send(&messages(size)).await.expect("memory does not fail");
            out.extend(receive(&queue, size).await);
        });
        let runtime = &runtime;
        table = table.row(name, move || {
            timed(runtime, count, async {
                for _ in 0..count / BATCH {
                    queue.send(&messages(BATCH)).await.expect("memory does not fail");
                    out.extend(receive(&queue, BATCH).await);
                    let acks: Vec<_> = out.drain(..BATCH).collect();
                    queue.settle(&acks).await.expect("memory does not fail");
                }
            })
        });
    }
    table = channel_of(table, &runtime, count, 10);
    table = channel_of(table, &runtime, count, 100_000);
    let results = table.run(bench);
    growth(bench, &results, &sizes);
}

/// Many messages wait; those that come go to the end, those that go come from the front.
fn queued(bench: &mut Bench) {
    let count = bench.count(100_000);
    let runtime = current_thread();
    let most = bench.count(1_000_000);
    let sizes = [("10", 10), ("1,000", 1000), ("100,000", 100_000), ("1,000,000", most)];
    let mut table = Table::new("queued: as many messages wait, batches of 10", &["ns/message"]);
    for (name, size) in sizes {
        let queue = MemoryQueue::new();
        let first = messages(size);
        runtime.block_on(queue.send(&first)).expect("memory does not fail");
        let runtime = &runtime;
        table = table.row(name, move || timed(runtime, count, cycle(&queue, count, 10, messages)));
    }
    table = channel_of(table, &runtime, count, 10);
    table = channel_of(table, &runtime, count, most);
    let results = table.run(bench);
    growth(bench, &results, &sizes);
}

/// A channel that holds as many messages: what the memory they lie in costs without a queue.
fn channel_of<'a>(table: Table<'a>, runtime: &'a Runtime, count: usize, size: usize) -> Table<'a> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for message in messages(size) {
        sender.send(message).expect("the receiver is there");
    }
    table.row(format!("mpsc, {size}"), move || {
        timed(runtime, count, async {
            for _ in 0..count {
                sender.send(message()).expect("the receiver is there");
                black_box(receiver.recv().await);
            }
        })
    })
}

fn growth(bench: &mut Bench, results: &Results, sizes: &[(&str, usize)]) {
    let exponent = results.exponent(sizes);
    println!("  grows with the size to the power of {exponent:.3}");
    bench.target("growth below 0.1", exponent < 0.1);
}

/// What messages cost that ask for more.
fn variants(bench: &Bench) {
    const BATCH: usize = 100;
    let count = bench.count(100_000);
    let runtime = current_thread();
    let numbers = AtomicU64::new(0);
    let number = || numbers.fetch_add(1, Ordering::Relaxed);
    let run = |make: &dyn Fn(OutgoingMessage) -> OutgoingMessage| {
        let queue = MemoryQueue::new();
        let batch = |batch| (0..batch).map(|_| make(message())).collect();
        timed(&runtime, count, cycle(&queue, count, BATCH, batch))
    };
    Table::new("variants: send, receive and ack, batches of 100", &["ns/message"])
        .row("plain", || run(&|message| message))
        .row("a lease of a worker with a name", || {
            let queue = MemoryQueue::new();
            let options = ReceiveOptions::new(BATCH).worker("worker");
            timed(&runtime, count, async {
                for _ in 0..count / BATCH {
                    queue.send(&messages(BATCH)).await.expect("memory does not fail");
                    let batch = queue.receive(&options).await.expect("memory does not fail");
                    let deliveries = batch.deliveries.into_iter();
                    let acks: Vec<_> =
                        deliveries.map(|one| (one.receipt, Settlement::Ack)).collect();
                    queue.settle(&acks).await.expect("memory does not fail");
                }
            })
        })
        .row("four priorities", || {
            run(&|message| message.priority(Priority::ALL[number() as usize % 4]))
        })
        .row("drop_after", || run(&|message| message.drop_after(HOUR)))
        .row("100 groups", || run(&|message| message.group(format!("group-{}", number() % 100))))
        .row("a dedupe key each, for an hour", || {
            run(&|message| message.dedupe(format!("key-{}", number()), HOUR))
        })
        .row("delayed by a second", || {
            let clock = Arc::new(Ahead::default());
            let mut config = MemoryQueueConfig::default();
            config.clock = Arc::<Ahead>::clone(&clock);
            let queue = MemoryQueue::with_config(config);
            let second = Duration::from_secs(1);
            timed(&runtime, count, async {
                for _ in 0..count / BATCH {
                    let batch: Vec<_> =
                        messages(BATCH).into_iter().map(|one| one.delay(second)).collect();
                    queue.send(&batch).await.expect("memory does not fail");
                    clock.advance(second);
                    let acks = receive(&queue, BATCH).await;
                    assert_eq!(acks.len(), BATCH);
                    queue.settle(&acks).await.expect("memory does not fail");
                }
            })
        })
        .row("extended once", || {
            let queue = MemoryQueue::new();
            timed(&runtime, count, async {
                for _ in 0..count / BATCH {
                    queue.send(&messages(BATCH)).await.expect("memory does not fail");
                    let acks = receive(&queue, BATCH).await;
                    let receipts: Vec<_> =
                        acks.iter().map(|(receipt, _)| receipt.clone()).collect();
                    queue.extend(&receipts, HOUR).await.expect("memory does not fail");
                    queue.settle(&acks).await.expect("memory does not fail");
                }
            })
        })
        .row("released once", || {
            let queue = MemoryQueue::new();
            timed(&runtime, count, async {
                for _ in 0..count / BATCH {
                    queue.send(&messages(BATCH)).await.expect("memory does not fail");
                    let mut received = receive(&queue, BATCH).await;
                    received.iter_mut().for_each(|(_, how)| *how = Settlement::release());
                    queue.settle(&received).await.expect("memory does not fail");
                    let acks = receive(&queue, BATCH).await;
                    queue.settle(&acks).await.expect("memory does not fail");
                }
            })
        })
        .run(bench);
}

/// A clock that runs ahead of the system's as it is told.
#[derive(Debug)]
struct Ahead {
    start: Instant,
    by: AtomicU64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { start: Instant::now(), by: AtomicU64::new(0) }
    }
}

impl Ahead {
    fn advance(&self, span: Duration) {
        self.by.fetch_add(span.as_micros() as u64, Ordering::Relaxed);
    }

    fn by(&self) -> u64 {
        self.by.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::microseconds(self.by() as i64)
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.by())
    }

    async fn sleep_until(&self, _deadline: Instant) {
        std::future::pending().await
    }
}

/// From the send to the receiver that waits in another task, with nothing else going on.
fn latency(bench: &mut Bench) {
    let count = bench.count(200);
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let title = format!("latency: to a receiver that waits, idle, {name}");
        let results = Table::new(title, &["p50 us", "p99 us"])
            .rows("mpsc", || {
                let (sender, mut receiver) = mpsc::channel(1024);
                let sent = Sent::default();
                let seen = sent.clone();
                let receiving = async move {
                    let mut took = Vec::new();
                    while took.len() < count {
                        black_box(receiver.recv().await);
                        took.push(seen.since());
                    }
                    took
                };
                runtime.block_on(hand_over(count, &sent, receiving, async |message| {
                    sender.send(message).await.expect("the receiver is there");
                }))
            })
            .rows("queue", || {
                let queue = MemoryQueue::new();
                let sender = queue.clone();
                let sent = Sent::default();
                let seen = sent.clone();
                let receiving = async move {
                    let mut took = Vec::new();
                    let options = ReceiveOptions::new(1).wait(HOUR);
                    while took.len() < count {
                        let batch = queue.receive(&options).await.expect("memory does not fail");
                        took.push(seen.since());
                        assert_eq!(batch.deliveries.len(), 1);
                    }
                    took
                };
                runtime.block_on(hand_over(count, &sent, receiving, async |message| {
                    sender.send(&[message]).await.expect("memory does not fail");
                }))
            })
            .run(bench);
        bench.target("p99 below 1 ms", results.median_of("queue", 1) < 1000.0);
    }
}

/// When the message that is under way was sent.
#[derive(Clone)]
struct Sent(Arc<Mutex<Instant>>);

impl Default for Sent {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Sent {
    fn now(&self) {
        *self.0.lock().expect("no panic") = Instant::now();
    }

    /// Microseconds since then.
    fn since(&self) -> f64 {
        self.0.lock().expect("no panic").elapsed().as_secs_f64() * 1e6
    }
}

/// Sends `count` messages 2 ms apart to the task `receiving`; p50 and p99 of what it saw.
async fn hand_over(
    count: usize,
    sent: &Sent,
    receiving: impl Future<Output = Vec<f64>> + Send + 'static,
    send: impl AsyncFn(OutgoingMessage),
) -> Vec<f64> {
    let receiving = tokio::spawn(receiving);
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let message = message();
        sent.now();
        send(message).await;
    }
    let mut took = receiving.await.expect("no panic");
    vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
}
