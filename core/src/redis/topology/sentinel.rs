//! Redis Sentinel: the sentinels tell who the primary is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::super::address::Address;
use super::super::flight::Flight;
use super::super::link::{Link, NoLink};
use super::super::node::Node;
use super::super::settings::Settings;

/// Between two times of asking, however many requests meet trouble.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer that names the suspect waits for a better one: a sentinel that has not
/// heard of a failover yet must not outrun those that have.
const SECOND_THOUGHT: Duration = Duration::from_millis(300);
/// How old the last answer may be while only subscriptions use it.
const AGE: Duration = Duration::from_secs(30);

pub(in crate::redis) struct Sentinel {
    sentinels: Vec<Address>,
    master: String,
    settings: Arc<Settings>,
    state: Mutex<State>,
    resolving: Flight<Result<Arc<Node>, NoLink>>,
}

#[derive(Default)]
struct State {
    primary: Option<Arc<Node>>,
    /// Where the primary was when it failed.
    suspect: Option<Address>,
    resolved: Option<Instant>,
    failure: Option<NoLink>,
}

impl Sentinel {
    pub(super) fn new(
        sentinels: Vec<Address>,
        master: String,
        settings: Arc<Settings>,
    ) -> Arc<Self> {
        let (state, resolving) = Default::default();
        Arc::new(Self { sentinels, master, settings, state, resolving })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn primary(
        self: &Arc<Self>,
        again: bool,
        deadline: Instant,
    ) -> Result<Arc<Node>, NoLink> {
        {
            let state = self.state();
            if let Some(primary) = &state.primary
                && !(again && state.suspect.is_some())
            {
                return Ok(Arc::clone(primary));
            }
        }
        self.resolve(deadline).await
    }

    pub(super) fn suspect(&self, node: &Node) {
        let mut state = self.state();
        if state.primary.as_ref().is_some_and(|primary| primary.address == node.address) {
            state.suspect = Some(node.address.clone());
        }
    }

    /// A primary that lost its office while it was cut off keeps its subscribers, and tells them
    /// nothing; so the sentinels are asked now and then.
    pub(super) async fn reaches(self: &Arc<Self>, address: &Address) -> bool {
        if self.state().resolved.is_none_or(|at| at.elapsed() > AGE) {
            // no answer, no news
            let _ = self.resolve(Instant::now() + self.settings.config.connect_timeout).await;
        }
        self.state().primary.as_ref().is_none_or(|primary| primary.address == *address)
    }

    /// Asks the sentinels; all who want that at the same time share it.
    async fn resolve(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Node>, NoLink> {
        let asking = self.resolving.join(deadline, || Arc::clone(self).ask()).await;
        asking.unwrap_or_else(|| Err(self.state().failure.clone().unwrap_or_else(silence)))
    }

    async fn ask(self: Arc<Self>) -> Result<Arc<Node>, NoLink> {
        let last = self.state().resolved;
        if let Some(last) = last {
            sleep_until(last + PAUSE).await;
        }
        let suspect = self.state().suspect.take();
        let answer = self.best_answer(suspect.as_ref()).await;
        let mut state = self.state();
        state.resolved = Some(Instant::now());
        state.failure = answer.as_ref().err().cloned();
        let address = match answer {
            Ok(address) => address,
            Err(why) => {
                state.suspect = state.suspect.take().or(suspect);
                return Err(why);
            }
        };
        match &state.primary {
            Some(primary) if primary.address == address => Ok(Arc::clone(primary)),
            before => {
                if before.is_some() {
                    tracing::info!(master = self.master, node = %address, "redis primary has changed");
                }
                // its role is checked with each connection
                let primary = Node::new(address, Arc::clone(&self.settings), true);
                state.primary = Some(Arc::clone(&primary));
                Ok(primary)
            }
        }
    }

    /// Of all sentinels at once: the first that names another than the suspect.
    async fn best_answer(&self, suspect: Option<&Address>) -> Result<Address, NoLink> {
        let mut asked = JoinSet::new();
        for sentinel in self.sentinels.clone() {
            let (settings, master) = (Arc::clone(&self.settings), self.master.clone());
            asked.spawn(async move { ask_one(&settings, &sentinel, &master).await });
        }
        let mut limit = Instant::now() + self.settings.config.connect_timeout;
        let (mut fallback, mut why) = (None, silence());
        while let Ok(Some(answer)) = timeout_at(limit, asked.join_next()).await {
            match answer {
                Ok(Ok(address)) if Some(&address) == suspect => {
                    fallback = Some(address);
                    limit = limit.min(Instant::now() + SECOND_THOUGHT);
                }
                Ok(Ok(address)) => return Ok(address),
                // a denial says more than silence
                Ok(Err(other)) if matches!(why, NoLink::Later(_)) => why = other,
                Ok(Err(_)) => {}
                Err(error) => why = NoLink::Later(error.to_string()),
            }
        }
        fallback.ok_or(why)
    }
}

fn silence() -> NoLink {
    NoLink::Later("no sentinel answers".into())
}

/// Asks one sentinel, over a connection of its own: the next question may be hours away.
async fn ask_one(settings: &Settings, sentinel: &Address, master: &str) -> Result<Address, NoLink> {
    let later = |why: &str| NoLink::Later(format!("sentinel {sentinel}: {why}"));
    let asking = async {
        let link = Link::open(settings, &settings.sentinel_login(), sentinel, false).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        link.send(&question).await.map_err(|_| later("closed the connection"))
    };
    let limit = settings.config.connect_timeout;
    let answer = timeout(limit, asking).await.map_err(|_| later("no answer"))??;
    match answer {
        Value::Nil => Err(later(&format!("knows no master named `{master}`"))),
        Value::ServerError(error) => {
            let detail = error.details().unwrap_or_default();
            Err(later(&format!("{} {detail}", error.code())))
        }
        other => address(other).ok_or_else(|| later("an answer that is no address")),
    }
}

fn address(answer: Value) -> Option<Address> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(host), Value::BulkString(port)] = <[Value; 2]>::try_from(parts).ok()?
    else {
        return None;
    };
    let port = std::str::from_utf8(&port).ok()?.parse().ok()?;
    Some(Address::new(String::from_utf8(host).ok()?, port))
}
