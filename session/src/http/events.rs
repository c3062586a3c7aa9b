//! What a security log must be able to tell. Secrets are never in it; the reference cannot log in.

use standfast_core::SessionRef;

macro_rules! event {
    ($level:ident, $event:literal, $session:expr, $request:expr, $text:literal) => {
        tracing::$level!(
            target: "standfast::session::security",
            event = $event,
            session = $session.map(tracing::field::display),
            request_id = $request,
            $text
        )
    };
}

/// Something about a session that an operator may want to know.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Ambiguous,
    Created,
    Dropped,
    Login,
    Logout,
    LogoutEverywhere,
    Malformed,
    Refused,
    Renewed,
    Unknown,
}

impl Event {
    pub(super) fn tell(self, session: Option<SessionRef>, request: &str) {
        match self {
            Self::Ambiguous => {
                event!(warn, "ambiguous", session, request, "several session cookies in a request");
            }
            Self::Created => event!(debug, "created", session, request, "a session begins"),
            Self::Dropped => {
                event!(warn, "dropped", session, request, "changes of a request were dropped");
            }
            Self::Login => event!(info, "login", session, request, "login"),
            Self::Logout => event!(info, "logout", session, request, "logout"),
            Self::LogoutEverywhere => {
                event!(info, "logout_everywhere", session, request, "logout everywhere");
            }
            Self::Malformed => {
                event!(
                    warn,
                    "malformed",
                    session,
                    request,
                    "a session cookie that is none of ours"
                );
            }
            Self::Refused => {
                event!(warn, "refused", session, request, "a secret that is not the session's");
            }
            Self::Renewed => event!(debug, "renewed", session, request, "the secret was renewed"),
            Self::Unknown => {
                event!(warn, "unknown", session, request, "a session that is not there");
            }
        }
    }
}
