use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::time::Duration;

use bytes::Bytes;
use standfast_core::{BusinessRef, Error, ErrorKind, Result};

use crate::field::FieldName;
use crate::flash::{Flash, FlashId};

/// What is done to one field.
///
/// ```
/// use standfast_session::{FieldOp, Patch};
///
/// let patch = Patch::new().set("locale", "fi").increment("views", 2).increment("views", 1);
/// for (name, change) in &patch {
///     match &change.op {
///         FieldOp::Set(value) => assert_eq!((name.as_str(), &value[..]), ("locale", &b"fi"[..])),
///         FieldOp::Increment(by) => assert_eq!((name.as_str(), *by), ("views", 3)),
///         other => panic!("not asked for: {other:?}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FieldOp {
    /// Adds values to the end of a list and keeps the newest `keep` of it.
    Append {
        /// What to add, oldest first.
        values: Vec<Bytes>,
        /// How many values stay.
        keep: usize,
    },
    /// Sets or removes the field if its revision is the one that was seen.
    CompareAndSet {
        /// The revision that was seen; `None` for an absent field.
        seen: Option<u64>,
        /// What to set; `None` removes.
        value: Option<Bytes>,
    },
    /// Adds to a counter; an absent one counts from zero.
    Increment(i64),
    /// Sets the field if it is absent.
    PutIfAbsent(Bytes),
    /// Removes the field; an absent one stays absent.
    Remove,
    /// Sets the field, whatever it was.
    Set(Bytes),
    /// Adds members to a set and takes others out; what is named in neither stays.
    SetMembers {
        /// To add.
        add: BTreeSet<Bytes>,
        /// To take out.
        remove: BTreeSet<Bytes>,
    },
}

/// An operation and how long its result lives.
///
/// ```
/// use std::time::Duration;
/// use standfast_session::{FieldOp, Patch};
///
/// let hour = Duration::from_secs(60 * 60);
/// let patch = Patch::new().set("code", "4711").expiring("code", hour);
/// let (_, change) = patch.iter().next().unwrap();
/// assert_eq!(change.op, FieldOp::Set("4711".into()));
/// assert_eq!(change.expires_in, Some(hour));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FieldChange {
    /// What is done.
    pub op: FieldOp,
    /// How long the field lives from the commit on, by the store's time. Without it, a field that
    /// is set stays, and one that is added to keeps the deadline it has.
    pub expires_in: Option<Duration>,
}

/// Changes to fields, applied all together or not at all. A patch names what it changes and leaves
/// everything else alone, so patches on different fields never undo one another.
///
/// A field has one operation. Naming it again combines the two: increments add up, members and
/// appended values join, a value set later replaces one set earlier and keeps its precondition.
/// What does not combine (adding to what is compared) makes the patch invalid.
///
/// ```
/// use standfast_session::Patch;
///
/// let patch = Patch::new().set("locale", "fi").increment("views", 1).increment("views", 1);
/// assert_eq!(patch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    changes: BTreeMap<FieldName, FieldChange>,
    problem: Option<Problem>,
}

#[derive(Clone, Debug, PartialEq)]
enum Problem {
    Mixed(FieldName),
    Name(String),
}

