//! Where the parts meet: the only file that names a backend.

use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "redis")]
use std::time::Duration;

use standfast_asset_hash::{AssetRoutes, AssetStore, AssetUrls, Commit};
use standfast_blobstore::{
    BlobRoutes, BlobStore, Blobs, ErrorKind, FsBlobStore, MemoryBlobStore, PutOutcome, SigningKey,
    UrlSigner,
};
#[cfg(feature = "s3")]
use standfast_blobstore::{S3BlobStore, S3Config};
#[cfg(feature = "redis")]
use standfast_core::redis::{Durability, Redis};
use standfast_core::{BoxError, SessionRef, SystemClock, Verdict, random};
use standfast_cron_lock::{CronLock, CronLockConfig, MemoryCronLock};
#[cfg(feature = "redis")]
use standfast_cron_lock::{RedisCronConfig, RedisCronLock};
use standfast_queue::{
    MemoryQueue, MemoryQueueConfig, MemoryStatusStore, Queue, StatusHandle, StatusStore,
};
#[cfg(feature = "redis")]
use standfast_queue::{RedisQueue, RedisQueueConfig, RedisStatusConfig, RedisStatusStore};
#[cfg(feature = "sqs")]
use standfast_queue::{SqsConfig, SqsQueue};
use standfast_session::business::{BusinessStore, MemoryBusinessStore};
use standfast_session::{Access, MemorySessionHandler, SessionHandler};
#[cfg(feature = "postgres")]
use standfast_session::{PostgresBusinessStore, PostgresSessionHandler};
#[cfg(feature = "redis")]
use standfast_session::{RedisSessionConfig, RedisSessionHandler};

use crate::assets;
use crate::config::{Config, Place, Role};

/// Where signed links point.
pub(crate) const FILES: &str = "/files";
/// Where assets are, unless told.
pub(crate) const ASSETS: &str = "/assets";
/// Where the secret is kept that all who share the files share.
const SECRET: &str = "application/secret";
/// How long replicas may take to have what counts as stored.
#[cfg(feature = "redis")]
const REPLICATED_WITHIN: Duration = Duration::from_secs(1);
/// How many reports may wait.
const MAX_WAITING: usize = 10_000;

/// Where a process keeps things.
#[derive(Debug)]
pub struct Backends {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) status: Arc<dyn StatusStore>,
    pub(crate) sessions: Arc<dyn SessionHandler>,
    pub(crate) locks: Arc<dyn CronLock>,
    pub(crate) business: Option<Arc<dyn BusinessStore>>,
    files: Files,
    /// Whether other processes take from the same queue.
    pub(crate) is_shared: bool,
}

#[derive(Debug)]
enum Files {
    Directory(PathBuf),
    Memory,
    #[cfg(feature = "s3")]
    S3(String),
}

impl Backends {
    /// Chooses backends by the schemes of their URLs. No I/O, except that a queue in SQS is looked
    /// up.
    ///
    /// # Errors
    ///
    /// In words without secrets, for what makes no sense or cannot work together.
    pub async fn choose(config: &Config) -> Result<Self, String> {
        let queue = Kept::at("--queue", &config.queue)?;
        let status = match &config.status {
            // one handle for both, so that a process has one connection for wake-ups
            Some(place) if *place != config.queue => Kept::at("--status", place)?,
            _ => queue.clone(),
        };
        let sessions = match &config.sessions {
            Some(place) if *place != config.queue => Kept::at("--sessions", place)?,
            _ => queue.clone(),
        };
        let locks = match &config.locks {
            Some(place) if *place != config.queue => Kept::at("--locks", place)?,
            _ => queue.clone(),
        };
        #[cfg(feature = "sqs")]
        if [&status, &sessions, &locks].iter().any(|kept| matches!(kept, Kept::Sqs(_))) {
            return Err("SQS keeps the queue and nothing else: give it --status, --sessions and \
                        --locks redis://host:port too"
                .to_owned());
        }
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
        if is_shared && matches!(sessions, Kept::Here) {
            return Err("a queue that processes share needs sessions that they share: give it \
                        --sessions redis://host:port, or leave --sessions out"
                .to_owned());
        }
        if is_shared && matches!(locks, Kept::Here) {
            return Err("a queue that processes share needs ticks that they share: give it \
                        --locks redis://host:port, or leave --locks out"
                .to_owned());
        }
        if is_shared && matches!(files, Files::Memory) {
            return Err("a queue that processes share needs files that they share: give it \
                        --blobs file:///dir"
                .to_owned());
        }
        check_assets(config)?;
        let wrong = |error: standfast_core::Error| error.to_string();
        Ok(Self {
            queue: queue.queue(config).await.map_err(wrong)?,
            status: status.status(config).map_err(wrong)?,
            sessions: sessions.sessions(config).map_err(wrong)?,
            locks: locks.locks(config).map_err(wrong)?,
            business: business(config, is_shared)?,
            files,
            is_shared,
        })
    }

