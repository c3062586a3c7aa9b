use super::super::until;
use super::{LIMIT, RedisCluster};
use crate::testkit::redis::RedisServerConfig;
use crate::testkit::redis::server::launch_all;

const PRIMARIES: usize = 3;
const NODES: usize = 6;
const RANGES: [[&str; 2]; PRIMARIES] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];

impl RedisCluster {
    /// Starts a cluster where `redis-server` is known to be installed.
    pub(in crate::testkit::redis) async fn launch(
        config: &RedisServerConfig,
        proxied: bool,
    ) -> Self {
        let mut config = config.clone();
        let mut extra = vec![
            "cluster-enabled yes".to_owned(),
            "cluster-config-file nodes.conf".to_owned(),
            "cluster-node-timeout 1000".to_owned(),
            "cluster-announce-ip 127.0.0.1".to_owned(),
            // a replica is not part of the topology before it has heard something
            "repl-ping-replica-period 1".to_owned(),
        ];
        extra.append(&mut config.extra);
        config.extra = extra;

        let nodes = launch_all(vec![config; NODES]).await;
        let mut proxies = Vec::new();
        if proxied {
            for node in &nodes {
                proxies.push(node.announce_proxy("cluster-announce-port").await);
            }
        }
        let mut ids = Vec::new();
        for node in &nodes {
            ids.push(node.command(&["CLUSTER", "MYID"]).await);
        }
        let cluster = Self { nodes, ids, proxies };
        cluster.form().await;
        cluster.await_ready().await;
        cluster
    }

    async fn form(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            if let Some([first, last]) = RANGES.get(index) {
                node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            }
            // each with each: rumours would take seconds
            for earlier in &self.nodes[..index] {
                let port = earlier.port().to_string();
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
            }
        }
        for (index, replica) in self.nodes.iter().enumerate().skip(PRIMARIES) {
            let primary = &self.ids[index - PRIMARIES];
            // unknown until they have met
            until("a replica knows its primary", LIMIT, async || {
                replica.try_command(&["CLUSTER", "REPLICATE", primary]).await.is_ok()
            })
            .await;
        }
    }
}
