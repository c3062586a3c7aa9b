use std::time::Duration;

/// What a queue backend can do and how much it takes. Constant for the life of the value.
///
/// ```
/// use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue};
///
/// let capabilities = MemoryQueue::new().capabilities();
/// let mut message = OutgoingMessage::new(Envelope::new("mail", "hello"));
/// if capabilities.groups {
///     message = message.group("tenant-7");
/// }
/// assert!(message.check(&capabilities).is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueCapabilities {
    /// The backend's name, as errors and metrics show it.
    pub backend: &'static str,
    /// The most entries in one call; more are `Invalid`.
    pub max_batch: usize,
    /// The largest body in bytes.
    pub max_body: usize,
    /// The longest lease; longer ones are shortened to it.
    pub max_lease: Duration,
    /// How long a lease can be extended in all, where that is bounded.
    pub max_lease_total: Option<Duration>,
    /// Whether a receipt that is no longer current is refused (Q3).
    pub fenced: bool,
    /// Whether lease run-outs are counted apart from handler failures (Q5).
    pub counts_crashes: bool,
    /// Whether `dedupe_key` works (Q7).
    pub dedupe: bool,
    /// Whether a dedupe window can be chosen; otherwise it is the backend's own (Q7).
    pub dedupe_window: Option<Duration>,
    /// Whether a message refused as a duplicate is told from one that was sent, and of which it is
    /// one (Q7). Otherwise both are `Sent`: give both the same handle, derived from the key.
    pub tells_duplicates: bool,
    /// Whether a send repeated with the same id is one message (Q8).
    pub idempotent_send: bool,
    /// How long an id stays taken after its send whatever becomes of the message, where that is so:
    /// until then a message of the same id is not stored, and later it is another message (Q8).
    pub id_window: Option<Duration>,
    /// The longest delay of a send, where that is bounded; longer ones are `Unsupported` (Q6).
    pub max_delay: Option<Duration>,
    /// Whether priorities are kept (Q9); otherwise all messages are alike.
    pub priorities: bool,
    /// Whether groups are kept in order (Q10).
    pub groups: bool,
    /// Whether counts are exact (Q13).
    pub exact_stats: bool,
    /// Whether the age of the oldest message is known (Q13).
    pub age_of_oldest: bool,
    /// Whether two receivers can never hold the same live message (Q17).
    pub exclusive: bool,
    /// Whether `drop_after` works (Q18).
    pub drop_after: bool,
    /// Whether a full queue refuses messages (Q19).
    pub bounded: bool,
    /// Whether receiving can be paused for all receivers.
    pub pause: bool,
    /// Whether dead letters can be listed without leasing them.
    pub lists_dead_letters: bool,
}

impl QueueCapabilities {
    /// Everything, without limits: a backend takes from it what it lacks.
    pub fn all(backend: &'static str) -> Self {
        Self {
            backend,
            max_batch: usize::MAX,
            max_body: usize::MAX,
            max_lease: Duration::MAX,
            max_lease_total: None,
            fenced: true,
            counts_crashes: true,
            dedupe: true,
            dedupe_window: None,
            tells_duplicates: true,
            idempotent_send: true,
            id_window: None,
            max_delay: None,
            priorities: true,
            groups: true,
            exact_stats: true,
            age_of_oldest: true,
            exclusive: true,
            drop_after: true,
            bounded: true,
            pause: true,
            lists_dead_letters: true,
        }
    }
}
