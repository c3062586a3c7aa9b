use std::time::{Duration, Instant};

use bytes::Bytes;
use standfast_benches::{ProcessTime, RedisServer, nanos_per};
use standfast_queue::{
    Envelope, OutgoingMessage, Priority, Queue, Receipt, ReceiveOptions, RedisQueue, SendOutcome,
    SettleOutcome, Settlement,
};
use tokio::runtime::Runtime;

use crate::streams::Streams;

/// About what a small job weighs as JSON.
pub(crate) const BODY: &[u8] = &[b'x'; 150];
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const SERVER: &str = "the server is there";

pub(crate) fn messages(batch: usize) -> Vec<OutgoingMessage> {
    let message = || OutgoingMessage::new(Envelope::new("bench", Bytes::from_static(BODY)));
    (0..batch).map(|_| message()).collect()
}

/// What is in the queue all the time, beside what comes and goes.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) leased: usize,
    pub(crate) queued: usize,
}

/// What the messages of a queue ask for.
#[derive(Clone, Copy)]
pub(crate) enum Asks {
    Nothing,
    /// A dedupe key each, that nothing else has.
    Dedupe,
    Priorities,
    /// One of a thousand groups each.
    Groups,
    /// Four priorities, a tenth delayed, a tenth with a dedupe key, and a twentieth of the
    /// deliveries released.
    Mix,
}

impl Asks {
    fn make(self, number: &mut u64, batch: usize) -> Vec<OutgoingMessage> {
        let mut messages = messages(batch);
        for message in &mut messages {
            *number += 1;
            let one = message.clone();
            let level = |number: u64| Priority::ALL[(number % 4) as usize];
            *message = match self {
                Self::Nothing => one,
                Self::Dedupe => one.dedupe(format!("key-{number}"), HOUR),
                Self::Priorities => one.priority(level(*number)),
                Self::Groups => one.group(format!("group-{}", *number % 1000)),
                Self::Mix => match *number % 10 {
                    3 => one.priority(level(*number / 10)).delay(Duration::from_millis(20)),
                    7 => one.priority(level(*number / 10)).dedupe(format!("key-{number}"), HOUR),
                    _ => one.priority(level(*number / 10)),
                },
            };
        }
        messages
    }

    fn releases(self, number: u64) -> bool {
        matches!(self, Self::Mix) && number.is_multiple_of(20)
    }
}

/// A server and what works on it.
pub(crate) struct Contender {
    pub(crate) server: RedisServer,
    kind: Kind,
}

enum Kind {
    Streams(Streams),
    Queue(Worked),
}

/// A queue, and how its messages are worked on.
pub(crate) struct Worked {
    queue: RedisQueue,
    asks: Asks,
    sent: u64,
    received: u64,
    /// What was sent and not acked yet, beyond what stands.
    owed: usize,
}

impl Contender {
    pub(crate) fn streams(runtime: &Runtime, standing: Standing, is_durable: bool) -> Self {
        let server = server(is_durable);
        let streams = runtime.block_on(async {
            let mut streams = Streams::open(&server.url()).await;
            for _ in 0..standing.leased / 50 {
                streams.send(50).await;
                assert_eq!(streams.receive(50).await.len(), 50);
            }
            for _ in 0..standing.queued / 100 {
                streams.send(100).await;
            }
            streams
        });
        Self { server, kind: Kind::Streams(streams) }
    }

    pub(crate) fn queue(
        runtime: &Runtime,
        standing: Standing,
        is_durable: bool,
        asks: Asks,
    ) -> Self {
        let server = server(is_durable);
        let queue = RedisQueue::from_url(&server.url(), "bench").expect("it is a URL");
        let mut worked = Worked { queue, asks, sent: 0, received: 0, owed: 0 };
        runtime.block_on(async {
            let queue = &worked.queue;
            for _ in 0..standing.leased / 50 {
                queue.send(&messages(50)).await.expect(SERVER);
                assert_eq!(receive(queue, 50).await.len(), 50);
            }
            // what stands asks for the same as what comes
            for _ in 0..standing.queued / 100 {
                let made = asks.make(&mut worked.sent, 100);
                queue.send(&made).await.expect(SERVER);
            }
        });
        Self { server, kind: Kind::Queue(worked) }
    }

    /// Sends, receives and acks `count` messages, `batch` at a time; what each took.
    pub(crate) fn measure(&mut self, runtime: &Runtime, count: usize, batch: usize) -> Vec<f64> {
        let before = self.server.usage();
        let (cpu, start) = (ProcessTime::now(), Instant::now());
        self.work(runtime, count, batch);
        let wall = nanos_per(start, count) / 1e3;
        let client = cpu.nanos_per(count) / 1e3;
        vec![self.server.usage().micros_per(&before, count), client, wall]
    }

    pub(crate) fn work(&mut self, runtime: &Runtime, count: usize, batch: usize) {
        runtime.block_on(async {
            match &mut self.kind {
                Kind::Streams(streams) => {
                    for _ in 0..count / batch {
                        streams.send(batch).await;
                        let ids = streams.receive(batch).await;
                        assert_eq!(ids.len(), batch);
                        streams.ack(&ids).await;
                    }
                }
                Kind::Queue(worked) => {
                    for _ in 0..count / batch {
                        worked.cycle(batch).await;
                    }
                }
            }
        });
    }
}

impl Worked {
    async fn cycle(&mut self, batch: usize) {
        let made = self.asks.make(&mut self.sent, batch);
        let sent = self.queue.send(&made).await.expect(SERVER);
        assert!(sent.iter().all(SendOutcome::is_sent));
        self.owed += batch;
        // what was released is received once more
        while self.owed >= batch {
            let mut settlements = receive(&self.queue, batch).await;
            assert_eq!(settlements.len(), batch);
            for (_, settlement) in &mut settlements {
                self.received += 1;
                if self.asks.releases(self.received) {
                    *settlement = Settlement::release();
                } else {
                    self.owed -= 1;
                }
            }
            settle(&self.queue, &settlements).await;
        }
    }
}

pub(crate) async fn receive(queue: &dyn Queue, max: usize) -> Vec<(Receipt, Settlement)> {
    let options = ReceiveOptions::new(max).lease(HOUR);
    let batch = queue.receive(&options).await.expect(SERVER);
    batch.deliveries.into_iter().map(|received| (received.receipt, Settlement::Ack)).collect()
}

pub(crate) async fn settle(queue: &dyn Queue, batch: &[(Receipt, Settlement)]) {
    let outcomes = queue.settle(batch).await.expect(SERVER);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, SettleOutcome::Settled)));
}

pub(crate) fn server(is_durable: bool) -> RedisServer {
    let server = match is_durable {
        true => RedisServer::start_durable(),
        false => RedisServer::start(),
    };
    server.expect("it was started before")
}
