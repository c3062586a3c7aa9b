//! The queue in the memory of this process: the reference for every other backend.
//!
//! One lock around plain structures: a slab of messages, a list of ready ones per priority, and
//! heaps of lease ends and due times. Nothing scans: each operation costs the same with ten
//! messages or a hundred thousand. A task that is dropped at any await loses nothing, because no
//! state change has an await inside; the process itself is the store.

mod dead;
mod group;
mod hash;
mod ready;
mod state;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Clock, Health, HealthCheck, Result, SystemClock, saturating_add};
use tokio::sync::Notify;

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
use state::{State, WaitEntry};

/// How a [`MemoryQueue`] behaves.
///
/// ```
/// use standfast_queue::{MemoryQueue, MemoryQueueConfig, Queue};
///
/// let mut config = MemoryQueueConfig::default();
/// config.max_len = 10_000;   // then `SendOutcome::Full`
/// config.max_body = 256 * 1024;
/// let queue = MemoryQueue::with_config(config);
/// assert_eq!(queue.capabilities().max_body, 256 * 1024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryQueueConfig {
    /// The store's time.
    pub clock: Arc<dyn Clock>,
    /// How often a lease of one run may run out before the message is dead; 5 by default.
    pub max_crashes: u32,
    /// The most messages, dead letters apart; unbounded by default.
    pub max_len: usize,
    /// The largest body in bytes; 64 MiB by default.
    pub max_body: usize,
    /// The most dead letters; the oldest go first. 100,000 by default.
    pub max_dead: usize,
    /// How long dead letters are kept; 30 days by default.
    pub keep_dead: Duration,
}

impl Default for MemoryQueueConfig {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_crashes: 5,
            max_len: usize::MAX,
            max_body: 64 * 1024 * 1024,
            max_dead: 100_000,
            keep_dead: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// A queue in the memory of this process, with everything the contract asks.
///
/// Clones share the same messages.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue, ReceiveOptions, Settlement};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// queue.send(&[OutgoingMessage::new(Envelope::new("mail", "hello"))]).await?;
///
/// let batch = queue.receive(&ReceiveOptions::new(10)).await?;
/// let receipt = batch.deliveries[0].receipt.clone();
/// queue.settle(&[(receipt, Settlement::Ack)]).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryQueue(Arc<Shared>);

struct Shared {
    config: MemoryQueueConfig,
    state: Mutex<State>,
    available: Notify,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::with_config(MemoryQueueConfig::default())
    }

    /// An empty queue that behaves as `config` says.
    pub fn with_config(config: MemoryQueueConfig) -> Self {
        let state = Mutex::new(State::new(&config));
        Self(Arc::new(Shared { config, state, available: Notify::new() }))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.config.clock
    }

    fn now(&self) -> Now {
        Now { instant: self.clock().instant(), time: self.clock().now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state and wakes as many waiting receivers as have something to see.
    fn unlock_and_wake(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.take_wakeups();
        drop(state);
        for _ in 0..wake {
            self.0.available.notify_one();
        }
    }
}

/// One reading of the clock, for all steps of one call.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    time: chrono::DateTime<chrono::Utc>,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").finish_non_exhaustive()
    }
}

/// Counts a receiver as waiting for as long as it waits, however the wait ends.
struct Waiting<'a> {
    queue: &'a MemoryQueue,
    entry: WaitEntry,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.waiters.remove(&self.entry);
        // it may have been the only one that knew when the next message is due
        self.queue.unlock_and_wake(state);
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities { max_body: self.0.config.max_body, ..QueueCapabilities::all("memory") }
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let capabilities = self.capabilities();
        let now = self.now();
        let mut state = self.lock();
        state.promote(now); // what has come due goes before what comes now
        let outcomes = batch
            .iter()
            .map(|message| match message.check(&capabilities) {
                Ok(()) => state.send(message, now),
                Err(error) => SendOutcome::Failed(error),
            })
            .collect();
        self.unlock_and_wake(state);
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let mut now = self.now();
        let deadline = saturating_add(now.instant, options.wait);
        loop {
            let mut available = pin!(self.0.available.notified());
            let (entry, wake_at) = {
                let mut state = self.lock();
                let batch = state.receive(options, now);
                if !batch.is_empty() || now.instant >= deadline {
                    self.unlock_and_wake(state);
                    return Ok(batch);
                }
                // registered before the lock is let go, so that each wake-up finds its receiver
                available.as_mut().enable();
                let wake_at = state.next_due().map_or(deadline, |due| due.min(deadline));
                (state.wait_until(wake_at), wake_at)
            };
            let _waiting = Waiting { queue: self, entry };
            tokio::select! {
                () = &mut available => {}
                () = self.clock().sleep_until(wake_at) => {}
            }
            now = self.now();
        }
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let now = self.now();
        let mut state = self.lock();
        // a lease that has run out is over even if nobody has received since
        state.promote(now);
        let outcomes = batch
            .iter()
            .map(|(receipt, settlement)| {
                if state.settle(receipt, settlement, now) {
                    SettleOutcome::Settled
                } else {
                    SettleOutcome::Stale
                }
            })
            .collect();
        self.unlock_and_wake(state);
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let now = self.now();
        let mut state = self.lock();
        let until = saturating_add(now.instant, lease);
        // a lease that has run out is over even if nobody has received since
        state.promote(now);
        let outcomes = batch
            .iter()
            .map(|receipt| {
                if state.extend(receipt, until) {
                    ExtendOutcome::Extended
                } else {
                    ExtendOutcome::Stale
                }
            })
            .collect();
        self.unlock_and_wake(state);
        Ok(outcomes)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let now = self.now();
        let mut state = self.lock();
        let stats = state.stats(now);
        self.unlock_and_wake(state);
        Ok(stats)
    }
}