    /// Asks all of them once. One that is away may come back, which the log says; one that
    /// does not let us in will not change its mind.
    pub(crate) async fn greet(&self) -> standfast_core::Result<()> {
        let stats = async { self.queue.stats().await.map(drop) };
        let handle = StatusHandle::random();
        let status = async { self.status.get(&handle).await.map(drop) };
        let nobody = Access::trusted(SessionRef::random());
        let session = async { self.sessions.load(&nobody).await.map(drop) };
        let time = async { self.locks.now().await.map(drop) };
        let (stats, status, session, time) = tokio::join!(stats, status, session, time);
        for answer in [stats, status, session, time] {
            match answer {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "not there yet; the start goes on without it");
                }
                answer => answer?,
            }
        }
        let (queue, status) = (self.queue.health(), self.status.health());
        for health in [queue.await, status.await, self.sessions.health().await] {
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
    /// Sessions only.
    #[cfg(feature = "postgres")]
    Postgres(PostgresSessionHandler),
    /// The queue only.
    #[cfg(feature = "sqs")]
    Sqs(String),
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
            (Some(scheme), _) if scheme.starts_with("redis") => Err(without(option, "redis")),
            #[cfg(feature = "postgres")]
            (Some("postgres"), Some(url)) if option == "--sessions" => {
                let handler = PostgresSessionHandler::from_url(url);
                handler.map(Self::Postgres).map_err(|error| format!("{option}: {error}"))
            }
            #[cfg(not(feature = "postgres"))]
            (Some("postgres"), _) if option == "--sessions" => Err(without(option, "postgres")),
            #[cfg(feature = "sqs")]
            (Some("sqs"), Some(url)) if option == "--queue" => Ok(Self::Sqs(url.to_owned())),
            #[cfg(not(feature = "sqs"))]
            (Some("sqs"), _) if option == "--queue" => Err(without(option, "sqs")),
            _ => Err(format!(
                "{option} takes memory:, redis://host, redis+cluster://host,host or \
                 redis+sentinel://host,host/master; --queue also sqs://name, --sessions also \
                 postgres://user@host/database"
            )),
        }
    }

    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "this process has one"))]
    #[cfg_attr(not(feature = "sqs"), expect(clippy::unused_async, reason = "nothing is looked up"))]
    async fn queue(self, app: &Config) -> standfast_core::Result<Arc<dyn Queue>> {
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
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => unreachable!("a place of sessions is none of the queue"),
            #[cfg(feature = "sqs")]
            Self::Sqs(url) => Ok(Arc::new(SqsQueue::open(&url, SqsConfig::default()).await?)),
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
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => unreachable!("a place of sessions is none of statuses"),
            #[cfg(feature = "sqs")]
            Self::Sqs(_) => unreachable!("a queue is no place of statuses"),
        }
    }

    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "this process has one"))]
    fn sessions(self, app: &Config) -> standfast_core::Result<Arc<dyn SessionHandler>> {
        match self {
            Self::Here => Ok(Arc::new(MemorySessionHandler::new())),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let mut config = RedisSessionConfig::default();
                config.namespace.clone_from(&app.name);
                config.durability = durability(app);
                Ok(Arc::new(RedisSessionHandler::from_parts(redis, config)?))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(handler) => Ok(Arc::new(handler)),
            #[cfg(feature = "sqs")]
            Self::Sqs(_) => unreachable!("a queue is no place of sessions"),
        }
    }

    fn locks(self, app: &Config) -> standfast_core::Result<Arc<dyn CronLock>> {
        let mut rules = CronLockConfig::default();
        rules.resolution = app.tick;
        match self {
            Self::Here => {
                let clock = Arc::new(SystemClock);
                Ok(Arc::new(MemoryCronLock::with_config(&app.name, rules, clock)?))
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let mut config = RedisCronConfig::default();
                config.rules = rules;
                config.durability = durability(app);
                Ok(Arc::new(RedisCronLock::from_parts(redis, &app.name, config)?))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => unreachable!("a place of sessions is none of locks"),
            #[cfg(feature = "sqs")]
            Self::Sqs(_) => unreachable!("a queue is no place of locks"),
        }
    }
}

