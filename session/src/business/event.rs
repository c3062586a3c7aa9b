use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::{BusinessRef, Error, ErrorKind, Fence, Reason, Result, SessionRef};

use super::change::{BusinessChange, ChangeOp, Changes};
use super::hash::EventHash;
use super::meta::{Actor, BusinessMeta};
use super::state::BusinessState;

/// What an event did.
///
/// ```
/// use standfast_session::business::{BusinessStore, BusinessStoreExt, EventKind};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::{Actor, BusinessMeta, Changes, Expected, MemoryBusinessStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// # let meta = BusinessMeta::new("req-1", "close", Actor::System);
/// store.close(&order, "shipped", &meta).await?;
/// let events = store.history(&order, 0, 10).await?;
/// assert_eq!(events[0].kind, EventKind::Closed { reason: "shipped".into() });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EventKind {
    /// Changed fields, or none.
    Changed,
    /// Was the last one.
    Closed {
        /// Why.
        reason: String,
    },
}

/// One thing that happened, as it is stored for ever.
///
/// ```
/// use standfast_session::business::{BusinessStore, BusinessStoreExt, EventHash};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::{Actor, BusinessMeta, Changes, Expected, MemoryBusinessStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// # let meta = BusinessMeta::new("req-1", "place", Actor::System);
/// store.append(&order, Expected::Any, &Changes::new().set("state", "placed"), &meta).await?;
/// let event = store.history(&order, 0, 10).await?.remove(0);
/// assert_eq!((event.seq, event.previous), (1, EventHash::FIRST));
/// assert_eq!(event.hash, EventHash::of(&event));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BusinessEvent {
    /// Of which business session.
    pub business: BusinessRef,
    /// Its number there, from 1 without gaps.
    pub seq: u64,
    /// When, by the store's time; never before the event before it.
    pub at: DateTime<Utc>,
    /// What it did.
    pub kind: EventKind,
    /// The fields it changed.
    pub changes: Vec<BusinessChange>,
    /// Who did it.
    pub actor: Actor,
    /// The request or job it comes from.
    pub origin: String,
    /// Which step of that.
    pub step: String,
    /// The request that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The session of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
    /// The fence of the worker or tick that appended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The hash of the event before it.
    pub previous: EventHash,
    /// The hash of all of the above.
    pub hash: EventHash,
}

impl BusinessEvent {
    /// Whether it says what an append of these would say: then that one is a repetition.
    pub(crate) fn is_of(&self, kind: &EventKind, changes: &Changes, meta: &BusinessMeta) -> bool {
        self.kind == *kind
            && self.actor == meta.actor
            && self.changes.len() == changes.len()
            && self
                .changes
                .iter()
                .zip(changes)
                .all(|(made, (field, op))| made.field == *field && made.op == *op)
    }
}

/// Where a business session stands: what the next event is computed from.
pub(crate) struct Head<'a> {
    pub(crate) state: &'a BusinessState,
    pub(crate) hash: EventHash,
}

impl Head<'_> {
    /// The next event. Changes nothing.
    pub(crate) fn next(
        &self,
        kind: EventKind,
        changes: &Changes,
        meta: &BusinessMeta,
        now: DateTime<Utc>,
    ) -> Result<BusinessEvent> {
        let BusinessState { business, seq, at, fields, .. } = self.state;
        let mut made = Vec::with_capacity(changes.len());
        for (field, op) in changes {
            let before = fields.get(field).cloned();
            let after = match op {
                ChangeOp::Add(by) => Some(sum(field, before.as_ref(), *by)?),
                ChangeOp::Remove => None,
                ChangeOp::Set(value) => Some(value.clone()),
            };
            made.push(BusinessChange { field: field.clone(), op: op.clone(), before, after });
        }
        let mut event = BusinessEvent {
            business: business.clone(),
            seq: seq + 1,
            // clocks go back, histories do not
            at: now.max(*at),
            kind,
            changes: made,
            actor: meta.actor.clone(),
            origin: meta.origin.clone(),
            step: meta.step.clone(),
            request_id: meta.request_id.clone(),
            session: meta.session,
            fence: meta.fence,
            cause: meta.cause.clone(),
            previous: self.hash,
            hash: EventHash::FIRST,
        };
        event.hash = EventHash::of(&event);
        Ok(event)
    }
}

fn sum(field: &str, before: Option<&Value>, by: i64) -> Result<Value> {
    let invalid = |what| {
        Error::new(ErrorKind::Invalid, "business", "business.append")
            .with_detail(format!("field `{field}` {what}"))
    };
    let before = match before {
        None => 0,
        Some(value) => value.as_i64().ok_or_else(|| invalid("is no integer of 64 bits"))?,
    };
    before.checked_add(by).map(Value::from).ok_or_else(|| invalid("would overflow"))
}

/// What can be told before any I/O; every backend calls it first.
pub(crate) fn check(
    business: &BusinessRef,
    kind: &EventKind,
    changes: &Changes,
    meta: &BusinessMeta,
    most: usize,
) -> Result<()> {
    check_name(business)?;
    changes.verdict()?;
    meta.verdict()?;
    let mut size = match kind {
        EventKind::Changed => 0,
        EventKind::Closed { reason } => reason.len(),
    };
    for (field, op) in changes {
        size += field.len();
        if let ChangeOp::Set(value) = op {
            if depth(value) > DEEPEST {
                return Err(Error::new(ErrorKind::Invalid, "business", "business.append")
                    .with_detail(format!("field `{field}` is nested deeper than {DEEPEST}")));
            }
            size += value.to_string().len();
        }
    }
    if size > most {
        return Err(Error::new(ErrorKind::TooLarge, "business", "business.append")
            .with_detail(format!("the event has {size} bytes, at most {most}")));
    }
    Ok(())
}

pub(crate) fn check_name(business: &BusinessRef) -> Result<()> {
    let name = business.as_str();
    if (1..=200).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "business", "business")
        .with_reason(Reason::InvalidName)
        .with_detail("a business session is named by 1 to 200 bytes without control characters"))
}

/// What is nested deeper could be stored and not be read.
const DEEPEST: usize = 64;

fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, level)) = open.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, level + 1))),
            Value::Object(map) => open.extend(map.values().map(|value| (value, level + 1))),
            _ => {}
        }
    }
    deepest
}
