//! Jobs in AWS Lambda: a queue whose deliveries come with the events of an invocation.

mod batch;
mod event;
mod operate;
mod respond;
mod time;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Serialize, Serializer};
use standfast_core::{Clock, Result, SystemClock};
use tokio::sync::Notify;

use self::batch::Batch;
use crate::capabilities::QueueCapabilities;
use crate::delivery::{
    Batch as Deliveries, ExtendOutcome, ReceiveOptions, Received, SettleOutcome, Settlement,
};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::sqs::SqsQueue;

const BACKEND: &str = "lambda";

/// A queue in Amazon SQS whose messages AWS Lambda receives: the handlers of a
/// [`Worker`](crate::Worker) run them in a function instead of in a process that waits for them.
///
/// Everything but receiving is done by the [`SqsQueue`]. Deliveries come from the event of the
/// invocation, and what becomes of them goes into its answer, a partial batch response:
///
/// | the worker says | what is done at once | in the answer |
/// |---|---|---|
/// | done | nothing: Lambda deletes it | no |
/// | again after a delay | it is hidden for the delay | as a failure |
/// | dead letter | it is moved to the redrive queue | no |
/// | nothing: lost, cut off, not begun | it is shown again, if there is time | as a failure |
///
/// A message that cannot be read, or is not due yet, is a failure by itself and of nobody else.
/// Attempts are receives, so those that Lambda makes count like all others.
///
/// On a FIFO queue one message of each group runs at a time. After the first failure nothing more
/// of the event begins, of any group, as Lambda asks for; a dead letter is none.
///
/// # In time
///
/// Jobs run until shortly before the end of the invocation: at most 7.5 seconds with the
/// `cancel_grace` of the default configuration, and a quarter of the time for short ones. Then they
/// are asked to end, and what has not ended is given back. The `lease` and `grace` of a worker have
/// no meaning here; its `concurrency` has.
///
/// # What the function needs
///
/// - `ReportBatchItemFailures` among the response types of the event source. **Without it Lambda
///   deletes every message of an event that was answered**, failures included.
/// - A visibility timeout of the queue that is longer than the function's.
/// - The rights `sqs:ChangeMessageVisibility` and `sqs:DeleteMessage` on the queue, and
///   `sqs:SendMessage` on the redrive queue and, for follow-ups and delays over 15 minutes, on the
///   queue. Without the first, retries wait for the visibility timeout; without the others, what
///   is dead stays in the queue until the service moves it.
///
/// # When the function dies
///
/// - *Before its answer, at any point:* Lambda deletes nothing. Every message comes back, those that
///   were hidden after their delay, the others after the visibility timeout. A job whose status has
///   ended is not run again but settled.
/// - *Between the copy of a dead letter and the deletion of its original:* both are there, and the
///   original, as above, is moved once more. Never neither.
/// - *After its answer:* Lambda deletes what is done. If that fails, it comes back and is settled as
///   above.
///
/// So what is done is deleted with the answer, not at once. A decorator that acts on an ack acts
/// before: if the function dies between, [`ClaimCheck`](crate::wrap) may find a message without its
/// body, and makes a dead letter of a job that was done.
///
/// ```no_run
/// # async fn resize(_: Resize) -> Result<(), standfast_queue::JobError> { Ok(()) }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Resize;
/// # impl standfast_queue::Job for Resize { const KIND: &'static str = "resize"; type Output = (); }
/// use standfast_queue::{Jobs, LambdaQueue, MemoryStatusStore, SqsConfig, SqsQueue};
///
/// # async fn function(client: aws_sdk_sqs::Client) -> standfast_core::Result<()> {
/// let sqs = SqsQueue::connect(&client, "images", SqsConfig::default()).await?;
/// let queue = LambdaQueue::new(sqs);
/// let jobs = Jobs::new(queue.clone(), MemoryStatusStore::new());
/// queue.serve(jobs.worker(()).on(resize)).await
/// # }
/// ```
#[derive(Clone)]
pub struct LambdaQueue(Arc<Shared>);

struct Shared {
    sqs: SqsQueue,
    batch: Mutex<Batch>,
    changed: Notify,
    /// Held while there is an event.
    turn: tokio::sync::Mutex<()>,
}

/// What Lambda is told of an event: a partial batch response, once it is serialized.
///
/// ```
/// use standfast_queue::LambdaResponse;
///
/// let all_done = serde_json::to_string(&LambdaResponse::default())?;
/// assert_eq!(all_done, r#"{"batchItemFailures":[]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LambdaResponse {
    /// The message ids of what is to stay in the queue.
    #[serde(rename = "batchItemFailures", serialize_with = "items")]
    pub failed: Vec<String>,
}

