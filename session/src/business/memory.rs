use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use standfast_core::{BusinessRef, Clock, Health, HealthCheck, Result, SystemClock};

use super::change::Changes;
use super::event::{BusinessEvent, EventKind, Head, check, check_name};
use super::hash::EventHash;
use super::meta::BusinessMeta;
use super::outcome::Append;
use super::state::{At, BusinessState};
use super::store::{BusinessCapabilities, BusinessStore, Expected, Lookup, SINCE};

/// The most bytes of an event, here and in PostgreSQL.
pub(crate) const MAX_EVENT: usize = 256 * 1024;

/// Business sessions in this process: the reference that the contract is told by, for tests. Clones
/// share them. They go with the process, so this is no place for real business.
///
/// ```
/// use standfast_core::BusinessRef;
/// use standfast_session::business::{
///     Actor, Append, BusinessMeta, BusinessStore, Changes, Expected, MemoryBusinessStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// let meta = |step| BusinessMeta::new("req-1", step, Actor::System);
/// store.close(&order, "shipped", &meta("ship")).await?;
/// let late = store.append(&order, Expected::Any, &Changes::new(), &meta("pay")).await?;
/// assert_eq!(late, Append::Closed { seq: 1 });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBusinessStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<BusinessRef, Stream>,
    /// Every event, in the order in which they were appended: stream and number.
    log: Vec<(BusinessRef, u64)>,
}

#[derive(Debug)]
struct Stream {
    events: Vec<BusinessEvent>,
    state: BusinessState,
}

impl MemoryBusinessStore {
    /// No business, the clock of the operating system.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// No business, and the store's time taken from `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can leave a change half done, so poison says nothing
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        business: &BusinessRef,
        expected: Expected,
        kind: EventKind,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        check(business, &kind, changes, meta, MAX_EVENT)?;
        let mut state = self.state();
        let empty = Stream { events: Vec::new(), state: BusinessState::new(business.clone()) };
        let stream = state.streams.get(business).unwrap_or(&empty);
        let known = stream
            .events
            .iter()
            .find(|event| event.origin == meta.origin && event.step == meta.step);
        if let Some(event) = known {
            let seq = event.seq;
            return Ok(match event.is_of(&kind, changes, meta) {
                true => Append::Appended { seq, repeated: true },
                false => Append::Mismatch { seq },
            });
        }
        let current = stream.state.seq;
        if stream.state.closed.is_some() {
            return Ok(Append::Closed { seq: current });
        }
        if let Some(after) = expected.missed(current) {
            let since = stream.events.iter().filter(|event| event.seq > after);
            return Ok(Append::Conflict { current, since: since.take(SINCE).cloned().collect() });
        }
        let hash = stream.events.last().map_or(EventHash::FIRST, |event| event.hash);
        let head = Head { state: &stream.state, hash };
        let event = head.next(kind, changes, meta, self.0.clock.now())?;
        let seq = event.seq;
        let stream = state.streams.entry(business.clone()).or_insert(empty);
        stream.state.apply(&event);
        stream.events.push(event);
        state.log.push((business.clone(), seq));
        Ok(Append::Appended { seq, repeated: false })
    }
}

impl Expected {
    /// After which event the caller thought to be, if it is elsewhere.
    pub(crate) fn missed(self, current: u64) -> Option<u64> {
        match self {
            Self::Any => None,
            Self::Exact(seq) => (seq != current).then_some(seq),
            Self::NoStream => (current != 0).then_some(0),
        }
    }
}

impl Lookup {
    fn finds(&self, event: &BusinessEvent) -> bool {
        match self {
            Self::Actor(actor) => event.actor == *actor,
            Self::Request(request) => event.request_id.as_ref() == Some(request),
            Self::Session(session) => event.session == Some(*session),
        }
    }
}

impl Default for MemoryBusinessStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl BusinessStore for MemoryBusinessStore {
    fn capabilities(&self) -> BusinessCapabilities {
        BusinessCapabilities::new(MAX_EVENT)
    }

    async fn append(
        &self,
        business: &BusinessRef,
        expected: Expected,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        self.add(business, expected, EventKind::Changed, changes, meta)
    }

    async fn close(
        &self,
        business: &BusinessRef,
        reason: &str,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        let kind = EventKind::Closed { reason: reason.to_owned() };
        self.add(business, Expected::Any, kind, &Changes::new(), meta)
    }

    async fn state_at(&self, business: &BusinessRef, at: At) -> Result<Option<BusinessState>> {
        check_name(business)?;
        let state = self.state();
        let Some(stream) = state.streams.get(business) else { return Ok(None) };
        if at == At::Latest {
            return Ok(Some(stream.state.clone()));
        }
        let events = stream.events.iter().take_while(|event| at.includes(event));
        Ok(BusinessState::fold(business, events))
    }

    async fn history(
        &self,
        business: &BusinessRef,
        after: u64,
        max: usize,
    ) -> Result<Vec<BusinessEvent>> {
        check_name(business)?;
        let state = self.state();
        let events = state.streams.get(business).into_iter().flat_map(|stream| &stream.events);
        Ok(events.filter(|event| event.seq > after).take(max).cloned().collect())
    }

    async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>> {
        let state = self.state();
        let event = |(business, seq): &(BusinessRef, u64)| {
            let stream = state.streams.get(business)?;
            stream.events.get(usize::try_from(seq - 1).ok()?)
        };
        let events = state.log.iter().rev().filter_map(event);
        Ok(events.filter(|event| what.finds(event)).take(max).cloned().collect())
    }
}

#[async_trait]
impl HealthCheck for MemoryBusinessStore {
    async fn health(&self) -> Health {
        Health::healthy("memory business sessions")
    }
}
