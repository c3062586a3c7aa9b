use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::BusinessRef;

use super::event::{BusinessEvent, EventKind};

/// Which state of a business session is asked for.
///
/// ```
/// use standfast_session::business::{At, BusinessStore, BusinessStoreExt};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::{Actor, BusinessMeta, Changes, Expected, MemoryBusinessStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// # for (step, state) in [("place", "placed"), ("pay", "paid")] {
/// #     let meta = BusinessMeta::new("req-1", step, Actor::System);
/// #     store.append(&order, Expected::Any, &Changes::new().set("state", state), &meta).await?;
/// # }
/// assert_eq!(store.state_at(&order, At::Seq(1)).await?.unwrap().fields["state"], "placed");
/// assert_eq!(store.state_at(&order, At::Latest).await?.unwrap().fields["state"], "paid");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum At {
    /// The one now.
    Latest,
    /// The one after this event.
    Seq(u64),
    /// The one at this time.
    Time(DateTime<Utc>),
}

/// What a business session is after some event: a projection of all events up to it.
///
/// ```
/// use standfast_core::BusinessRef;
/// use standfast_session::business::BusinessState;
///
/// let nothing = BusinessState::new(BusinessRef::new("order-17"));
/// assert_eq!((nothing.seq, nothing.closed), (0, None));
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BusinessState {
    /// Which business session.
    pub business: BusinessRef,
    /// The last event that is in it; 0 before the first.
    pub seq: u64,
    /// When that was.
    pub at: DateTime<Utc>,
    /// Why it is closed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// What there is.
    pub fields: BTreeMap<String, Value>,
}

impl BusinessState {
    /// Nothing has happened.
    pub fn new(business: BusinessRef) -> Self {
        Self { business, seq: 0, at: DateTime::UNIX_EPOCH, closed: None, fields: BTreeMap::new() }
    }

    /// The same after `event`.
    pub fn apply(&mut self, event: &BusinessEvent) {
        self.seq = event.seq;
        self.at = event.at;
        if let EventKind::Closed { reason } = &event.kind {
            self.closed = Some(reason.clone());
        }
        for change in &event.changes {
            match &change.after {
                Some(value) => drop(self.fields.insert(change.field.clone(), value.clone())),
                None => drop(self.fields.remove(&change.field)),
            }
        }
    }

    /// Everything that `events` say, from the first one on.
    pub(crate) fn fold<'a>(
        business: &BusinessRef,
        events: impl IntoIterator<Item = &'a BusinessEvent>,
    ) -> Option<Self> {
        let mut state = Self::new(business.clone());
        events.into_iter().for_each(|event| state.apply(event));
        (state.seq > 0).then_some(state)
    }
}

impl At {
    /// Whether an event is part of the state.
    pub(crate) fn includes(self, event: &BusinessEvent) -> bool {
        match self {
            Self::Latest => true,
            Self::Seq(seq) => event.seq <= seq,
            Self::Time(at) => event.at <= at,
        }
    }
}