impl Patch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.problem.is_none()
    }

    /// How many fields it names.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// The fields it names and what is done to each.
    pub fn iter(&self) -> btree_map::Iter<'_, FieldName, FieldChange> {
        self.changes.iter()
    }

    /// Sets `name`, whatever it was.
    #[must_use]
    pub fn set(self, name: &str, value: impl Into<Bytes>) -> Self {
        self.with(FieldName::new(name), name, FieldOp::Set(value.into()))
    }

    /// Removes `name`.
    #[must_use]
    pub fn remove(self, name: &str) -> Self {
        self.with(FieldName::new(name), name, FieldOp::Remove)
    }

    /// Adds `by` to the counter `name`.
    #[must_use]
    pub fn increment(self, name: &str, by: i64) -> Self {
        self.with(FieldName::new(name), name, FieldOp::Increment(by))
    }

    /// Sets `name` if it is absent.
    #[must_use]
    pub fn put_if_absent(self, name: &str, value: impl Into<Bytes>) -> Self {
        self.with(FieldName::new(name), name, FieldOp::PutIfAbsent(value.into()))
    }

    /// Sets `name`, or removes it with `None`, if its revision is the one that was `seen`.
    #[must_use]
    pub fn compare_and_set(self, name: &str, seen: Option<u64>, value: Option<Bytes>) -> Self {
        self.with(FieldName::new(name), name, FieldOp::CompareAndSet { seen, value })
    }

    /// Adds a member to the set `name`.
    #[must_use]
    pub fn add_member(self, name: &str, member: impl Into<Bytes>) -> Self {
        let op = FieldOp::SetMembers { add: [member.into()].into(), remove: BTreeSet::new() };
        self.with(FieldName::new(name), name, op)
    }

    /// Takes a member out of the set `name`.
    #[must_use]
    pub fn remove_member(self, name: &str, member: impl Into<Bytes>) -> Self {
        let op = FieldOp::SetMembers { add: BTreeSet::new(), remove: [member.into()].into() };
        self.with(FieldName::new(name), name, op)
    }

    /// Adds a value to the end of the list `name` and keeps the newest `keep`.
    #[must_use]
    pub fn append(self, name: &str, value: impl Into<Bytes>, keep: usize) -> Self {
        let op = FieldOp::Append { values: vec![value.into()], keep };
        self.with(FieldName::new(name), name, op)
    }

    /// Lets `name`, which this patch changes already, vanish `span` after the commit.
    #[must_use]
    pub fn expiring(mut self, name: &str, span: Duration) -> Self {
        let change = FieldName::new(name).ok().and_then(|name| self.changes.get_mut(&name));
        match change {
            Some(change) => change.expires_in = Some(span),
            None => self.problem = Some(Problem::Name(name.to_owned())),
        }
        self
    }

    /// Links the session to a business session. A link of this kind that is there is a conflict,
    /// so that two tabs cannot silently swap what they work on.
    #[must_use]
    pub fn attach(self, kind: &str, business: &BusinessRef) -> Self {
        let value = Bytes::copy_from_slice(business.as_str().as_bytes());
        self.with(FieldName::business(kind), kind, FieldOp::PutIfAbsent(value))
    }

    /// Links the session to a business session, replacing the link of this kind.
    #[must_use]
    pub fn switch(self, kind: &str, business: &BusinessRef) -> Self {
        let value = Bytes::copy_from_slice(business.as_str().as_bytes());
        self.with(FieldName::business(kind), kind, FieldOp::Set(value))
    }

    /// Removes the link of this kind.
    #[must_use]
    pub fn detach(self, kind: &str) -> Self {
        self.with(FieldName::business(kind), kind, FieldOp::Remove)
    }

    /// Leaves a message for the next page. The same id twice is one message.
    #[must_use]
    pub fn push_flash(self, id: FlashId, flash: &Flash) -> Self {
        // invariant: two plain strings always encode
        let value = serde_json::to_vec(flash).unwrap_or_default();
        self.with(Ok(FieldName::flash(id)), "", FieldOp::Set(value.into()))
    }

    /// Removes a message that was shown; messages that came meanwhile stay.
    #[must_use]
    pub fn remove_flash(self, id: FlashId) -> Self {
        self.with(Ok(FieldName::flash(id)), "", FieldOp::Remove)
    }

    /// The change to one field by itself.
    #[cfg(feature = "tower")]
    pub(crate) fn only(&self, name: &FieldName) -> Option<Self> {
        let change = self.changes.get(name)?.clone();
        Some(Self { changes: [(name.clone(), change)].into(), problem: None })
    }

    /// Puts `op` in the place of what is done to a field that the patch changes already.
    #[cfg(feature = "tower")]
    pub(crate) fn replace(&mut self, name: &FieldName, op: FieldOp) {
        if let Some(change) = self.changes.get_mut(name) {
            change.op = op;
        }
    }

    /// Whether the patch can be applied at all.
    pub(crate) fn verdict(&self) -> Result<()> {
        let invalid =
            |detail| Err(Error::new(ErrorKind::Invalid, "session", "patch").with_detail(detail));
        match &self.problem {
            None => Ok(()),
            Some(Problem::Name(name)) => FieldName::new(name).and_then(|name| {
                invalid(format!("the patch does not change `{name}`, so it cannot expire"))
            }),
            Some(Problem::Mixed(name)) => {
                invalid(format!("operations on field `{name}` do not combine"))
            }
        }
    }

    fn with(mut self, name: Result<FieldName>, raw: &str, op: FieldOp) -> Self {
        let Ok(name) = name else {
            self.problem = Some(Problem::Name(raw.to_owned()));
            return self;
        };
        match self.changes.entry(name) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(FieldChange { op, expires_in: None });
            }
            btree_map::Entry::Occupied(mut entry) => match combine(entry.get().op.clone(), op) {
                Some(op) => entry.get_mut().op = op,
                None => self.problem = Some(Problem::Mixed(entry.key().clone())),
            },
        }
        self
    }
}

