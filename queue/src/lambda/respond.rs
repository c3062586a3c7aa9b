//! From an event to its answer, and the loop that does so for each invocation.

use std::mem;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::Message;
use futures_util::{StreamExt, stream};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use standfast_core::{Clock as _, Error, ErrorKind, Result, SystemClock, saturating_add};

use super::batch::Batch;
use super::event::{self, Record};
use super::time::Plan;
use super::{BACKEND, LambdaQueue, LambdaResponse};
use crate::delivery::{Received, Settlement};
use crate::queue::Queue as _;
use crate::sqs::adopt::{Adopted, Aside};
use crate::worker::Worker;

/// How many requests give back at once what was not begun.
const GIVING_BACK: usize = 8;

/// A delivery can be settled for this long at the least; what ends sooner is the invocation.
const SHORTEST: Duration = Duration::from_secs(10);

const ENVIRONMENT: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

impl LambdaQueue {
    /// Serves the events that Lambda sends to this function, one after the other, with the handlers
    /// of `worker`, whose jobs are on this queue. Does not end by itself: between two events Lambda
    /// stops the process, and kills it when it is not needed any more.
    ///
    /// An event that is none of the queue is answered with an error; all of its messages come back.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside Lambda; `Unavailable` when the runtime's interface fails, after which
    /// Lambda starts the process anew.
    pub async fn serve<S>(&self, worker: Worker<S>) -> Result<()>
    where
        S: Clone + Send + Sync + 'static,
    {
        let missing = ENVIRONMENT.into_iter().find(|name| std::env::var_os(name).is_none());
        if let Some(missing) = missing {
            return Err(Error::new(ErrorKind::Unsupported, BACKEND, "lambda.serve")
                .with_detail(format!("this is not AWS Lambda: {missing} is not set")));
        }
        let answer = service_fn(|event: LambdaEvent<Value>| {
            let (queue, worker) = (self.clone(), worker.clone());
            async move {
                let deadline = instant(event.context.deadline);
                queue.respond(&worker, event.payload, deadline).await.map_err(|error| Diagnostic {
                    error_type: error.kind().to_string(),
                    error_message: error.to_string(),
                })
            }
        });
        lambda_runtime::run(answer).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, BACKEND, "lambda.serve").with_source(error)
        })
    }

    /// Runs the messages of one `event` with the handlers of `worker`, whose jobs are on this queue,
    /// and says what became of them in time before `deadline`; one event at a time.
    ///
    /// # Errors
    ///
    /// `Invalid` for an event that is none of this queue. Nothing has run then.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the running jobs. Without an answer all messages come back.
    ///
    /// ```
    /// # use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    /// # use std::time::Duration;
    /// # use serde_json::json;
    /// # use standfast_core::{Clock, SystemClock};
    /// # use standfast_queue::{FromJob, Job, JobError, JobRequest, Jobs, LambdaQueue};
    /// # use standfast_queue::{MemoryStatusStore, SqsConfig, SqsQueue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload { key: String }
    /// # impl Job for Upload { const KIND: &'static str = "foreign"; type Output = (); }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
    /// # let config = aws_sdk_sqs::Config::builder()
    /// #     .behavior_version(BehaviorVersion::latest())
    /// #     .region(Region::new("eu-north-1"))
    /// #     .credentials_provider(Credentials::new("id", "secret", None, None, "docs"))
    /// #     .build();
    /// # let client = aws_sdk_sqs::Client::from_conf(config);
    /// # let url = "https://sqs.eu-north-1.amazonaws.com/123456789012";
    /// # let (url, dead) = (format!("{url}/uploads"), format!("{url}/uploads-dead"));
    /// # let sqs = SqsQueue::from_parts(&client, url, dead, SqsConfig::default())?;
    /// async fn upload(job: Upload) -> Result<(), JobError> {
    ///     println!("{} was uploaded", job.key);
    ///     Ok(())
    /// }
    ///
    /// let queue = LambdaQueue::new(sqs);
    /// let worker = Jobs::new(queue.clone(), MemoryStatusStore::new()).worker(()).on(upload);
    ///
    /// let event = json!({"Records": [{
    ///     "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    ///     "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    ///     "body": r#"{"key": "cat.jpg"}"#,
    ///     "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
    ///     "messageAttributes": {},
    ///     "eventSource": "aws:sqs",
    ///     "eventSourceARN": "arn:aws:sqs:eu-north-1:123456789012:uploads",
    /// }]});
    /// let deadline = SystemClock.instant() + Duration::from_secs(30);
    /// let response = queue.respond(&worker, event, deadline).await?;
    /// assert!(response.failed.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn respond<S>(
        &self,
        worker: &Worker<S>,
        event: Value,
        deadline: Instant,
    ) -> Result<LambdaResponse>
    where
        S: Clone + Send + Sync + 'static,
    {
        let _turn = self.0.turn.lock().await;
        let records = event::records(event, self.0.sqs.name())?;
        let plan = Plan::new(SystemClock.instant(), deadline, worker.settings());
        // from here on each is a failure, until it is done
        let messages = self.begin(records);
        let worker = worker.clone().config(plan.config(worker.settings()));
        let all = async {
            let aside = self.add(messages, plan.answer_at).await;
            let run = async {
                if SystemClock.instant() < plan.stop_at {
                    let report = worker.run_until(self.ended_or(plan.stop_at)).await;
                    tracing::debug!(?report, "the messages of an event have ended");
                }
                self.give_back().await;
            };
            tokio::join!(run, self.0.sqs.put_aside(aside))
        };
        tokio::select! {
            biased;
            _ = all => {}
            () = SystemClock.sleep_until(plan.answer_at) => {
                tracing::error!("the time is over before all was settled");
            }
        }
        Ok(LambdaResponse { failed: self.end().failed() })
    }

    /// Begins an event; returns its messages, as far as they can be read.
    fn begin(&self, records: Vec<Record>) -> Vec<Option<Message>> {
        let (mut messages, mut names) = (Vec::new(), Vec::new());
        for Record { id, group, message } in records {
            if message.is_none() {
                tracing::error!(id, "a record of an event is not in the form of a message");
            }
            messages.push(message);
            // on a standard queue a group is about fairness, not about order
            names.push((id, group.filter(|_| self.0.sqs.is_fifo())));
        }
        let mut batch = self.batch();
        *batch = Batch::new(batch.number + 1, names);
        messages
    }

    /// Makes deliveries of messages; returns those that are not to be delivered now.
    async fn add(&self, messages: Vec<Option<Message>>, until: Instant) -> Vec<Aside> {
        let sqs = &self.0.sqs;
        let ordered = sqs.is_fifo();
        let lease = until.saturating_duration_since(SystemClock.instant()).max(SHORTEST);
        let mut all_aside = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            let adopted = match message {
                Some(message) => sqs.adopt(message, lease).await,
                None => None,
            };
            let mut batch = self.batch();
            match adopted {
                Some(Adopted::Delivery(received)) => {
                    batch.add_ready(index, Received { lease_until: until, ..received });
                }
                Some(Adopted::Dead(letter)) => batch.add_dead(index, letter),
                Some(Adopted::Aside(aside)) => {
                    match aside.is_unreadable() {
                        true => batch.add_failed(ordered),
                        false => batch.add_early(index),
                    }
                    all_aside.push(aside);
                }
                None => batch.add_failed(ordered),
            }
        }
        all_aside
    }

    /// Ends an event: whatever still settles one of its messages is too late.
    fn end(&self) -> Batch {
        let mut batch = self.batch();
        let next = Batch::new(batch.number + 1, []);
        mem::replace(&mut *batch, next)
    }

    async fn ended_or(&self, stop_at: Instant) {
        tokio::select! {
            () = self.find(|batch| batch.is_over().then_some(())) => {}
            () = SystemClock.sleep_until(stop_at) => {}
        }
    }

    /// Shows again what was not begun. What fails here comes back after the visibility timeout.
    async fn give_back(&self) {
        let rest: Vec<_> = self.batch().leave();
        let rest: Vec<_> =
            rest.into_iter().map(|receipt| (receipt, Settlement::release())).collect();
        let sqs = &self.0.sqs;
        let some = rest.chunks(sqs.capabilities().max_batch);
        stream::iter(some)
            .for_each_concurrent(GIVING_BACK, |some| async move {
                if let Err(error) = sqs.settle(some).await {
                    tracing::debug!(%error, "messages come back after the visibility timeout");
                }
            })
            .await;
    }
}

/// When a deadline is that is told in milliseconds since 1970.
fn instant(deadline: u64) -> Instant {
    let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or_default();
    let left = Duration::from_millis(deadline.saturating_sub(now));
    saturating_add(SystemClock.instant(), left)
}
