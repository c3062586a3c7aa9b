//! Which node has a slot: the three ways of finding out.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{ErrorKind, Result};

use super::address::Address;
use super::config::Servers;
use super::error::configuration;
use super::link::NoLink;
use super::node::Node;
use super::settings::Settings;

pub(super) enum Topology {
    Single(Arc<Node>),
}

impl Topology {
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self> {
        let mut addresses = settings.config.addresses()?;
        match &settings.config.servers {
            Servers::Single(_) => {
                let node = Node::new(addresses.swap_remove(0), Arc::clone(settings), false);
                Ok(Self::Single(node))
            }
            _ => Err(configuration(ErrorKind::Unsupported, "a single server only, so far")),
        }
    }

    /// The node that owns `slot`, as far as is known; the servers are asked if nothing is.
    pub(super) async fn owner(&self, _slot: u16, _deadline: Instant) -> Result<Arc<Node>, NoLink> {
        match self {
            Self::Single(node) => Ok(Arc::clone(node)),
        }
    }

    /// Whether redirects to other nodes can be followed.
    pub(super) fn redirects(&self) -> bool {
        match self {
            Self::Single(_) => false,
        }
    }

    /// The node at `address`.
    pub(super) fn node(&self, _address: Address) -> Result<Arc<Node>, NoLink> {
        match self {
            Self::Single(node) => Ok(Arc::clone(node)),
        }
    }

    /// `address` owns `slot` now, says the node that did.
    pub(super) fn moved(&self, _slot: u16, _address: &Address) {
        match self {
            Self::Single(_) => {}
        }
    }

    /// `node` could not be reached or would not serve: find out anew before the next attempt.
    pub(super) fn suspect(&self, _node: &Node) {
        match self {
            Self::Single(_) => {}
        }
    }

    /// Where to subscribe, rather not at `avoid`.
    pub(super) async fn subscribe_at(&self, _avoid: Option<&Address>) -> Result<Address, NoLink> {
        match self {
            Self::Single(node) => Ok(node.address.clone()),
        }
    }

    /// Whether messages still reach a subscriber at `address`.
    pub(super) fn reaches(&self, _address: &Address) -> bool {
        match self {
            Self::Single(_) => true,
        }
    }

    /// Every node that should be asked for its health.
    pub(super) async fn primaries(&self, _deadline: Instant) -> Result<Vec<Arc<Node>>, NoLink> {
        match self {
            Self::Single(node) => Ok(vec![Arc::clone(node)]),
        }
    }

    /// What is worth a look about the whole.
    pub(super) fn remarks(&self) -> Vec<String> {
        match self {
            Self::Single(_) => Vec::new(),
        }
    }
}
