//! Making queues as they should be, and saying where they are not.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::{Value, json};
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::call::Calls;
use super::config::SqsConfig;
use super::error::BACKEND;
use super::meter::Api;

const OPERATION: &str = "queue.ensure";

/// The longest time that the service keeps messages.
const FORTNIGHT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A queue and its redrive queue as they should be.
///
/// ```
/// use standfast_queue::SqsQueueSpec;
///
/// let spec = SqsQueueSpec::new("invoices.fifo").max_receives(20).tag("team", "billing");
/// assert_eq!(spec.dead_name(), "invoices-dead.fifo");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqsQueueSpec {
    /// The name; a FIFO queue's ends in `.fifo`.
    pub name: String,
    /// How often a message is received before the service gives it up, whatever became of it; 50 by
    /// default. More than the worker's retries, so that dead letters have a reason.
    pub max_receives: u32,
    /// How long messages and dead letters are kept; 14 days by default, the longest there is.
    pub retention: Duration,
    /// The largest message in bytes; 1 MiB by default, the largest there is.
    pub max_message: usize,
    /// The key that encrypts messages; the service's own by default.
    pub kms_key: Option<String>,
    /// What both queues are tagged with.
    pub tags: BTreeMap<String, String>,
}

impl SqsQueueSpec {
    /// A queue of this name, encrypted, with a redrive queue.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_receives: 50,
            retention: FORTNIGHT,
            max_message: SqsConfig::default().max_message,
            kms_key: None,
            tags: BTreeMap::new(),
        }
    }

    /// How often a message is received before the service gives it up.
    #[must_use]
    pub fn max_receives(self, max_receives: u32) -> Self {
        Self { max_receives, ..self }
    }

    /// The largest message in bytes.
    #[must_use]
    pub fn max_message(self, max_message: usize) -> Self {
        Self { max_message, ..self }
    }

    /// Encrypts with this key of the key service.
    #[must_use]
    pub fn kms_key(self, key: impl Into<String>) -> Self {
        Self { kms_key: Some(key.into()), ..self }
    }

    /// Tags both queues.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// The name of the redrive queue.
    pub fn dead_name(&self) -> String {
        match self.name.strip_suffix(".fifo") {
            Some(name) => format!("{name}-dead.fifo"),
            None => format!("{}-dead", self.name),
        }
    }

    fn check(&self) -> Result<()> {
        let invalid = || Error::new(ErrorKind::Invalid, BACKEND, OPERATION);
        let plain = self.name.strip_suffix(".fifo").unwrap_or(&self.name);
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain.is_empty() || self.dead_name().len() > 80 || !plain.bytes().all(named) {
            return Err(invalid()
                .with_reason(Reason::InvalidName)
                .with_detail("a name is 1 to 75 of `A-Z a-z 0-9 - _`, `.fifo` apart"));
        }
        if !(1..=1000).contains(&self.max_receives) {
            return Err(invalid().with_detail("max_receives must be 1 to 1000"));
        }
        if !(Duration::from_secs(60)..=FORTNIGHT).contains(&self.retention) {
            return Err(invalid().with_detail("retention must be a minute to 14 days"));
        }
        Ok(())
    }

    /// What the queue, or with `dead_arn` unknown the redrive queue, should say.
    fn attributes(&self, dead_arn: Option<&str>) -> Vec<(Attribute, String)> {
        let mut attributes = vec![
            (Attribute::MessageRetentionPeriod, self.retention.as_secs().to_string()),
            (Attribute::MaximumMessageSize, self.max_message.to_string()),
        ];
        match &self.kms_key {
            Some(key) => attributes.push((Attribute::KmsMasterKeyId, key.clone())),
            None => attributes.push((Attribute::SqsManagedSseEnabled, "true".to_owned())),
        }
        if self.name.ends_with(".fifo") {
            attributes.push((Attribute::FifoQueue, "true".to_owned()));
        }
        if let Some(arn) = dead_arn {
            let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": self.max_receives});
            attributes.push((Attribute::RedrivePolicy, policy.to_string()));
        }
        attributes
    }
}

