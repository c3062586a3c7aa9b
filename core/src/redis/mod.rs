//! One handle over a single Redis server, Redis Cluster and Redis Sentinel. Feature `redis`.
//!
//! All that differs between the three is how the owner of a key is found; everything else, what
//! was asked, what an error means, when to try again, is written once. Connections are made with
//! the client library's multiplexed connection, one to each node, when they are first wanted.

mod address;
mod call;
mod config;
mod error;
mod flight;
mod health;
mod keys;
mod link;
mod node;
mod reply;
mod request;
mod script;
mod settings;
mod stream;
mod subscribe;
#[cfg(feature = "redis-tls")]
mod tls;
mod topology;
mod url;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::config::{RedisConfig, Servers, Tls};
pub use self::keys::{KeySpace, slot};
pub use self::reply::Reply;
pub use self::request::{Durability, Request};
pub use self::script::Script;
use self::settings::Settings;
use self::subscribe::Hub;
pub use self::subscribe::{Signal, Subscription};
use self::topology::Topology;
use crate::{Health, HealthCheck, Result, Verdict};

/// A handle to Redis: cheap to clone, connects on first use, reconnects for ever.
///
/// ```no_run
/// # async fn demo() -> standfast_core::Result<()> {
/// use standfast_core::redis::{Redis, Request};
///
/// let redis = Redis::from_url("redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/main")?;
/// redis.call(Request::command("demo.put", "SET", "greeting").arg("hello")).await?;
/// let read = Request::command("demo.get", "GET", "greeting").repeatable();
/// assert_eq!(redis.call(read).await?.into_text("demo.get")?, "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    topology: Arc<Topology>,
    hub: Arc<Hub>,
}

impl Redis {
    /// A handle to what a URL names. No I/O.
    ///
    /// | form | for |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server |
    /// | `redis+cluster://host,host,host` | a Cluster, from some of its nodes |
    /// | `redis+sentinel://host,host,host/master/0` | the primary that sentinels watch as `master` |
    ///
    /// With `rediss` instead of `redis`, TLS (feature `redis-tls`). User and password are
    /// percent-encoded; `:password@` is the default user's. Parameters are `timeout_ms`,
    /// `connect_timeout_ms`, and for the sentinels themselves `sentinel_user` and
    /// `sentinel_password`.
    ///
    /// # Errors
    ///
    /// `Invalid` for any other form, with a message that does not repeat the URL; `Unsupported`
    /// for TLS without the feature.
    ///
    /// ```
    /// use standfast_core::redis::Redis;
    ///
    /// let redis = Redis::from_url("redis://:s3cret@localhost/1?timeout_ms=2000").unwrap();
    /// assert!(!format!("{redis:?}").contains("s3cret"));
    /// let error = Redis::from_url("redis://s3cret@localhost").unwrap_err();
    /// assert!(!error.to_string().contains("s3cret"));
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_config(RedisConfig::from_url(url)?)
    }

    /// A handle to what `config` names. No I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a configuration that cannot work; `Unsupported` for TLS without the feature
    /// `redis-tls`.
    pub fn from_config(config: RedisConfig) -> Result<Self> {
        let settings = Arc::new(Settings::new(config)?);
        let topology = Arc::new(Topology::new(&settings)?);
        let hub = Arc::new(Hub::new(Arc::clone(&settings), Arc::clone(&topology)));
        Ok(Self(Arc::new(Inner { settings, topology, hub })))
    }

    /// Does `request` on the node that owns its key.
    ///
    /// What certainly did not happen (no connection, a redirect, a server that loads, fails over
    /// or does not know the script) is tried again, with growing pauses, until the deadline.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: until the deadline the server could not be reached or would not serve.
    ///   Nothing happened. With [`Reason::NoSpace`](crate::Reason::NoSpace), at once: it is full.
    /// - `OutcomeUnknown`: the request may have been written and has no reply. With
    ///   [`Reason::NotReplicated`](crate::Reason::NotReplicated): it was done, but is stored on
    ///   fewer replicas than [`Durability::Replicated`] asked for.
    /// - `Timeout`: the same for a request that is [repeatable](Request::repeatable).
    /// - `Denied`: the server refuses the user, or the command to the user.
    /// - `Conflict`: a key of another type is at our name.
    /// - `Invalid`: keys in several slots, or a URL of the wrong kind for this server.
    /// - `Unsupported`: the server does not know the command.
    /// - what a script of ours raises as `STANDFAST <KIND> text`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before it has written anything undoes it; after that the server may
    /// still do the request.
    pub async fn call(&self, request: Request) -> Result<Reply> {
        call::call(&self.0.topology, self.0.settings.config.timeout, &request).await
    }

    /// Listens to `channel`, over the one subscribed connection that all subscriptions of this
    /// handle and its clones share.
    ///
    /// Returns when the server has confirmed it; where it cannot be reached, after one attempt,
    /// and then the subscription is in [doubt](Signal::Doubt) until it can.
    pub async fn subscribe(&self, channel: &str) -> Subscription {
        self.0.hub.subscribe(channel).await
    }

    /// Asks every primary how it is, within three seconds. Never fails: trouble is a [`Verdict`].
    ///
    /// `Failing`: nobody answers, or it is a replica. `Degraded`: part of a Cluster is away,
    /// `maxmemory-policy` is not `noeviction`, memory is nearly full, saving fails, or replicas
    /// are behind.
    pub async fn check(&self) -> Verdict {
        health::check(&self.0.topology, self.0.settings.config.timeout).await
    }
}

#[async_trait]
impl HealthCheck for Redis {
    async fn health(&self) -> Health {
        let began = Instant::now().into_std();
        let verdict = self.check().await;
        Health::since(format!("redis {:?}", self.0.settings.config.servers), began, verdict)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.0.settings.config).finish()
    }
}
