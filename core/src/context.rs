use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Id128, ParseIdError};

/// Points at a web session and cannot log in: safe in jobs, logs and indexes.
///
/// ```
/// use standfast_core::SessionRef;
///
/// let session = SessionRef::random();
/// assert_eq!(session.to_string().parse(), Ok(session));
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SessionRef(Id128);

impl SessionRef {
    /// A fresh reference.
    pub fn random() -> Self {
        Self(Id128::random())
    }
}

impl From<Id128> for SessionRef {
    fn from(bits: Id128) -> Self {
        Self(bits)
    }
}

impl From<SessionRef> for Id128 {
    fn from(session: SessionRef) -> Self {
        session.0
    }
}

impl fmt::Display for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionRef {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

/// Names a business session: the record of one piece of business that is never purged.
///
/// ```
/// use standfast_core::BusinessRef;
///
/// assert_eq!(BusinessRef::new("order-17").as_str(), "order-17");
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct BusinessRef(String);

impl BusinessRef {
    /// The reference with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What travels with a job so that the worker can recreate the environment it was sent from.
///
/// HTTP layers put it into the extensions of a request. Never put a secret into it: it is stored
/// with the job, shown in logs and kept in dead letters.
///
/// ```
/// use standfast_core::{Context, SessionRef};
///
/// let mut context = Context::default();
/// context.request_id = Some("req-1".into());
/// context.session = Some(SessionRef::random());
/// context.headers.insert("tenant".into(), "acme".into());
/// assert!(!context.is_empty());
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Context {
    /// The request that led to the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The web session of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
    /// The business session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business: Option<BusinessRef>,
    /// The [W3C trace context](https://www.w3.org/TR/trace-context/#traceparent-header) header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Anything else, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Context {
    /// Whether there is nothing to carry.
    pub fn is_empty(&self) -> bool {
        self.request_id.is_none()
            && self.session.is_none()
            && self.business.is_none()
            && self.traceparent.is_none()
            && self.headers.is_empty()
    }
}
