use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::Key;
use standfast_core::{Health, HealthCheck, Result};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use super::meter::{self, Labels};
use crate::admin::{Leased, QueueAdmin};
use crate::capabilities::QueueCapabilities;
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;

/// A queue whose calls are seen by whoever listens to `tracing` and `metrics`.
///
/// Each call is a span of level `DEBUG` named after the operation (`queue.send`), with the fields
/// `backend`, `queue`, `entries` (those asked for, or the most to receive), `done` (those sent,
/// received, settled or extended) and, when the whole call failed, `error` (its kind). Errors are
/// not logged: they are returned.
///
/// Every metric has the labels `queue` and `backend`:
///
/// | metric | type | further labels | counts |
/// |---|---|---|---|
/// | `standfast_queue_sent_total` | counter | | messages sent |
/// | `standfast_queue_duplicates_total` | counter | | messages refused as duplicates |
/// | `standfast_queue_full_total` | counter | | messages refused by a full queue |
/// | `standfast_queue_received_total` | counter | | deliveries |
/// | `standfast_queue_dead_total` | counter | | messages that the store moved to the dead letters |
/// | `standfast_queue_dropped_total` | counter | | messages whose `drop_after` had passed |
/// | `standfast_queue_settled_total` | counter | `settlement`: `ack`, `dead_letter`, `release` | deliveries settled |
/// | `standfast_queue_extended_total` | counter | | leases extended |
/// | `standfast_queue_lease_caps_total` | counter | | leases that could not be extended further |
/// | `standfast_queue_stale_total` | counter | `operation` | receipts that were no longer current |
/// | `standfast_queue_errors_total` | counter | `operation`, `kind` | calls and single entries that failed |
/// | `standfast_queue_call_seconds` | histogram | `operation` | how long calls took, waits included |
/// | `standfast_queue_messages` | gauge | `state`: `ready`, `leased`, `delayed`, `dead` | messages, as of the last `stats` |
/// | `standfast_queue_oldest_seconds` | gauge | | age of the oldest ready message, as of the last `stats` |
///
/// `operation` is `send`, `receive`, `settle`, `extend`, `stats` or, for what operators do,
/// `operate`. A call that is dropped is not counted; its span ends.
///
/// Outermost, it shows what callers ask for; inside a [`Coalescing`](super::Coalescing), what the
/// backend is asked.
///
/// ```
/// use standfast_queue::wrap::Traced;
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Traced::new(MemoryQueue::new(), "mails");
/// queue.send(&[OutgoingMessage::new(Envelope::new("mail", "hello"))]).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Traced<Q> {
    queue: Q,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Meter {
    name: String,
    backend: &'static str,
    labels: Labels,
    calls: [Key; Operation::ALL.len()],
    sent: Key,
    duplicates: Key,
    full: Key,
    received: Key,
    dead: Key,
    dropped: Key,
    acked: Key,
    dead_lettered: Key,
    released: Key,
    extended: Key,
    lease_caps: Key,
    stale_settles: Key,
    stale_extends: Key,
    messages: [Key; 4],
    oldest: Key,
}

#[derive(Clone, Copy)]
enum Operation {
    Extend,
    Operate,
    Receive,
    Send,
    Settle,
    Stats,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::Extend, Self::Operate, Self::Receive, Self::Send, Self::Settle, Self::Stats];

    fn as_str(self) -> &'static str {
        match self {
            Self::Extend => "extend",
            Self::Operate => "operate",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Settle => "settle",
            Self::Stats => "stats",
        }
    }
}

impl<Q: Queue> Traced<Q> {
    /// Shows `queue` to those who listen, as `name`.
    pub fn new(queue: Q, name: impl Into<String>) -> Self {
        let meter = Arc::new(Meter::new(name.into(), queue.capabilities().backend));
        Self { queue, meter }
    }

    /// The queue inside.
    pub fn inner(&self) -> &Q {
        &self.queue
    }

