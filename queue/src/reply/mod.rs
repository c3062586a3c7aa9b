//! Results through a queue of the instance's own: statuses live in the memory of the web instance
//! that sent the job, and whoever runs it sends each step there.
//!
//! ```text
//!   web instance                                              worker
//!   Jobs ── Asking ──────────── queue of jobs ───────────── Answering ── Jobs
//!     │        stamps `reply_to`                     learns it     │
//!   ReplyStatuses ◄── ReplyQueue ◄── queue of this instance ◄── ReplyStore
//! ```

mod answering;
mod asking;
mod statuses;
mod store;
mod wire;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Backoff, Clock, Error, Health, HealthCheck, Result, SystemClock, Verdict};

use crate::delivery::{Batch, ReceiveOptions, Received, Settlement};
use crate::queue::Queue;
use crate::status::{MemoryStatusConfig, MemoryStatusStore, StatusStore};
pub use answering::Answering;
pub use asking::Asking;
pub use statuses::ReplyStatuses;
pub use store::ReplyStore;
use wire::Step;

/// The header of a job that names the queue to send its steps to.
const REPLY_TO: &str = "reply_to";

const BETWEEN_RECEIVES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// How many replies are applied and acked together.
const BATCH: usize = 100;

/// The replies to one web instance: it receives what workers tell about the jobs of this instance,
/// and keeps it in memory, where [`Handle::wait`](crate::Handle::wait) is woken without a poll.
///
/// The queue is the instance's own, on any backend: nobody else may receive from it. Workers open
/// it by the name that each job carries, through a [`ReplyStore`].
///
/// # When to choose it
///
/// Where there is a queue and no Redis, such as SQS alone; where whoever waits holds on to its
/// instance anyway, as a request that waits for its result or a socket does; or where statuses
/// change so often that a store would be the bottleneck. In every other case
/// `RedisStatusStore` (feature `redis`) is the better choice, since any instance can then answer.
///
/// # What it does not do
///
/// - A status is known to the instance that sent the job and to no other: a poll that a load
///   balancer takes elsewhere finds nothing. A duplicate answers with the handle of the first job,
///   which another instance may have sent.
/// - When the instance dies, whoever waits there is cut off, and its statuses are gone. The jobs run
///   all the same, and what they stored elsewhere is stored. What workers tell from then on stays in
///   the queue: so name the queue after the place of the instance (`web-1`), not after its process.
///   The next instance in that place then learns how the jobs went on. A queue with a random name
///   keeps what came too late for ever; give it a `max_len`, which workers take for an instance that
///   is gone, and purge it on a stop.
/// - A job cannot be cancelled, for nobody knows where it is: [`ReplyStatuses`] answers
///   `Unsupported`. A job that must not run for long has a timeout of its kind.
/// - A checkpoint ends with its delivery: the next worker cannot know it, so a retry starts anew.
/// - A worker is not told when a later delivery has begun elsewhere. The lease of the message and
///   the fence of its receipt are unaffected, and here, where it counts, late steps are refused by
///   the rule of [`StatusStore`].
///
/// # What if something dies?
///
/// A step is acked after it was applied. This instance dies between the two: the next one in its
/// place applies it. A worker dies: what it told is told, and the job is delivered again.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::{Queue, ReplyQueue, ReplyStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
/// # impl Job for Report { const KIND: &'static str = "report"; type Output = String; }
/// # async fn report(_: Report) -> Result<String, JobError> { Ok("reports/3.csv".into()) }
/// # async fn shutdown() { std::future::pending().await }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, own_queue) = (MemoryQueue::new(), MemoryQueue::new());
/// # let same_queue = own_queue.clone();
/// // the web instance
/// let replies = ReplyQueue::new("web-1", own_queue);
/// let web = Jobs::new(replies.asking(queue.clone()), replies.statuses());
/// tokio::spawn(async move { replies.run_until(shutdown()).await });
///
/// // a worker, which opens the queue that a job names
/// let open = move |name: &str| -> standfast_core::Result<Arc<dyn Queue>> {
///     assert_eq!(name, "web-1");
///     Ok(Arc::new(same_queue.clone()))
/// };
/// let answers = ReplyStore::new(MemoryStatusStore::new(), open);
/// let worker = Jobs::new(answers.answering(queue), answers).worker(()).on(report);
/// tokio::spawn(worker.run_until(shutdown()));
///
/// let handle = web.send(Report).await?;
/// assert_eq!(handle.wait(Duration::from_secs(30)).await?, "reports/3.csv");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ReplyQueue {
    name: Arc<str>,
    queue: Arc<dyn Queue>,
    statuses: MemoryStatusStore,
    clock: Arc<dyn Clock>,
    receiving: Arc<Mutex<Receiving>>,
}

