//! Group commit: records that come at the same time share a segment.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use standfast_blobstore::{BlobStore, Body, Precondition, PutOptions, PutOutcome};
use standfast_core::{Error, ErrorKind, Id128, Result};
use tokio::sync::{Notify, oneshot};
use tracing::{Instrument, debug_span};

use super::ArchiveConfig;
use super::meter::Meter;
use super::record::{ArchiveRecord, Frame};
use super::segment::{Name, is_same_hour, seal};
use crate::wrap::stored::expiry;

/// Where records meet. A *flight* lingers, puts what has gathered as one segment, and goes on with
/// what came meanwhile until nothing waits.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    store: Arc<dyn BlobStore>,
    config: ArchiveConfig,
    meter: Meter,
    /// Names of segments are made of this and a number, so that no two processes share one.
    process: Id128,
    next: AtomicU64,
    state: Mutex<State>,
    full: Notify,
    idle: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    flying: usize,
    lingering: bool,
    /// The date of the latest record, in microseconds.
    last: i64,
}

/// The records of one call, all of one hour.
struct Waiting {
    at: DateTime<Utc>,
    frames: Vec<Frame>,
    bytes: usize,
    reply: Option<oneshot::Sender<Result<()>>>,
}

/// What goes into one segment.
struct Load {
    frames: Vec<Frame>,
    replies: Vec<oneshot::Sender<Result<()>>>,
    /// How many records nobody waits for.
    unattended: usize,
}

impl Writer {
    pub(super) fn new(store: Arc<dyn BlobStore>, config: ArchiveConfig, meter: Meter) -> Self {
        Self(Arc::new(Shared {
            store,
            config,
            meter,
            process: Id128::random(),
            next: AtomicU64::new(0),
            state: Mutex::default(),
            full: Notify::new(),
            idle: Notify::new(),
        }))
    }

    pub(super) fn config(&self) -> &ArchiveConfig {
        &self.0.config
    }

    pub(super) fn store(&self) -> &Arc<dyn BlobStore> {
        &self.0.store
    }

    /// Dates for `count` records: now, or as soon after as keeps each of this process apart and in
    /// order, a microsecond for each, and all of them within an hour.
    pub(super) fn dates(&self, count: usize) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        const HOUR: i64 = 60 * 60 * 1_000_000;
        let span = i64::try_from(count).unwrap_or(HOUR).min(HOUR);
        let mut first = {
            let now = self.0.config.clock.now().timestamp_micros();
            let mut state = self.0.lock();
            let mut first = now.max(state.last.saturating_add(1));
            let left = HOUR - first.rem_euclid(HOUR);
            if left < span {
                first += left;
            }
            state.last = first + span - 1;
            first
        };
        std::iter::repeat_with(move || {
            let date = DateTime::from_timestamp_micros(first).unwrap_or(DateTime::<Utc>::MAX_UTC);
            first += 1;
            date
        })
        .take(count)
    }

    /// Returns when the records are stored.
    ///
    /// # Errors
    ///
    /// What the store met. `OutcomeUnknown` and `Timeout`: they may be stored. Any other: they
    /// are not.
    ///
    /// # Cancellation
    ///
    /// They are stored whether or not the caller stays.
    pub(super) async fn append(&self, records: Vec<ArchiveRecord>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(records, Some(reply))?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::OutcomeUnknown, "archive", "archive.put")
                .with_detail("the runtime that was to store the records has ended"))
        })
    }

    /// Leaves records to the next segment. What the store does not take is lost, and counted.
    pub(super) fn leave(&self, records: Vec<ArchiveRecord>) {
        let count = records.len();
        if let Err(error) = self.enqueue(records, None) {
            self.0.meter.lost(count);
            tracing::warn!(count, %error, "records are not archived");
        }
    }

    fn enqueue(
        &self,
        records: Vec<ArchiveRecord>,
        reply: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<()> {
        let shared = &self.0;
        let frames: Vec<Frame> = records.into_iter().map(ArchiveRecord::into_frame).collect();
        let bytes = frames.iter().fold(0_usize, |sum, frame| sum.saturating_add(frame.size()));
        let Some(at) = frames.first().map(|frame| frame.order.0) else {
            if let Some(reply) = reply {
                drop(reply.send(Ok(())));
            }
            return Ok(());
        };
        let mut state = shared.lock();
        if !state.waiting.is_empty()
            && state.bytes.saturating_add(bytes) > shared.config.max_waiting_bytes
        {
            return Err(Error::new(ErrorKind::Unavailable, "archive", "archive.put")
                .with_detail("too much waits for the store already"));
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.waiting.push_back(Waiting { at, frames, bytes, reply });
        if state.lingering {
            if state.bytes >= shared.config.max_segment_bytes {
                shared.full.notify_one();
            }
        } else if state.flying < shared.config.max_flights {
            state.flying += 1;
            state.lingering = !shared.config.linger.is_zero();
            let flight = Flight::new(shared, state.lingering);
            drop(state);
            tokio::spawn(flight.run());
        }
        Ok(())
    }

    /// Returns when nothing waits or flies. What lingers goes out now.
    pub(super) async fn flush(&self) {
        loop {
            let mut idle = std::pin::pin!(self.0.idle.notified());
            idle.as_mut().enable();
            {
                let state = self.0.lock();
                if state.flying == 0 && state.waiting.is_empty() {
                    return;
                }
                if state.lingering {
                    self.0.full.notify_one();
                }
            }
            idle.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dies before the put: nothing is stored, and nobody was told otherwise. Dies after it: the
    /// records are stored, and those who waited do not know.
    async fn store(&self, mut frames: Vec<Frame>) -> Result<()> {
        frames.sort_by_key(|frame| frame.order);
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(()) };
        let span = (first.order.0, last.order.0);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = Name::new(&self.config.prefix, span, self.process, number)?;
        let count = frames.len();
        let sealing = tokio::task::spawn_blocking(move || seal(&frames));
        let bytes = sealing.await.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "archive", "archive.put").with_source(error)
        })?;
        let options = PutOptions::default()
            .with_expiry(expiry(Some(self.config.keep_for)))
            .with_precondition(Precondition::IfAbsent);
        let mut is_repeated = false;
        loop {
            let began = Instant::now();
            let put = self.store.put(&name.key, Body::from(bytes.clone()), &options).await;
            self.meter.put(began);
            match put {
                // nobody else has this name: what exists was put by the try before
                Ok(PutOutcome::Stored(_) | PutOutcome::Exists) => {
                    self.meter.stored(count, bytes.len());
                    return Ok(());
                }
                Ok(other) => {
                    return Err(Error::new(ErrorKind::Unexpected, "archive", "archive.put")
                        .with_detail(format!("a put if absent answered {other:?}")));
                }
                Err(error) if may_be_stored(&error) && !is_repeated => is_repeated = true,
                Err(error) => {
                    self.meter.error(error.kind());
                    return Err(error);
                }
            }
        }
    }
}

