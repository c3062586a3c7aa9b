//! Who serves a slot, and how that changes.

use super::super::{RedisServer, until};
use super::view::{Member, View};
use super::{LIMIT, RedisCluster};

impl RedisCluster {
    /// The node that serves `slot`.
    ///
    /// # Panics
    ///
    /// When nobody says that he does for a minute.
    pub async fn node_of_slot(&self, slot: u16) -> &RedisServer {
        let mut owner = None;
        until("somebody serves the slot", LIMIT, async || {
            owner = self.owner(slot).await;
            owner.is_some()
        })
        .await;
        owner.expect("awaited above")
    }

    /// The replicas that are alive of the node that serves `slot`.
    ///
    /// # Panics
    ///
    /// As [`node_of_slot`](Self::node_of_slot).
    pub async fn replicas_of_slot(&self, slot: u16) -> Vec<&RedisServer> {
        let owner = self.id_of(self.node_of_slot(slot).await).to_owned();
        let mut replicas = Vec::new();
        for node in self.alive() {
            if myself(node).await.is_some_and(|myself| myself.primary == owner) {
                replicas.push(node);
            }
        }
        replicas
    }

    /// Kills the node that serves `slot` and gives it. [`await_ready`](Self::await_ready) waits for
    /// the replica that takes over.
    ///
    /// # Panics
    ///
    /// As [`node_of_slot`](Self::node_of_slot).
    pub async fn kill_master_of(&self, slot: u16) -> &RedisServer {
        let owner = self.node_of_slot(slot).await;
        owner.kill();
        owner
    }

    /// Lets a replica take over from the node that serves `slot`, in agreement with it, and waits
    /// for that. Gives the new one.
    ///
    /// # Panics
    ///
    /// When there is no replica, or it does not take over.
    pub async fn failover(&self, slot: u16) -> &RedisServer {
        let replicas = self.replicas_of_slot(slot).await;
        let replica = *replicas.first().expect("the node of the slot has a replica");
        replica.command(&["CLUSTER", "FAILOVER"]).await;
        until("the replica serves the slot", LIMIT, async || {
            self.owner(slot).await.is_some_and(|owner| owner.port() == replica.port())
        })
        .await;
        self.await_ready().await;
        replica
    }

    /// Moves `slot` with its keys to another primary, as resharding does.
    ///
    /// # Panics
    ///
    /// When `to` is not a primary of this cluster, or a step fails.
    pub async fn migrate_slot(&self, slot: u16, to: &RedisServer) {
        self.begin_migration(slot, to).await;
        self.finish_migration(slot, to).await;
    }

    /// Begins to move `slot`: keys that are not there are created at `to`, to which the owner
    /// redirects with `ASK`; requests with several keys, some of them moved, meet `TRYAGAIN`.
    ///
    /// # Panics
    ///
    /// As [`migrate_slot`](Self::migrate_slot).
    pub async fn begin_migration(&self, slot: u16, to: &RedisServer) {
        let from = self.node_of_slot(slot).await;
        let slot = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", self.id_of(from)]).await;
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", self.id_of(to)]).await;
    }

    /// Moves the keys and the ownership of a slot after [`begin_migration`](Self::begin_migration).
    ///
    /// # Panics
    ///
    /// As [`migrate_slot`](Self::migrate_slot).
    pub async fn finish_migration(&self, slot: u16, to: &RedisServer) {
        let from = self.node_of_slot(slot).await;
        let number = slot.to_string();
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &number, "100"]).await;
            if keys.is_empty() {
                break;
            }
            for key in keys.lines() {
                self.migrate_key(key, from, to).await;
            }
        }
        // The new owner first: between the two nobody is without one who serves.
        let masters = self.alive().filter(|node| ![from.port(), to.port()].contains(&node.port()));
        for node in [to, from].into_iter().chain(masters) {
            let words = ["CLUSTER", "SETSLOT", &number, "NODE", self.id_of(to)];
            match node.try_command(&words).await {
                Ok(_) => {}
                // those learn it from their primary
                Err(error) if error.contains("only with masters") => {}
                Err(error) => panic!("CLUSTER SETSLOT {number} NODE: {error}"),
            }
        }
    }

    /// Moves one key to `to`, for a slot of which some keys have moved and others have not.
    ///
    /// # Panics
    ///
    /// When the key does not move.
    pub async fn migrate_key(&self, key: &str, from: &RedisServer, to: &RedisServer) {
        let port = to.port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        if let Some(password) = &to.login().password {
            words.extend(["AUTH", password]);
        }
        from.command(&words).await;
    }

    async fn owner(&self, slot: u16) -> Option<&RedisServer> {
        let mut claims = Vec::new();
        for node in self.alive() {
            if let Some(myself) = myself(node).await.filter(|myself| myself.serves(slot)) {
                claims.push((myself.epoch, node));
            }
        }
        // one that came back may not know yet that it was replaced
        claims.into_iter().max_by_key(|(epoch, _)| *epoch).map(|(_, node)| node)
    }
}

async fn myself(node: &RedisServer) -> Option<Member> {
    let nodes = node.try_command(&["CLUSTER", "NODES"]).await.ok()?;
    View::parse(&nodes).0.into_iter().find(|member| member.has("myself"))
}
