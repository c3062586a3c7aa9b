use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use standfast_core::{Clock, Id128, ParseIdError};

/// Names one flash message, so that a request removes what it has shown and nothing else.
///
/// Ids sort by the time of day at which they were made.
///
/// ```
/// use standfast_core::SystemClock;
/// use standfast_session::FlashId;
///
/// let id = FlashId::new(&SystemClock);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlashId(Id128);

impl FlashId {
    /// An id made now: 64 bits of time, 64 random ones.
    pub fn new(clock: &dyn Clock) -> Self {
        let mut bytes = Id128::random().to_bytes();
        let micros = u64::try_from(clock.now().timestamp_micros()).unwrap_or_default();
        bytes[..8].copy_from_slice(&micros.to_be_bytes());
        Self(Id128::from_bytes(bytes))
    }
}

impl fmt::Display for FlashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FlashId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

/// How a flash message is meant.
///
/// ```
/// use standfast_session::{Flash, FlashLevel};
///
/// let class = |flash: &Flash| match flash.level {
///     FlashLevel::Error | FlashLevel::Warning => "alert",
///     _ => "note",
/// };
/// assert_eq!(class(&Flash::new(FlashLevel::Warning, "two left")), "alert");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FlashLevel {
    /// Something did not work.
    Error,
    /// Something happened.
    Info,
    /// Something worked.
    Success,
    /// Something needs a look.
    Warning,
}

/// A message for the next page that the visitor sees.
///
/// ```
/// use standfast_session::{Flash, FlashLevel};
///
/// let flash = Flash::new(FlashLevel::Info, "added");
/// assert_eq!(flash.text, "added");
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Flash {
    /// How it is meant.
    pub level: FlashLevel,
    /// What it says.
    pub text: String,
}

impl Flash {
    /// A message.
    pub fn new(level: FlashLevel, text: impl Into<String>) -> Self {
        Self { level, text: text.into() }
    }
}
