use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::field::is_name;

/// What is done to one field of a business session.
///
/// ```
/// use standfast_session::business::{ChangeOp, Changes};
///
/// let changes = Changes::new().add("rows", 2).add("rows", 1);
/// assert_eq!(changes.iter().next().unwrap().1, &ChangeOp::Add(3));
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChangeOp {
    /// Adds to an integer; an absent one counts from zero. Order does not matter, so it goes with
    /// [`Expected::Any`](super::Expected::Any).
    Add(i64),
    /// Removes the field; an absent one stays absent.
    Remove,
    /// Sets the field, whatever it was.
    Set(Value),
}

/// A change as it was made: what there was before, and what there is after.
///
/// ```
/// use serde_json::json;
/// use standfast_session::business::{BusinessStore, BusinessStoreExt, Changes, Expected};
/// # use standfast_core::BusinessRef;
/// # use standfast_session::business::{Actor, BusinessMeta, MemoryBusinessStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (store, order) = (MemoryBusinessStore::new(), BusinessRef::new("order-17"));
/// # let meta = |step: &str| BusinessMeta::new("req-1", step, Actor::System);
/// let state = |state| Changes::new().set("state", state);
/// store.append(&order, Expected::NoStream, &state("placed"), &meta("place")).await?;
/// store.append(&order, Expected::Exact(1), &state("paid"), &meta("pay")).await?;
/// let change = &store.history(&order, 1, 10).await?[0].changes[0];
/// assert_eq!((&change.before, &change.after), (&Some(json!("placed")), &Some(json!("paid"))));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BusinessChange {
    /// Which field.
    pub field: String,
    /// What was done.
    pub op: ChangeOp,
    /// What it held; `None` when it was absent.
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it holds; `None` when it is absent.
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A `null` that is there is not an absent field.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Value>, D::Error> {
        Value::deserialize(from).map(Some)
    }
}

/// Changes to fields, appended all together as one event. Fields are named like those of sessions.
///
/// Naming a field again combines the two: sums add up, a later value replaces an earlier one. What
/// does not combine (adding to what is set) makes the changes invalid.
///
/// ```
/// use standfast_session::business::Changes;
///
/// let changes = Changes::new().set("state", "paid").add("payments", 1).remove("reminder");
/// assert_eq!(changes.len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    ops: BTreeMap<String, ChangeOp>,
    problem: Option<String>,
}

impl Changes {
    /// No changes. An event without any is a note that something happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `field`, whatever it was.
    #[must_use]
    pub fn set(self, field: &str, value: impl Into<Value>) -> Self {
        self.with(field, ChangeOp::Set(value.into()))
    }

    /// Removes `field`.
    #[must_use]
    pub fn remove(self, field: &str) -> Self {
        self.with(field, ChangeOp::Remove)
    }

    /// Adds `by` to the integer `field`.
    #[must_use]
    pub fn add(self, field: &str, by: i64) -> Self {
        self.with(field, ChangeOp::Add(by))
    }

    /// How many fields are named.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The fields and what is done to each.
    pub fn iter(&self) -> btree_map::Iter<'_, String, ChangeOp> {
        self.ops.iter()
    }

    fn with(mut self, field: &str, op: ChangeOp) -> Self {
        if !is_name(field) {
            self.problem = Some(format!("field name {field:?}"));
            return self;
        }
        match self.ops.entry(field.to_owned()) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(op)),
            btree_map::Entry::Occupied(mut entry) => match (entry.get(), op) {
                (ChangeOp::Add(a), ChangeOp::Add(b)) if a.checked_add(b).is_some() => {
                    let sum = a.wrapping_add(b);
                    entry.insert(ChangeOp::Add(sum));
                }
                (_, op @ (ChangeOp::Set(_) | ChangeOp::Remove)) => drop(entry.insert(op)),
                (_, ChangeOp::Add(_)) => {
                    self.problem = Some(format!("operations on field `{field}` do not combine"));
                }
            },
        }
        self
    }

    pub(super) fn verdict(&self) -> Result<()> {
        match &self.problem {
            None => Ok(()),
            Some(problem) => Err(Error::new(ErrorKind::Invalid, "business", "changes")
                .with_reason(Reason::InvalidName)
                .with_detail(problem.clone())),
        }
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = (&'a String, &'a ChangeOp);
    type IntoIter = btree_map::Iter<'a, String, ChangeOp>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
