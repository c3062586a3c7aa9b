//! Calls of one kind on their way to one queue, gathered while others are under way.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::FutureExt;
use standfast_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, oneshot};

use super::calls::{Call, Limits, checked, in_chunks};
use super::coalescing::CoalescingConfig;
use crate::queue::Queue;

/// Where calls of one kind meet. A *flight* is one call of the inner queue and the calls that
/// follow from it: it takes whatever waits when it is done, and lands when nothing does.
pub(super) struct Lane<C: Call, Q>(Arc<Shared<C, Q>>);

impl<C: Call, Q> Clone for Lane<C, Q> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<C: Call, Q> {
    call: C,
    queue: Arc<Q>,
    config: CoalescingConfig,
    /// What is gathered into one call of the inner queue.
    gather: Limits,
    /// What the inner queue takes in one call.
    whole: Limits,
    state: Mutex<State<C>>,
    full: Notify,
    idle: Notify,
}

struct State<C: Call> {
    waiting: VecDeque<Waiting<C>>,
    entries: usize,
    bytes: usize,
    flying: usize,
    lingering: bool,
}

struct Waiting<C: Call> {
    entries: Vec<C::Entry>,
    bytes: usize,
    reply: Reply<C>,
}

type Answer<C> = Result<Vec<<C as Call>::Outcome>>;
type Reply<C> = oneshot::Sender<Answer<C>>;

impl<C: Call, Q: Queue> Lane<C, Q> {
    pub(super) fn new(call: C, queue: Arc<Q>, config: &CoalescingConfig) -> Self {
        let max = queue.capabilities().max_batch;
        let state =
            State { waiting: VecDeque::new(), entries: 0, bytes: 0, flying: 0, lingering: false };
        Self(Arc::new(Shared {
            call,
            queue,
            config: config.clone(),
            gather: Limits { entries: config.max_batch.min(max), bytes: config.max_bytes },
            whole: Limits { entries: max, bytes: usize::MAX },
            state: Mutex::new(state),
            full: Notify::new(),
            idle: Notify::new(),
        }))
    }

    pub(super) async fn call(&self, batch: &[C::Entry]) -> Answer<C> {
        let shared = &self.0;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = batch.iter().fold(0_usize, |sum, entry| sum.saturating_add(C::bytes(entry)));
        if batch.len() >= shared.gather.entries || bytes >= shared.gather.bytes {
            return in_chunks(&shared.call, &*shared.queue, batch, shared.whole).await;
        }
        let answer = match shared.take_off() {
            Some(flight) => {
                let entries = batch.to_vec();
                let mut flying = Box::pin(async move {
                    let answer = flight.carry(&entries).await;
                    (flight, answer)
                });
                // a queue that answers at once needs no task; from the first wait on, the flight
                // has one of its own, so that no caller who stops polling holds up the others
                match poll_fn(|cx| Poll::Ready(flying.as_mut().poll(cx))).await {
                    Poll::Ready((mut flight, answer)) => {
                        if let Some(next) = flight.next() {
                            tokio::spawn(flight.run(Some(next)));
                        }
                        return answer;
                    }
                    Poll::Pending => {}
                }
                let (reply, answer) = oneshot::channel();
                tokio::spawn(async move {
                    let (flight, outcome) = flying.await;
                    drop(reply.send(outcome)); // the caller may be gone
                    flight.run(None).await;
                });
                answer
            }
            None => shared.wait(batch.to_vec(), bytes),
        };
        answer.await.unwrap_or_else(|_| {
            Err(shared
                .error(ErrorKind::OutcomeUnknown)
                .with_detail("the runtime that carried the call has ended"))
        })
    }

    /// Waits until nothing waits or flies.
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

impl<C: Call, Q: Queue> Shared<C, Q> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.queue.capabilities().backend, C::OPERATION)
    }

    /// A flight for a caller who need not wait for one.
    fn take_off(self: &Arc<Self>) -> Option<Flight<C, Q>> {
        let mut state = self.lock();
        let alone = self.config.linger.is_zero()
            && state.waiting.is_empty()
            && state.flying < self.config.max_flights;
        alone.then(|| {
            state.flying += 1;
            Flight::new(self, false)
        })
    }

    /// Leaves entries to the next flight, and starts one if none is on its way back.
    fn wait(
        self: &Arc<Self>,
        entries: Vec<C::Entry>,
        bytes: usize,
    ) -> oneshot::Receiver<Answer<C>> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        state.entries += entries.len();
        state.bytes = state.bytes.saturating_add(bytes);
        state.waiting.push_back(Waiting { entries, bytes, reply });
        if state.lingering {
            if state.entries >= self.gather.entries || state.bytes >= self.gather.bytes {
                self.full.notify_one();
            }
        } else if state.flying < self.config.max_flights {
            state.flying += 1;
            state.lingering = !self.config.linger.is_zero();
            let flight = Flight::new(self, state.lingering);
            drop(state);
            tokio::spawn(flight.run(None));
        }
        answer
    }
}