/// Something of a queue that is not as it should be.
///
/// ```
/// # fn tell(drift: &[standfast_queue::Drift]) {
/// for one in drift {
///     eprintln!("{one}");   // queue "reports": MessageRetentionPeriod is "345600", not "1209600"
/// }
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drift {
    /// Which queue.
    pub queue: String,
    /// Which attribute of it, or `tag` and its name.
    pub what: String,
    /// What it should be.
    pub expected: String,
    /// What it is, if it is anything.
    pub found: Option<String>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, what, expected, found } = self;
        match found {
            Some(found) => write!(f, "queue {queue:?}: {what} is {found:?}, not {expected:?}"),
            None => write!(f, "queue {queue:?}: {what} is not set, and should be {expected:?}"),
        }
    }
}

/// The two queues of a [`SqsQueueSpec`].
///
/// ```no_run
/// # async fn example(client: aws_sdk_sqs::Client) -> standfast_core::Result<()> {
/// use standfast_queue::{SqsAdmin, SqsConfig, SqsQueue, SqsQueueSpec};
///
/// let queues = SqsAdmin::new(&client).ensure(&SqsQueueSpec::new("reports")).await?;
/// let queue =
///     SqsQueue::from_parts(&client, queues.url, queues.dead_url, SqsConfig::default())?;
/// # let _ = queue;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqsQueues {
    /// The address of the queue.
    pub url: String,
    /// The address of its redrive queue.
    pub dead_url: String,
    /// Whether one of them was made by this call.
    pub created: bool,
    /// What is not as it should be. Nothing of it was changed.
    pub drift: Vec<Drift>,
}

/// Dead letters that the service is moving, or has moved.
///
/// ```no_run
/// # async fn example(admin: standfast_queue::SqsAdmin) -> standfast_core::Result<()> {
/// for task in admin.moves("reports").await? {
///     println!("{}: {} of {:?}", task.status, task.moved, task.total);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoveTask {
    /// What cancels it; only while it runs.
    pub handle: Option<String>,
    /// `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// How many messages were moved so far.
    pub moved: i64,
    /// How many there were at its start, if that is known.
    pub total: Option<i64>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Makes queues with their redrive queues, and has the service move dead letters.
///
/// ```no_run
/// # async fn example(client: aws_sdk_sqs::Client) -> standfast_core::Result<()> {
/// use standfast_queue::{SqsAdmin, SqsQueueSpec};
///
/// let queues = SqsAdmin::new(&client).ensure(&SqsQueueSpec::new("reports")).await?;
/// for drift in &queues.drift {
///     eprintln!("{drift}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SqsAdmin {
    calls: Calls,
}

impl SqsAdmin {
    /// On a client of the application's own. Does no I/O.
    pub fn new(client: &Client) -> Self {
        let config = SqsConfig::default();
        Self { calls: Calls::new(client, config.meter, config.call_timeout) }
    }