#[async_trait]
impl DeadLetters for MemoryQueue {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let now = self.now();
        let mut state = self.lock();
        state.dead.expire(now.time);
        state.dead.page(filter, after, limit)
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        let pause = options.pause("memory")?;
        let now = self.now();
        let chosen = {
            let mut state = self.lock();
            state.dead.expire(now.time);
            state.dead.choose(filter, options.limit.unwrap_or(usize::MAX))
        };
        let mut redriven = Redriven::default();
        for (index, number) in chosen.into_iter().enumerate() {
            if let Some(pause) = pause.filter(|_| index > 0) {
                self.clock().sleep(pause).await;
            }
            let sent = match &options.to {
                None => {
                    let now = self.now();
                    let mut state = self.lock();
                    let sent = state.redrive(number, now);
                    self.unlock_and_wake(state);
                    sent
                }
                Some(queue) => self.redrive_to(queue, number).await?,
            };
            match sent {
                Some(true) => redriven.sent += 1,
                Some(false) => redriven.kept += 1,
                None => {} // purged or redriven by somebody else in the meantime
            }
        }
        Ok(redriven)
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        Ok(self.lock().dead.purge(filter))
    }
}

impl MemoryQueue {
    /// Moves one dead letter to `queue`. It leaves here only once it has arrived there; dropped in
    /// between, it is on both sides, and its id makes the repeated move one message.
    async fn redrive_to(&self, queue: &Arc<dyn Queue>, number: u64) -> Result<Option<bool>> {
        let Some(message) = self.lock().dead.message(number) else { return Ok(None) };
        let outcomes = queue.send(&[message]).await?;
        match outcomes.into_iter().next() {
            Some(SendOutcome::Sent) => {
                self.lock().dead.take(number);
                Ok(Some(true))
            }
            Some(SendOutcome::Failed(error)) => Err(error),
            _ => Ok(Some(false)),
        }
    }
}

#[async_trait]
impl QueueAdmin for MemoryQueue {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        let now = self.now();
        let mut state = self.lock();
        state.promote(now);
        let shown = state.peek(limit);
        self.unlock_and_wake(state);
        Ok(shown)
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        let now = self.now();
        let mut state = self.lock();
        state.promote(now);
        let shown = state.leased(limit);
        self.unlock_and_wake(state);
        Ok(shown)
    }

    async fn pause(&self) -> Result<()> {
        self.lock().paused = true;
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        let mut state = self.lock();
        state.resume();
        self.unlock_and_wake(state);
        Ok(())
    }

    async fn purge(&self) -> Result<u64> {
        Ok(self.lock().purge())
    }
}

#[async_trait]
impl HealthCheck for MemoryQueue {
    async fn health(&self) -> Health {
        Health::healthy("memory queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const IN_TIME: Duration = Duration::from_secs(10);

    fn message() -> OutgoingMessage {
        OutgoingMessage::new(Envelope::new("test", ""))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn as_many_receivers_wake_as_messages_come() {
        for _ in 0..500 {
            let queue = MemoryQueue::new();
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let queue = queue.clone();
                    tokio::spawn(
                        async move { queue.receive(&ReceiveOptions::new(1).wait(LONG)).await },
                    )
                })
                .collect();
            queue.send(&[message(), message(), message()]).await.unwrap();
            for receiver in receivers {
                let batch = tokio::time::timeout(IN_TIME, receiver).await.expect("it wakes");
                assert_eq!(batch.unwrap().unwrap().deliveries.len(), 1);
            }
        }
    }

    #[tokio::test]
    async fn a_lease_that_runs_out_wakes_whoever_waited_before_it_began() {
        let queue = MemoryQueue::new();
        let options = ReceiveOptions::new(1).wait(LONG).lease(Duration::from_millis(20));
        let (first, second, ()) = tokio::time::timeout(IN_TIME, async {
            let sent = async {
                tokio::task::yield_now().await;
                queue.send(&[message()]).await.unwrap();
            };
            tokio::join!(queue.receive(&options), queue.receive(&options), sent)
        })
        .await
        .expect("both wake");
        let attempts = [first, second].map(|batch| batch.unwrap().deliveries[0].attempt);
        assert_eq!(attempts.iter().sum::<u32>(), 1 + 2, "{attempts:?}");
    }
}
