use chrono::{DateTime, Utc};

use crate::field::{FieldName, FieldValue};
use crate::snapshot::Snapshot;

/// The answer to `create`.
///
/// ```
/// use standfast_session::{CreateOutcome, SessionHandler, SessionInit, SessionToken};
/// # use standfast_session::MemorySessionHandler;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// let (token, init) = (SessionToken::random(), SessionInit::new());
/// let first = handler.create(token.session(), token.verifier_hash(), &init).await?;
/// assert!(matches!(first, CreateOutcome::Created { version: 1, .. }));
/// let second = handler.create(token.session(), token.verifier_hash(), &init).await?;
/// assert_eq!(second, CreateOutcome::Exists);
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_session::{Access, LoadOutcome, SessionHandler, SessionToken};
/// # use standfast_session::{MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// let unknown = Access::bearer(&SessionToken::random());
/// let forged = Access::bearer(&token.renewed());
/// assert_eq!(handler.load(&unknown).await?, LoadOutcome::Absent);
/// assert_eq!(handler.load(&forged).await?, LoadOutcome::Refused);
/// let LoadOutcome::Found(snapshot) = handler.load(&visitor).await? else { panic!() };
/// assert_eq!(snapshot.session, token.session());
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_session::{CommitOutcome, Patch, SessionHandler};
/// # use standfast_session::{Access, MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let init = SessionInit::new().with_patch(Patch::new().set("cart", "tea"));
/// # let visitor = Access::bearer(&handler.start(&init).await?.token);
/// // saw no cart, but meanwhile there is one
/// let late = Patch::new().compare_and_set("cart", None, Some("milk".into()));
/// let CommitOutcome::Conflict(now) = handler.commit(&visitor, &late).await? else { panic!() };
/// assert_eq!(now.field.as_str(), "cart");
/// let again = Patch::new().compare_and_set("cart", now.revision, Some("tea, milk".into()));
/// assert!(matches!(handler.commit(&visitor, &again).await?, CommitOutcome::Committed { .. }));
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_session::{CommitOutcome, Patch, SessionHandler};
/// # use standfast_session::{Access, MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// match handler.commit(&visitor, &Patch::new().increment("views", 1)).await? {
///     CommitOutcome::Committed { version, .. } => assert_eq!(version, 2),
///     CommitOutcome::Conflict(now) => panic!("`{}` holds {:?} now", now.field, now.value),
///     other => panic!("the visitor needs a new session: {other:?}"),
/// }
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_session::{Patch, RotateOutcome, Rotation, SessionHandler};
/// # use standfast_session::{Access, MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// // two requests find at the same time that the secret is old
/// let (one, two) = (Rotation::renewal(&token.renewed()), Rotation::renewal(&token.renewed()));
/// let first = handler.rotate(&visitor, &one, &Patch::new()).await?;
/// assert!(matches!(first, RotateOutcome::Rotated { .. }));
/// let second = handler.rotate(&visitor, &two, &Patch::new()).await?;
/// assert_eq!(second, RotateOutcome::Superseded);
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_core::testkit::ManualClock;
/// use standfast_session::{SessionHandler, Timeouts, TouchOutcome};
/// # use std::sync::Arc;
/// # use standfast_session::{
/// #     Access, MemorySessionHandler, SessionHandlerExt, SessionInit, SessionLimits,
/// # };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (limits, clock) = (SessionLimits::default(), ManualClock::new());
/// # let handler = MemorySessionHandler::with_config(limits, Arc::new(clock.clone()));
/// # let visitor = Access::bearer(&handler.start(&SessionInit::new()).await?.token);
/// assert!(matches!(handler.touch(&visitor).await?, TouchOutcome::Fresh { .. }));
/// clock.advance(Timeouts::default().touch_interval());
/// assert!(matches!(handler.touch(&visitor).await?, TouchOutcome::Touched { .. }));
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_session::{DestroyOutcome, SessionHandler};
/// # use standfast_session::{Access, MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// let forged = Access::bearer(&token.renewed());
/// assert_eq!(handler.destroy(&forged).await?, DestroyOutcome::Refused);
/// assert_eq!(handler.destroy(&visitor).await?, DestroyOutcome::Destroyed);
/// assert_eq!(handler.destroy(&visitor).await?, DestroyOutcome::Gone);
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_core::testkit::ManualClock;
/// use standfast_session::{SessionHandler, Swept, Timeouts};
/// # use std::sync::Arc;
/// # use standfast_session::{MemorySessionHandler, SessionHandlerExt, SessionInit, SessionLimits};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (limits, clock) = (SessionLimits::default(), ManualClock::new());
/// # let handler = MemorySessionHandler::with_config(limits, Arc::new(clock.clone()));
/// # handler.start(&SessionInit::new()).await?;
/// # handler.start(&SessionInit::new()).await?;
/// clock.advance(Timeouts::default().idle); // two sessions end
/// assert_eq!(handler.sweep(1).await?, Swept::new(1, true));
/// assert_eq!(handler.sweep(1).await?, Swept::new(1, false));
/// # Ok(()) }
/// ```
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