    async fn operate<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Meter { name, backend, .. } = &*self.meter;
        let span =
            debug_span!("queue.operate", backend, queue = name.as_str(), operation, error = Empty);
        self.meter.watch(Operation::Operate, &span, call).await
    }
}

/// A span of one call that carries entries.
macro_rules! span {
    ($name:literal, $meter:expr, $entries:expr) => {
        debug_span!(
            $name,
            backend = $meter.backend,
            queue = $meter.name.as_str(),
            entries = $entries,
            done = Empty,
            error = Empty
        )
    };
}

#[async_trait]
impl<Q: Queue> Queue for Traced<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let meter = &*self.meter;
        let span = span!("queue.send", meter, batch.len());
        let outcomes = meter.watch(Operation::Send, &span, self.queue.send(batch)).await?;
        let (mut sent, mut duplicates, mut full) = (0, 0, 0);
        for outcome in &outcomes {
            match outcome {
                SendOutcome::Duplicate(_) => duplicates += 1,
                SendOutcome::Failed(error) => meter.error(Operation::Send, error),
                SendOutcome::Full => full += 1,
                SendOutcome::Sent => sent += 1,
            }
        }
        span.record("done", sent);
        meter::count(&meter.sent, sent);
        meter::count(&meter.duplicates, duplicates);
        meter::count(&meter.full, full);
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let meter = &*self.meter;
        let span = span!("queue.receive", meter, options.max);
        let batch = meter.watch(Operation::Receive, &span, self.queue.receive(options)).await?;
        span.record("done", batch.deliveries.len());
        meter::count(&meter.received, batch.deliveries.len());
        meter::count(&meter.dead, batch.dead.len());
        meter::count(&meter.dropped, batch.dropped.len());
        Ok(batch)
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let meter = &*self.meter;
        let span = span!("queue.settle", meter, batch.len());
        let outcomes = meter.watch(Operation::Settle, &span, self.queue.settle(batch)).await?;
        let (mut acked, mut dead_lettered, mut released, mut stale) = (0, 0, 0, 0);
        for (outcome, (_, settlement)) in outcomes.iter().zip(batch) {
            match (outcome, settlement) {
                (SettleOutcome::Failed(error), _) => meter.error(Operation::Settle, error),
                (SettleOutcome::Settled, Settlement::Ack) => acked += 1,
                (SettleOutcome::Settled, Settlement::DeadLetter { .. }) => dead_lettered += 1,
                (SettleOutcome::Settled, Settlement::Release { .. }) => released += 1,
                (SettleOutcome::Stale, _) => stale += 1,
            }
        }
        span.record("done", acked + dead_lettered + released);
        meter::count(&meter.acked, acked);
        meter::count(&meter.dead_lettered, dead_lettered);
        meter::count(&meter.released, released);
        meter::count(&meter.stale_settles, stale);
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let meter = &*self.meter;
        let span = span!("queue.extend", meter, batch.len());
        let call = self.queue.extend(batch, lease);
        let outcomes = meter.watch(Operation::Extend, &span, call).await?;
        let (mut extended, mut caps, mut stale) = (0, 0, 0);
        for outcome in &outcomes {
            match outcome {
                ExtendOutcome::Extended => extended += 1,
                ExtendOutcome::Failed(error) => meter.error(Operation::Extend, error),
                ExtendOutcome::LeaseCap => caps += 1,
                ExtendOutcome::Stale => stale += 1,
            }
        }
        span.record("done", extended);
        meter::count(&meter.extended, extended);
        meter::count(&meter.lease_caps, caps);
        meter::count(&meter.stale_extends, stale);
        Ok(outcomes)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let meter = &*self.meter;
        let span = debug_span!(
            "queue.stats",
            backend = meter.backend,
            queue = meter.name.as_str(),
            error = Empty
        );
        let stats = meter.watch(Operation::Stats, &span, self.queue.stats()).await?;
        let counts = [stats.ready, stats.leased, stats.delayed, stats.dead];
        for (key, count) in meter.messages.iter().zip(counts) {
            meter::set(key, count as f64);
        }
        meter::set(&meter.oldest, stats.oldest_age.unwrap_or_default().as_secs_f64());
        Ok(stats)
    }
}

