use std::fmt;
use std::time::Duration;

use crate::{ErrorKind, Result};

use super::address::Address;
use super::error::configuration;
use super::url;

pub(super) const PORT: u16 = 6379;
pub(super) const SENTINEL_PORT: u16 = 26379;

/// Which servers there are. An address is `host`, `host:port` or `[v6]:port`.
///
/// ```
/// use standfast_core::redis::{Redis, RedisConfig, Servers};
///
/// let seeds = ["10.0.0.1:6379", "10.0.0.2:6379"].map(String::from).to_vec();
/// let redis = Redis::from_config(RedisConfig::new(Servers::Cluster(seeds))).unwrap();
/// ```
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Servers {
    /// One server.
    Single(String),
    /// Some nodes of a Redis Cluster, from which the others are found.
    Cluster(Vec<String>),
    /// Sentinels, which know the primary.
    Sentinel {
        /// Some of the sentinels.
        sentinels: Vec<String>,
        /// The name under which they watch the primary.
        master: String,
        /// The user for the sentinels themselves, where they want one.
        username: Option<String>,
        /// The password for the sentinels themselves.
        password: Option<String>,
    },
}

/// How to reach Redis.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::redis::RedisConfig;
///
/// let mut config = RedisConfig::from_url("redis://app:s3cret@cache.internal/2").unwrap();
/// config.timeout = Duration::from_secs(2);
/// assert_eq!((config.username.as_deref(), config.database), (Some("app"), 2));
/// assert!(!format!("{config:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Which servers there are.
    pub servers: Servers,
    /// The ACL user; without one the password is that of the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database; 0 by default, and always 0 in a Cluster.
    pub database: u32,
    /// TLS, where it is spoken; needs the feature `redis-tls`.
    pub tls: Option<Tls>,
    /// The deadline of a request: connecting, redirects and retries included. 5 seconds by default.
    pub timeout: Duration,
    /// How long one attempt to connect may take; 2 seconds by default.
    pub connect_timeout: Duration,
}

impl RedisConfig {
    /// These servers, no credentials, default times.
    pub fn new(servers: Servers) -> Self {
        Self {
            servers,
            username: None,
            password: None,
            database: 0,
            tls: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        }
    }

    /// What a URL says; see [`Redis::from_url`](super::Redis::from_url) for its forms.
    ///
    /// # Errors
    ///
    /// `Invalid`, with a message that says what is allowed and does not repeat the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        url::parse(url)
    }

    /// The addresses of [`servers`](Self::servers), checked, and everything else.
    pub(super) fn addresses(&self) -> Result<Vec<Address>> {
        let (texts, port) = match &self.servers {
            Servers::Single(one) => (std::slice::from_ref(one), PORT),
            Servers::Cluster(seeds) => (seeds.as_slice(), PORT),
            Servers::Sentinel { sentinels, .. } => (sentinels.as_slice(), SENTINEL_PORT),
        };
        let invalid = |detail| Err(configuration(ErrorKind::Invalid, detail));
        if texts.is_empty() {
            return invalid("no address");
        }
        if self.username.is_some() && self.password.is_none() {
            return invalid("a user without a password");
        }
        if matches!(self.servers, Servers::Cluster(_)) && self.database != 0 {
            return invalid("a Cluster has database 0 only");
        }
        if let Servers::Sentinel { master, username, password, .. } = &self.servers {
            if master.is_empty() {
                return invalid("the name of the master is empty");
            }
            if username.is_some() && password.is_none() {
                return invalid("a user for the sentinels without a password");
            }
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return invalid("a timeout of zero");
        }
        let parsed = texts.iter().map(|text| Address::parse(text, port)).collect();
        let Some(addresses) = parsed else {
            return invalid("an address is `host`, `host:port` or `[v6]:port`");
        };
        Ok(addresses)
    }
}

/// TLS beyond the defaults: the system's certificate authorities, no certificate of our own.
///
/// ```
/// use standfast_core::redis::{RedisConfig, Tls};
/// # fn read(_: &str) -> Vec<u8> { Vec::new() }
///
/// let mut config = RedisConfig::from_url("redis://cache.internal").unwrap();
/// let mut tls = Tls::default();
/// tls.authorities = Some(read("/etc/redis/ca.pem"));
/// config.tls = Some(tls);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate authorities to trust instead of the system's, in PEM.
    pub authorities: Option<Vec<u8>>,
    /// The certificate (chain) and the private key to show to the server, in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Stands for a secret in debug output.
const HIDDEN: &str = "***";

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(address) => f.debug_tuple("Single").field(address).finish(),
            Self::Cluster(seeds) => f.debug_tuple("Cluster").field(seeds).finish(),
            Self::Sentinel { sentinels, master, username, password } => f
                .debug_struct("Sentinel")
                .field("sentinels", sentinels)
                .field("master", master)
                .field("username", username)
                .field("password", &password.as_ref().map(|_| HIDDEN))
                .finish(),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.as_ref().map(Vec::len))
            .field("identity", &self.identity.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_before_any_io() {
        let single = || RedisConfig::new(Servers::Single("h".into()));
        let cluster =
            RedisConfig { database: 1, ..RedisConfig::new(Servers::Cluster(vec!["h".into()])) };
        for bad in [
            RedisConfig { username: Some("u".into()), ..single() },
            RedisConfig { timeout: Duration::ZERO, ..single() },
            RedisConfig::new(Servers::Cluster(Vec::new())),
            RedisConfig::new(Servers::Single("h:x".into())),
            cluster,
        ] {
            assert_eq!(bad.addresses().unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
        }
        assert_eq!(single().addresses().unwrap(), [Address::new("h", PORT)]);
    }
}
