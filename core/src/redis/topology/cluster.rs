//! Redis Cluster: any node tells who has which slot.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::address::Address;
use super::super::flight::Flight;
use super::super::link::NoLink;
use super::super::node::Node;
use super::super::settings::Settings;
use super::nodes::Nodes;
use super::slots::{self, Slots};
use crate::random;

/// Between two times of asking, however many requests meet trouble.
const PAUSE: Duration = Duration::from_millis(100);
/// Nodes that are asked at a time.
const ASKED: usize = 6;
/// How old the map may be while only subscriptions use it.
const AGE: Duration = Duration::from_secs(60);

pub(in crate::redis) struct Cluster {
    seeds: Vec<Address>,
    settings: Arc<Settings>,
    nodes: Nodes,
    slots: RwLock<Slots>,
    /// Whether the map has proved wrong.
    stale: AtomicBool,
    refreshing: Flight<Result<(), NoLink>>,
    last: Mutex<Last>,
}

/// The last time of asking.
#[derive(Default)]
struct Last {
    at: Option<Instant>,
    failure: Option<NoLink>,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            seeds,
            nodes: Nodes::new(Arc::clone(&settings)),
            settings,
            slots: RwLock::default(),
            stale: AtomicBool::new(false),
            refreshing: Flight::default(),
            last: Mutex::default(),
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Slots) -> T) -> T {
        look(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn owner(
        self: &Arc<Self>,
        slot: u16,
        again: bool,
        deadline: Instant,
    ) -> Result<Arc<Node>, NoLink> {
        let known = self.read(|slots| slots.owner(slot));
        if let Some(node) = known.filter(|_| !(again && self.stale.load(Ordering::Acquire))) {
            return Ok(node);
        }
        let refreshed = self.refresh(deadline).await;
        // an old map is better than none
        self.read(|slots| slots.owner(slot)).ok_or_else(|| match refreshed {
            Err(why) => why,
            Ok(()) => {
                NoLink::Later(format!("no node has slot {slot}; `CLUSTER SHARDS` tells more"))
            }
        })
    }

    pub(super) fn node(&self, address: &Address) -> Arc<Node> {
        self.nodes.get(address)
    }

    /// The one slot changes at once; the rest is asked for meanwhile, because a slot seldom moves
    /// alone.
    pub(super) fn moved(self: &Arc<Self>, slot: u16, node: &Arc<Node>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).give(slot, node);
        let cluster = Arc::clone(self);
        tokio::spawn(async move { cluster.refresh(cluster.patience()).await });
    }

    pub(super) fn suspect(&self) {
        self.stale.store(true, Ordering::Release);
    }

    pub(super) async fn subscribe_at(
        self: &Arc<Self>,
        avoid: Option<&Address>,
        deadline: Instant,
    ) -> Address {
        if avoid.is_some() || self.read(|slots| slots.members.is_empty()) {
            // without a map the seeds have to do
            let _ = self.refresh(deadline).await;
        }
        let known = self.read(|slots| slots.members.clone());
        let mut choice: Vec<&Address> =
            if known.is_empty() { self.seeds.iter().collect() } else { known.iter().collect() };
        choice.sort_by_cached_key(|address| {
            let away = !self.nodes.is_connected(address);
            (Some(*address) == avoid, away, random::bytes::<8>())
        });
        choice[0].clone()
    }

    /// Messages go to all nodes of a Cluster, and to none that has left it.
    pub(super) async fn reaches(self: &Arc<Self>, address: &Address) -> bool {
        let age = self.last().at.map(|at| at.elapsed());
        if age.is_none_or(|age| age > AGE) {
            let _ = self.refresh(self.patience()).await;
        }
        self.read(|slots| slots.members.is_empty() || slots.members.contains(address))
    }

    pub(super) async fn primaries(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Vec<Arc<Node>>, NoLink> {
        let refreshed = self.refresh(deadline).await;
        let primaries = self.read(|slots| slots.primaries().to_vec());
        if primaries.is_empty() { refreshed.map(|()| primaries) } else { Ok(primaries) }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.settings.config.connect_timeout
    }

    /// Asks for the map; all who want that at the same time share it.
    async fn refresh(self: &Arc<Self>, deadline: Instant) -> Result<(), NoLink> {
        let asking = self.refreshing.join(deadline, || Arc::clone(self).ask()).await;
        asking.unwrap_or_else(|| Err(self.last().failure.clone().unwrap_or_else(silence)))
    }

    async fn ask(self: Arc<Self>) -> Result<(), NoLink> {
        let last = self.last().at;
        if let Some(last) = last {
            sleep_until(last + PAUSE).await;
        }
        // trouble that comes from now on is news
        let suspected = self.stale.swap(false, Ordering::AcqRel);
        let answer = self.first_answer().await;
        let failure = answer.as_ref().err().cloned();
        *self.last() = Last { at: Some(Instant::now()), failure };
        match answer {
            Ok(ranges) => {
                let slots = Slots::new(ranges, |address| self.nodes.get(address));
                let wanted: HashSet<Address> =
                    slots.members.iter().chain(&self.seeds).cloned().collect();
                self.nodes.retain(&wanted);
                *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
                Ok(())
            }
            Err(why) => {
                self.stale.fetch_or(suspected, Ordering::AcqRel);
                Err(why)
            }
        }
    }

    /// Of several nodes at once, so that one that is away holds nobody up.
    async fn first_answer(&self) -> Result<Vec<slots::Range>, NoLink> {
        let deadline = self.patience();
        let mut asked = JoinSet::new();
        for node in self.candidates() {
            asked.spawn(async move {
                let at = &node.address;
                let later = |why: &str| NoLink::Later(format!("{at}: {why}"));
                let link = node.link(deadline).await?;
                let question = redis::cmd("CLUSTER").arg("SLOTS").take();
                let answer = timeout_at(deadline, link.send(&question)).await;
                match answer {
                    Ok(Ok(redis::Value::ServerError(error))) => {
                        let detail = error.details().unwrap_or_default();
                        Err(later(&format!("{} {detail} (to CLUSTER SLOTS)", error.code())))
                    }
                    Ok(Ok(value)) => slots::parse(value, at)
                        .ok_or_else(|| later("knows no slots; has it joined the Cluster?")),
                    _ => {
                        node.forget(&link);
                        Err(later("no answer to CLUSTER SLOTS"))
                    }
                }
            });
        }
        let mut why = silence();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(ranges)) => return Ok(ranges),
                // a denial says more than silence
                Ok(Err(other)) if matches!(why, NoLink::Later(_)) => why = other,
                Ok(Err(_)) => {}
                Err(error) => why = NoLink::Later(error.to_string()),
            }
        }
        Err(why)
    }

    /// Whom to ask: nodes with a connection first, then seeds, then the others.
    fn candidates(&self) -> Vec<Arc<Node>> {
        let known = self.read(|slots| slots.members.clone());
        let seeds: HashSet<&Address> = self.seeds.iter().collect();
        let mut all: Vec<&Address> = known.iter().chain(&self.seeds).collect();
        all.sort();
        all.dedup();
        all.sort_by_cached_key(|address| {
            let away = !self.nodes.is_connected(address);
            (away, !seeds.contains(address), random::bytes::<8>())
        });
        // half of the places by chance: those that come first may all be away
        let first = all.len().min(ASKED / 2);
        all[first..].sort_by_cached_key(|_| random::bytes::<8>());
        all.into_iter().take(ASKED).map(|address| self.nodes.get(address)).collect()
    }
}

fn silence() -> NoLink {
    NoLink::Later("no node tells who has which slot".into())
}