#[cfg(not(all(feature = "redis", feature = "postgres", feature = "s3", feature = "sqs")))]
fn without(option: &str, feature: &str) -> String {
    format!("{option}: this program was built without it; build it with `--features {feature}`")
}

/// A record that not all processes share, or that a failover may shorten, would be none.
fn business(config: &Config, is_shared: bool) -> Result<Option<Arc<dyn BusinessStore>>, String> {
    let option = "--business";
    match config.business.as_ref().map(|place| (place.scheme(), place.text())) {
        None if is_shared => Ok(None),
        None => Ok(Some(Arc::new(MemoryBusinessStore::new()))),
        Some((Some("memory"), _)) if is_shared => Err(format!(
            "a queue that processes share needs a record that they share: give it {option} \
             postgres://user@host/database, or leave {option} out"
        )),
        Some((Some("memory"), _)) => Ok(Some(Arc::new(MemoryBusinessStore::new()))),
        #[cfg(feature = "postgres")]
        Some((Some("postgres"), Some(url))) => match PostgresBusinessStore::from_url(url) {
            Ok(store) => Ok(Some(Arc::new(store))),
            Err(error) => Err(format!("{option}: {error}")),
        },
        #[cfg(not(feature = "postgres"))]
        Some((Some("postgres"), _)) => Err(without(option, "postgres")),
        Some(_) => Err(format!("{option} takes memory: or postgres://user@host/database")),
    }
}

/// Makes the tables of whatever is kept in PostgreSQL, or brings them up to date; says which.
///
/// Any number of processes may do so at once, and again. Died in between: nothing is half done.
///
/// # Errors
///
/// When nothing is kept there, or it does not let us.
#[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "it has no table"))]
pub async fn migrate(config: &Config) -> Result<Vec<&'static str>, BoxError> {
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut, reason = "it has no table"))]
    let mut migrated = Vec::new();
    for (option, place) in [("--sessions", &config.sessions), ("--business", &config.business)] {
        let Some(place) = place.as_ref().filter(|place| place.scheme() == Some("postgres")) else {
            continue;
        };
        #[cfg(not(feature = "postgres"))]
        return Err(without(option, place.scheme().unwrap_or_default()).into());
        #[cfg(feature = "postgres")]
        {
            let url = place.text().unwrap_or_default();
            match option {
                "--sessions" => PostgresSessionHandler::from_url(url)?.migrate().await?,
                _ => PostgresBusinessStore::from_url(url)?.migrate().await?,
            }
            migrated.push(option);
        }
    }
    match migrated.is_empty() {
        true => {
            Err("there is nothing to migrate: give --sessions or --business postgres://…".into())
        }
        false => Ok(migrated),
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
    match &config.blobs {
        Some(place) => files_at("--blobs", place),
        None => Ok(Files::Directory(std::env::temp_dir().join("standfast-report"))),
    }
}

