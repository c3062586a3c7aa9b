use std::num::ParseIntError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, JobId, Result};

use crate::envelope::Envelope;
use crate::queue::Queue;

/// A message that is not delivered any more, kept with what is known about its end.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{
///     DeadLetterFilter, DeadLetters, Envelope, MemoryQueue, QueueExt, ReceiveOptions,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(MemoryQueue::new());
/// queue.send_one(Envelope::new("mail", "hello")).await?;
/// let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// delivery.dead_letter("no such address").await?;
///
/// let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 100).await?;
/// let letter = &page.letters[0];
/// assert_eq!((letter.reason.as_str(), letter.attempts), ("no such address", 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message.
    pub envelope: Arc<Envelope>,
    /// Why it is here.
    pub reason: String,
    /// What the last counted release said.
    pub last_error: Option<Arc<str>>,
    /// How many attempts the run had.
    pub attempts: u32,
    /// How many deliveries the run had, counted or not.
    pub deliveries: u32,
    /// How many leases of the run ran out.
    pub crashes: u32,
    /// When the run was first due, by the store's clock.
    pub due_at: DateTime<Utc>,
    /// When it came here, by the store's clock.
    pub died_at: DateTime<Utc>,
}

impl DeadLetter {
    /// The reason of messages whose lease ran out too often.
    pub const CRASHED: &'static str = "its worker died or hung too often";

    /// A message that came here at `died_at` because of `reason`, after one attempt.
    pub fn new(envelope: Arc<Envelope>, reason: impl Into<String>, died_at: DateTime<Utc>) -> Self {
        Self {
            envelope,
            reason: reason.into(),
            last_error: None,
            attempts: 1,
            deliveries: 1,
            crashes: 0,
            due_at: died_at,
            died_at,
        }
    }
}

/// Which dead letters; the default is all of them.
///
/// ```
/// use standfast_queue::DeadLetterFilter;
///
/// let mails = DeadLetterFilter::default().kind("mail");
/// # let _ = mails;
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// Only these messages.
    pub ids: Option<Vec<JobId>>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only those whose reason or last error contains this.
    pub containing: Option<String>,
    /// Only those that died at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those that died before this instant.
    pub until: Option<DateTime<Utc>>,
}

impl DeadLetterFilter {
    /// Only the message with this id, and others asked for the same way.
    #[must_use]
    pub fn id(mut self, id: JobId) -> Self {
        self.ids.get_or_insert_default().push(id);
        self
    }

    /// Only this kind.
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }

    /// Only those whose reason or last error contains `text`.
    #[must_use]
    pub fn containing(self, text: impl Into<String>) -> Self {
        Self { containing: Some(text.into()), ..self }
    }

    /// Whether `letter` is meant.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let contains = |text: &String| {
            letter.reason.contains(text)
                || letter.last_error.as_ref().is_some_and(|error| error.contains(text))
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.envelope.id))
            && self.kind.as_ref().is_none_or(|kind| *kind == letter.envelope.kind)
            && self.containing.as_ref().is_none_or(contains)
            && self.since.is_none_or(|since| letter.died_at >= since)
            && self.until.is_none_or(|until| letter.died_at < until)
    }
}

/// Where a listing goes on. Opaque; belongs to the backend that gave it.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{DeadLetterFilter, DeadLetters, PageToken};
/// # use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = Arc::new(MemoryQueue::new());
/// # for to in ["ada", "grace"] {
/// #     queue.send_one(Envelope::new("mail", to)).await?;
/// #     let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// #     delivery.dead_letter("no such address").await?;
/// # }
/// let all = DeadLetterFilter::default();
/// let page = queue.list_dead_letters(&all, None, 1).await?;
/// let link = page.next.expect("there are two").as_str().to_owned();
/// // in the next request, from the link
/// let page = queue.list_dead_letters(&all, Some(&PageToken::new(link)), 1).await?;
/// assert_eq!((page.letters.len(), page.next), (1, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageToken(pub(crate) String);

impl PageToken {
    /// A token from what the backend needs to go on.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// What the backend needs to go on.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number that it is, on a backend that counts its dead letters.
    pub(crate) fn number(&self, backend: &'static str) -> Result<u64> {
        self.0.parse().map_err(|error: ParseIntError| {
            Error::new(ErrorKind::Invalid, backend, "queue.list_dead_letters")
                .with_detail("a page token of another queue")
                .with_source(error)
        })
    }
}

/// Some dead letters, the oldest first, and where to go on.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{DeadLetterFilter, DeadLetters};
/// # use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = Arc::new(MemoryQueue::new());
/// # for to in ["ada", "grace"] {
/// #     queue.send_one(Envelope::new("mail", to)).await?;
/// #     let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// #     delivery.dead_letter("no such address").await?;
/// # }
/// let (mails, mut after, mut seen) = (DeadLetterFilter::default().kind("mail"), None, 0);
/// loop {
///     let page = queue.list_dead_letters(&mails, after.as_ref(), 1).await?;
///     seen += page.letters.len();
///     let Some(next) = page.next else { break };
///     after = Some(next);
/// }
/// assert_eq!(seen, 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeadLetterPage {
    /// The dead letters.
    pub letters: Vec<DeadLetter>,
    /// Where to go on; `None` at the end.
    pub next: Option<PageToken>,
}

