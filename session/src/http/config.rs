use standfast_core::{Error, ErrorKind, Result};

use crate::init::Timeouts;

/// Which requests from other sites carry the cookie.
///
/// ```
/// use standfast_session::http::{SameSite, SessionLayerConfig};
///
/// let mut config = SessionLayerConfig::default();
/// config.same_site = SameSite::Strict; // not even a link from elsewhere
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SameSite {
    /// Only those that open a page.
    #[default]
    Lax,
    /// All of them; needs a public URL of `https`.
    None,
    /// None of them.
    Strict,
}

/// What happens to the changes of a request whose response is a server error.
///
/// ```
/// use standfast_session::http::{OnServerError, SessionLayerConfig};
///
/// let mut config = SessionLayerConfig::default();
/// config.on_server_error = OnServerError::Discard;
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OnServerError {
    /// They are committed as ever.
    #[default]
    Commit,
    /// They are dropped, and an event says so.
    Discard,
}

/// What a request sees whose session cannot be read because the store does not answer.
///
/// ```
/// use standfast_session::http::{OnUnavailable, SessionLayerConfig};
///
/// let mut config = SessionLayerConfig::default();
/// config.on_unavailable = OnUnavailable::ReadOnlyEmpty; // the shop window stays open
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OnUnavailable {
    /// The error.
    #[default]
    FailClosed,
    /// Nobody's session; every write fails.
    ReadOnlyEmpty,
}

/// How a [`SessionLayer`](super::SessionLayer) behaves.
///
/// ```
/// use std::time::Duration;
/// use standfast_session::http::{SessionLayer, SessionLayerConfig};
/// use standfast_session::{MemorySessionHandler, Timeouts};
///
/// let mut config = SessionLayerConfig::default();
/// config.timeouts = Timeouts::new(Duration::from_secs(300), Duration::from_secs(3600));
/// let handler = MemorySessionHandler::new();
/// let layer = SessionLayer::with_config(handler, "https://shop.example", config)?;
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionLayerConfig {
    /// How long new sessions live; 30 minutes idle and 8 hours at all by default.
    pub timeouts: Timeouts,
    /// The name of the cookie, before which `https` puts `__Host-`; `id` by default.
    pub cookie: String,
    /// Which requests from other sites carry the cookie.
    pub same_site: SameSite,
    /// Whether the cookie outlives the browser, for as long as the absolute timeout; not by
    /// default.
    pub is_persistent: bool,
    /// Whether every request with a cookie is looked up before its handler, so that the
    /// [`SessionRef`](standfast_core::SessionRef) is in the extensions of the request, and in its
    /// [`Context`](standfast_core::Context). Not by default: it costs a store operation. An
    /// unverified reference is never put there.
    pub is_eager: bool,
    /// What happens to the changes of a request whose response is a server error.
    pub on_server_error: OnServerError,
    /// What a request sees whose session cannot be read.
    pub on_unavailable: OnUnavailable,
}

impl Default for SessionLayerConfig {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            cookie: "id".into(),
            same_site: SameSite::Lax,
            is_persistent: false,
            is_eager: false,
            on_server_error: OnServerError::Commit,
            on_unavailable: OnUnavailable::FailClosed,
        }
    }
}

impl SessionLayerConfig {
    pub(super) fn validate(&self, is_secure: bool) -> Result<()> {
        let invalid =
            |detail| Err(Error::new(ErrorKind::Invalid, "session", "layer").with_detail(detail));
        self.timeouts.validate()?;
        if !crate::field::is_name(&self.cookie) {
            return invalid("the name of the cookie matches [A-Za-z0-9._-]{1,64}");
        }
        if self.same_site == SameSite::None && !is_secure {
            return invalid("browsers take SameSite=None from https only");
        }
        Ok(())
    }
}