/// How the receiver is.
#[derive(Clone, Debug)]
enum Receiving {
    Not,
    Well,
    Failed(Error),
}

impl ReplyQueue {
    /// The replies that arrive in `queue`, which workers know as `name`.
    pub fn new(name: impl Into<Arc<str>>, queue: impl Queue) -> Self {
        Self::with_clock(name, queue, Arc::new(SystemClock))
    }

    /// The same, with the time of the statuses.
    pub fn with_clock(name: impl Into<Arc<str>>, queue: impl Queue, clock: Arc<dyn Clock>) -> Self {
        let config =
            MemoryStatusConfig { clock: Arc::clone(&clock), ..MemoryStatusConfig::default() };
        Self {
            name: name.into(),
            queue: Arc::new(queue),
            statuses: MemoryStatusStore::with_config(config),
            clock,
            receiving: Arc::new(Mutex::new(Receiving::Not)),
        }
    }

    /// The queue of jobs as this instance sends to it: each job that somebody waits for says where
    /// to send its steps.
    pub fn asking<Q: Queue>(&self, jobs: Q) -> Asking<Q> {
        Asking::new(jobs, Arc::clone(&self.name))
    }

    /// What is known about the jobs of this instance.
    pub fn statuses(&self) -> ReplyStatuses {
        ReplyStatuses(self.clone())
    }

    /// Receives and applies what workers tell, until `stop`. Errors of the queue are waited out.
    ///
    /// # Cancellation
    ///
    /// Dropping it is a stop: what was received and not acked comes back after its lease.
    pub async fn run_until(&self, stop: impl Future<Output = ()> + Send) {
        self.set(Receiving::Well);
        tokio::select! {
            () = stop => {}
            () = self.receive() => {}
        }
        self.set(Receiving::Not);
    }

    /// Never ends.
    async fn receive(&self) {
        let max = BATCH.min(self.queue.capabilities().max_batch);
        let options =
            ReceiveOptions::new(max).wait(Duration::from_secs(20)).worker(Arc::clone(&self.name));
        let mut failures = 0;
        loop {
            let answer = match self.queue.receive(&options).await {
                Ok(batch) => self.apply(batch).await,
                Err(error) => Err(error),
            };
            let Err(error) = answer else {
                failures = 0;
                self.set(Receiving::Well);
                continue;
            };
            failures += 1;
            tracing::warn!(name = %self.name, failures, %error, "no replies could be received");
            let pause = error.retry_after().unwrap_or_else(|| BETWEEN_RECEIVES.next(failures));
            self.set(Receiving::Failed(error));
            self.clock.sleep(pause).await;
        }
    }

    /// Applies what was received and acks it. Dies in between: it is applied again, which changes
    /// nothing. An ack that fails does the same.
    async fn apply(&self, batch: Batch) -> Result<()> {
        for letter in &batch.dead {
            tracing::error!(id = %letter.envelope.id, reason = letter.reason, "a reply is dead");
        }
        let mut settlements = Vec::with_capacity(batch.deliveries.len());
        for received in batch.deliveries {
            let settlement = self.apply_one(&received).await;
            settlements.push((received.receipt, settlement));
        }
        if !settlements.is_empty() {
            self.queue.settle(&settlements).await?;
        }
        Ok(())
    }

    async fn apply_one(&self, received: &Received) -> Settlement {
        let applied = match Step::read(received.envelope()) {
            // a refused step came later than one that is later than it
            Ok(step) => {
                self.statuses.advance(&step.handle, &step.update, step.keep_for).await.map(drop)
            }
            Err(error) => Err(error),
        };
        match applied {
            Ok(()) => Settlement::Ack,
            Err(error) => {
                tracing::error!(id = %received.envelope().id, %error, "no reply that can be read");
                Settlement::DeadLetter { reason: error.to_string() }
            }
        }
    }

    fn set(&self, receiving: Receiving) {
        *self.receiving.lock().unwrap_or_else(PoisonError::into_inner) = receiving;
    }
}

#[async_trait]
impl HealthCheck for ReplyQueue {
    async fn health(&self) -> Health {
        let mut health = Health::healthy(format!("replies to {}", self.name));
        let receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        health.verdict = match receiving {
            Receiving::Not => Verdict::Failing("nobody receives the replies".into()),
            Receiving::Well => Verdict::Healthy,
            Receiving::Failed(error) => Verdict::Failing(error.to_string()),
        };
        health
    }
}

impl fmt::Debug for ReplyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyQueue")
            .field("name", &self.name)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
