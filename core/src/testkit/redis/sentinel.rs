use std::time::Duration;

use super::config::quoted;
use super::endpoint::userinfo;
use super::server::launch_all;
use super::{RedisServer, RedisServerConfig, is_installed, until};
use crate::testkit::FaultProxy;

/// What the sentinels call the group.
const GROUP: &str = "mymaster";
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// How long the sentinels may take to find each other, to agree on a death and to heal.
const LIMIT: Duration = Duration::from_secs(60);

/// A Redis primary and its two replicas on loopback ports, watched by three sentinels that hold
/// dead what has not answered for a second.
///
/// It ends as a [`RedisServer`] does.
///
/// ```no_run
/// use standfast_core::testkit::RedisSentinel;
/// use standfast_core::testkit::redis::RedisServerConfig;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
/// let killed = group.kill_master().await.port();
/// let primary = group.await_failover(killed).await;
/// assert_eq!(group.master_port().await, primary.port());
/// # }
/// ```
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    /// None, or one in front of each server.
    proxies: Vec<FaultProxy>,
}

impl RedisSentinel {
    /// Starts servers that are configured alike, and sentinels, and waits until they are
    /// [ready](Self::await_ready). None, with a loud skip, where no `redis-server` is on the
    /// `PATH`.
    ///
    /// # Panics
    ///
    /// When there is none and `STANDFAST_TEST_REQUIRE` has `redis-sentinel`, or when they do not
    /// get there.
    pub async fn start(config: RedisServerConfig) -> Option<Self> {
        if !is_installed("redis-sentinel") {
            return None;
        }
        Some(Self::launch(&config, false).await)
    }

    /// As [`start`](Self::start), with a proxy in front of each server. Clients, sentinels and
    /// replicas know the servers by the ports of their [proxies](Self::proxies): one that is
    /// [frozen](FaultProxy::freeze) is a primary that is cut off and does not know.
    ///
    /// # Panics
    ///
    /// As `start`.
    pub async fn start_behind_proxies(config: RedisServerConfig) -> Option<Self> {
        if !is_installed("redis-sentinel") {
            return None;
        }
        Some(Self::launch(&config, true).await)
    }

    /// Starts them where `redis-server` is known to be installed.
    pub(super) async fn launch(config: &RedisServerConfig, proxied: bool) -> Self {
        let servers = launch_all(vec![config.clone(); 3]).await;
        let mut proxies = Vec::new();
        if proxied {
            for server in &servers {
                proxies.push(server.announce_proxy("replica-announce-port").await);
            }
        }
        let mut group = Self { servers, sentinels: Vec::new(), proxies };
        let primary = group.known_port(0);
        for replica in &group.servers[1..] {
            replica.command(&["REPLICAOF", "127.0.0.1", &primary.to_string()]).await;
            replica.command(&["CONFIG", "REWRITE"]).await;
        }
        // Sentinels look once at their start and then every ten seconds: what they are to find has
        // to be there.
        until("the replicas are in sync", LIMIT, async || {
            let info = group.servers[0].command(&["INFO", "replication"]).await;
            info.matches("state=online").count() == 2
        })
        .await;
        let password = config.password.as_deref().map(quoted);
        for _ in 0..SENTINELS {
            let password = password.clone();
            let file = move |port| sentinel_file(port, primary, password.as_deref());
            group.sentinels.push(RedisServer::launch_sentinel(file).await);
        }
        group.await_ready().await;
        group
    }

