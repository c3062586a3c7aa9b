use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use standfast_core::{Clock, SystemClock};

use super::delegate::{delegate_operators, delegate_queue};
use super::many::{Many, Route};
use crate::capabilities::QueueCapabilities;
use crate::message::{OutgoingMessage, Priority};
use crate::queue::Queue;

/// Whose turn it is: of fifteen turns, 8, 4, 2 and 1 go to the four priorities, spread out.
const TURNS: [usize; 15] = [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0];

/// How many of fifteen messages each priority gets.
const SHARES: [usize; Priority::ALL.len()] = [8, 4, 2, 1];

/// Priorities for backends that have none, such as SQS: one queue for each.
///
/// A receive of up to 14 messages goes to one priority first, 8, 4, 2 and 1 of fifteen to the four
/// of them, and then to the most urgent ones that have something; a larger one divides itself by
/// the same ratio. So nothing starves, and an urgent message waits for one batch of others at most.
///
/// # What differs from a queue that has priorities
///
/// - Messages of a group all go to the queue of [`Priority::Normal`], whatever their own: order
///   within a group comes before urgency.
/// - A dedupe key is unique within its priority, and so is an id: send a message again with the
///   priority that it had.
/// - Limits on length hold for each priority apart.
/// - Receives wait on all four queues at once. What arrives on a second one at the same time is kept
///   for the next receive; if that does not come within 200 ms, it is released, uncounted where the
///   backend can. A receive that was waiting when another queue had something goes on until its own
///   wait has passed, for whoever receives next.
/// - While other queues have something, an empty one may be left out for 50 ms, unless a message
///   was sent to it through this value. One that fails is left out and tried once a second; a
///   receive fails when all of them do, and health is degraded until then.
///
/// ```
/// use std::sync::Arc;
/// use standfast_queue::wrap::Prioritized;
/// use standfast_queue::{
///     Envelope, MemoryQueue, OutgoingMessage, Priority, QueueExt, ReceiveOptions,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = Arc::new(Prioritized::new([(); 4].map(|()| MemoryQueue::new())));
/// queue.send_one(Envelope::new("mail", "hello")).await?;
/// let urgent = OutgoingMessage::new(Envelope::new("alarm", "fire")).priority(Priority::Urgent);
/// queue.send_one(urgent).await?;
/// let first = queue.receive_one(&ReceiveOptions::new(1)).await?.expect("both were sent");
/// assert_eq!(first.envelope().kind, "alarm");
/// # first.ack().await
/// # }
/// ```
///
/// # Cancellation
///
/// What a dropped receive had received already is left to the next receive; what was on its way
/// comes back after its lease. Nothing that waits is cancelled.
///
/// # Panics
///
/// A receive that waits panics outside a tokio runtime.
pub struct Prioritized<Q: Queue>(Many<Q, ByPriority>);

impl<Q: Queue> Prioritized<Q> {
    /// One queue for each priority, in the order of [`Priority::ALL`].
    pub fn new(queues: [Q; Priority::ALL.len()]) -> Self {
        Self::with_clock(queues, Arc::new(SystemClock))
    }

    /// The same, waiting by `clock`: that of the queues, where they have one of their own.
    pub fn with_clock(queues: [Q; Priority::ALL.len()], clock: Arc<dyn Clock>) -> Self {
        Self(Many::new(queues.into(), ByPriority::default(), clock))
    }

    /// The queue of one priority.
    pub fn inner(&self, priority: Priority) -> &Q {
        &self.0.queues()[priority as usize]
    }

    /// Waits until no receive is under way and gives back what nobody has taken, before the
    /// process ends; as long as the longest wait that was asked for.
    pub async fn drain(&self) {
        self.0.drain().await;
    }
}

impl<Q: Queue> Clone for Prioritized<Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q: Queue> fmt::Debug for Prioritized<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prioritized").field(&self.0).finish()
    }
}

delegate_queue!(Prioritized, self => self.0);
delegate_operators!(Prioritized, self => self.0);

#[derive(Debug, Default)]
struct ByPriority {
    turn: AtomicUsize,
}

impl Route for ByPriority {
    fn route(&self, message: &OutgoingMessage, _: usize) -> usize {
        let level = if message.group.is_some() { Priority::Normal } else { message.priority };
        level as usize
    }

    fn plan(&self, max: usize, queues: usize) -> Vec<(usize, usize)> {
        let rounds = max / TURNS.len();
        if rounds > 0 {
            return SHARES.iter().map(|share| share * rounds).enumerate().collect();
        }
        let first = TURNS[self.turn.fetch_add(1, Ordering::Relaxed) % TURNS.len()];
        let others = (0..queues).filter(|queue| *queue != first);
        std::iter::once(first).chain(others).map(|queue| (queue, max)).collect()
    }

    fn capabilities(&self, each: QueueCapabilities, _: usize) -> QueueCapabilities {
        QueueCapabilities { priorities: true, ..each }
    }
}
