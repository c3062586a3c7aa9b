use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use standfast_core::{Context, Error, ErrorKind, Fence, Result, SessionRef};

/// Who did it.
///
/// ```
/// use standfast_session::business::Actor;
///
/// let actor = Actor::User("ada".into());
/// assert_eq!(actor.to_string(), "user:ada");
/// assert_eq!("user:ada".parse::<Actor>().unwrap(), actor);
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Actor {
    /// A program, by its name.
    Service(String),
    /// The system by itself: a schedule, a migration.
    System,
    /// Somebody, as sessions name their principals.
    User(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service:{name}"),
            Self::System => f.write_str("system"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

impl FromStr for Actor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "system" => Ok(Self::System),
            Some(("service", name)) => Ok(Self::Service(name.to_owned())),
            Some(("user", name)) => Ok(Self::User(name.to_owned())),
            _ => Err(Error::new(ErrorKind::Invalid, "business", "actor.parse")
                .with_detail("an actor is `user:…`, `service:…` or `system`")),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who appends, on whose behalf, and under which name a repetition is known.
///
/// ```
/// use standfast_core::Context;
/// use standfast_session::business::{Actor, BusinessMeta};
///
/// let mut context = Context::default();
/// context.request_id = Some("req-1".into());
/// let meta = BusinessMeta::new("job-17", "charge", Actor::Service("billing".into()))
///     .in_context(&context)
///     .because("the report was delivered");
/// assert_eq!(meta.request_id.as_deref(), Some("req-1"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BusinessMeta {
    /// What it comes from: the id of a request or of a job.
    pub origin: String,
    /// Which of the appends of that origin it is. The same origin and step again is a repetition.
    pub step: String,
    /// Who did it.
    pub actor: Actor,
    /// The request that led to it.
    pub request_id: Option<String>,
    /// The session of that request.
    pub session: Option<SessionRef>,
    /// The fence of the worker or tick that appends.
    pub fence: Option<Fence>,
    /// Why.
    pub cause: Option<String>,
}

impl BusinessMeta {
    /// The append `step` of `origin`, by `actor`.
    pub fn new(origin: impl Into<String>, step: impl Into<String>, actor: Actor) -> Self {
        Self {
            origin: origin.into(),
            step: step.into(),
            actor,
            request_id: None,
            session: None,
            fence: None,
            cause: None,
        }
    }

    /// The request and the session are those of `context`.
    #[must_use]
    pub fn in_context(self, context: &Context) -> Self {
        Self { request_id: context.request_id.clone(), session: context.session, ..self }
    }

    /// The fence of whoever appends.
    #[must_use]
    pub fn fenced(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// Why it is done.
    #[must_use]
    pub fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub(super) fn verdict(&self) -> Result<()> {
        let name = match &self.actor {
            Actor::Service(name) | Actor::User(name) => name.as_str(),
            Actor::System => "system",
        };
        let optional = [&self.request_id, &self.cause].map(|text| text.as_deref().unwrap_or("-"));
        for (text, most) in [
            (self.origin.as_str(), 200),
            (self.step.as_str(), 200),
            (name, 200),
            (optional[0], 200),
            (optional[1], 2000),
        ] {
            if text.is_empty() || text.len() > most || text.contains(char::is_control) {
                return Err(Error::new(ErrorKind::Invalid, "business", "meta").with_detail(
                    "origin, step, actor, request and cause have 1 to 200 bytes (a cause 2,000) \
                     without control characters",
                ));
            }
        }
        Ok(())
    }
}
