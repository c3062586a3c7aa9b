//! Where the parts meet: the only file that names a backend.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standfast_blobstore::{
    BlobRoutes, BlobStore, Blobs, ErrorKind, FsBlobStore, MemoryBlobStore, PutOutcome, SigningKey,
    UrlSigner,
};
#[cfg(feature = "redis")]
use standfast_core::redis::{Durability, Redis};
use standfast_core::{
    Backoff, BoxError, HealthCheck, Lifecycle, LifecycleConfig, Phase, Verdict, random,
};
use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
use standfast_queue::{
    Jobs, KindConfig, MemoryQueue, MemoryQueueConfig, MemoryStatusStore, Queue, RetryPolicy,
    StatusHandle, StatusStore, Worker, WorkerConfig,
};
#[cfg(feature = "redis")]
use standfast_queue::{RedisQueue, RedisQueueConfig, RedisStatusConfig, RedisStatusStore};
use tokio::net::TcpListener;

use crate::config::{Config, Place, Role};
use crate::jobs::{Workshop, make_report};
use crate::parts;
use crate::server::{self, App, Health};

/// Where signed links point.
const FILES: &str = "/files";
/// Where the secret is kept that all who share the files share.
const SECRET: &str = "application/secret";
/// How long replicas may take to have what counts as stored.
#[cfg(feature = "redis")]
const REPLICATED_WITHIN: Duration = Duration::from_secs(1);
/// How many reports may wait.
const MAX_WAITING: usize = 10_000;
/// How long reports that were accepted may take to be made once the only process that knows them
/// stops.
const LAST_REPORTS: Duration = Duration::from_secs(60 * 60);
/// How long a worker may take beyond its grace: to end what it had to interrupt, and to say so.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Where a process keeps things.
#[derive(Debug)]
pub struct Backends {
    queue: Arc<dyn Queue>,
    status: Arc<dyn StatusStore>,
    files: Files,
    /// Whether other processes take from the same queue.
    is_shared: bool,
}

#[derive(Debug)]
enum Files {
    Directory(PathBuf),
    Memory,
}

impl Backends {
    /// Chooses backends by the schemes of their URLs. No I/O.
    ///
    /// # Errors
    ///
    /// In words without secrets, for what makes no sense or cannot work together.
    pub fn choose(config: &Config) -> Result<Self, String> {
        let queue = Kept::at("--queue", &config.queue)?;
        let status = match &config.status {
            // one handle for both, so that a process has one connection for wake-ups
            Some(place) if *place != config.queue => Kept::at("--status", place)?,
            _ => queue.clone(),
        };
        let files = files(config)?;
        let is_shared = !matches!(queue, Kept::Here);
        let role = config.role;
        if role != Role::All && !is_shared {
            return Err(format!(
                "`{role}` alone needs a queue that other processes reach: give it --queue \
                 redis://host:port, or run everything in one process with `all`"
            ));
        }
        if is_shared && matches!(status, Kept::Here) {
            return Err("a queue that processes share needs statuses that they share: give it \
                        --status redis://host:port, or leave --status out"
                .to_owned());
        }
        if is_shared && matches!(files, Files::Memory) {
            return Err("a queue that processes share needs files that they share: give it \
                        --blobs file:///dir"
                .to_owned());
        }
        let wrong = |error: standfast_core::Error| error.to_string();
        Ok(Self {
            queue: queue.queue(config).map_err(wrong)?,
            status: status.status(config).map_err(wrong)?,
            files,
            is_shared,
        })
    }

    /// Asks queue and statuses once. One that is away may come back, which the log says; one that
    /// does not let us in will not change its mind.
    async fn greet(&self) -> standfast_core::Result<()> {
        let stats = async { self.queue.stats().await.map(drop) };
        let handle = StatusHandle::random();
        let status = async { self.status.get(&handle).await.map(drop) };
        let (stats, status) = tokio::join!(stats, status);
        for answer in [stats, status] {
            match answer {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "not there yet; the start goes on without it");
                }
                answer => answer?,
            }
        }
        for health in [self.queue.health().await, self.status.health().await] {
            if let Verdict::Degraded(why) = &health.verdict {
                tracing::warn!(asked = health.asked, why, "works, but look at it");
            }
        }
        Ok(())
    }
}

