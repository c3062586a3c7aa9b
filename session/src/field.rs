use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::flash::FlashId;

/// The name of a field: what the application stores, or one of the two kinds with a prefix of
/// their own, links to business sessions and flash messages.
///
/// ```
/// use standfast_session::FieldName;
///
/// assert_eq!(FieldName::new("cart")?.as_str(), "cart");
/// assert!(FieldName::new("my cart").is_err());
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FieldName(String);

impl FieldName {
    /// A field of the application; names match `[A-Za-z0-9._-]{1,64}`.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`].
    pub fn new(name: &str) -> Result<Self> {
        if is_name(name) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::new(ErrorKind::Invalid, "session", "field")
            .with_reason(Reason::InvalidName)
            .with_detail(format!("field name {name:?}")))
    }

    /// The link to the business session of this kind; kinds are named like fields.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`].
    pub fn business(kind: &str) -> Result<Self> {
        Self::new(kind).map(|kind| Self(format!("{BUSINESS}{}", kind.0)))
    }

    /// The flash message with this id.
    pub fn flash(id: FlashId) -> Self {
        Self(format!("{FLASH}{id}"))
    }

    /// A name of any kind, as a backend has stored it.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`].
    pub fn from_stored(name: &str) -> Result<Self> {
        let rest = name.strip_prefix(BUSINESS).or_else(|| name.strip_prefix(FLASH));
        Self::new(rest.unwrap_or(name)).map(|_| Self(name.to_owned()))
    }

    /// The name, prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn flash_id(&self) -> Option<FlashId> {
        self.0.strip_prefix(FLASH)?.parse().ok()
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a field holds.
///
/// ```
/// use standfast_session::FieldValue;
///
/// assert_eq!(FieldValue::Counter(7).size(), 8);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// Bytes that the store does not look into.
    Bytes(Bytes),
    /// A number that is added to.
    Counter(i64),
    /// The last values appended.
    List(Vec<Bytes>),
    /// Members, each once.
    Set(BTreeSet<Bytes>),
    /// What the store has and this version cannot read. It fails alone: other fields are read, and
    /// writing it anew replaces it.
    Unreadable(Bytes),
}

impl FieldValue {
    /// How much of the limits it uses up.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) | Self::Unreadable(bytes) => bytes.len(),
            Self::Counter(_) => 8,
            Self::List(values) => values.iter().map(|value| value.len() + ENTRY).sum(),
            Self::Set(members) => members.iter().map(|member| member.len() + ENTRY).sum(),
        }
    }
}

/// A field as it is stored.
///
/// ```
/// use standfast_session::{FieldValue, Patch, SessionHandler, SessionHandlerExt, SessionInit};
/// # use standfast_session::{Access, MemorySessionHandler};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// let init = SessionInit::new().with_patch(Patch::new().increment("views", 3));
/// let visitor = Access::bearer(&handler.start(&init).await?.token);
/// let snapshot = handler.load(&visitor).await?.found().unwrap();
/// let views = snapshot.field("views").unwrap();
/// assert_eq!((&views.value, views.revision), (&FieldValue::Counter(3), 1));
/// assert!(views.is_live(snapshot.now));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// What it holds.
    pub value: FieldValue,
    /// The version of the session at which it last changed. Rises even across a removal, so a
    /// field that was removed and set again is told from one that nobody touched.
    pub revision: u64,
    /// When it vanishes by itself, by the store's time.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Field {
    /// A field that changed at `revision` and stays.
    pub fn new(value: FieldValue, revision: u64) -> Self {
        Self { value, revision, expires_at: None }
    }

    /// Whether it is there at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

pub(crate) const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii_alphanumeric() && !matches!(bytes[i], b'.' | b'_' | b'-') {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty() && bytes.len() <= 64
}

const BUSINESS: &str = "b:";
const FLASH: &str = "f:";
/// What an element of a list or a set costs beside its bytes.
const ENTRY: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cannot_be_forged_by_the_application() {
        assert!(FieldName::new("b:order").is_err());
        assert_eq!(FieldName::business("order").unwrap().as_str(), "b:order");
        for name in ["cart", "b:order", "f:00"] {
            assert_eq!(FieldName::from_stored(name).unwrap().as_str(), name);
        }
        for wrong in ["", "b:", "x:y", "b:f:x", &"n".repeat(65)] {
            assert!(FieldName::from_stored(wrong).is_err(), "{wrong:?}");
        }
    }
}