#[async_trait]
impl<Q: Queue> DeadLetters for Traced<Q> {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let call = self.queue.list_dead_letters(filter, after, limit);
        self.operate("list_dead_letters", call).await
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.operate("redrive", self.queue.redrive(filter, options)).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.operate("purge_dead_letters", self.queue.purge_dead_letters(filter)).await
    }
}

#[async_trait]
impl<Q: Queue> QueueAdmin for Traced<Q> {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.operate("peek", self.queue.peek(limit)).await
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.operate("leased", self.queue.leased(limit)).await
    }

    async fn pause(&self) -> Result<()> {
        self.operate("pause", self.queue.pause()).await
    }

    async fn resume(&self) -> Result<()> {
        self.operate("resume", self.queue.resume()).await
    }

    async fn purge(&self) -> Result<u64> {
        self.operate("purge", self.queue.purge()).await
    }
}

#[async_trait]
impl<Q: Queue> HealthCheck for Traced<Q> {
    async fn health(&self) -> Health {
        self.queue.health().await
    }
}

impl Meter {
    fn new(name: String, backend: &'static str) -> Self {
        meter::describe(&COUNTERS);
        let labels = Labels::new([("queue", name.clone()), ("backend", backend.to_owned())]);
        let key = |name| labels.key(name, &[]);
        let settled =
            |settlement| labels.key("standfast_queue_settled_total", &[("settlement", settlement)]);
        let stale =
            |operation| labels.key("standfast_queue_stale_total", &[("operation", operation)]);
        let messages = |state| labels.key("standfast_queue_messages", &[("state", state)]);
        Self {
            calls: Operation::ALL.map(|operation| {
                labels.key("standfast_queue_call_seconds", &[("operation", operation.as_str())])
            }),
            sent: key("standfast_queue_sent_total"),
            duplicates: key("standfast_queue_duplicates_total"),
            full: key("standfast_queue_full_total"),
            received: key("standfast_queue_received_total"),
            dead: key("standfast_queue_dead_total"),
            dropped: key("standfast_queue_dropped_total"),
            acked: settled("ack"),
            dead_lettered: settled("dead_letter"),
            released: settled("release"),
            extended: key("standfast_queue_extended_total"),
            lease_caps: key("standfast_queue_lease_caps_total"),
            stale_settles: stale("settle"),
            stale_extends: stale("extend"),
            messages: ["ready", "leased", "delayed", "dead"].map(messages),
            oldest: key("standfast_queue_oldest_seconds"),
            labels,
            name,
            backend,
        }
    }

    /// Runs a call in its span, measures it and counts its error.
    async fn watch<T>(
        &self,
        operation: Operation,
        span: &Span,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let began = Instant::now();
        let answer =
            if span.is_disabled() { call.await } else { call.instrument(span.clone()).await };
        meter::observe(&self.calls[operation as usize], began);
        if let Err(error) = &answer {
            span.record("error", error.kind().as_str());
            self.error(operation, error);
        }
        answer
    }

    fn error(&self, operation: Operation, error: &standfast_core::Error) {
        self.labels.error("standfast_queue_errors_total", operation.as_str(), error.kind());
    }
}

const COUNTERS: [(&str, &str); 11] = [
    ("standfast_queue_sent_total", "messages sent"),
    ("standfast_queue_duplicates_total", "messages refused as duplicates"),
    ("standfast_queue_full_total", "messages refused by a full queue"),
    ("standfast_queue_received_total", "deliveries"),
    ("standfast_queue_dead_total", "messages that the store moved to the dead letters"),
    ("standfast_queue_dropped_total", "messages whose drop_after had passed"),
    ("standfast_queue_settled_total", "deliveries settled"),
    ("standfast_queue_extended_total", "leases extended"),
    ("standfast_queue_lease_caps_total", "leases that could not be extended further"),
    ("standfast_queue_stale_total", "receipts that were no longer current"),
    ("standfast_queue_errors_total", "calls and single entries that failed"),
];
