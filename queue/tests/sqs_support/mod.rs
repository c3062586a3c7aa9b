//! What the tests of the SQS backend share.
#![allow(dead_code, reason = "every test file uses another part")]

pub(crate) mod fault;
pub(crate) mod runner;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use standfast_core::JobId;
use standfast_core::testkit::service;
use standfast_queue::testkit::{QueueHarness, QueueSetup};
use standfast_queue::{Queue, SqsAdmin, SqsConfig, SqsQueue, SqsQueueSpec, SqsQueues};

use fault::Faults;

/// The limit of the stand-in, which is that of the service before August 2025.
const MAX_MESSAGE: usize = 256 * 1024;

/// What fits the stand-in.
pub(crate) fn config() -> SqsConfig {
    let mut config = SqsConfig::default();
    config.max_message = MAX_MESSAGE;
    config
}

/// A service of the tests.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) endpoint: String,
    pub(crate) http: Faults,
    /// The largest message that it takes.
    pub(crate) max_message: usize,
}

impl Service {
    /// The stand-in.
    pub(crate) fn find() -> Option<Self> {
        Some(Self::at(endpoint(&service("sqs", "STANDFAST_TEST_SQS")?)))
    }

    /// The second opinion. It has the limit of the service as it is today, and no locks: what comes
    /// at once is answered twice, lost, or with a failure.
    pub(crate) fn find_moto() -> Option<Self> {
        let url = service("moto", "STANDFAST_TEST_MOTO")?;
        let max_message = SqsConfig::default().max_message;
        let http = Faults::new().in_turn();
        Some(Self { max_message, http, ..Self::at(endpoint(&url)) })
    }

    pub(crate) fn at(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), http: Faults::new(), max_message: MAX_MESSAGE }
    }

    /// The same service, with faults and counts of its own.
    pub(crate) fn apart(&self) -> Self {
        Self { http: self.http.apart(), ..self.clone() }
    }

    /// What fits it.
    pub(crate) fn config(&self) -> SqsConfig {
        let mut config = SqsConfig::default();
        config.max_message = self.max_message;
        config
    }

    pub(crate) fn client(&self) -> Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .endpoint_url(&self.endpoint)
            .http_client(self.http.clone());
        Client::from_conf(config.build())
    }

    pub(crate) fn admin(&self) -> SqsAdmin {
        SqsAdmin::new(&self.client())
    }

    /// A queue of its own with its redrive queue.
    pub(crate) async fn make(&self, suffix: &str, max_receives: u32) -> SqsQueues {
        let spec = SqsQueueSpec::new(format!("q{}{suffix}", JobId::random()));
        let spec = spec.max_receives(max_receives).max_message(self.max_message);
        self.admin().ensure(&spec).await.expect("the service makes queues")
    }

    pub(crate) fn open(&self, queues: &SqsQueues, config: SqsConfig) -> SqsQueue {
        let (url, dead_url) = (queues.url.clone(), queues.dead_url.clone());
        SqsQueue::from_parts(&self.client(), url, dead_url, config).expect("it fits together")
    }

    /// An empty standard queue.
    pub(crate) async fn queue(&self) -> Arc<SqsQueue> {
        Arc::new(self.open(&self.make("", 50).await, self.config()))
    }

    /// An empty FIFO queue.
    pub(crate) async fn fifo(&self) -> Arc<SqsQueue> {
        Arc::new(self.open(&self.make(".fifo", 50).await, self.config()))
    }
}

/// Where the service of `sqs://name?endpoint=…` is.
fn endpoint(url: &str) -> String {
    let (_, query) = url.split_once('?').expect("the URL says where the service is");
    let endpoint = query.split('&').find_map(|pair| pair.strip_prefix("endpoint="));
    endpoint.expect("the URL says where the service is").to_owned()
}

/// Makes queues for the suite.
pub(crate) struct SqsHarness {
    service: Service,
    fifo: bool,
    made: Mutex<HashMap<usize, SqsQueues>>,
}

impl SqsHarness {
    pub(crate) fn new(service: Service, fifo: bool) -> Self {
        Self { service, fifo, made: Mutex::default() }
    }

    fn open(&self, queues: SqsQueues) -> Arc<dyn Queue> {
        let mut config = self.service.config();
        config.max_receives = u32::MAX; // the redrive policy is the budget of the cases
        let queue: Arc<dyn Queue> = Arc::new(self.service.open(&queues, config));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id(&queue), queues);
        queue
    }
}

fn id(queue: &Arc<dyn Queue>) -> usize {
    Arc::as_ptr(queue).cast::<()>() as usize
}

#[async_trait]
impl QueueHarness for SqsHarness {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        // every receive counts, so a case that releases often needs a larger budget than its crashes
        let usual = setup.max_crashes == QueueSetup::default().max_crashes;
        let receives = if usual { 100 } else { setup.max_crashes.clamp(1, 1000) };
        let suffix = if self.fifo { ".fifo" } else { "" };
        self.open(self.service.make(suffix, receives).await)
    }

    async fn another(&self, queue: &Arc<dyn Queue>) -> Arc<dyn Queue> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = made[&id(queue)].clone();
        drop(made);
        self.open(queues)
    }

    async fn pass_time(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The service counts whole seconds.
    fn unit(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The stand-in keeps all messages in one list and walks it for each request; of a FIFO queue
    /// each delayed one takes a request that hides it.
    fn many(&self) -> usize {
        if self.fifo { 100 } else { 500 }
    }

    /// The stand-in looks every 100 ms for those who wait.
    fn wake_bound(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(200)
    }
}
