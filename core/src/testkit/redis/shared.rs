use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

use super::endpoint::Endpoint;
use super::{RedisCluster, RedisSentinel, RedisServer, RedisServerConfig, is_installed};

/// Redis that the tests of this process share, and maybe those of others: it is not to be broken,
/// emptied or counted on to be empty. Names that are drawn at random keep tests apart.
///
/// ```
/// use standfast_core::testkit::redis;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let Some(redis) = redis::single() else { return };
/// assert!(redis.url().starts_with("redis://"));
/// assert_eq!(redis.command(&["PING"]).await, "PONG");
/// # }
/// ```
pub struct SharedRedis {
    url: String,
    endpoint: OnceLock<Endpoint>,
    /// Nothing where a variable named the endpoint.
    _servers: Option<Box<dyn Any + Send + Sync>>,
}

impl SharedRedis {
    fn at(url: String, servers: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self { url, endpoint: OnceLock::new(), _servers: servers }
    }

    /// Where it is: `redis://…`, `redis+cluster://…` or `redis+sentinel://…`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Sends a command, in a cluster to the owner of its key, and gives the answer as
    /// [`RedisServer::command`] does.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or does not come within ten seconds; and where an endpoint
    /// variable names a server with TLS, which this does not speak.
    pub async fn command<S: AsRef<str> + Sync>(&self, words: &[S]) -> String {
        let endpoint = self.endpoint.get_or_init(|| Endpoint::parse(&self.url));
        match endpoint.ask(words).await {
            Ok(answer) => answer.to_string(),
            Err(error) => panic!("{}: {error}", words[0].as_ref()),
        }
    }
}

impl fmt::Debug for SharedRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the URL may have a password in it
        f.debug_struct("SharedRedis").finish_non_exhaustive()
    }
}

/// The one server of this process, started on first use, or the one that `STANDFAST_TEST_REDIS`
/// names by its URL. None, with a loud skip, where there is neither a variable nor a `redis-server`.
///
/// It blocks while the server starts.
///
/// # Panics
///
/// When there is none and `STANDFAST_TEST_REQUIRE` has `redis`, or when it does not start.
pub fn single() -> Option<&'static SharedRedis> {
    static SINGLE: OnceLock<SharedRedis> = OnceLock::new();
    shared(&SINGLE, "redis", "STANDFAST_TEST_REDIS", async || {
        let server = RedisServer::launch(&RedisServerConfig::default()).await;
        SharedRedis::at(server.url(), Some(Box::new(server)))
    })
}

/// As [`single`], a [cluster](RedisCluster), or the one that `STANDFAST_TEST_REDIS_CLUSTER` names.
///
/// # Panics
///
/// When there is none and `STANDFAST_TEST_REQUIRE` has `redis-cluster`, or when it does not form.
pub fn cluster() -> Option<&'static SharedRedis> {
    static CLUSTER: OnceLock<SharedRedis> = OnceLock::new();
    shared(&CLUSTER, "redis-cluster", "STANDFAST_TEST_REDIS_CLUSTER", async || {
        let cluster = RedisCluster::launch(&RedisServerConfig::default(), false).await;
        SharedRedis::at(cluster.url(), Some(Box::new(cluster)))
    })
}

/// As [`single`], servers that [sentinels](RedisSentinel) watch, or those that
/// `STANDFAST_TEST_REDIS_SENTINEL` names.
///
/// # Panics
///
/// When there are none and `STANDFAST_TEST_REQUIRE` has `redis-sentinel`, or when they do not
/// start.
pub fn sentinel() -> Option<&'static SharedRedis> {
    static SENTINEL: OnceLock<SharedRedis> = OnceLock::new();
    shared(&SENTINEL, "redis-sentinel", "STANDFAST_TEST_REDIS_SENTINEL", async || {
        let sentinel = RedisSentinel::launch(&RedisServerConfig::default(), false).await;
        SharedRedis::at(sentinel.url(), Some(Box::new(sentinel)))
    })
}

fn shared<F>(
    slot: &'static OnceLock<SharedRedis>,
    name: &str,
    variable: &str,
    start: impl FnOnce() -> F + Send,
) -> Option<&'static SharedRedis>
where
    F: Future<Output = SharedRedis>,
{
    if let Ok(url) = std::env::var(variable) {
        return Some(slot.get_or_init(|| SharedRedis::at(url, None)));
    }
    if !is_installed(name) {
        return None;
    }
    Some(slot.get_or_init(|| {
        // on a thread of its own, since the caller may be inside a runtime
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                let runtime = builder.enable_all().build().expect("a runtime can be started");
                runtime.block_on(start())
            });
            starting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }))
}