impl DeadLetterPage {
    /// These dead letters, going on at `next`.
    pub fn new(letters: Vec<DeadLetter>, next: Option<PageToken>) -> Self {
        Self { letters, next }
    }
}

/// How to send dead letters again; the default is all at once, to where they came from.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{DeadLetterFilter, DeadLetters, RedriveOptions};
/// # use standfast_queue::{Envelope, MemoryQueue, Queue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = Arc::new(MemoryQueue::new());
/// # for to in ["ada", "grace"] {
/// #     queue.send_one(Envelope::new("mail", to)).await?;
/// #     let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// #     delivery.dead_letter("no such address").await?;
/// # }
/// let other = Arc::new(MemoryQueue::new());
/// // a look at how a few fare elsewhere before all are sent
/// let few = RedriveOptions::default().limit(1).rate(10.0).to(other.clone());
/// queue.redrive(&DeadLetterFilter::default().kind("mail"), &few).await?;
/// assert_eq!((other.stats().await?.ready, queue.stats().await?.dead), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RedriveOptions {
    /// The most messages to send.
    pub limit: Option<usize>,
    /// Messages per second; not positive is `Invalid`.
    pub rate: Option<f64>,
    /// Another queue to send them to.
    pub to: Option<Arc<dyn Queue>>,
}

impl RedriveOptions {
    /// At most `limit` messages.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// At most `rate` messages per second.
    #[must_use]
    pub fn rate(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// To `queue` instead of where they came from.
    #[must_use]
    pub fn to(self, queue: Arc<dyn Queue>) -> Self {
        Self { to: Some(queue), ..self }
    }

    /// How long to wait between two messages, if at all.
    pub(crate) fn pause(&self, backend: &'static str) -> Result<Option<Duration>> {
        match self.rate {
            None => Ok(None),
            Some(rate) if rate > 0.0 && rate.is_finite() => {
                Ok(Some(Duration::from_secs_f64(1.0 / rate)))
            }
            Some(rate) => Err(Error::new(ErrorKind::Invalid, backend, "queue.redrive")
                .with_detail(format!("a rate of {rate} messages per second"))),
        }
    }
}

/// What a redrive did.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{DeadLetterFilter, DeadLetters, RedriveOptions};
/// # use standfast_queue::{Envelope, MemoryQueue, MemoryQueueConfig, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let mut config = MemoryQueueConfig::default();
/// # config.max_len = 1;
/// # let queue = Arc::new(MemoryQueue::with_config(config));
/// # for to in ["ada", "grace"] {
/// #     queue.send_one(Envelope::new("mail", to)).await?;
/// #     let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// #     delivery.dead_letter("no such address").await?;
/// # }
/// // two dead letters, and a queue that holds one message
/// let all = DeadLetterFilter::default();
/// let redriven = queue.redrive(&all, &RedriveOptions::default()).await?;
/// assert_eq!((redriven.sent, redriven.kept), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Redriven {
    /// How many messages were sent again and left the dead letters.
    pub sent: u64,
    /// How many stayed because the target did not take them: a message of the same id is queued
    /// there, or it is full.
    pub kept: u64,
}

/// The messages that are not delivered any more. Every queue keeps them, for 30 days unless it is
/// told otherwise, and never more than it was told to.
///
/// # Contract
///
/// 1. A message is either queued or dead, never neither: it leaves one side only when it has
///    reached the other.
/// 2. Redrive starts a new run: `run + 1`, attempts and crashes from zero, the same id and handle.
///
/// ```
/// # use std::sync::Arc;
/// use standfast_queue::{DeadLetterFilter, DeadLetters, RedriveOptions};
/// # use standfast_queue::{Envelope, MemoryQueue, QueueExt, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let queue = Arc::new(MemoryQueue::new());
/// # for to in ["ada", "grace"] {
/// #     queue.send_one(Envelope::new("mail", to)).await?;
/// #     let delivery = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("it was sent");
/// #     delivery.dead_letter("no such address").await?;
/// # }
/// let all = DeadLetterFilter::default();
/// let page = queue.list_dead_letters(&all, None, 100).await?;
/// // the first one is hopeless, the others are tried again
/// let hopeless = DeadLetterFilter::default().id(page.letters[0].envelope.id);
/// assert_eq!(queue.purge_dead_letters(&hopeless).await?, 1);
/// assert_eq!(queue.redrive(&all, &RedriveOptions::default()).await?.sent, 1);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait DeadLetters {
    /// Lists dead letters, the oldest first, at most `limit` of them, from where `after` left off.
    ///
    /// # Errors
    ///
    /// `Invalid` for a token of another queue, `Unavailable` and the like as the backend meets them.
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage>;

    /// Sends dead letters again.
    ///
    /// # Cancellation
    ///
    /// What was sent stays sent; the rest stays dead. A crash between the two sides of a move to
    /// another queue leaves the message on both: its id makes the repeated move one message.
    ///
    /// # Errors
    ///
    /// `Invalid` for a rate that is not positive; what either queue meets.
    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven>;

    /// Deletes dead letters for good and says how many.
    ///
    /// # Errors
    ///
    /// What the backend meets.
    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64>;
}
