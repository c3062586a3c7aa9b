//! One server: its connection, made when it is wanted and replaced when it failed.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::Backoff;

use super::address::Address;
use super::flight::Flight;
use super::health;
use super::link::{Link, NoLink};
use super::settings::Settings;

/// Between attempts to connect.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// Connections that are kept for waiting on replicas.
const SPARES: usize = 16;

pub(super) struct Node {
    pub(super) address: Address,
    settings: Arc<Settings>,
    /// Whether a replica is refused.
    primary: bool,
    looked_at: AtomicBool,
    /// Read by every request, so that they do not wait for each other.
    link: RwLock<Option<Arc<Link>>>,
    state: Mutex<State>,
    connecting: Flight<Result<Arc<Link>, NoLink>>,
}

#[derive(Default)]
struct State {
    spares: Vec<Link>,
    /// Attempts to connect that failed in a row.
    failures: u32,
    last_failure: Option<(Instant, NoLink)>,
}

impl Node {
    pub(super) fn new(address: Address, settings: Arc<Settings>, primary: bool) -> Arc<Self> {
        let (looked_at, link, state, connecting) = Default::default();
        Arc::new(Self { address, settings, primary, looked_at, link, state, connecting })
    }

    fn current(&self) -> Option<Arc<Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection; made anew if there is none, by one attempt that all who wait share.
    ///
    /// # Errors
    ///
    /// After one attempt that failed, or at the deadline.
    pub(super) async fn link(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Link>, NoLink> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let result = self.connecting.join(deadline, || Arc::clone(self).connect()).await;
        result.unwrap_or_else(|| Err(self.too_late()))
    }

    /// What to say at a deadline: the last failure if there was one.
    fn too_late(&self) -> NoLink {
        let last = self.state().last_failure.as_ref().map(|(_, why)| why.clone());
        last.unwrap_or_else(|| {
            NoLink::Later(format!("{}: no answer to the attempt to connect", self.address))
        })
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        self.current().is_some()
    }

    async fn connect(self: Arc<Self>) -> Result<Arc<Link>, NoLink> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let not_before = {
            let state = self.state();
            let last = state.last_failure.as_ref();
            last.map(|(at, _)| *at + BACKOFF.next(state.failures))
        };
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before).await;
        }
        match self.open().await {
            Ok(link) => {
                let link = Arc::new(link);
                self.look_at(&link);
                *self.link.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::clone(&link));
                let mut state = self.state();
                state.failures = 0;
                if state.last_failure.take().is_some() {
                    tracing::info!(node = %self.address, "redis node is back");
                } else {
                    tracing::debug!(node = %self.address, "connected to redis node");
                }
                Ok(link)
            }
            Err(why) => {
                let mut state = self.state();
                state.failures = state.failures.saturating_add(1);
                if state.last_failure.replace((Instant::now(), why.clone())).is_none() {
                    tracing::warn!(node = %self.address, ?why, "redis node cannot be reached");
                }
                Err(why)
            }
        }
    }

    /// Warns of a server that evicts, once for each server; nobody waits for that.
    fn look_at(self: &Arc<Self>, link: &Arc<Link>) {
        if self.looked_at.swap(true, Ordering::Relaxed) {
            return;
        }
        let (node, link) = (Arc::clone(self), Arc::clone(link));
        tokio::spawn(async move {
            let limit = node.settings.config.connect_timeout;
            // a server that does not answer shows in the requests
            let _ = timeout(limit, health::warn_of_eviction(&link, &node)).await;
        });
    }

    async fn open(&self) -> Result<Link, NoLink> {
        let limit = self.settings.config.connect_timeout;
        let opening = Link::open(&self.settings, &self.settings.login, &self.address, self.primary);
        timeout(limit, opening).await.unwrap_or_else(|_| {
            Err(NoLink::Later(format!("{}: no answer within {limit:?}", self.address)))
        })
    }

    /// Forgets `link`, which failed, unless somebody else has replaced it already. Requests that
    /// wait for replies on it keep it until their own deadlines.
    pub(super) fn forget(&self, link: &Arc<Link>) {
        let mut current = self.link.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            *current = None;
            drop(current);
            self.state().spares.clear();
            tracing::debug!(node = %self.address, "dropped the connection to redis node");
        }
    }

    async fn spare(&self) -> Result<Link, NoLink> {
        let kept = self.state().spares.pop();
        match kept {
            Some(link) => Ok(link),
            None => self.open().await,
        }
    }
}

/// The connection of one request: shared with all others, or its own while it waits for replicas.
pub(super) enum Lane {
    Shared(Arc<Link>),
    Own(Link),
}

impl Lane {
    pub(super) async fn of(node: &Arc<Node>, own: bool, deadline: Instant) -> Result<Self, NoLink> {
        if !own {
            return node.link(deadline).await.map(Self::Shared);
        }
        let spare = timeout_at(deadline, node.spare()).await;
        spare.unwrap_or_else(|_| Err(node.too_late())).map(Self::Own)
    }

    /// Every reply has come: it is as good as before.
    pub(super) fn keep(self, node: &Node) {
        if let Self::Own(link) = self {
            let mut state = node.state();
            if state.spares.len() < SPARES {
                state.spares.push(link);
            }
        }
    }

    /// It failed, or replies are outstanding on it. What else is spare has probably failed too.
    pub(super) fn forget(self, node: &Node) {
        match self {
            Self::Shared(link) => node.forget(&link),
            Self::Own(_) => node.state().spares.clear(),
        }
    }
}

impl Deref for Lane {
    type Target = Link;

    fn deref(&self) -> &Link {
        match self {
            Self::Shared(link) => link,
            Self::Own(link) => link,
        }
    }
}