/// What a place of the queue or the statuses stands for.
#[derive(Clone)]
enum Kept {
    /// In this process.
    Here,
    #[cfg(feature = "redis")]
    Redis(Redis),
}

impl Kept {
    fn at(option: &str, place: &Place) -> Result<Self, String> {
        match (place.scheme(), place.text()) {
            (Some("memory"), _) => Ok(Self::Here),
            #[cfg(feature = "redis")]
            (Some(scheme), Some(url)) if scheme.starts_with("redis") => {
                Redis::from_url(url).map(Self::Redis).map_err(|error| format!("{option}: {error}"))
            }
            #[cfg(not(feature = "redis"))]
            (Some(scheme), _) if scheme.starts_with("redis") => Err(format!(
                "{option}: this program was built without Redis; build it with `--features redis`"
            )),
            _ => Err(format!(
                "{option} takes memory:, redis://host, redis+cluster://host,host or \
                 redis+sentinel://host,host/master"
            )),
        }
    }

    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "this process has one"))]
    fn queue(self, app: &Config) -> standfast_core::Result<Arc<dyn Queue>> {
        match self {
            Self::Here => {
                let mut config = MemoryQueueConfig::default();
                config.max_len = MAX_WAITING;
                Ok(Arc::new(MemoryQueue::with_config(config)))
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let mut config = RedisQueueConfig::default();
                config.max_len = MAX_WAITING;
                config.durability = durability(app);
                Ok(Arc::new(RedisQueue::from_parts(redis, &app.name, config)?))
            }
        }
    }

    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "this process has one"))]
    fn status(self, app: &Config) -> standfast_core::Result<Arc<dyn StatusStore>> {
        match self {
            Self::Here => Ok(Arc::new(MemoryStatusStore::new())),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let mut config = RedisStatusConfig::default();
                config.namespace.clone_from(&app.name);
                config.durability = durability(app);
                Ok(Arc::new(RedisStatusStore::from_parts(redis, config)?))
            }
        }
    }
}

#[cfg(feature = "redis")]
fn durability(app: &Config) -> Durability {
    match app.replicas {
        0 => Durability::Primary,
        replicas => Durability::Replicated { replicas, timeout: REPLICATED_WITHIN },
    }
}

fn files(config: &Config) -> Result<Files, String> {
    let Some(place) = &config.blobs else {
        return Ok(Files::Directory(std::env::temp_dir().join("standfast-report")));
    };
    let path = place.as_os_str();
    match (place.scheme(), place.text()) {
        (None, _) if !path.is_empty() => Ok(Files::Directory(path.into())),
        (Some("memory"), _) => Ok(Files::Memory),
        (Some("file"), Some(url)) => match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') && !path.contains('%') => {
                Ok(Files::Directory(path.into()))
            }
            _ => Err("--blobs takes file:///dir, without a host and without %".to_owned()),
        },
        _ => Err("--blobs takes a directory (/dir or file:///dir) or memory:".to_owned()),
    }
}