    /// Its URL, which names the sentinels and what they call the group:
    /// `redis+sentinel://127.0.0.1:10001,…/mymaster`.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(RedisServer::address).collect();
        let login = userinfo(self.servers[0].login());
        format!("redis+sentinel://{login}{}/{GROUP}", addresses.join(","))
    }

    /// The three servers, in an order that does not change.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The three sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The proxies, in the order of the servers; empty after [`start`](Self::start).
    pub fn proxies(&self) -> &[FaultProxy] {
        &self.proxies
    }

    /// The ports of the servers.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(RedisServer::port).collect()
    }

    /// The port of the server that the sentinels hold to be the primary.
    ///
    /// # Panics
    ///
    /// When they do not agree for a minute.
    pub async fn master_port(&self) -> u16 {
        self.master().await.port()
    }

    /// The server that the sentinels hold to be the primary.
    ///
    /// # Panics
    ///
    /// When they do not agree for a minute.
    pub async fn master(&self) -> &RedisServer {
        let mut agreed = None;
        until("the sentinels agree on a primary", LIMIT, async || {
            agreed = self.agreed().await;
            agreed.is_some()
        })
        .await;
        agreed.expect("awaited above")
    }

    /// Sends a command to the primary, past its proxy, and gives the answer as
    /// [`RedisServer::command`] does.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or does not come within ten seconds.
    pub async fn command<S: AsRef<str> + Sync>(&self, words: &[S]) -> String {
        self.master().await.command(words).await
    }

    /// As [`command`](Self::command), for a test that expects an error.
    ///
    /// # Errors
    ///
    /// What the primary answered, or what happened to the connection.
    pub async fn try_command<S: AsRef<str> + Sync>(&self, words: &[S]) -> Result<String, String> {
        self.master().await.try_command(words).await
    }

    /// Kills the primary and gives it.
    ///
    /// # Panics
    ///
    /// When the sentinels do not agree on one for a minute.
    pub async fn kill_master(&self) -> &RedisServer {
        let master = self.master().await;
        master.kill();
        master
    }

    /// Waits until the sentinels agree on another primary than the one at the port `from`, and that
    /// one accepts writes. Gives it.
    ///
    /// # Panics
    ///
    /// When that takes longer than a minute.
    pub async fn await_failover(&self, from: u16) -> &RedisServer {
        let mut new = None;
        until("another server is the primary", LIMIT, async || {
            new = self.agreed().await.filter(|server| server.port() != from);
            match new {
                Some(server) => is_primary(server).await,
                None => false,
            }
        })
        .await;
        new.expect("awaited above")
    }

    /// Tells a sentinel to replace the primary although it is well, and waits for that. Gives the
    /// new one.
    ///
    /// # Panics
    ///
    /// When that takes longer than a minute.
    pub async fn failover(&self) -> &RedisServer {
        let from = self.master_port().await;
        // refused while the sentinel is not sure of the replicas or an earlier one is under way
        until("a failover begins", LIMIT, async || {
            let sentinel = self.sentinels.iter().find(|sentinel| sentinel.is_awake());
            let Some(sentinel) = sentinel else { return false };
            sentinel.try_command(&["SENTINEL", "FAILOVER", GROUP]).await.is_ok()
        })
        .await;
        self.await_failover(from).await
    }

    /// Kills every server and sentinel at once.
    pub fn kill(&self) {
        self.all().for_each(RedisServer::kill);
    }

    /// Pauses every server and sentinel.
    pub fn pause(&self) {
        self.all().for_each(RedisServer::pause);
    }

    /// Resumes every server and sentinel.
    pub fn resume(&self) {
        self.all().for_each(RedisServer::resume);
    }

    /// Stops every server and sentinel in order.
    ///
    /// # Panics
    ///
    /// When one does not end.
    pub async fn stop(&self) {
        for server in self.all() {
            server.stop().await;
        }
    }

    /// Restarts every server and sentinel on its port, those that run included, and waits until
    /// they are [ready](Self::await_ready).
    ///
    /// # Panics
    ///
    /// When they do not get there.
    pub async fn restart(&self) {
        self.stop().await;
        for server in self.all() {
            server.restart().await;
        }
        self.await_ready().await;
    }

    /// Waits until the sentinels that are neither dead nor paused agree on a primary, know each
    /// other, and find in sync with it every other server that is neither dead nor paused.
    ///
    /// # Panics
    ///
    /// When that takes longer than a minute.
    pub async fn await_ready(&self) {
        until("the sentinels and their servers are ready", LIMIT, async || self.is_ready().await)
            .await;
    }

    async fn is_ready(&self) -> bool {
        let Some(primary) = self.agreed().await else { return false };
        if !is_primary(primary).await {
            return false;
        }
        // asked themselves: sentinels notice only after up to ten seconds
        let index = self.servers.iter().position(|server| server.port() == primary.port());
        let following = format!(
            "slave\n127.0.0.1\n{}\nconnected\n",
            self.known_port(index.expect("the primary is one of the servers"))
        );
        let awake = |servers: &[RedisServer]| servers.iter().filter(|one| one.is_awake()).count();
        for server in self.servers.iter().filter(|server| server.is_awake()) {
            let role = server.try_command(&["ROLE"]).await.unwrap_or_default();
            if server.port() != primary.port() && !role.starts_with(&following) {
                return false;
            }
        }
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_awake()) {
            for (what, well, others) in [
                ("REPLICAS", "flags\nslave\n", awake(&self.servers) - 1),
                ("SENTINELS", "flags\nsentinel\n", awake(&self.sentinels) - 1),
            ] {
                let known = sentinel.try_command(&["SENTINEL", what, GROUP]).await;
                if known.unwrap_or_default().matches(well).count() < others {
                    return false;
                }
            }
        }
        true
    }

    /// The server that every sentinel that is awake names; none while one names another.
    async fn agreed(&self) -> Option<&RedisServer> {
        let mut named = None;
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_awake()) {
            let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP];
            let address = sentinel.try_command(&question).await.ok()?;
            let port = address.lines().nth(1)?.parse().ok()?;
            if *named.get_or_insert(port) != port {
                return None;
            }
        }
        let index = (0..self.servers.len()).find(|index| Some(self.known_port(*index)) == named)?;
        Some(&self.servers[index])
    }

    /// The port by which a server is known.
    fn known_port(&self, index: usize) -> u16 {
        self.proxies.get(index).map_or_else(|| self.servers[index].port(), FaultProxy::port)
    }

    fn all(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().chain(&self.sentinels)
    }
}

async fn is_primary(server: &RedisServer) -> bool {
    if !server.is_awake() {
        return false;
    }
    let role = server.try_command(&["ROLE"]).await;
    role.is_ok_and(|role| role.starts_with("master\n"))
}

fn sentinel_file(port: u16, primary: u16, password: Option<&str>) -> String {
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {port}"),
        format!("sentinel monitor {GROUP} 127.0.0.1 {primary} {QUORUM}"),
        format!("sentinel down-after-milliseconds {GROUP} 1000"),
        format!("sentinel failover-timeout {GROUP} 5000"),
        format!("sentinel parallel-syncs {GROUP} 2"),
    ];
    lines.extend(password.map(|password| format!("sentinel auth-pass {GROUP} {password}")));
    lines.join("\n") + "\n"
}