fn items<S: Serializer>(failed: &[String], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        item_identifier: &'a str,
    }
    to.collect_seq(failed.iter().map(|id| Item { item_identifier: id }))
}

/// On a receipt: which message of which event it is of. When the last copy of a receipt is gone, as
/// when the worker has given up, the message goes back.
struct Place {
    queue: LambdaQueue,
    number: u64,
    index: usize,
}

impl Place {
    fn is_out(&self) -> bool {
        self.queue.batch().is_out(self.number, self.index)
    }

    fn settle(&self, done: bool) {
        self.queue.batch().settle(self.number, self.index, done);
        self.queue.0.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle(false);
    }
}

impl LambdaQueue {
    /// The messages of `sqs`, as Lambda hands them over. Does no I/O.
    pub fn new(sqs: SqsQueue) -> Self {
        let (batch, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { sqs, batch, changed, turn: tokio::sync::Mutex::default() }))
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.0.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the event until there is what is looked for.
    async fn find<T>(&self, mut look: impl FnMut(&mut Batch) -> Option<T> + Send) -> T {
        let mut changed = pin!(self.0.changed.notified());
        loop {
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.batch()) {
                return found;
            }
            changed.as_mut().await;
            changed.set(self.0.changed.notified());
        }
    }

    fn hand_out(&self, batch: &mut Batch, max: usize) -> Vec<Received> {
        let number = batch.number;
        let mark = |(index, received): (usize, Received)| {
            let place = Arc::new(Place { queue: self.clone(), number, index });
            Received { receipt: received.receipt.push(place), ..received }
        };
        batch.take(max).into_iter().map(mark).collect()
    }
}

impl fmt::Debug for LambdaQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LambdaQueue").field(&self.0.sqs).finish()
    }
}

#[async_trait]
impl Queue for LambdaQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.0.sqs.capabilities()
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.0.sqs.send(batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Deliveries> {
        let clock: &dyn Clock = &SystemClock;
        let handed_out = self.find(|batch| {
            let (deliveries, dead) = (self.hand_out(batch, options.max), batch.take_dead());
            let handed_out = Deliveries { deliveries, dead, ..Deliveries::default() };
            (!handed_out.is_empty()).then_some(handed_out)
        });
        Ok(tokio::select! {
            biased;
            handed_out = handed_out => handed_out,
            () = clock.sleep(options.wait) => Deliveries::default(),
        })
    }

    /// What is done is only noted, for the answer; the rest is up to SQS as well. A process that dies
    /// at any point of it has given no answer: what it had not moved yet comes back.
    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let mut outcomes: Vec<_> = batch.iter().map(|_| SettleOutcome::Stale).collect();
        let (mut places, mut rest) = (Vec::new(), Vec::new());
        for (at, (receipt, how)) in batch.iter().enumerate() {
            let place = receipt.pop::<Place>().filter(|(place, _)| place.is_out());
            let Some((place, receipt)) = place else { continue };
            if *how == Settlement::Ack {
                place.settle(true);
                outcomes[at] = SettleOutcome::Settled;
            } else {
                places.push((at, place));
                rest.push((receipt, how.clone()));
            }
        }
        if rest.is_empty() {
            return Ok(outcomes);
        }
        let settled = self.0.sqs.settle(&rest).await?;
        for (((at, place), (receipt, how)), outcome) in places.into_iter().zip(&rest).zip(settled) {
            outcomes[at] = match outcome {
                // what is left of it goes with the answer, if it is not gone already
                _ if SqsQueue::is_copied(receipt) => {
                    place.settle(true);
                    SettleOutcome::Settled
                }
                // the answer gives it back; only when it comes is not as it was meant to be
                outcome if matches!(how, Settlement::Release { .. }) => {
                    if let SettleOutcome::Failed(error) = outcome {
                        tracing::warn!(id = %receipt.id(), %error, "a retry comes when it may");
                    }
                    place.settle(false);
                    SettleOutcome::Settled
                }
                outcome => outcome,
            };
        }
        Ok(outcomes)
    }

    /// A lease lasts as long as the invocation.
    async fn extend(&self, batch: &[Receipt], _: Duration) -> Result<Vec<ExtendOutcome>> {
        let told = |receipt: &Receipt| match receipt.pop::<Place>() {
            Some((place, _)) if place.is_out() => ExtendOutcome::LeaseCap,
            _ => ExtendOutcome::Stale,
        };
        Ok(batch.iter().map(told).collect())
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.0.sqs.stats().await
    }
}
