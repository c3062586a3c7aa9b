mod form;
mod slots;
mod view;

use std::time::Duration;

use super::endpoint::userinfo;
use super::{RedisServer, RedisServerConfig, is_installed, until};
use crate::testkit::FaultProxy;
use view::View;

/// How long a cluster may take to form, to notice a death and to heal.
const LIMIT: Duration = Duration::from_secs(60);

/// A Redis Cluster of three primaries and three replicas on loopback ports, which notices a death
/// after one second.
///
/// It ends as a [`RedisServer`] does.
///
/// ```no_run
/// use standfast_core::testkit::RedisCluster;
/// use standfast_core::testkit::redis::RedisServerConfig;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
/// cluster.command(&["SET", "greeting", "hello"]).await;
/// let slot = cluster.command(&["CLUSTER", "KEYSLOT", "greeting"]).await.parse().unwrap();
/// cluster.kill_master_of(slot).await;
/// cluster.await_ready().await;
/// // most likely: Redis acknowledges before its replicas have it
/// assert_eq!(cluster.command(&["GET", "greeting"]).await, "hello");
/// # }
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    /// Masters first, as it was formed.
    nodes: Vec<RedisServer>,
    ids: Vec<String>,
    /// None, or one in front of each node.
    proxies: Vec<FaultProxy>,
}

impl RedisCluster {
    /// Starts a cluster whose nodes are configured alike and waits until it is
    /// [ready](Self::await_ready). None, with a loud skip, where no `redis-server` is on the
    /// `PATH`.
    ///
    /// # Panics
    ///
    /// When there is none and `STANDFAST_TEST_REQUIRE` has `redis-cluster`, or when it does not
    /// form.
    pub async fn start(config: RedisServerConfig) -> Option<Self> {
        if !is_installed("redis-cluster") {
            return None;
        }
        Some(Self::launch(&config, false).await)
    }

    /// As [`start`](Self::start), with a proxy in front of each node. The nodes announce the ports
    /// of their [proxies](Self::proxies), so that a client that asks for the topology stays behind
    /// them. Replicas follow their primaries through them too.
    ///
    /// # Panics
    ///
    /// As `start`.
    pub async fn start_behind_proxies(config: RedisServerConfig) -> Option<Self> {
        if !is_installed("redis-cluster") {
            return None;
        }
        Some(Self::launch(&config, true).await)
    }

    /// Its URL, which names every node: `redis+cluster://127.0.0.1:10001,127.0.0.1:10002,…`; the
    /// proxies instead, where there are any.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = match &self.proxies[..] {
            [] => self.nodes.iter().map(RedisServer::address).collect(),
            proxies => proxies.iter().map(|proxy| proxy.address().to_string()).collect(),
        };
        format!("redis+cluster://{}{}", userinfo(self.nodes[0].login()), addresses.join(","))
    }

    /// The six nodes, in an order that does not change.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The proxies, in the order of the nodes; empty after [`start`](Self::start).
    pub fn proxies(&self) -> &[FaultProxy] {
        &self.proxies
    }

    /// The ports of the nodes.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(RedisServer::port).collect()
    }

    /// Sends a command to the owner of its key, past the proxies, and gives the answer as
    /// [`RedisServer::command`] does. What has no key goes to any node.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or does not come within ten seconds.
    pub async fn command<S: AsRef<str> + Sync>(&self, words: &[S]) -> String {
        let answer = self.try_command(words).await;
        answer.unwrap_or_else(|error| panic!("{}: {error}", words[0].as_ref()))
    }

    /// As [`command`](Self::command), for a test that expects an error.
    ///
    /// # Errors
    ///
    /// What the node answered, or what happened to the connection.
    pub async fn try_command<S: AsRef<str> + Sync>(&self, words: &[S]) -> Result<String, String> {
        let mut node = self.alive().next().ok_or("no node is alive")?;
        // each owner that is named may have lost the slot meanwhile
        for _ in 0..5 {
            let answer = node.try_command(words).await;
            let owner = answer.as_ref().err().and_then(|error| error.strip_prefix("MOVED "));
            let Some(owner) = owner else { return answer };
            let port = owner.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            node = port.and_then(|port| self.announced_at(port)).ok_or(owner)?;
        }
        Err("moved five times".to_owned())
    }

    /// Kills every node at once.
    pub fn kill(&self) {
        self.nodes.iter().for_each(RedisServer::kill);
    }

    /// Pauses every node.
    pub fn pause(&self) {
        self.nodes.iter().for_each(RedisServer::pause);
    }

    /// Resumes every node.
    pub fn resume(&self) {
        self.nodes.iter().for_each(RedisServer::resume);
    }

    /// Stops every node in order.
    ///
    /// # Panics
    ///
    /// When one does not end.
    pub async fn stop(&self) {
        for node in &self.nodes {
            node.stop().await;
        }
    }

    /// Restarts every node on its port, those that run included, and waits until the cluster is
    /// [ready](Self::await_ready).
    ///
    /// # Panics
    ///
    /// When it does not get there.
    pub async fn restart(&self) {
        self.stop().await;
        for node in &self.nodes {
            node.restart().await;
        }
        self.await_ready().await;
    }

    /// Waits until each node that is neither dead nor paused says that the cluster is well, that
    /// all slots are with such nodes, and that each other one is a primary or a replica in sync.
    ///
    /// # Panics
    ///
    /// When that takes longer than a minute.
    pub async fn await_ready(&self) {
        until("the cluster is ready", LIMIT, async || self.is_ready().await).await;
    }

    async fn is_ready(&self) -> bool {
        let alive = |index: &usize| self.nodes[*index].is_awake();
        let alive: Vec<_> = (0..self.nodes.len()).filter(alive).collect();
        let ids: Vec<_> = alive.iter().map(|index| &*self.ids[*index]).collect();
        let ports: Vec<_> = alive.iter().map(|index| self.known_port(*index).to_string()).collect();
        for index in alive {
            let node = &self.nodes[index];
            let said = async |words: &[&str]| node.try_command(words).await.unwrap_or_default();
            let topology = said(&["CLUSTER", "SLOTS"]).await;
            let in_order = ports.iter().all(|port| topology.lines().any(|line| line == port))
                && said(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
                && !said(&["INFO", "replication"]).await.contains("master_link_status:down")
                && View::parse(&said(&["CLUSTER", "NODES"]).await).is_served_by(&ids);
            if !in_order {
                return false;
            }
        }
        true
    }

    fn alive(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.is_awake())
    }

    /// The node that others know by a port.
    fn announced_at(&self, port: u16) -> Option<&RedisServer> {
        let index = (0..self.nodes.len()).find(|index| self.known_port(*index) == port)?;
        Some(&self.nodes[index])
    }

    fn known_port(&self, index: usize) -> u16 {
        self.proxies.get(index).map_or_else(|| self.nodes[index].port(), FaultProxy::port)
    }

    fn id_of(&self, node: &RedisServer) -> &str {
        let index = self.nodes.iter().position(|one| one.port() == node.port());
        &self.ids[index.expect("the node is of this cluster")]
    }
}
