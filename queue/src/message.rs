use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Error, ErrorKind, JobId, Reason, Result};

use crate::capabilities::QueueCapabilities;
use crate::envelope::Envelope;
use crate::handle::StatusHandle;

/// How soon a message is taken among those that are ready. Lower ones are not starved: of fifteen
/// deliveries under full load, 8, 4, 2 and 1 go to the four levels.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Priority, Queue, ReceiveOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// let digest = OutgoingMessage::new(Envelope::new("digest", "")).priority(Priority::Low);
/// let code = OutgoingMessage::new(Envelope::new("login-code", "")).priority(Priority::Urgent);
/// queue.send(&[digest, code]).await?;
/// let batch = queue.receive(&ReceiveOptions::new(1)).await?;
/// assert_eq!(batch.deliveries[0].envelope().kind, "login-code");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// Before the usual.
    High,
    /// The usual.
    #[default]
    Normal,
    /// When there is time.
    Low,
}

impl Priority {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];
}

/// Makes a message the only one of its key for a while.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{Dedupe, Envelope, OutgoingMessage};
///
/// let hour = Duration::from_secs(3600);
/// let message = OutgoingMessage::new(Envelope::new("report", "")).dedupe("report:acme", hour);
/// assert_eq!(message.dedupe, Some(Dedupe::new("report:acme", hour)));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dedupe {
    /// What must be unique.
    pub key: Arc<str>,
    /// For how long from the first send, by the store's clock, whatever becomes of that message.
    pub window: Duration,
}

impl Dedupe {
    /// Only one message of `key` within `window`.
    pub fn new(key: impl Into<Arc<str>>, window: Duration) -> Self {
        Self { key: key.into(), window }
    }
}

/// A message on its way into a queue.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{Envelope, OutgoingMessage, Priority};
///
/// let message = OutgoingMessage::new(Envelope::new("mail", "hello"))
///     .delay(Duration::from_secs(60))
///     .priority(Priority::Low)
///     .group("tenant-7");
/// assert_eq!(message.priority, Priority::Low);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutgoingMessage {
    /// The job.
    pub envelope: Arc<Envelope>,
    /// How long to keep it back, by the store's clock.
    pub delay: Duration,
    /// How soon it is taken once it is ready.
    pub priority: Priority,
    /// Messages of one group are delivered in order and one at a time.
    pub group: Option<Arc<str>>,
    /// What makes it a duplicate of an earlier one.
    pub dedupe: Option<Dedupe>,
    /// How long after the send, by the store's clock, delivering it has lost its point.
    pub drop_after: Option<Duration>,
}

impl OutgoingMessage {
    /// A message to be delivered at once.
    pub fn new(envelope: impl Into<Arc<Envelope>>) -> Self {
        Self {
            envelope: envelope.into(),
            delay: Duration::ZERO,
            priority: Priority::default(),
            group: None,
            dedupe: None,
            drop_after: None,
        }
    }

    /// Keeps it back for `delay`.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// How soon it is taken once it is ready.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Puts it in order behind the other messages of `group`.
    #[must_use]
    pub fn group(self, group: impl Into<Arc<str>>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// Refuses it as a duplicate if one of the same key was sent within the window.
    #[must_use]
    pub fn dedupe(self, key: impl Into<Arc<str>>, window: Duration) -> Self {
        Self { dedupe: Some(Dedupe::new(key, window)), ..self }
    }

    /// Drops it, counted, when it was not delivered within `span`.
    #[must_use]
    pub fn drop_after(self, span: Duration) -> Self {
        Self { drop_after: Some(span), ..self }
    }

    /// Whether a backend with these capabilities takes the message; every backend asks this
    /// before any I/O.
    ///
    /// # Errors
    ///
    /// `TooLarge` for the body, `Invalid` for a group or key that is empty, holds NUL or is longer
    /// than 256 bytes, `Unsupported` for what the backend does not have.
    pub fn check(&self, capabilities: &QueueCapabilities) -> Result<()> {
        let error = |kind| Error::new(kind, capabilities.backend, "queue.send");
        let size = self.envelope.body.len();
        if size > capabilities.max_body {
            let limit = capabilities.max_body;
            return Err(error(ErrorKind::TooLarge)
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("body of {size} bytes, the limit is {limit}")));
        }
        let names =
            [("group", self.group.as_ref()), ("dedupe key", self.dedupe.as_ref().map(|d| &d.key))];
        for (what, name) in names {
            let Some(name) = name else { continue };
            if name.is_empty() || name.len() > 256 || name.contains('\0') {
                return Err(error(ErrorKind::Invalid)
                    .with_reason(Reason::InvalidName)
                    .with_detail(format!("{what} must be 1 to 256 bytes without NUL")));
            }
        }
        let wants = [
            (self.group.is_some(), capabilities.groups, "groups"),
            (self.dedupe.is_some(), capabilities.dedupe, "dedupe keys"),
            (self.drop_after.is_some(), capabilities.drop_after, "drop_after"),
            (
                capabilities.max_delay.is_some_and(|most| self.delay > most),
                false,
                "delays that long",
            ),
        ];
        match wants.into_iter().find(|(wanted, has, _)| *wanted && !has) {
            Some((_, _, what)) => Err(error(ErrorKind::Unsupported).with_detail(what)),
            None => Ok(()),
        }
    }
}

/// The message that a duplicate was a duplicate of.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, QueueExt, SendOutcome};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(MemoryQueue::new());
/// let message = || {
///     OutgoingMessage::new(Envelope::new("report", "")).dedupe("acme", Duration::from_secs(3600))
/// };
/// let first = message();
/// queue.send_one(first.clone()).await?;
/// let SendOutcome::Duplicate(original) = queue.send_one(message()).await? else { panic!("sent") };
/// assert_eq!((original.id, original.handle), (first.envelope.id, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Original {
    /// Its id.
    pub id: JobId,
    /// Its handle, where it has one and the backend remembers it.
    pub handle: Option<StatusHandle>,
}

impl Original {
    /// The message with this id and handle.
    pub fn new(id: JobId, handle: Option<StatusHandle>) -> Self {
        Self { id, handle }
    }
}

/// What became of one message of a send.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, Queue, SendOutcome};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = MemoryQueue::new();
/// let batch = [Envelope::new("mail", "ada").into(), Envelope::new("mail", "grace").into()];
/// for (message, outcome) in batch.iter().zip(queue.send(&batch).await?) {
///     match outcome {
///         SendOutcome::Sent => {}
///         SendOutcome::Failed(error) if error.is_retryable() => println!("again: {error}"),
///         other => println!("{} is not in the queue: {other:?}", message.envelope.id),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendOutcome {
    /// Another message of the same dedupe key was sent within the window, or one of the same id but
    /// another handle is in the queue; this one is not stored.
    Duplicate(Original),
    /// It is not stored, or nobody knows: see the error.
    Failed(Error),
    /// The queue holds as many messages as it may; this one is not stored.
    Full,
    /// It is stored, now or by an earlier send of the same id and handle.
    Sent,
}

impl SendOutcome {
    /// Whether the message is in the queue.
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent)
    }
}
