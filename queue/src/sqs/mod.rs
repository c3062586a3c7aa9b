//! The queue in Amazon SQS, or in a service that speaks its protocol.

mod admin;
#[cfg(feature = "lambda")]
pub(crate) mod adopt;
mod call;
mod config;
mod dead;
mod error;
mod gate;
mod held;
mod meter;
mod provision;
mod receive;
mod send;
mod settle;
#[cfg(feature = "sqs-url")]
mod url;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{
    Clock as _, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock, Verdict,
};

pub use self::config::SqsConfig;
pub use self::meter::{SqsMeter, SqsUsage};
pub use self::provision::{Drift, MoveTask, SqsAdmin, SqsQueueSpec, SqsQueues};

use self::call::Calls;
use self::error::BACKEND;
use self::gate::Gate;
use self::held::LONGEST;
use self::meter::Api;
use self::send::MAX_BATCH;
use self::wire::{Meta, ROOM};
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;

/// For how long a FIFO queue remembers what it was sent.
const UNIQUE: Duration = Duration::from_secs(5 * 60);

/// The longest delay on a FIFO queue: well within the shortest time that
/// [`SqsAdmin`] lets messages be kept.
const MAX_FIFO_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A queue in Amazon SQS with its redrive queue, which holds the dead letters.
///
/// A FIFO queue, one whose name ends in `.fifo`, keeps groups, and takes dedupe keys for the five
/// minutes for which the service remembers them.
///
/// - [x] at least once: a message is never lost, and on a standard queue it may come twice
/// - [x] any bytes as a body: text stays readable, other bytes are in base64
/// - [x] what other senders send is a delivery like any other
/// - [x] any delay: over 15 minutes a message hops, without counting an attempt
/// - [x] [every request is counted](SqsMeter); a batch of ten is one
/// - [ ] every receive counts as an attempt, whatever became of it: retries and crashes share one
///   budget, [`max_receives`](SqsConfig::max_receives). The redrive policy of the queue, set
///   higher, is the last resort: what the service moves is reported to nobody
/// - [ ] a stale receipt is refused by this process; between its check and the service's answer
///   another worker may have got the message, and a standard queue may then delete it. FIFO queues
///   refuse by themselves
/// - [ ] a lease ends after 12 hours, however often it is extended
/// - [ ] no priorities ([`Prioritized`](crate::wrap::Prioritized) has them), no `drop_after`, no
///   pause, no look at what is queued; counts are approximate
/// - [ ] listing dead letters receives a sample of them and gives it back
///
/// A receive that is dropped gives back what it still gets. `receive` and
/// [`extend`](Queue::extend) measure leases from before their requests; after a long wait a lease is
/// begun anew with one more request.
///
/// ```
/// use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
/// use standfast_queue::{Queue, SqsConfig, SqsQueue};
///
/// let config = aws_sdk_sqs::Config::builder()
///     .behavior_version(BehaviorVersion::latest())
///     .region(Region::new("eu-north-1"))
///     .credentials_provider(Credentials::new("id", "secret", None, None, "docs"))
///     .build();
/// let client = aws_sdk_sqs::Client::from_conf(config);
/// let url = "https://sqs.eu-north-1.amazonaws.com/123456789012";
/// let (queue, dead) = (format!("{url}/reports"), format!("{url}/reports-dead"));
/// let queue = SqsQueue::from_parts(&client, queue, dead, SqsConfig::default())?;
/// assert_eq!(queue.capabilities().max_batch, 10);
/// # Ok::<(), standfast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SqsQueue(Arc<Shared>);

struct Shared {
    calls: Calls,
    url: String,
    dead_url: String,
    fifo: bool,
    config: SqsConfig,
    gate: Gate,
    /// How often this process has purged it.
    purges: AtomicU64,
    /// By how many milliseconds the service's clock is ahead of this one.
    ahead: AtomicI64,
}

