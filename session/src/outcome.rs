use chrono::{DateTime, Utc};

use crate::field::{FieldName, FieldValue};
use crate::snapshot::Snapshot;

/// The answer to `create`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum CreateOutcome {
    /// The session is there.
    Created {
        /// Its version: 1.
        version: u64,
        /// When it ends unless it is touched.
        expires_at: DateTime<Utc>,
    },
    /// A session of this reference is there already; nothing was changed.
    Exists,
}

/// The answer to `load`.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum LoadOutcome {
    /// There is no such session: unknown, expired or ended.
    Absent,
    /// What is stored.
    Found(Box<Snapshot>),
    /// The secret is not, or no longer, that of the session. To the visitor this is the same as
    /// [`Absent`](Self::Absent); to the operator it is a sign of an attack or of a late request.
    Refused,
}

impl LoadOutcome {
    /// The snapshot, where there is one.
    pub fn found(self) -> Option<Snapshot> {
        match self {
            Self::Found(snapshot) => Some(*snapshot),
            _ => None,
        }
    }
}

/// A precondition that did not hold, with what is there instead, so that a retry needs no reload.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Conflict {
    /// The field.
    pub field: FieldName,
    /// Its revision; `None` when it is absent.
    pub revision: Option<u64>,
    /// What it holds.
    pub value: Option<FieldValue>,
}

impl Conflict {
    /// `field` holds something else: a revision and a value, or nothing.
    pub fn new(field: FieldName, now: Option<(u64, FieldValue)>) -> Self {
        let (revision, value) = now.unzip();
        Self { field, revision, value }
    }
}

/// The answer to `commit`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum CommitOutcome {
    /// All of the patch was applied.
    Committed {
        /// The version of the session now.
        version: u64,
        /// When it ends unless it is touched.
        expires_at: DateTime<Utc>,
    },
    /// A precondition did not hold; nothing was changed.
    Conflict(Conflict),
    /// There is no such session any more; nothing was created.
    Gone,
    /// The secret is not, or no longer, that of the session.
    Refused,
}

/// The answer to `rotate`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum RotateOutcome {
    /// A precondition of the patch did not hold; nothing was changed, the secret neither.
    Conflict(Conflict),
    /// There is no such session any more.
    Gone,
    /// The secret is not, or no longer, that of the session, or there was none.
    Refused,
    /// The new secret counts, now or by an earlier call with the same one.
    Rotated {
        /// The version of the session now.
        version: u64,
        /// When it ends unless it is touched.
        expires_at: DateTime<Utc>,
    },
    /// Another request has renewed the secret a moment ago; nothing was changed. Go on without a
    /// new cookie: the other response brings it.
    Superseded,
}

/// The answer to `touch`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum TouchOutcome {
    /// Touched recently enough; nothing was written.
    Fresh {
        /// When the session ends.
        expires_at: DateTime<Utc>,
    },
    /// There is no such session any more.
    Gone,
    /// The secret is not, or no longer, that of the session.
    Refused,
    /// The idle time runs anew.
    Touched {
        /// When the session ends.
        expires_at: DateTime<Utc>,
    },
}

/// The answer to `destroy`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum DestroyOutcome {
    /// It is gone now.
    Destroyed,
    /// It was gone before.
    Gone,
    /// The secret is not, or no longer, that of the session.
    Refused,
}

/// The answer to `sweep`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Swept {
    /// How many expired sessions were removed.
    pub removed: usize,
    /// Whether there are more.
    pub more: bool,
}

impl Swept {
    /// `removed` sessions went, and whether there are more.
    pub fn new(removed: usize, more: bool) -> Self {
        Self { removed, more }
    }
}
