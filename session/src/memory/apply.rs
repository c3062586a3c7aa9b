//! What a patch does to fields, told without a store.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::field::{Field, FieldName, FieldValue};
use crate::limits::SessionLimits;
use crate::outcome::Conflict;
use crate::patch::{FieldOp, Patch};

pub(crate) enum Applied {
    Changed(BTreeMap<FieldName, Field>),
    Conflict(Conflict),
}

/// The fields as they are after `patch`, or the first precondition that does not hold. Works on a
/// copy: whatever it answers, `fields` is as it was.
pub(crate) fn apply(
    fields: &BTreeMap<FieldName, Field>,
    patch: &Patch,
    version: u64,
    now: DateTime<Utc>,
    limits: &SessionLimits,
) -> Result<Applied> {
    let live = |name: &FieldName| fields.get(name).filter(|field| field.is_live(now));
    for (name, change) in patch {
        let there = live(name);
        let holds = match change.op {
            FieldOp::CompareAndSet { seen, .. } => seen == there.map(|field| field.revision),
            FieldOp::PutIfAbsent(_) => there.is_none(),
            _ => true,
        };
        if !holds {
            let there = there.map(|field| (field.revision, field.value.clone()));
            return Ok(Applied::Conflict(Conflict::new(name.clone(), there)));
        }
    }
    let mut next: BTreeMap<_, _> = fields
        .iter()
        .filter(|(_, field)| field.is_live(now))
        .map(|(name, field)| (name.clone(), field.clone()))
        .collect();
    for (name, change) in patch {
        let there = next.remove(name);
        // what is set anew stays; what is added to keeps its deadline
        let mut expires_at = None;
        let mut keep = |field: Option<Field>| {
            field.map(|field| {
                expires_at = field.expires_at;
                field.value
            })
        };
        let value = match &change.op {
            FieldOp::Set(value)
            | FieldOp::PutIfAbsent(value)
            | FieldOp::CompareAndSet { value: Some(value), .. } => {
                Some(FieldValue::Bytes(value.clone()))
            }
            FieldOp::Remove | FieldOp::CompareAndSet { value: None, .. } => None,
            FieldOp::Increment(by) => {
                let count = match keep(there) {
                    None => 0,
                    Some(FieldValue::Counter(count)) => count,
                    Some(_) => return Err(invalid(name, "is no counter")),
                };
                let sum = count.checked_add(*by).ok_or_else(|| invalid(name, "would overflow"))?;
                Some(FieldValue::Counter(sum))
            }
            FieldOp::SetMembers { add, remove } => {
                let mut members = match keep(there) {
                    None => BTreeSet::new(),
                    Some(FieldValue::Set(members)) => members,
                    Some(_) => return Err(invalid(name, "is no set")),
                };
                members.retain(|member| !remove.contains(member));
                members.extend(add.iter().cloned());
                Some(FieldValue::Set(members)).filter(|value| value.size() > 0)
            }
            FieldOp::Append { values, keep: most } => {
                let mut list = match keep(there) {
                    None => Vec::new(),
                    Some(FieldValue::List(list)) => list,
                    Some(_) => return Err(invalid(name, "is no list")),
                };
                list.extend(values.iter().cloned());
                list.drain(..list.len().saturating_sub(*most));
                Some(FieldValue::List(list)).filter(|value| value.size() > 0)
            }
        };
        if let Some(value) = value {
            let mut field = Field::new(value, version);
            // a span beyond the calendar outlives every session
            let ends = |span| standfast_core::checked_add(now, span);
            field.expires_at = change.expires_in.map_or(expires_at, ends);
            next.insert(name.clone(), field);
        }
    }
    limits.check_result(next.iter().map(|(name, field)| (name.as_str(), field)))?;
    Ok(Applied::Changed(next))
}

pub(super) fn invalid(name: &FieldName, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, "memory", "session.commit")
        .with_detail(format!("field `{name}` {what}"))
}