impl SqsQueue {
    /// The queue at `url` with the redrive queue at `dead_url`, on a client of the application's
    /// own. Does no I/O.
    ///
    /// Of the client, region, endpoint, credentials and HTTP client are used. Timeouts are the
    /// queue's own, and nothing is repeated.
    ///
    /// # Errors
    ///
    /// `Invalid` for a configuration that cannot work, and for a FIFO queue with a redrive queue
    /// that is none.
    pub fn from_parts(
        client: &Client,
        url: impl Into<String>,
        dead_url: impl Into<String>,
        config: SqsConfig,
    ) -> Result<Self> {
        config.check()?;
        let (url, dead_url) = (url.into(), dead_url.into());
        let fifo = url.ends_with(".fifo");
        if dead_url.ends_with(".fifo") != fifo || url == dead_url {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, "queue.open")
                .with_detail("a queue needs a redrive queue of its own type"));
        }
        let calls = Calls::new(client, config.meter.clone(), config.call_timeout);
        Ok(Self(Arc::new(Shared {
            calls,
            url,
            dead_url,
            fifo,
            gate: Gate::new(config.receivers),
            config,
            purges: AtomicU64::new(0),
            ahead: AtomicI64::new(0),
        })))
    }

    /// The queue `name` with the redrive queue that it has at the service.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such queue, `Invalid` when it has no redrive policy: without one
    /// a message that kills its workers would do so for ever. [`SqsAdmin::ensure`] makes both.
    ///
    /// ```no_run
    /// # async fn open(client: aws_sdk_sqs::Client) -> standfast_core::Result<()> {
    /// use standfast_queue::{Envelope, Queue, SqsConfig, SqsQueue};
    ///
    /// let queue = SqsQueue::connect(&client, "reports", SqsConfig::default()).await?;
    /// queue.send(&[Envelope::new("report", "march").into()]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(client: &Client, name: &str, config: SqsConfig) -> Result<Self> {
        config.check()?;
        let calls = Calls::new(client, config.meter.clone(), config.call_timeout);
        let url = provision::url_of(&calls, "queue.open", name).await?;
        let Some(dead) = provision::redrive_of(&calls, "queue.open", &url).await? else {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, "queue.open")
                .with_detail(format!("queue {name:?} has no redrive policy")));
        };
        let dead_url = provision::url_of(&calls, "queue.open", &dead.name).await?;
        Self::from_parts(client, url, dead_url, config)
    }

    /// What the requests of this queue, and of others with the same meter, come to.
    pub fn usage(&self) -> SqsUsage {
        self.0.config.meter.usage()
    }

    /// The number of purges so far: what was received before the last one is stale.
    fn era(&self) -> u64 {
        self.0.purges.load(Ordering::Acquire)
    }

    fn begin_era(&self) {
        self.0.purges.fetch_add(1, Ordering::AcqRel);
    }

    /// Learns the service's time from a message that was received for the first time just now.
    fn learn_time(&self, meta: &Meta) {
        if meta.count == 1 {
            let ahead = (meta.first_received - SystemClock.now()).num_milliseconds();
            self.0.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// The service's time, as far as it is known.
    fn time(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::milliseconds(self.0.ahead.load(Ordering::Relaxed))
    }

    fn takes(&self, entries: usize, operation: &'static str) -> Result<()> {
        if entries <= MAX_BATCH {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, BACKEND, operation)
            .with_reason(Reason::BatchTooLarge)
            .with_detail(format!("{entries} entries, the limit is {MAX_BATCH}")))
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue")
            .field("url", &self.0.url)
            .field("dead_url", &self.0.dead_url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn capabilities(&self) -> QueueCapabilities {
        let fifo = self.0.fifo;
        QueueCapabilities {
            max_batch: MAX_BATCH,
            max_body: self.0.config.max_message - ROOM,
            max_lease: LONGEST,
            max_lease_total: Some(LONGEST),
            fenced: fifo,
            counts_crashes: false,
            dedupe: fifo,
            dedupe_window: fifo.then_some(UNIQUE),
            tells_duplicates: false,
            idempotent_send: fifo,
            id_window: fifo.then_some(UNIQUE),
            max_delay: fifo.then_some(MAX_FIFO_DELAY),
            priorities: false,
            groups: fifo,
            exact_stats: false,
            age_of_oldest: false,
            exclusive: fifo,
            drop_after: false,
            bounded: false,
            pause: false,
            lists_dead_letters: false,
            ..QueueCapabilities::all(BACKEND)
        }
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.takes(batch.len(), "queue.send")?;
        self.send_all(batch).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.receive_or_wait(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.takes(batch.len(), "queue.settle")?;
        self.settle_all(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.takes(batch.len(), "queue.extend")?;
        self.extend_all(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.count_all().await
    }
}

#[async_trait]
impl HealthCheck for SqsQueue {
    async fn health(&self) -> Health {
        let (asked, began) = (format!("SQS queue {}", self.0.url), Instant::now());
        let calls = &self.0.calls;
        let request = calls
            .client
            .get_queue_attributes()
            .queue_url(&self.0.url)
            .attribute_names(Attribute::QueueArn)
            .send();
        let verdict = match calls.ask(Api::Other, "queue.health", Duration::ZERO, request).await {
            Ok(_) => Verdict::Healthy,
            Err(failure) => Verdict::Failing(failure.error.to_string()),
        };
        Health::since(asked, began, verdict)
    }
}