/// One of the calls that may be under way at a time. Dropped before it has landed, because its
/// runtime ended, it tells those who wait for nobody else.
struct Flight<C: Call, Q: Queue> {
    shared: Arc<Shared<C, Q>>,
    lingers: bool,
    landed: bool,
}

/// What goes out together, and whom to tell about how many entries.
struct Load<C: Call> {
    entries: Vec<C::Entry>,
    replies: Vec<(usize, Reply<C>)>,
}

impl<C: Call, Q: Queue> Flight<C, Q> {
    fn new(shared: &Arc<Shared<C, Q>>, lingers: bool) -> Self {
        Self { shared: Arc::clone(shared), lingers, landed: false }
    }

    /// Carries `load`, if there is one, and then whatever waits, until nothing does.
    async fn run(mut self, mut load: Option<Load<C>>) {
        if self.lingers {
            let clock = &self.shared.config.clock;
            tokio::select! {
                () = self.shared.full.notified() => {}
                () = clock.sleep(self.shared.config.linger) => {}
            }
            self.shared.lock().lingering = false;
            self.lingers = false;
        }
        while let Some(Load { entries, replies }) = load.take().or_else(|| self.next()) {
            let answer = self.carry(&entries).await;
            answer_all::<C>(answer, replies);
        }
    }

    /// One call of the inner queue. Its panic is an error to those who asked for the call.
    async fn carry(&self, entries: &[C::Entry]) -> Answer<C> {
        let Shared { call, queue, .. } = &*self.shared;
        let carried = AssertUnwindSafe(checked(call, &**queue, entries)).catch_unwind();
        carried.await.unwrap_or_else(|_| {
            Err(self.shared.error(ErrorKind::Unexpected).with_detail("the queue panicked"))
        })
    }

    /// What goes out next; nothing when the flight has landed.
    fn next(&mut self) -> Option<Load<C>> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let Some(load) = state.load(shared.gather) else {
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
fn start<C: Call, Q: Queue>(flight: Flight<C, Q>) {
    tokio::spawn(flight.run(None));
}

impl<C: Call, Q: Queue> Drop for Flight<C, Q> {
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
        (state.entries, state.bytes) = (0, 0);
        let stranded = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.idle.notify_waiters();
        for waiting in stranded {
            let error = self.shared.error(ErrorKind::Cancelled);
            let error = error.with_detail("the runtime that was to carry the call has ended");
            drop(waiting.reply.send(Err(error)));
        }
    }
}

impl<C: Call> State<C> {
    /// As many of the waiting calls as go into one, the first ones first; none is split.
    fn load(&mut self, limits: Limits) -> Option<Load<C>> {
        let first = self.leave()?;
        let mut bytes = first.bytes;
        let mut load =
            Load { replies: vec![(first.entries.len(), first.reply)], entries: first.entries };
        while let Some(next) = self.waiting.front() {
            bytes = bytes.saturating_add(next.bytes);
            if load.entries.len() + next.entries.len() > limits.entries || bytes > limits.bytes {
                break;
            }
            let Some(next) = self.leave() else { break };
            load.replies.push((next.entries.len(), next.reply));
            load.entries.extend(next.entries);
        }
        Some(load)
    }

    fn leave(&mut self) -> Option<Waiting<C>> {
        let waiting = self.waiting.pop_front()?;
        self.entries -= waiting.entries.len();
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        Some(waiting)
    }
}

/// Tells each caller what became of its entries. One that is gone is not missed.
fn answer_all<C: Call>(answer: Answer<C>, replies: Vec<(usize, Reply<C>)>) {
    match answer {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (entries, reply) in replies {
                drop(reply.send(Ok(outcomes.by_ref().take(entries).collect())));
            }
        }
        Err(error) => {
            for (_, reply) in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}
