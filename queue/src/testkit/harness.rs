use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::queue::Queue;
use crate::status::StatusStore;

/// How many times longer than promised a wake-up may take in a test: the machine runs other tests
/// on every core, and a loop that polls once a second is still found out.
const NOISE: u32 = 25;

/// What a case asks of the queue it works on.
///
/// ```
/// use standfast_queue::testkit::QueueSetup;
///
/// assert_eq!(QueueSetup::default().max_crashes, 5);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueSetup {
    /// How often a lease of one run may run out before the message is dead.
    pub max_crashes: u32,
    /// The most messages, dead letters apart; where the capabilities say `bounded`.
    pub max_len: usize,
    /// The largest body in bytes, if the backend lets it be chosen.
    pub max_body: Option<usize>,
    /// The most dead letters.
    pub max_dead: usize,
    /// How long dead letters are kept.
    pub keep_dead: Duration,
}

impl Default for QueueSetup {
    fn default() -> Self {
        Self {
            max_crashes: 5,
            max_len: usize::MAX,
            max_body: None,
            max_dead: 100_000,
            keep_dead: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// Lets the suite make queues of one backend and govern their time.
///
/// # Contract
///
/// 1. [`fresh_queue`](QueueHarness::fresh_queue) gives an empty queue that no other case sees.
/// 2. [`pass_time`](QueueHarness::pass_time) returns when at least that much of the store's time
///    has passed: a clock of one's own is advanced, real time is slept.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_queue::testkit::{MemoryHarness, QueueHarness, QueueSetup};
/// use standfast_queue::{Envelope, OutgoingMessage, ReceiveOptions};
///
/// let harness = MemoryHarness::manual();
/// let queue = harness.fresh_queue(&QueueSetup::default()).await;
/// let message = OutgoingMessage::new(Envelope::new("mail", "hello"));
/// queue.send(&[message.delay(2 * harness.unit())]).await?;
/// assert!(queue.receive(&ReceiveOptions::new(1)).await?.is_empty());
/// harness.pass_time(2 * harness.unit()).await;
/// assert_eq!(queue.receive(&ReceiveOptions::new(1)).await?.deliveries.len(), 1);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait QueueHarness: Send + Sync + 'static {
    /// An empty queue of its own that behaves as `setup` says.
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue>;

    /// The same queue as another process sees it.
    async fn another(&self, queue: &Arc<dyn Queue>) -> Arc<dyn Queue> {
        Arc::clone(queue)
    }

    /// Lets `span` pass.
    async fn pass_time(&self, span: Duration);

    /// A reading of the time that [`pass_time`](Self::pass_time) lets pass.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The span from which the cases build theirs: twice as long is safely later, half as long is
    /// safely earlier, however busy the machine is.
    fn unit(&self) -> Duration;

    /// Whether the suite may let that much time pass.
    fn can_pass(&self, span: Duration) -> bool {
        span <= 20 * self.unit()
    }

    /// How many messages the cases of Q15 let lie about; fewer where it is a stand-in of the
    /// service that would be measured and not the backend.
    fn many(&self) -> usize {
        10_000
    }

    /// How soon, in real time, a receive that waits returns once there is something for it (Q12):
    /// 10 ms, times what a noisy machine adds.
    fn wake_bound(&self) -> Duration {
        NOISE * Duration::from_millis(10)
    }

    /// How long, in real time, a receive that has begun needs until it surely waits.
    fn idle(&self) -> Duration {
        Duration::from_millis(20)
    }
}

/// Lets the suite make stores of one backend and govern their time.
///
/// # Contract
///
/// As [`QueueHarness`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// use standfast_queue::testkit::{MemoryHarness, StatusHarness};
/// use standfast_queue::{JobState, StatusHandle, StatusUpdate};
///
/// let harness = MemoryHarness::manual();
/// let (store, handle) = (harness.fresh_store().await, StatusHandle::random());
/// let elsewhere = harness.another(&store).await;
/// let ended = StatusUpdate::new("mail", JobState::Succeeded);
/// store.advance(&handle, &ended, 2 * harness.unit()).await?;
/// assert_eq!(elsewhere.get(&handle).await?.unwrap().kind, "mail");
/// harness.pass_time(4 * harness.unit()).await;
/// assert!(elsewhere.get(&handle).await?.is_none(), "it was kept for two units");
/// # Ok(()) }
/// ```
#[async_trait]
pub trait StatusHarness: Send + Sync + 'static {
    /// An empty store, or one that other cases see too: they use handles of their own.
    async fn fresh_store(&self) -> Arc<dyn StatusStore>;

    /// The same store as another process sees it.
    async fn another(&self, store: &Arc<dyn StatusStore>) -> Arc<dyn StatusStore> {
        Arc::clone(store)
    }

    /// Lets `span` pass.
    async fn pass_time(&self, span: Duration);

    /// The span from which the cases build theirs, as in [`QueueHarness::unit`].
    fn unit(&self) -> Duration;

    /// Whether the suite may let that much time pass.
    fn can_pass(&self, span: Duration) -> bool {
        span <= 20 * self.unit()
    }

    /// How soon, in real time, a wait returns once there is something for it (T6).
    fn wake_bound(&self) -> Duration {
        NOISE * Duration::from_millis(10)
    }

    /// How long, in real time, a wait that has begun needs until it surely waits.
    fn idle(&self) -> Duration {
        Duration::from_millis(20)
    }
}

/// What the suite can be stamped with: a harness, or an `Option` of one. `None` says that the
/// service is not here; whoever made it has told so, and has failed if the service was required.
///
/// ```
/// use standfast_queue::testkit::{IntoQueueHarness, MemoryHarness};
///
/// fn service() -> Option<MemoryHarness> {
///     std::env::var_os("NO_SUCH_SERVICE").map(|_| MemoryHarness::real())
/// }
///
/// assert!(MemoryHarness::manual().into_harness().is_some());
/// assert!(service().into_harness().is_none(), "the suite passes, and proves nothing");
/// ```
pub trait IntoQueueHarness {
    /// The harness, if there is one.
    fn into_harness(self) -> Option<Arc<dyn QueueHarness>>;
}

impl<H: QueueHarness> IntoQueueHarness for H {
    fn into_harness(self) -> Option<Arc<dyn QueueHarness>> {
        Some(Arc::new(self))
    }
}

impl<H: QueueHarness> IntoQueueHarness for Option<H> {
    fn into_harness(self) -> Option<Arc<dyn QueueHarness>> {
        self.map(|harness| Arc::new(harness) as _)
    }
}

/// As [`IntoQueueHarness`], for stores.
///
/// ```
/// use standfast_queue::testkit::{IntoStatusHarness, MemoryHarness};
///
/// assert!(MemoryHarness::manual().into_harness().is_some());
/// assert!(None::<MemoryHarness>.into_harness().is_none());
/// ```
pub trait IntoStatusHarness {
    /// The harness, if there is one.
    fn into_harness(self) -> Option<Arc<dyn StatusHarness>>;
}

impl<H: StatusHarness> IntoStatusHarness for H {
    fn into_harness(self) -> Option<Arc<dyn StatusHarness>> {
        Some(Arc::new(self))
    }
}

impl<H: StatusHarness> IntoStatusHarness for Option<H> {
    fn into_harness(self) -> Option<Arc<dyn StatusHarness>> {
        self.map(|harness| Arc::new(harness) as _)
    }
}