impl<'a> IntoIterator for &'a Patch {
    type Item = (&'a FieldName, &'a FieldChange);
    type IntoIter = btree_map::Iter<'a, FieldName, FieldChange>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `earlier` and then `later` as one operation.
fn combine(earlier: FieldOp, later: FieldOp) -> Option<FieldOp> {
    use FieldOp::{Append, CompareAndSet, Increment, PutIfAbsent, Remove, Set, SetMembers};
    Some(match (earlier, later) {
        (CompareAndSet { seen, .. }, Set(value)) => CompareAndSet { seen, value: Some(value) },
        (CompareAndSet { seen, .. }, Remove) => CompareAndSet { seen, value: None },
        (PutIfAbsent(_), Set(value)) => PutIfAbsent(value),
        (PutIfAbsent(_), Remove) => CompareAndSet { seen: None, value: None },
        (CompareAndSet { seen, .. }, CompareAndSet { seen: again, value }) if seen == again => {
            CompareAndSet { seen, value }
        }
        (Increment(a), Increment(b)) => Increment(a.checked_add(b)?),
        (SetMembers { mut add, mut remove }, SetMembers { add: more, remove: fewer }) => {
            add.retain(|member| !fewer.contains(member));
            remove.retain(|member| !more.contains(member));
            add.extend(more);
            remove.extend(fewer);
            SetMembers { add, remove }
        }
        (Append { mut values, .. }, Append { values: more, keep }) => {
            values.extend(more);
            Append { values, keep }
        }
        (_, later @ (Set(_) | Remove)) => later,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(patch: &Patch) -> &FieldOp {
        &patch.iter().next().unwrap().1.op
    }

    #[test]
    fn operations_on_one_field_combine() {
        let cas = Patch::new().compare_and_set("f", Some(3), None).set("f", "b");
        assert_eq!(op(&cas), &FieldOp::CompareAndSet { seen: Some(3), value: Some("b".into()) });
        let sum = Patch::new().increment("f", 2).increment("f", -5);
        assert_eq!(op(&sum), &FieldOp::Increment(-3));
        let members =
            Patch::new().add_member("f", "a").add_member("f", "b").remove_member("f", "a");
        let FieldOp::SetMembers { add, remove } = op(&members) else { panic!() };
        assert_eq!((add.len(), remove.len()), (1, 1));
        let first = Patch::new().put_if_absent("f", "a").set("f", "b");
        assert_eq!(op(&first), &FieldOp::PutIfAbsent("b".into()));
    }

    #[test]
    fn what_does_not_combine_is_invalid() {
        for wrong in [
            Patch::new().set("f", "a").increment("f", 1),
            Patch::new().increment("f", 1).add_member("f", "a"),
            Patch::new().increment("f", i64::MAX).increment("f", 1),
            Patch::new().compare_and_set("f", Some(1), None).compare_and_set("f", Some(2), None),
            Patch::new().expiring("f", Duration::from_secs(1)),
            Patch::new().set("no name", "a"),
        ] {
            assert_eq!(wrong.verdict().unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
            assert!(!wrong.is_empty());
        }
    }
}
