use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::field::Field;
use crate::patch::{FieldOp, Patch};

/// How large sessions may grow.
///
/// ```
/// use standfast_core::ErrorKind;
/// use standfast_session::{Patch, SessionLimits};
///
/// let limits = SessionLimits::default();
/// let error = limits.check(&Patch::new().set("cart", vec![0; 20_000])).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TooLarge);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// The most bytes of all names and values together; 64 KiB by default.
    pub max_session: usize,
    /// The most bytes of one value; 16 KiB by default.
    pub max_field: usize,
    /// The most fields, flash messages and links included; 128 by default.
    pub max_fields: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { max_session: 64 * 1024, max_field: 16 * 1024, max_fields: 128 }
    }
}

impl SessionLimits {
    /// Checks what can be told before any I/O; every backend calls it first.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that breaks the rule or operations on one field that do not combine,
    /// `TooLarge` for a value or a number of fields above the limit.
    pub fn check(&self, patch: &Patch) -> Result<()> {
        patch.verdict()?;
        self.count(patch.len())?;
        for (name, change) in patch.iter() {
            let size = match &change.op {
                FieldOp::Append { values, .. } => values.iter().map(bytes::Bytes::len).sum(),
                FieldOp::CompareAndSet { value: Some(value), .. }
                | FieldOp::PutIfAbsent(value)
                | FieldOp::Set(value) => value.len(),
                FieldOp::SetMembers { add, .. } => add.iter().map(bytes::Bytes::len).sum(),
                _ => 0,
            };
            self.value(name.as_str(), size)?;
        }
        Ok(())
    }

    /// Checks what a session would become; backends call it before they write.
    ///
    /// # Errors
    ///
    /// `TooLarge`.
    pub fn check_result<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a str, &'a Field)>,
    ) -> Result<()> {
        let (mut count, mut total) = (0, 0);
        for (name, field) in fields {
            let size = field.value.size();
            self.value(name, size)?;
            count += 1;
            total += name.len() + size;
        }
        self.count(count)?;
        if total > self.max_session {
            return Err(too_large("the session", total, "bytes", self.max_session));
        }
        Ok(())
    }

    /// Checks the name of a principal: 1 to 200 bytes without control characters.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`].
    pub fn check_principal(principal: &str) -> Result<()> {
        if (1..=200).contains(&principal.len()) && !principal.contains(char::is_control) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "session", "principal")
            .with_reason(Reason::InvalidName)
            .with_detail("1 to 200 bytes without control characters"))
    }

    fn value(&self, name: &str, size: usize) -> Result<()> {
        if size > self.max_field {
            return Err(too_large(&format!("field `{name}`"), size, "bytes", self.max_field));
        }
        Ok(())
    }

    fn count(&self, count: usize) -> Result<()> {
        if count > self.max_fields {
            return Err(too_large("the session", count, "fields", self.max_fields));
        }
        Ok(())
    }
}

fn too_large(what: &str, size: usize, unit: &str, max: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "session", "limits")
        .with_detail(format!("{what} has {size} {unit}, at most {max}"))
}

/// What a [`SessionHandler`](crate::SessionHandler) can do, and its limits.
///
/// ```
/// use standfast_session::{MemorySessionHandler, SessionHandler};
///
/// assert!(!MemorySessionHandler::new().capabilities().is_durable);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionCapabilities {
    /// How large sessions may grow.
    pub limits: SessionLimits,
    /// Whether other processes see the same sessions.
    pub is_shared: bool,
    /// Whether sessions outlive the processes that use them.
    pub is_durable: bool,
    /// Whether the index of a principal changes in the same step as the session. Where it does
    /// not, a listing may for a moment miss a session that was just opened or closed.
    pub has_exact_index: bool,
}

impl SessionCapabilities {
    /// The abilities of a handler in this process only.
    pub fn new(limits: SessionLimits) -> Self {
        Self { limits, is_shared: false, is_durable: false, has_exact_index: true }
    }
}
