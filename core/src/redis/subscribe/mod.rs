//! Messages of channels, over one subscribed connection.

mod channels;
mod mailbox;
mod task;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::settings::Settings;
use super::topology::Topology;
use mailbox::Mailbox;

/// What a [`Subscription`] has to say.
///
/// ```
/// use standfast_core::redis::Signal;
///
/// fn look_again(signal: &Signal) -> bool {
///     match signal {
///         Signal::Message(body) => body == b"changed",
///         Signal::Doubt => true,
///     }
/// }
/// assert!(look_again(&Signal::Doubt));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "either something is known or it is not")]
pub enum Signal {
    /// A message.
    Message(Vec<u8>),
    /// Messages may have been missed: look again at what they would have told. Comes when the
    /// connection was lost, once a second while it is away, when it is back, and when this
    /// subscriber was too slow.
    Doubt,
}

/// The messages of one channel; see [`Redis::subscribe`](super::Redis::subscribe).
///
/// Subscribe first, then look at the state, then wait: so nothing is missed.
///
/// ```no_run
/// # async fn ready(_: &standfast_core::redis::Redis) -> bool { true }
/// # async fn demo() -> standfast_core::Result<()> {
/// use standfast_core::redis::Redis;
///
/// let redis = Redis::from_url("redis://localhost")?;
/// let mut changes = redis.subscribe("status:7").await;
/// while !ready(&redis).await {
///     changes.next().await;   // a message or a doubt: both mean to look again
/// }
/// # Ok(()) }
/// ```
pub struct Subscription {
    hub: Arc<Hub>,
    commands: mpsc::UnboundedSender<Command>,
    channel: Arc<str>,
    mailbox: Arc<Mailbox>,
}

impl Subscription {
    /// The next message or doubt. Never ends.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            signal = self.mailbox.next() => signal,
            () = self.commands.closed() => {
                // the task ended with the runtime that it ran on; go on with one of ours
                self.commands = self.hub.join(&self.channel, &self.mailbox, None);
                Signal::Doubt
            }
        }
    }
}

/// The last one of a channel unsubscribes, by word to the task.
impl Drop for Subscription {
    fn drop(&mut self) {
        let (channel, mailbox) = (Arc::clone(&self.channel), Arc::clone(&self.mailbox));
        // a task that has ended has no subscriptions
        let _ = self.commands.send(Command::Leave { channel, mailbox });
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}

enum Command {
    Join { channel: Arc<str>, mailbox: Arc<Mailbox>, settled: Option<oneshot::Sender<()>> },
    Leave { channel: Arc<str>, mailbox: Arc<Mailbox> },
}

/// Starts the task with the first subscription. The task ends when all senders of commands are
/// gone: this one, which handles and subscriptions hold, and those of the subscriptions.
pub(super) struct Hub {
    settings: Arc<Settings>,
    topology: Arc<Topology>,
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
}

impl Hub {
    pub(super) fn new(settings: Arc<Settings>, topology: Arc<Topology>) -> Self {
        Self { settings, topology, commands: Mutex::default() }
    }

    pub(super) async fn subscribe(self: &Arc<Self>, channel: &str) -> Subscription {
        let (channel, mailbox) = (Arc::from(channel), Arc::default());
        let (settled, wait) = oneshot::channel();
        let commands = self.join(&channel, &mailbox, Some(settled));
        let subscription = Subscription { hub: Arc::clone(self), commands, channel, mailbox };
        // an error means that the task ended with its runtime: `next` will see that as well
        let _ = wait.await;
        subscription
    }

    fn join(
        self: &Arc<Self>,
        channel: &Arc<str>,
        mailbox: &Arc<Mailbox>,
        settled: Option<oneshot::Sender<()>>,
    ) -> mpsc::UnboundedSender<Command> {
        let mut current = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let running = current.as_ref().filter(|commands| !commands.is_closed()).cloned();
        let commands = running.unwrap_or_else(|| {
            let (commands, receiver) = mpsc::unbounded_channel();
            *current = Some(commands.clone());
            let (settings, topology) = (Arc::clone(&self.settings), Arc::clone(&self.topology));
            tokio::spawn(task::run(settings, topology, receiver));
            commands
        });
        let (channel, mailbox) = (Arc::clone(channel), Arc::clone(mailbox));
        // a task that ends meanwhile shows in `next`
        let _ = commands.send(Command::Join { channel, mailbox, settled });
        commands
    }
}
