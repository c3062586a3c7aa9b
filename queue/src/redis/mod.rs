//! The queue in Redis: single node, Cluster or Sentinel.
//!
//! Every state change is one script, so there is no "between": a process or a server that dies
//! leaves the state before or after. Time is the server's. There is no reaper and no leader: each
//! receive makes ready what is due and takes back what ran out.
//!
//! # Layout, version 1
//!
//! All keys are `standfast:1:queue:{<name>}:<part>`, in one slot.
//!
//! | part | type | holds |
//! |---|---|---|
//! | `bodies` | hash | id (16 bytes) → the [envelope](crate::Envelope) in its wire form |
//! | `r0` … `r3` | lists | items that can be delivered, `r0` the most urgent |
//! | `delayed` | sorted set | items, filled up with zeros to 65 bytes, by when they are due |
//! | `leases` | sorted set | leases by when they end |
//! | `errors` | hash | id → what the last counted release said |
//! | `groups` | sorted set | length (2), name, number (8), zeros (27), item of what waits behind the head of its group |
//! | `busy` | hash | groups that have a head |
//! | `dead` | sorted set | names of dead letters (`<died at>:<number>`) by number |
//! | `letters` | hash | name → died at (8), length (2) and item, length (4) and reason, `1`, length (4) and last error or `0`, envelope |
//! | `untold` | sorted set | names of the letters of crashed messages, by when a receive reports them (again) |
//! | `counters` | hash | `seq`, `turn`, `dropped`, `evicted`, `paused`, `untold` |
//! | `key:<dedupe key>` | string | id (16) and handle (16, if any) of the message, for the window |
//! | `wake` | channel | empty: there is something; a number: there will be, in so many µs |
//!
//! An *item* says where a message stands: flags (1), id (16), when its run was first due (8); with
//! flag 4 failures (4), uncounted deliveries (4), crashes (4) and when it became due last (8); with
//! flag 8 when to drop it (8); with flag 16 the length of its group less 1 (1) and the group. The
//! two low flags are the priority, 64 is always set, the rest never. A *lease* is an item, a token
//! drawn for one delivery (8), since when (8), and the worker's name, padded with zeros.
//! Membership of a lease is the fence: whoever can name it holds the message. Numbers are
//! big-endian, times µs since 1970.
//!
//! The receive that finds a message to have crashed too often reports its dead letter, and the next
//! one of the same handle confirms that; what nobody has confirmed within 30 seconds is reported
//! again, so that the status of the job learns of it even if the reporter dies.
//!
//! An item with flags that this version does not know is put aside for a minute and left to a
//! newer worker; so is an envelope of a newer version, for five seconds.

mod admin;
mod claim;
mod dead;
mod keys;
mod layout;
mod scripts;
mod send;
mod settle;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::redis::{Durability, Redis, Reply, Request, Subscription};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Reason, Result};
use tokio::sync::OnceCell;

use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use keys::Keys;

/// The largest span in µs that scripts count exactly.
const MAX_MICROS: u64 = (1 << 53) - 1;

/// The most entries of one call: a script cannot pass on many more.
const MAX_BATCH: usize = 1000;

/// How a [`RedisQueue`] behaves. Every process that shares a queue should be told the same.
///
/// ```
/// use standfast_core::redis::Redis;
/// use standfast_queue::{Queue, RedisQueue, RedisQueueConfig};
///
/// # fn main() -> standfast_core::Result<()> {
/// let mut config = RedisQueueConfig::default();
/// config.max_len = 1_000_000;   // then `SendOutcome::Full`
/// let redis = Redis::from_url("redis://127.0.0.1:6379")?;   // connects on first use
/// let queue = RedisQueue::from_parts(redis, "reports", config)?;
/// assert_eq!(queue.capabilities().backend, "redis");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisQueueConfig {
    /// How often a lease of one run may run out before the message is dead; 5 by default.
    pub max_crashes: u32,
    /// The most messages, dead letters apart; unbounded by default.
    pub max_len: usize,
    /// The largest body in bytes; 16 MiB by default.
    pub max_body: usize,
    /// The most dead letters; the oldest go first. 100,000 by default.
    pub max_dead: usize,
    /// How long dead letters are kept; 30 days by default.
    pub keep_dead: Duration,
    /// When a send counts as stored; on the primary alone by default. A send that reached fewer
    /// replicas than asked for fails with `OutcomeUnknown`: repeat it with the same ids.
    pub durability: Durability,
}

impl Default for RedisQueueConfig {
    fn default() -> Self {
        Self {
            max_crashes: 5,
            max_len: usize::MAX,
            max_body: 16 * 1024 * 1024,
            max_dead: 100_000,
            keep_dead: Duration::from_secs(30 * 24 * 60 * 60),
            durability: Durability::Primary,
        }
    }
}

