use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use standfast_core::{Id128, ParseIdError};

/// Names the status of a job: 128 bits that nobody can guess, so that whoever holds the handle
/// may ask.
///
/// `Display` writes the whole handle, for links; `Debug` only its beginning, for logs.
///
/// ```
/// use standfast_queue::StatusHandle;
///
/// let handle = StatusHandle::random();
/// assert_eq!(handle.to_string().parse(), Ok(handle));
/// assert!(!format!("{handle:?}").contains(&handle.to_string()));
/// ```
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct StatusHandle(Id128);

impl StatusHandle {
    /// A fresh handle.
    pub fn random() -> Self {
        Self(Id128::random())
    }

    /// The handle of `key` among everything that was derived with `secret`: the same each time,
    /// and as unguessable as the secret.
    pub fn derive(secret: &[u8], key: &[u8]) -> Self {
        Self(Id128::derive("standfast:handle:1", &[secret, key]))
    }
}

impl From<Id128> for StatusHandle {
    fn from(bits: Id128) -> Self {
        Self(bits)
    }
}

impl From<StatusHandle> for Id128 {
    fn from(handle: StatusHandle) -> Self {
        handle.0
    }
}

impl fmt::Display for StatusHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StatusHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}…", self.0.to_string())
    }
}

impl FromStr for StatusHandle {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}