/// Starts the parts of this process as parts of the returned lifecycle, and says where it serves.
///
/// # Errors
///
/// When the address cannot be had, the directory for files not be used, or a backend does not let
/// us in.
pub async fn start(
    config: Config,
    backends: Backends,
) -> Result<(Lifecycle, Option<SocketAddr>), BoxError> {
    let listener = match config.listen_on() {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|error| format!("cannot listen on {address}: {error}"))?)
        }
        None => None,
    };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    backends.greet().await?;

    let mut lifetimes = LifecycleConfig::default();
    lifetimes.readiness_delay = config.notice;
    lifetimes.phase_timeout = match backends.is_shared {
        true => lifetimes.phase_timeout.max(config.grace) + LAST_WORDS,
        false => LAST_REPORTS,
    };
    let lifecycle = Lifecycle::with_config(lifetimes);
    let Storage { blobs, routes, secret } = open_files(&config, &backends, address).await?;
    let jobs = Jobs::new(Arc::clone(&backends.queue), Arc::clone(&backends.status));
    let (queue, status, store) = (backends.queue, backends.status, Arc::clone(blobs.store()));
    let own_queue = (!backends.is_shared).then(|| Arc::clone(&queue));
    let mut checks: Vec<Arc<dyn HealthCheck + Send + Sync>> = vec![queue, status, store];

    let job_process = Subprocess::new().arg("job").inherit_nothing().grace(Duration::from_secs(3));
    let executor = SubprocessExecutor::new(job_process, std::env::temp_dir())?;
    if config.role.works() {
        let workshop = Workshop { blobs: blobs.clone(), executor: executor.clone() };
        let worker = worker(&config, &jobs, workshop);
        checks.push(Arc::new(worker.health()));
        // a queue in this process goes with it: its worker stops only once that is empty
        parts::run_worker(&lifecycle, worker, own_queue);
        parts::run_sweeper(&lifecycle, blobs.clone());
    }
    let Some(listener) = listener else { return Ok((lifecycle, None)) };
    let mut router = server::health(Health { lifecycle: lifecycle.clone(), checks: checks.into() });
    if config.role.serves() {
        let status = parts::status_routes(&jobs, &blobs, lifecycle.stopping(Phase::Http));
        let app = App { jobs, blobs, staging: executor, secret, patience: config.patience };
        router = router.merge(server::router(app, status).nest_service(FILES, routes));
    }
    parts::serve(&lifecycle, listener, router);
    Ok((lifecycle, address))
}

fn worker(config: &Config, jobs: &Jobs, workshop: Workshop) -> Worker<Workshop> {
    let kind = KindConfig::default().timeout(config.time_limit).retry(
        RetryPolicy::default()
            .max_attempts(3)
            .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(10))),
    );
    let mut how = WorkerConfig::default();
    how.concurrency = config.jobs;
    how.lease = config.lease;
    how.grace = config.grace;
    jobs.worker(workshop).on_with(kind, make_report).config(how)
}

/// Files, what serves them, and a secret.
struct Storage {
    blobs: Blobs,
    routes: BlobRoutes,
    secret: Arc<[u8; 32]>,
}

async fn open_files(
    config: &Config,
    backends: &Backends,
    address: Option<SocketAddr>,
) -> Result<Storage, BoxError> {
    let base = public_url(config, address) + FILES;
    if let Files::Directory(path) = &backends.files {
        match FsBlobStore::open(path).await {
            Ok(store) => {
                let lasting = store.clone().with_fsync(true);
                let secret = shared_secret(&Blobs::new(lasting)).await?;
                let signer = UrlSigner::new(base, SigningKey::new("shared", secret)?);
                return Ok(storage(store.with_signer(signer.clone()), signer, secret));
            }
            Err(error) if error.kind() == ErrorKind::Unsupported && !backends.is_shared => {
                tracing::warn!(%error, "files are kept in memory instead");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let signer = UrlSigner::new(base, SigningKey::random());
    let store = MemoryBlobStore::new().with_signer(signer.clone());
    Ok(storage(store, signer, random::bytes()))
}

fn storage(store: impl BlobStore + Clone, signer: UrlSigner, secret: [u8; 32]) -> Storage {
    let routes = BlobRoutes::new(store.clone(), signer);
    Storage { blobs: Blobs::new(store), routes, secret: Arc::new(secret) }
}

/// The secret of all who share these files: links that one of them signed are good at the others
/// and after a restart, and a repeated request has the same names at each.
///
/// Of several who start at once, the first put counts and all read that. Whoever dies before it
/// leaves none, and the next one draws.
async fn shared_secret(blobs: &Blobs) -> Result<[u8; 32], BoxError> {
    let drawn = random::bytes::<32>();
    if let PutOutcome::Stored(_) = blobs.put(SECRET, drawn.to_vec()).if_absent().await? {
        return Ok(drawn);
    }
    let kept = blobs.get_bytes(SECRET).await?;
    Ok(kept.as_ref().try_into().map_err(|_| format!("`{SECRET}` in the files has been damaged"))?)
}

/// Links are absolute, unless nobody knows under which name the server is reached.
fn public_url(config: &Config, address: Option<SocketAddr>) -> String {
    match (&config.public_url, address) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) if !address.ip().is_unspecified() => format!("http://{address}"),
        _ => String::new(),
    }
}
