//! The nodes there are connections to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::address::Address;
use super::super::node::Node;
use super::super::settings::Settings;

pub(super) struct Nodes {
    settings: Arc<Settings>,
    all: Mutex<HashMap<Address, Arc<Node>>>,
}

impl Nodes {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Address, Arc<Node>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, address: &Address) -> Arc<Node> {
        let mut all = self.all();
        if let Some(node) = all.get(address) {
            return Arc::clone(node);
        }
        let node = Node::new(address.clone(), Arc::clone(&self.settings), false);
        all.insert(address.clone(), Arc::clone(&node));
        node
    }

    pub(super) fn is_connected(&self, address: &Address) -> bool {
        self.all().get(address).is_some_and(|node| node.is_connected())
    }

    /// Forgets all others; their connections end with the requests that use them.
    pub(super) fn retain(&self, wanted: &HashSet<Address>) {
        self.all().retain(|address, _| wanted.contains(address));
    }
}
