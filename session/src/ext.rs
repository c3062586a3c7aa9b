use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use standfast_core::{Error, ErrorKind, Result, SessionRef};

use crate::handler::SessionHandler;
use crate::init::SessionInit;
use crate::key::Key;
use crate::outcome::{CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome};
use crate::patch::Patch;
use crate::token::{Access, SessionToken};

/// A session that was started.
///
/// ```
/// use standfast_session::{MemorySessionHandler, SessionHandlerExt, SessionInit, Started};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = MemorySessionHandler::new();
/// let Started { token, version, .. } = handler.start(&SessionInit::new()).await?;
/// let cookie = format!("session={}; Secure; HttpOnly", token.expose());
/// assert!(cookie.contains(&token.session().to_string()));
/// assert_eq!(version, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Started {
    /// What goes into the cookie.
    pub token: SessionToken,
    /// The version of the session.
    pub version: u64,
    /// When it ends unless it is touched.
    pub expires_at: DateTime<Utc>,
}

/// The answer to [`SessionHandlerExt::update`].
///
/// ```
/// use standfast_session::{Key, SessionHandlerExt, UpdateOutcome};
/// # use standfast_session::{Access, MemorySessionHandler, SessionInit};
///
/// const CART: Key<Vec<String>> = Key::cas("cart");
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let handler = MemorySessionHandler::new();
/// # let token = handler.start(&SessionInit::new()).await?.token;
/// # let visitor = Access::bearer(&token);
/// match handler.update(&visitor, &CART, |cart| cart.push("tea".into())).await? {
///     UpdateOutcome::Updated { value, .. } => assert_eq!(value, ["tea"]),
///     other => panic!("the visitor needs a new session: {other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum UpdateOutcome<T> {
    /// There is no such session any more.
    Gone,
    /// The secret is not, or no longer, that of the session.
    Refused,
    /// Stored.
    Updated {
        /// The value now.
        value: T,
        /// The version of the session now.
        version: u64,
    },
}

/// What callers do with a [`SessionHandler`]. Every handler has it.
///
/// ```
/// use standfast_session::{MemorySessionHandler, SessionHandlerExt, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = MemorySessionHandler::new();
/// let init = SessionInit::new().with_principal("user-7");
/// let here = handler.start(&init).await?.token;
/// let elsewhere = handler.start(&init).await?.token;
/// assert_ne!(here.session(), elsewhere.session());
/// assert_eq!(handler.end_sessions("user-7", Some(here.session())).await?, 1);
/// # Ok(()) }
/// ```
pub trait SessionHandlerExt: SessionHandler {
    /// Creates a session under a reference and a secret that nobody can guess.
    ///
    /// # Errors
    ///
    /// As [`SessionHandler::create`]; `AlreadyExists` if three references drawn in a row are taken,
    /// which only a broken source of randomness explains.
    fn start(&self, init: &SessionInit) -> impl Future<Output = Result<Started>> + Send {
        async move {
            for _ in 0..3 {
                let token = SessionToken::random();
                match self.create(token.session(), token.verifier_hash(), init).await? {
                    CreateOutcome::Created { version, expires_at } => {
                        return Ok(Started { token, version, expires_at });
                    }
                    CreateOutcome::Exists => {}
                }
            }
            Err(Error::new(ErrorKind::AlreadyExists, "session", "session.start")
                .with_detail("three random references are taken"))
        }
    }

    /// Changes one field by its key's rule, beginning with the default where it is absent. Where
    /// another request was faster, `change` is called again with what that one wrote, up to five
    /// times in all.
    ///
    /// # Errors
    ///
    /// As [`SessionHandler::load`] and [`SessionHandler::commit`]; `Corrupt` for a field that holds
    /// something else; `Conflict` when it lost five times; `Invalid` for a counter.
    fn update<T>(
        &self,
        access: &Access,
        key: &Key<T>,
        mut change: impl FnMut(&mut T) + Send,
    ) -> impl Future<Output = Result<UpdateOutcome<T>>> + Send
    where
        T: Default + Serialize + DeserializeOwned + Send + Sync,
    {
        async move {
            let (mut seen, mut value) = match self.load(access).await? {
                LoadOutcome::Found(snapshot) => {
                    (snapshot.revision(key.name()), key.read(&snapshot)?.unwrap_or_default())
                }
                LoadOutcome::Absent => return Ok(UpdateOutcome::Gone),
                LoadOutcome::Refused => return Ok(UpdateOutcome::Refused),
            };
            for _ in 0..5 {
                change(&mut value);
                let patch = key.write_seen(Patch::new(), seen, &value)?;
                match self.commit(access, &patch).await? {
                    CommitOutcome::Committed { version, .. } => {
                        return Ok(UpdateOutcome::Updated { value, version });
                    }
                    CommitOutcome::Conflict(now) => {
                        seen = now.revision;
                        value = key.decode(now.value.as_ref())?.unwrap_or_default();
                    }
                    CommitOutcome::Gone => return Ok(UpdateOutcome::Gone),
                    CommitOutcome::Refused => return Ok(UpdateOutcome::Refused),
                }
            }
            Err(Error::new(ErrorKind::Conflict, "session", "session.update")
                .with_detail(format!("field `{}` changed five times meanwhile", key.name()))
                .with_retryable(true))
        }
    }

    /// Ends all sessions of a principal, but for one; says how many.
    ///
    /// A login that completes meanwhile may survive: change what the login checks first.
    ///
    /// Died in between: some are ended; a repeated call ends the rest.
    ///
    /// # Errors
    ///
    /// As [`SessionHandler::sessions_of`] and [`SessionHandler::destroy`].
    fn end_sessions(
        &self,
        principal: &str,
        except: Option<SessionRef>,
    ) -> impl Future<Output = Result<usize>> + Send {
        async move {
            let mut ended = 0;
            loop {
                let mut progress = false;
                for line in self.sessions_of(principal, PAGE).await? {
                    if Some(line.session) == except {
                        continue;
                    }
                    // one that ended by itself meanwhile is progress too: the list gets shorter
                    progress = true;
                    let outcome = self.destroy(&Access::trusted(line.session)).await?;
                    ended += usize::from(outcome == DestroyOutcome::Destroyed);
                }
                if !progress {
                    return Ok(ended);
                }
            }
        }
    }
}

impl<H: SessionHandler + ?Sized> SessionHandlerExt for H {}

const PAGE: usize = 100;