fn files_at(option: &str, place: &Place) -> Result<Files, String> {
    let path = place.as_os_str();
    match (place.scheme(), place.text()) {
        (None, _) if !path.is_empty() => Ok(Files::Directory(path.into())),
        (Some("memory"), _) => Ok(Files::Memory),
        #[cfg(feature = "s3")]
        (Some("s3"), Some(url)) => Ok(Files::S3(url.to_owned())),
        #[cfg(not(feature = "s3"))]
        (Some("s3"), _) => Err(without(option, "s3")),
        (Some("file"), Some(url)) => match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') && !path.contains('%') => {
                Ok(Files::Directory(path.into()))
            }
            _ => Err(format!("{option} takes file:///dir, without a host and without %")),
        },
        _ => Err(format!(
            "{option} takes a directory (/dir or file:///dir), s3://bucket/prefix or memory:"
        )),
    }
}

/// Files, what serves them, and a secret.
pub(crate) struct Storage {
    pub(crate) blobs: Blobs,
    /// What answers links that are ours to answer.
    pub(crate) routes: Option<BlobRoutes>,
    pub(crate) secret: Arc<[u8; 32]>,
}

/// Opens the files of `backends`, whose links begin with `base`.
pub(crate) async fn open_files(backends: &Backends, base: String) -> Result<Storage, BoxError> {
    #[cfg(feature = "s3")]
    if let Files::S3(url) = &backends.files {
        // links lead to the service, which answers them
        let blobs = Blobs::new(S3BlobStore::open(url, S3Config::default()).await?);
        let secret = Arc::new(shared_secret(&blobs).await?);
        return Ok(Storage { blobs, routes: None, secret });
    }
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
    Storage { blobs: Blobs::new(store), routes: Some(routes), secret: Arc::new(secret) }
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

/// What goes together.
fn check_assets(config: &Config) -> Result<(), String> {
    if config.assets.as_ref().is_some_and(|base| !base.contains("{id}")) {
        return Err("--assets takes a URL or a path with {id} in it, for caches' sake".to_owned());
    }
    match (&config.asset_store, &config.commit, &config.assets) {
        (None, None, _) => Ok(()),
        (Some(place), Some(_), Some(_)) => match files_at("--asset-store", place)? {
            Files::Memory => {
                Err("--asset-store takes a directory: this memory is empty".to_owned())
            }
            _ => Ok(()),
        },
        _ => {
            Err("--asset-store, --commit and --assets go together: where the sets are, which one, \
                  and how browsers reach it"
                .to_owned())
        }
    }
}

/// The addresses of the assets, and what serves those that are compiled in.
///
/// # Errors
///
/// When there is no set of this commit, after waiting for whoever may be publishing it.
pub(crate) async fn open_assets(config: &Config) -> Result<(AssetUrls, AssetRoutes), BoxError> {
    let embedded = assets::embedded();
    let usual = format!("{ASSETS}/{{id}}/");
    let base = config.assets.as_deref().unwrap_or(&usual);
    let urls = match (&config.asset_store, &config.commit) {
        (Some(place), Some(name)) => {
            let store = match files_at("--asset-store", place)? {
                Files::Memory => return Err("--asset-store takes no memory".into()),
                // a typing error must not make a new store
                Files::Directory(path) if !path.is_dir() => {
                    return Err(format!("--asset-store: {} is no directory", path.display()).into());
                }
                Files::Directory(path) => AssetStore::new(FsBlobStore::open(path).await?),
                #[cfg(feature = "s3")]
                Files::S3(url) => {
                    AssetStore::new(S3BlobStore::open(&url, S3Config::default()).await?)
                }
            };
            let commit = Commit::new(name.as_str())?;
            let resolved =
                store.resolve(commit).wait(config.asset_wait).await.map_err(|error| {
                    format!(
                        "the assets of commit {name} cannot be had ({error}); publish them with \
                     `standfast-asset-hash publish`, or leave --asset-store out"
                    )
                })?;
            resolved.urls(base)?
        }
        _ => AssetUrls::new(base, embedded.manifest().clone())?,
    };
    Ok((urls, AssetRoutes::new(embedded)))
}
