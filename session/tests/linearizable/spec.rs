//! A session, one call after the other.

use std::collections::BTreeMap;
use std::rc::Rc;

use stateright::semantics::SequentialSpec;

pub(crate) const FIELDS: [&str; 3] = ["register", "compared", "counter"];

/// A field: its revision, where it is known, and its value.
pub(crate) type Content = (Option<u64>, String);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Set(String),
    Remove,
    Add(i64),
    /// Sets, if the revision is still the one that was seen.
    Compare(Option<u64>, String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Load,
    Commit(BTreeMap<String, Change>),
    Destroy,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Found { version: u64, fields: BTreeMap<String, Content> },
    Committed { version: u64 },
    Conflict { field: String, now: Option<Content> },
    Destroyed,
    Gone,
}

impl Answer {
    pub(crate) fn version(&self) -> Option<u64> {
        match self {
            Self::Found { version, .. } | Self::Committed { version } => Some(*version),
            _ => None,
        }
    }
}

/// What the session is, as far as what has been answered tells.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    fields: BTreeMap<String, Content>,
    version: u64,
    has_ended: bool,
    /// The whole session, of which every version is seen; or one field of it.
    is_whole: bool,
    /// The versions of all answers. They never go down, so what comes next has the lowest that is
    /// left; a search that does not know this goes astray for hours.
    order: Rc<[u64]>,
    at: usize,
}

impl Session {
    pub(crate) fn new(is_whole: bool, mut versions: Vec<u64>) -> Self {
        versions.sort_unstable();
        let fields = BTreeMap::new();
        Self { fields, version: 1, has_ended: false, is_whole, order: versions.into(), at: 0 }
    }

    /// Ends the session; whether it may end here. Nothing that was answered with a version comes
    /// after it, and a search that does not know this tries all orders of what does.
    fn end(&mut self) -> bool {
        self.has_ended = true;
        self.at == self.order.len()
    }

    fn is_next(&mut self, version: u64) -> bool {
        self.at += 1;
        self.order.get(self.at - 1) == Some(&version)
    }

    /// The first of the preconditions that does not hold.
    fn conflict(&self, patch: &BTreeMap<String, Change>) -> Option<(String, Option<Content>)> {
        patch.iter().find_map(|(field, change)| {
            let Change::Compare(seen, _) = change else { return None };
            let now = self.fields.get(field);
            let revision = now.and_then(|(revision, _)| *revision);
            // a revision that nobody has told yet may be any
            let is_open = now.is_some_and(|(revision, _)| revision.is_none()) && seen.is_some();
            (revision != *seen && !is_open).then(|| (field.clone(), now.cloned()))
        })
    }

    fn apply(&mut self, patch: &BTreeMap<String, Change>, revision: Option<u64>) {
        for (field, change) in patch {
            let value = match change {
                Change::Remove => {
                    self.fields.remove(field);
                    continue;
                }
                Change::Set(value) | Change::Compare(_, value) => value.clone(),
                Change::Add(by) => {
                    let before = self.fields.get(field).map_or(0, |it| it.1.parse().unwrap_or(0));
                    (before + by).to_string()
                }
            };
            self.fields.insert(field.clone(), (revision, value));
        }
        self.version = revision.unwrap_or(self.version);
    }

    /// Whether the fields may be these; what they tell of revisions is kept.
    fn is_seen(&mut self, field: &str, now: Option<&Content>) -> bool {
        match (self.fields.get_mut(field), now) {
            (None, None) => true,
            (Some((own, value)), Some((revision, seen))) if value == seen => {
                let is_known = own.is_some();
                let holds = own.is_none_or(|own| Some(own) == *revision);
                let is_later = is_known || *revision > Some(self.version);
                *own = *revision;
                if !is_known {
                    self.version = self.version.max(revision.unwrap_or_default());
                }
                holds && is_later
            }
            _ => false,
        }
    }
}

impl SequentialSpec for Session {
    type Op = Call;
    type Ret = Answer;

    /// What becomes of a call that was never answered, if it was carried out.
    fn invoke(&mut self, call: &Call) -> Answer {
        match call {
            _ if self.has_ended => Answer::Gone,
            Call::Load => Answer::Found { version: self.version, fields: self.fields.clone() },
            Call::Destroy => {
                self.has_ended = true;
                Answer::Destroyed
            }
            Call::Commit(patch) => match self.conflict(patch) {
                Some((field, now)) => Answer::Conflict { field, now },
                None => {
                    let revision = self.is_whole.then_some(self.version + 1);
                    self.apply(patch, revision);
                    Answer::Committed { version: self.version }
                }
            },
        }
    }

    fn is_valid_step(&mut self, call: &Call, answer: &Answer) -> bool {
        if answer.version().is_some_and(|version| !self.is_next(version)) {
            return false;
        }
        match (call, answer) {
            // also where one that was never answered has ended it
            (_, Answer::Gone) => self.has_ended && self.end(),
            // a logout that is repeated, because its answer was lost, cannot know that another one
            // was faster: it is told that it ended the session
            (Call::Destroy, Answer::Destroyed) => self.end(),
            _ if self.has_ended => false,
            (Call::Load, Answer::Found { version, fields }) => {
                let is_now = match self.is_whole {
                    true => *version == self.version,
                    false => *version >= self.version,
                };
                let own: Vec<_> = self.fields.keys().chain(fields.keys()).cloned().collect();
                let is_seen = own.iter().all(|field| self.is_seen(field, fields.get(field)));
                self.version = self.version.max(*version);
                is_now && is_seen
            }
            (Call::Commit(patch), Answer::Committed { version }) => {
                let is_next = match self.is_whole {
                    true => *version == self.version + 1,
                    false => *version > self.version,
                };
                let holds = self.conflict(patch).is_none();
                self.apply(patch, Some(*version));
                is_next && holds
            }
            (Call::Commit(patch), Answer::Conflict { field, now }) => {
                let Some(Change::Compare(seen, _)) = patch.get(field) else { return false };
                let revision = now.as_ref().and_then(|(revision, _)| *revision);
                revision != *seen && self.is_seen(field, now.as_ref())
            }
            _ => false,
        }
    }
}
