use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::limits::SessionLimits;
use crate::patch::Patch;
use crate::token::{SessionToken, VerifierHash};

/// How long a session lives, by the store's time.
///
/// ```
/// use std::time::Duration;
/// use standfast_session::Timeouts;
///
/// let timeouts = Timeouts::default();
/// assert_eq!(timeouts.touch_interval(), Duration::from_secs(180));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long without a request; 30 minutes by default.
    pub idle: Duration,
    /// How long at all; 8 hours by default.
    pub absolute: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30 * 60), absolute: Duration::from_secs(8 * 60 * 60) }
    }
}

impl Timeouts {
    /// The longest either may be, 400 days: no browser keeps a cookie for longer.
    pub const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

    /// These timeouts.
    pub fn new(idle: Duration, absolute: Duration) -> Self {
        Self { idle, absolute }
    }

    /// When a session created and last touched at these times ends.
    pub fn expires_at(&self, created: DateTime<Utc>, touched: DateTime<Utc>) -> DateTime<Utc> {
        (touched + self.idle).min(created + self.absolute)
    }

    /// How old the last touch must be for the next one to write: a tenth of the idle timeout, at
    /// least 30 seconds, at most half of it.
    pub fn touch_interval(&self) -> Duration {
        (self.idle / 10).max(Duration::from_secs(30)).min(self.idle / 2)
    }

    /// Checks the spans; backends call it when they create.
    ///
    /// # Errors
    ///
    /// `Invalid` for a span of nothing or of more than [`LONGEST`](Self::LONGEST).
    pub fn validate(&self) -> Result<()> {
        for span in [self.idle, self.absolute] {
            if span.is_zero() || span > Self::LONGEST {
                return Err(Error::new(ErrorKind::Invalid, "session", "create")
                    .with_detail(format!("a timeout of {span:?}")));
            }
        }
        Ok(())
    }
}

/// What a session begins with.
///
/// ```
/// use standfast_session::{Patch, SessionInit};
///
/// let init = SessionInit::new().with_principal("user-7").with_patch(Patch::new().set("a", "1"));
/// assert_eq!(init.principal.as_deref(), Some("user-7"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionInit {
    /// How long it lives.
    pub timeouts: Timeouts,
    /// Whose it is, if that is known already.
    pub principal: Option<String>,
    /// Its first fields.
    pub patch: Patch,
}

impl SessionInit {
    /// Nobody's session, empty, with the default timeouts.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it lives.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Whose it is.
    #[must_use]
    pub fn with_principal(self, principal: impl Into<String>) -> Self {
        Self { principal: Some(principal.into()), ..self }
    }

    /// Its first fields.
    #[must_use]
    pub fn with_patch(self, patch: Patch) -> Self {
        Self { patch, ..self }
    }

    /// Checks everything that can be told before any I/O; every backend calls it first.
    ///
    /// # Errors
    ///
    /// `Invalid`, `TooLarge`.
    pub fn validate(&self, limits: &SessionLimits) -> Result<()> {
        self.timeouts.validate()?;
        self.principal.as_deref().map_or(Ok(()), SessionLimits::check_principal)?;
        limits.check(&self.patch)
    }
}

/// What a change of privilege does to the owner of a session.
///
/// ```
/// use standfast_session::{Patch, PrincipalChange, Rotation, RotationKind, SessionHandler};
/// # use standfast_session::{Access, MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new().with_principal("user-7")).await?.token;
/// # let visitor = Access::bearer(&token);
/// // a logout that leaves the visitor what is in the cart
/// let new = token.renewed();
/// let logout = Rotation::new(&new, RotationKind::Privilege(PrincipalChange::Clear));
/// let _ = handler.rotate(&visitor, &logout, &Patch::new()).await?;
/// let snapshot = handler.load(&Access::bearer(&new)).await?.found().unwrap();
/// assert_eq!(snapshot.principal, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PrincipalChange {
    /// It becomes nobody's.
    Clear,
    /// It stays whose it is.
    Keep,
    /// It becomes this principal's.
    Set(String),
}

/// Why the secret of a session is replaced.
///
/// ```
/// use std::time::Duration;
/// use standfast_session::{PrincipalChange, Rotation, RotationKind, SessionToken};
///
/// let new = SessionToken::random().renewed();
/// let confirmed = RotationKind::Privilege(PrincipalChange::Keep); // the password, once more
/// assert!(Rotation::new(&new, confirmed).validate().is_ok());
/// let endless = RotationKind::Renewal { grace: Duration::from_secs(24 * 60 * 60) };
/// assert!(Rotation::new(&new, endless).validate().is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RotationKind {
    /// Its rights change, by login, logout or re-authentication: the old secret dies at once. The
    /// only way to change whose session it is.
    Privilege(PrincipalChange),
    /// It is merely old: requests under way may use the old secret for this long.
    Renewal {
        /// How long the old secret is still taken.
        grace: Duration,
    },
}

/// A new secret for a session.
///
/// ```
/// use standfast_session::{Rotation, SessionToken};
///
/// let token = SessionToken::random();
/// let new = token.renewed();
/// let login = Rotation::login(&new, "user-7");
/// assert_eq!(login.verifier, new.verifier_hash());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rotation {
    /// The hash of the new secret.
    pub verifier: VerifierHash,
    /// Why.
    pub kind: RotationKind,
}

impl Rotation {
    /// A rotation to the secret of `new` for this reason.
    pub fn new(new: &SessionToken, kind: RotationKind) -> Self {
        Self { verifier: new.verifier_hash(), kind }
    }

    /// The session becomes `principal`'s.
    pub fn login(new: &SessionToken, principal: impl Into<String>) -> Self {
        Self::new(new, RotationKind::Privilege(PrincipalChange::Set(principal.into())))
    }

    /// The secret is old; requests under way have 30 seconds.
    pub fn renewal(new: &SessionToken) -> Self {
        Self::new(new, RotationKind::Renewal { grace: Duration::from_secs(30) })
    }

    /// Checks everything that can be told before any I/O; every backend calls it first.
    ///
    /// # Errors
    ///
    /// `Invalid` for a grace above one hour or the name of a principal that breaks the rule.
    pub fn validate(&self) -> Result<()> {
        match &self.kind {
            RotationKind::Privilege(PrincipalChange::Set(principal)) => {
                SessionLimits::check_principal(principal)
            }
            RotationKind::Renewal { grace } if *grace > Duration::from_secs(3600) => {
                Err(Error::new(ErrorKind::Invalid, "session", "rotate")
                    .with_detail(format!("a grace of {grace:?}, at most one hour")))
            }
            _ => Ok(()),
        }
    }
}