/// Whether a put that failed like this may have happened.
pub(super) fn may_be_stored(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Cancelled
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Timeout
            | ErrorKind::Unexpected
    )
}

/// One of the segments that may be on their way at a time. Dropped before it has landed, because its
/// runtime ended, it leaves nobody waiting for nothing.
struct Flight {
    shared: Arc<Shared>,
    lingers: bool,
    landed: bool,
}

impl Flight {
    fn new(shared: &Arc<Shared>, lingers: bool) -> Self {
        Self { shared: Arc::clone(shared), lingers, landed: false }
    }

    async fn run(mut self) {
        if self.lingers {
            let clock = &self.shared.config.clock;
            tokio::select! {
                () = self.shared.full.notified() => {}
                () = clock.sleep(self.shared.config.linger) => {}
            }
            self.shared.lock().lingering = false;
            self.lingers = false;
        }
        while let Some(Load { frames, replies, unattended }) = self.next() {
            let span = debug_span!("archive.put", records = frames.len());
            let stored = self.shared.store(frames).instrument(span).await;
            if let Err(error) = &stored
                && unattended > 0
            {
                self.shared.meter.lost(unattended);
                tracing::warn!(count = unattended, %error, "records are not archived");
            }
            for reply in replies {
                drop(reply.send(stored.clone())); // the caller may be gone
            }
        }
    }

    /// What goes out next; nothing when the flight has landed.
    fn next(&mut self) -> Option<Load> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let Some(load) = state.load(shared.config.max_segment_bytes) else {
            state.flying -= 1;
            self.landed = true;
            if state.flying == 0 {
                shared.idle.notify_waiters();
            }
            return None;
        };
        if !state.waiting.is_empty() && state.flying < shared.config.max_flights {
            state.flying += 1;
            start(Self::new(shared, false));
        }
        Some(load)
    }
}

/// A function of its own, so that the future of [`Flight::run`] need not name itself.
fn start(flight: Flight) {
    tokio::spawn(flight.run());
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let mut state = self.shared.lock();
        state.flying -= 1;
        state.lingering &= !self.lingers;
        if state.flying > 0 {
            return;
        }
        state.bytes = 0;
        let stranded = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.idle.notify_waiters();
        drop(stranded); // whoever waits sees that its reply is gone
    }
}

impl State {
    /// As many of the waiting calls as go into one segment, the first ones first; none is split.
    fn load(&mut self, max_bytes: usize) -> Option<Load> {
        let first = self.waiting.front()?.at;
        let mut load = Load { frames: Vec::new(), replies: Vec::new(), unattended: 0 };
        let mut bytes = 0_usize;
        while let Some(next) = self.waiting.front() {
            bytes = bytes.saturating_add(next.bytes);
            let fits = bytes <= max_bytes && is_same_hour(next.at, first);
            if !fits && !load.frames.is_empty() {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(next.bytes);
            if next.reply.is_none() {
                load.unattended += next.frames.len();
            }
            load.frames.extend(next.frames);
            load.replies.extend(next.reply);
        }
        Some(load)
    }
}