/// A queue in Redis, with everything the contract asks, shared by all who open it by the same
/// name.
///
/// A call ends within the deadline of its [`Redis`] handle. One that may have been carried out
/// although no answer came ends as `OutcomeUnknown`; repeat a send with the same ids, and leave a
/// settlement to the lease.
///
/// ```no_run
/// use standfast_queue::{Envelope, OutgoingMessage, Queue, ReceiveOptions, RedisQueue, Settlement};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let queue = RedisQueue::from_url("redis://127.0.0.1:6379", "mail")?;
/// queue.send(&[OutgoingMessage::new(Envelope::new("mail", "hello"))]).await?;
///
/// let batch = queue.receive(&ReceiveOptions::new(10)).await?;
/// let receipt = batch.deliveries[0].receipt.clone();
/// queue.settle(&[(receipt, Settlement::Ack)]).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisQueue(Arc<Shared>);

struct Shared {
    redis: Redis,
    keys: Keys,
    config: RedisQueueConfig,
    /// Holds the channel of wake-ups open between two receives that wait.
    wake: OnceCell<Subscription>,
    /// The dead letters that a receive has reported and that no later one has confirmed.
    told: Mutex<Vec<Vec<u8>>>,
}

impl RedisQueue {
    /// The queue `name` on the Redis at `url`, in the forms of [`Redis::from_url`]. Connects on
    /// first use.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL or a name that is none.
    pub fn from_url(url: &str, name: &str) -> Result<Self> {
        Self::from_parts(Redis::from_url(url)?, name, RedisQueueConfig::default())
    }

    /// The queue `name` on `redis`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is not 1 to 80 of `A-Z a-z 0-9 . _ -`.
    pub fn from_parts(redis: Redis, name: &str, config: RedisQueueConfig) -> Result<Self> {
        let keys = Keys::new(name)?;
        Ok(Self(Arc::new(Shared {
            redis,
            keys,
            config,
            wake: OnceCell::new(),
            told: Mutex::default(),
        })))
    }

    fn keys(&self) -> &Keys {
        &self.0.keys
    }

    fn config(&self) -> &RedisQueueConfig {
        &self.0.config
    }

    fn redis(&self) -> &Redis {
        &self.0.redis
    }

    async fn call(&self, request: Request) -> Result<Reply> {
        self.redis().call(request).await.map_err(|error| match error.kind() {
            // the server does not say which key it was
            ErrorKind::Conflict => {
                let detail = format!("queue `{}`: {}", self.keys().name(), error.detail());
                error.with_detail(detail)
            }
            _ => error,
        })
    }

    fn told(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, entries: usize, operation: &'static str) -> Result<()> {
        if entries <= MAX_BATCH {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "redis", operation)
            .with_reason(Reason::BatchTooLarge)
            .with_detail(format!("{entries} entries, the limit is {MAX_BATCH}")))
    }

    /// Adds what the scripts must know to bury a message.
    fn push_limits(&self, request: &mut Request) {
        let config = self.config();
        request.push_int(config.max_crashes.into());
        self.push_dead_limits(request);
        request.push(crate::dead::DeadLetter::CRASHED);
    }

    fn push_dead_limits(&self, request: &mut Request) {
        let config = self.config();
        request.push_int(count(config.max_dead.max(1)));
        request.push_int(micros(config.keep_dead));
    }

    /// The bound of the queue as scripts take it: 0 for none.
    fn max_len(&self) -> i64 {
        match self.config().max_len {
            usize::MAX => 0,
            max => count(max),
        }
    }
}

/// A span in µs, at most what scripts count exactly.
fn micros(span: Duration) -> i64 {
    let micros = u64::try_from(span.as_micros()).unwrap_or(MAX_MICROS);
    // invariant: 2^53 fits
    i64::try_from(micros.min(MAX_MICROS)).expect("it is bounded")
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(1 << 53)
}

fn unreadable(operation: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "redis", operation)
        .with_detail("a script answered with what is no answer of this version")
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue")
            .field("name", &self.keys().name())
            .field("redis", self.redis())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities {
            max_batch: MAX_BATCH,
            max_body: self.config().max_body,
            ..QueueCapabilities::all("redis")
        }
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.fits(batch.len(), "queue.send")?;
        self.send_all(batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.claim_or_wait(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.fits(batch.len(), "queue.settle")?;
        self.settle_all(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.fits(batch.len(), "queue.extend")?;
        self.extend_all(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.count_all().await
    }
}

#[async_trait]
impl HealthCheck for RedisQueue {
    async fn health(&self) -> Health {
        let began = Instant::now();
        let verdict = self.redis().check().await;
        Health::since(format!("redis queue `{}`", self.keys().name()), began, verdict)
    }
}
