use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::envelope::Envelope;

/// A kind of job: what is sent, and what comes of it.
///
/// # Versions
///
/// Workers and senders of different versions share a queue while a deploy rolls. A body of an
/// older version is [upgraded](Job::upgrade) before it is read; one of a newer version is left to
/// workers that know it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use standfast_queue::{Job, UpgradeError};
///
/// #[derive(Serialize, Deserialize)]
/// struct Resize { image: String, width: u32 }
///
/// impl Job for Resize {
///     const KIND: &'static str = "resize";
///     const VERSION: u16 = 2;
///     type Output = String;
///
///     // version 1 had no width
///     fn upgrade(_from: u16, mut body: serde_json::Value) -> Result<serde_json::Value, UpgradeError> {
///         body["width"] = 640.into();
///         Ok(body)
///     }
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Names the kind, the same in every version; at most 80 characters.
    const KIND: &'static str;

    /// The version of the body that this type reads and writes.
    const VERSION: u16 = 1;

    /// What comes of it.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Turns a body of the older version `from` into one of [`VERSION`](Self::VERSION).
    ///
    /// # Errors
    ///
    /// When it cannot be done; the message goes to the dead letters.
    fn upgrade(from: u16, body: Value) -> Result<Value, UpgradeError> {
        let _ = body;
        Err(UpgradeError(format!("version {from} cannot be turned into {}", Self::VERSION)))
    }
}

/// Why a body of an older version cannot be upgraded.
///
/// ```
/// use serde_json::{Value, json};
/// use standfast_queue::UpgradeError;
///
/// // as in `Job::upgrade`: version 2 has cents
/// fn upgrade(_from: u16, mut body: Value) -> Result<Value, UpgradeError> {
///     let euros = body["euros"].as_u64().ok_or_else(|| UpgradeError::new("no amount"))?;
///     body["cents"] = (euros * 100).into();
///     Ok(body)
/// }
/// assert_eq!(upgrade(1, json!({ "euros": 3 })).unwrap()["cents"], 300);
/// assert_eq!(upgrade(1, json!({})), Err(UpgradeError::new("no amount")));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UpgradeError(String);

impl UpgradeError {
    /// Says why.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Why a body could not be turned into its job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the body is no {kind}: {source}")]
    Body { kind: &'static str, source: serde_json::Error },
    #[error("the body is no {kind}: {source}")]
    Upgrade { kind: &'static str, source: UpgradeError },
}

/// Reads the job of an envelope whose version is not newer than `J`'s.
pub(crate) fn decode<J: Job>(envelope: &Envelope) -> Result<J, DecodeError> {
    let body = |source| DecodeError::Body { kind: J::KIND, source };
    if envelope.version == J::VERSION {
        return serde_json::from_slice(&envelope.body).map_err(body);
    }
    let older = serde_json::from_slice(&envelope.body).map_err(body)?;
    let upgraded = J::upgrade(envelope.version, older)
        .map_err(|source| DecodeError::Upgrade { kind: J::KIND, source })?;
    serde_json::from_value(upgraded).map_err(body)
}
