//! Which node has a slot: the three ways of finding out.

mod cluster;
mod nodes;
mod sentinel;
mod slots;

use std::sync::Arc;

use tokio::time::Instant;

use crate::Result;

use super::address::Address;
use super::config::Servers;
use super::link::NoLink;
use super::node::Node;
use super::settings::Settings;
use cluster::Cluster;
use sentinel::Sentinel;

pub(super) enum Topology {
    Single(Arc<Node>),
    Cluster(Arc<Cluster>),
    Sentinel(Arc<Sentinel>),
}

impl Topology {
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self> {
        let mut addresses = settings.config.addresses()?;
        let settings = Arc::clone(settings);
        Ok(match &settings.config.servers {
            Servers::Single(_) => {
                Self::Single(Node::new(addresses.swap_remove(0), settings, false))
            }
            Servers::Cluster(_) => Self::Cluster(Cluster::new(addresses, settings)),
            Servers::Sentinel { master, .. } => {
                let master = master.clone();
                Self::Sentinel(Sentinel::new(addresses, master, settings))
            }
        })
    }

    /// The node that owns `slot`, as far as is known; the servers are asked if nothing is, and
    /// `again` if the last answer has proved wrong since.
    pub(super) async fn owner(
        &self,
        slot: u16,
        again: bool,
        deadline: Instant,
    ) -> Result<Arc<Node>, NoLink> {
        match self {
            Self::Single(node) => Ok(Arc::clone(node)),
            Self::Cluster(cluster) => cluster.owner(slot, again, deadline).await,
            Self::Sentinel(sentinel) => sentinel.primary(again, deadline).await,
        }
    }

    /// The node at `address`, to which a request was redirected; `None` where that cannot be.
    pub(super) fn redirected(&self, address: &Address) -> Option<Arc<Node>> {
        match self {
            Self::Cluster(cluster) => Some(cluster.node(address)),
            Self::Single(_) | Self::Sentinel(_) => None,
        }
    }

    /// `node` owns `slot` now, says the node that did.
    pub(super) fn moved(&self, slot: u16, node: &Arc<Node>) {
        if let Self::Cluster(cluster) = self {
            cluster.moved(slot, node);
        }
    }

    /// `node` could not be reached or would not serve: who tries again has to find out anew.
    pub(super) fn suspect(&self, node: &Node) {
        match self {
            Self::Single(_) => {}
            Self::Cluster(cluster) => cluster.suspect(),
            Self::Sentinel(sentinel) => sentinel.suspect(node),
        }
    }

    /// Where to subscribe, rather not at `avoid`.
    pub(super) async fn subscribe_at(
        &self,
        avoid: Option<&Address>,
        deadline: Instant,
    ) -> Result<Address, NoLink> {
        match self {
            Self::Single(node) => Ok(node.address.clone()),
            Self::Cluster(cluster) => Ok(cluster.subscribe_at(avoid, deadline).await),
            Self::Sentinel(sentinel) => {
                Ok(sentinel.primary(avoid.is_some(), deadline).await?.address.clone())
            }
        }
    }

    /// Whether messages still reach a subscriber at `address`, as far as is known; what is known
    /// is refreshed now and then.
    pub(super) async fn reaches(&self, address: &Address) -> bool {
        match self {
            Self::Single(_) => true,
            Self::Cluster(cluster) => cluster.reaches(address).await,
            Self::Sentinel(sentinel) => sentinel.reaches(address).await,
        }
    }

    /// Every node that takes writes.
    pub(super) async fn primaries(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, NoLink> {
        match self {
            Self::Single(node) => Ok(vec![Arc::clone(node)]),
            Self::Cluster(cluster) => cluster.primaries(deadline).await,
            Self::Sentinel(sentinel) => Ok(vec![sentinel.primary(true, deadline).await?]),
        }
    }
}