    /// Makes the queues of `spec` that are not there, and compares those that are. May be repeated
    /// and called by many at once: what is there is left as it is.
    ///
    /// Dies between: a redrive queue without its queue is completed by the next call.
    ///
    /// # Errors
    ///
    /// `Invalid` for a specification that cannot be met, `Denied`, and what else the service
    /// answers; `Conflict` to be retried after a minute for a queue that was just deleted.
    pub async fn ensure(&self, spec: &SqsQueueSpec) -> Result<SqsQueues> {
        spec.check()?;
        let (name, dead_name) = (spec.name.as_str(), spec.dead_name());
        let dead = self.ensure_one(spec, &dead_name, None).await?;
        let arn = attributes(&self.calls, OPERATION, &dead.url).await?.remove(&Attribute::QueueArn);
        let arn = arn.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, BACKEND, OPERATION)
                .with_detail(format!("queue {dead_name:?} has no ARN"))
        })?;
        let own = self.ensure_one(spec, name, Some(&arn)).await?;
        let mut drift = own.drift;
        drift.extend(dead.drift);
        let created = own.created || dead.created;
        Ok(SqsQueues { url: own.url, dead_url: dead.url, created, drift })
    }

    async fn ensure_one(
        &self,
        spec: &SqsQueueSpec,
        name: &str,
        dead_arn: Option<&str>,
    ) -> Result<SqsQueues> {
        let wanted = spec.attributes(dead_arn);
        let url = match url_of(&self.calls, OPERATION, name).await {
            Ok(url) => url,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // somebody else may make it now: with the same attributes that is no error
                let request = self
                    .calls
                    .client
                    .create_queue()
                    .queue_name(name)
                    .set_attributes(Some(wanted.into_iter().collect()))
                    .set_tags(Some(spec.tags.clone().into_iter().collect()));
                let made = self.calls.change(Api::Other, OPERATION, request.send()).await;
                let url = made.map_err(|failure| failure.error)?.queue_url.unwrap_or_default();
                let (dead_url, drift) = (String::new(), Vec::new());
                return Ok(SqsQueues { url, dead_url, created: true, drift });
            }
            Err(error) => return Err(error),
        };
        let found = attributes(&self.calls, OPERATION, &url).await?;
        let mut drift = Vec::new();
        for (attribute, expected) in wanted {
            let found = found.get(&attribute).cloned();
            if !found.as_deref().is_some_and(|found| is_same(&expected, found)) {
                let (queue, what) = (name.to_owned(), attribute.as_str().to_owned());
                drift.push(Drift { queue, what, expected, found });
            }
        }
        if !spec.tags.is_empty() {
            let request = self.calls.client.list_queue_tags().queue_url(&url).send();
            let tags = self.calls.ask(Api::Other, OPERATION, Duration::ZERO, request).await;
            let mut tags = tags.map_err(|failure| failure.error)?.tags.unwrap_or_default();
            for (tag, expected) in &spec.tags {
                let found = tags.remove(tag);
                if found.as_ref() != Some(expected) {
                    let (queue, what) = (name.to_owned(), format!("tag {tag}"));
                    drift.push(Drift { queue, what, expected: expected.clone(), found });
                }
            }
        }
        Ok(SqsQueues { url, dead_url: String::new(), created: false, drift })
    }

    /// Has the service move all dead letters of the queue `name` back into it, or to the queue
    /// `to`, at most `rate` per second. It goes on by itself, for millions of letters. Those that a
    /// worker has buried begin their next run; those that the service has buried are just sent
    /// again, so that a status of theirs that has ended stays as it is:
    /// [`redrive`](crate::DeadLetters::redrive) begins a run with each.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Invalid` for a queue without a redrive policy or a rate over 500, `Unsupported`
    /// while another move is under way.
    pub async fn start_move(
        &self,
        name: &str,
        to: Option<&str>,
        rate: Option<u32>,
    ) -> Result<MoveTask> {
        const OPERATION: &str = "queue.move";
        let source = self.dead_arn(OPERATION, name).await?;
        let mut target = None;
        if let Some(to) = to {
            let url = url_of(&self.calls, OPERATION, to).await?;
            target = attributes(&self.calls, OPERATION, &url).await?.remove(&Attribute::QueueArn);
        }
        let rate = rate.map(|rate| i32::try_from(rate).unwrap_or(i32::MAX));
        let request = self
            .calls
            .client
            .start_message_move_task()
            .source_arn(source)
            .set_destination_arn(target)
            .set_max_number_of_messages_per_second(rate);
        let started = self.calls.change(Api::Other, OPERATION, request.send()).await;
        let handle = started.map_err(|failure| failure.error)?.task_handle;
        let status = "RUNNING".to_owned();
        Ok(MoveTask { handle, status, moved: 0, total: None, failure: None })
    }

    /// The last moves of dead letters of the queue `name`, the newest first.
    ///
    /// # Errors
    ///
    /// As [`start_move`](Self::start_move).
    pub async fn moves(&self, name: &str) -> Result<Vec<MoveTask>> {
        const OPERATION: &str = "queue.moves";
        let source = self.dead_arn(OPERATION, name).await?;
        let request =
            self.calls.client.list_message_move_tasks().source_arn(source).max_results(10).send();
        let listed = self.calls.ask(Api::Other, OPERATION, Duration::ZERO, request).await;
        let tasks = listed.map_err(|failure| failure.error)?.results.unwrap_or_default();
        let task = |task: aws_sdk_sqs::types::ListMessageMoveTasksResultEntry| MoveTask {
            handle: task.task_handle,
            status: task.status.unwrap_or_default(),
            moved: task.approximate_number_of_messages_moved,
            total: task.approximate_number_of_messages_to_move,
            failure: task.failure_reason,
        };
        Ok(tasks.into_iter().map(task).collect())
    }

    /// Stops a move, and says how many messages it has moved.
    ///
    /// # Errors
    ///
    /// `NotFound` for a move that is not running.
    pub async fn cancel_move(&self, handle: &str) -> Result<i64> {
        let request = self.calls.client.cancel_message_move_task().task_handle(handle).send();
        let cancelled = self.calls.change(Api::Other, "queue.cancel_move", request).await;
        Ok(cancelled.map_err(|failure| failure.error)?.approximate_number_of_messages_moved)
    }

    async fn dead_arn(&self, operation: &'static str, name: &str) -> Result<String> {
        let url = url_of(&self.calls, operation, name).await?;
        let redrive = redrive_of(&self.calls, operation, &url).await?;
        redrive.map(|redrive| redrive.arn).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, BACKEND, operation)
                .with_detail(format!("queue {name:?} has no redrive policy"))
        })
    }
}

