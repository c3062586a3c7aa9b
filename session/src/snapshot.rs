use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use standfast_core::{BusinessRef, SessionRef};

use crate::field::{Field, FieldName, FieldValue};
use crate::flash::{Flash, FlashId};

/// By which secret a session was reached.
///
/// ```
/// use standfast_session::{Access, Patch, Rotation, SessionHandler, Via};
/// # use standfast_session::{MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// let new = token.renewed();
/// let _ = handler.rotate(&visitor, &Rotation::renewal(&new), &Patch::new()).await?;
/// // a request that was under way comes with the old cookie
/// let snapshot = handler.load(&visitor).await?.found().unwrap();
/// assert_eq!(snapshot.via, Via::Previous);
/// let snapshot = handler.load(&Access::bearer(&new)).await?.found().unwrap();
/// assert_eq!(snapshot.via, Via::Current);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Via {
    /// The one that counts.
    Current,
    /// The one before it, within its grace.
    Previous,
    /// None: code of ours.
    Trusted,
}

/// A session as it was at one moment.
///
/// ```
/// use standfast_session::{
///     Access, MemorySessionHandler, Patch, SessionHandler, SessionHandlerExt, SessionInit,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = MemorySessionHandler::new();
/// let init = SessionInit::new().with_patch(Patch::new().set("locale", "fi").increment("views", 3));
/// let token = handler.start(&init).await?.token;
/// let snapshot = handler.load(&Access::bearer(&token)).await?.found().unwrap();
/// assert_eq!(snapshot.bytes("locale").unwrap(), "fi");
/// assert_eq!(snapshot.counter("views"), 3);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Which session.
    pub session: SessionRef,
    /// Rises by one with each commit that changes something.
    pub version: u64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last touched.
    pub touched_at: DateTime<Utc>,
    /// When it ends unless it is touched.
    pub expires_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub ends_at: DateTime<Utc>,
    /// Whose it is.
    pub principal: Option<String>,
    /// By which secret it was reached.
    pub via: Via,
    /// The store's time of the reading.
    pub now: DateTime<Utc>,
    /// All fields, links and flash messages included.
    pub fields: BTreeMap<FieldName, Field>,
}

impl Snapshot {
    /// A session without fields that is touched and read at the moment of its creation.
    pub fn new(
        session: SessionRef,
        version: u64,
        created_at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> Self {
        Self {
            session,
            version,
            created_at,
            touched_at: created_at,
            expires_at: ends_at,
            ends_at,
            principal: None,
            via: Via::Current,
            now: created_at,
            fields: BTreeMap::new(),
        }
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        FieldName::new(name).ok().and_then(|name| self.fields.get(&name))
    }

    /// The revision of the field of this name: what compare-and-set must have seen.
    pub fn revision(&self, name: &str) -> Option<u64> {
        self.field(name).map(|field| field.revision)
    }

    /// The bytes of the field of this name, if it holds bytes.
    pub fn bytes(&self, name: &str) -> Option<&Bytes> {
        match self.field(name)?.value {
            FieldValue::Bytes(ref bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The counter of this name; zero when it is absent.
    pub fn counter(&self, name: &str) -> i64 {
        match self.field(name).map(|field| &field.value) {
            Some(FieldValue::Counter(count)) => *count,
            _ => 0,
        }
    }

    /// The business session of this kind that the session is linked to.
    pub fn business(&self, kind: &str) -> Option<BusinessRef> {
        let field = FieldName::business(kind).ok().and_then(|name| self.fields.get(&name))?;
        match &field.value {
            FieldValue::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(BusinessRef::new),
            _ => None,
        }
    }

    /// The flash messages, oldest first. One that cannot be read is left out, and stays.
    pub fn flash(&self) -> Vec<(FlashId, Flash)> {
        let read = |(name, field): (&FieldName, &Field)| match &field.value {
            FieldValue::Bytes(bytes) => {
                Some((name.flash_id()?, serde_json::from_slice(bytes).ok()?))
            }
            _ => None,
        };
        self.fields.iter().filter_map(read).collect()
    }
}

/// One line in the list of somebody's sessions.
///
/// ```
/// use standfast_session::{SessionHandler, SessionHandlerExt, SessionInit};
/// # use standfast_session::MemorySessionHandler;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// let init = SessionInit::new().with_principal("user-7");
/// let token = handler.start(&init).await?.token;
/// let lines = handler.sessions_of("user-7", 20).await?;
/// assert_eq!(lines[0].session, token.session());
/// assert_eq!(lines[0].created_at, lines[0].touched_at);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Which session.
    pub session: SessionRef,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last touched.
    pub touched_at: DateTime<Utc>,
    /// When it ends unless it is touched.
    pub expires_at: DateTime<Utc>,
}

impl SessionSummary {
    /// One line.
    pub fn new(
        session: SessionRef,
        created_at: DateTime<Utc>,
        touched_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self { session, created_at, touched_at, expires_at }
    }
}