/// Whether two values of an attribute mean the same: policies are JSON, and the service may write
/// their numbers as text.
fn is_same(expected: &str, found: &str) -> bool {
    fn plain(text: &str) -> Option<BTreeMap<String, String>> {
        let fields: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(fields.into_iter().map(|(name, value)| (name, text(value))).collect())
    }
    expected == found || plain(expected).is_some_and(|fields| plain(found) == Some(fields))
}

/// The address of the queue `name`.
pub(super) async fn url_of(calls: &Calls, operation: &'static str, name: &str) -> Result<String> {
    let request = calls.client.get_queue_url().queue_name(name).send();
    let answer = calls.ask(Api::Other, operation, Duration::ZERO, request).await;
    match answer {
        Ok(answer) => Ok(answer.queue_url.unwrap_or_default()),
        Err(failure) if failure.error.kind() == ErrorKind::NotFound => {
            Err(failure.error.with_detail(format!("no queue {name:?}")))
        }
        Err(failure) => Err(failure.error),
    }
}

async fn attributes(
    calls: &Calls,
    operation: &'static str,
    url: &str,
) -> Result<HashMap<Attribute, String>> {
    let request =
        calls.client.get_queue_attributes().queue_url(url).attribute_names(Attribute::All).send();
    let answer = calls.ask(Api::Other, operation, Duration::ZERO, request).await;
    Ok(answer.map_err(|failure| failure.error)?.attributes.unwrap_or_default())
}

/// A redrive queue, as the policy of its queue names it.
pub(super) struct Redrive {
    pub(super) arn: String,
    pub(super) name: String,
}

pub(super) async fn redrive_of(
    calls: &Calls,
    operation: &'static str,
    url: &str,
) -> Result<Option<Redrive>> {
    let mut attributes = attributes(calls, operation, url).await?;
    let policy = attributes.remove(&Attribute::RedrivePolicy);
    let policy: Option<Value> = policy.and_then(|policy| serde_json::from_str(&policy).ok());
    let arn = policy.as_ref().and_then(|policy| policy["deadLetterTargetArn"].as_str());
    Ok(arn.map(|arn| {
        let name = arn.rsplit(':').next().unwrap_or(arn).to_owned();
        Redrive { arn: arn.to_owned(), name }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_that_cannot_be_met_is_refused() {
        let long = "q".repeat(76);
        for name in ["", ".fifo", "a b", "a.b", "ä", &long] {
            let error = SqsQueueSpec::new(name).check().unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{name:?}");
        }
        for name in ["reports", "Reports_2-b.fifo", &long[1..]] {
            SqsQueueSpec::new(name).check().unwrap();
        }
        for receives in [0, 1001] {
            assert!(SqsQueueSpec::new("q").max_receives(receives).check().is_err());
        }
        let mut spec = SqsQueueSpec::new("q");
        spec.retention = FORTNIGHT + Duration::from_secs(1);
        assert!(spec.check().is_err());
    }

    #[test]
    fn a_policy_is_the_same_however_it_is_written() {
        let expected = r#"{"deadLetterTargetArn":"arn:x","maxReceiveCount":5}"#;
        assert!(is_same(expected, r#"{"maxReceiveCount":"5", "deadLetterTargetArn":"arn:x"}"#));
        assert!(!is_same(expected, r#"{"maxReceiveCount":"6", "deadLetterTargetArn":"arn:x"}"#));
        assert!(is_same("true", "true") && !is_same("1209600", "345600"));
    }
}
