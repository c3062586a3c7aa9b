//! Sessions in Redis: one hash for each. Feature `redis`.
//!
//! # Layout, version 1
//!
//! The key of a session is `standfast:1:session:{<namespace>.<ref>}`, the reference in 32
//! hexadecimal digits. It is the hash tag too, so on a Cluster every session has a slot of its own,
//! and rotation stays in it. Numbers are big-endian, times are microseconds since 1970 by the
//! server's clock. The fields of the hash:
//!
//! | field | what |
//! |---|---|
//! | `~` | the record: layout (1 byte: 1), created, absolute timeout, idle timeout, last touch, version of the session (8 bytes each), bytes and number of fields (4 each) |
//! | `~h` | SHA-256 of the secret that counts |
//! | `~p` | that of the one before it and until when it is taken (8 bytes), after a renewal |
//! | `~u` | whose session it is, where it is somebody's |
//! | any other | a field: kind, revision (8 bytes), payload; links are `b:<kind>`, flash messages `f:<id>` |
//!
//! The kind is `b` for bytes, `c` for a counter (8 bytes), `l` for a list and `s` for a set (each
//! element after its length, 4 bytes). A capital letter instead means that 8 bytes before the
//! payload say until when the field is there: Redis 7.0 has no time to live for fields.
//!
//! The record decides to the microsecond when a session ends. The key lives as long, and up to a
//! sixteenth of the idle timeout longer, so that not every commit has to renew its time to live. A
//! hash without `~` is no session, and one of a higher layout is left untouched.
//!
//! `standfast:1:session-index:{<namespace>.<hash of the principal>}` is a sorted set: the sessions
//! of a principal, scored by when each was announced. See `index.rs` for how the two agree.

mod codec;
mod index;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::redis::{Durability, KeySpace, Redis, Request, Script};
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Reason, Result, SessionRef};

use self::codec::{Answer, Loaded};
use self::index::Index;
use crate::handler::SessionHandler;
use crate::init::{PrincipalChange, Rotation, RotationKind, SessionInit};
use crate::limits::{SessionCapabilities, SessionLimits};
use crate::outcome::{
    CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome, RotateOutcome, Swept, TouchOutcome,
};
use crate::patch::Patch;
use crate::snapshot::SessionSummary;
use crate::token::{Access, VerifierHash};

const BACKEND: &str = "redis";

// Their parts, and where among the arguments the patch begins.
static CREATE: Script = Script::new(concat!(
    "local first = 7\n",
    include_str!("lua/session.lua"),
    include_str!("lua/create.lua"),
    include_str!("lua/patch.lua"),
    include_str!("lua/write.lua")
));
static COMMIT: Script = Script::new(concat!(
    "local first = 2\n",
    include_str!("lua/session.lua"),
    include_str!("lua/commit.lua"),
    include_str!("lua/patch.lua"),
    include_str!("lua/write.lua")
));
static ROTATE: Script = Script::new(concat!(
    "local first = 7\n",
    include_str!("lua/session.lua"),
    include_str!("lua/rotate.lua"),
    include_str!("lua/patch.lua"),
    include_str!("lua/write.lua")
));
static DESTROY: Script =
    Script::new(concat!(include_str!("lua/session.lua"), include_str!("lua/destroy.lua")));

/// A script hands the names of all fields to one command, and Lua's stack has room for so many.
const MOST_FIELDS: usize = 1000;

/// How a [`RedisSessionHandler`] behaves.
///
/// ```
/// use standfast_core::redis::Redis;
/// use standfast_session::{RedisSessionConfig, RedisSessionHandler};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut config = RedisSessionConfig::default();
/// config.namespace = "shop".into();
/// let redis = Redis::from_url("redis://127.0.0.1:6379")?;   // no I/O yet
/// let handler = RedisSessionHandler::from_parts(redis, config)?;
/// # let _ = handler;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisSessionConfig {
    /// Keeps these sessions apart from others on the same server: 1 to 47 of `A-Za-z0-9._-`; `web`
    /// by default.
    pub namespace: String,
    /// How large sessions may grow; at most 1,000 fields.
    pub limits: SessionLimits,
    /// What a change has to reach before it counts as stored; the primary by default. With
    /// [`Durability::Replicated`] a logout that was answered survives a failover.
    pub durability: Durability,
}

impl Default for RedisSessionConfig {
    fn default() -> Self {
        Self {
            namespace: "web".into(),
            limits: SessionLimits::default(),
            durability: Durability::default(),
        }
    }
}

/// Sessions in Redis, on one server, a Cluster or behind Sentinels: whatever [`Redis`] reaches.
/// Feature `redis`.
///
/// Every process that is given the same server and namespace sees the same sessions. Each call is
/// one round trip, by the server's clock, and a change is one step at the server; a reading is two
/// commands sent together, `TIME` and `HGETALL`, of which the second is the step. A call that makes
/// a session somebody's, or ends one that is, takes a second round trip for the list of that
/// somebody. Clones share everything.
///
/// # What if something dies?
///
/// - The process, before, during or after a call: the step happened or it did not, since each that
///   changes something is one script. Between announcing a session in somebody's list and making it theirs: the list
///   has an entry too many, which shows nowhere and goes by itself.
/// - The reply: reads, touches, rotations, logouts and new sessions are asked for again, and are
///   answered as the first time; a logout, even where another one was faster: both are told that they
///   ended the session. A commit ends as `OutcomeUnknown`, because increments would count twice; one
///   that changes nothing is repeated.
/// - The server: what it had on disk is there when it is back; calls fail as `Unavailable` until
///   then. With an empty memory all sessions are gone, and none comes back. What an asynchronous
///   failover loses is lost, unless the configuration asks for [`Durability::Replicated`].
///
/// # Errors
///
/// Besides those of [`Redis::call`]: `Corrupt` for a hash at our name that is no session,
/// `Unsupported` with [`Reason::NewerVersion`] for one of a newer library, `Conflict` for a key of
/// another type. What is met there is left as it is.
///
/// ```no_run
/// use standfast_session::{
///     Access, Patch, RedisSessionHandler, SessionHandler, SessionHandlerExt, SessionInit,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler = RedisSessionHandler::from_url("redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3")?;
/// let token = handler.start(&SessionInit::new()).await?.token;
/// // in any process
/// let outcome = handler.commit(&Access::bearer(&token), &Patch::new().set("locale", "fi")).await?;
/// println!("{outcome:?}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisSessionHandler {
    redis: Redis,
    config: Arc<RedisSessionConfig>,
}

impl RedisSessionHandler {
    /// Sessions in the default namespace of the server that `url` names; see [`Redis::from_url`].
    /// No I/O: the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_parts(Redis::from_url(url)?, RedisSessionConfig::default())
    }

    /// Sessions that `redis` reaches, for those who share one handle of it. No I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`] for a namespace that breaks the naming rules, and
    /// `Invalid` for limits above 1,000 fields.
    pub fn from_parts(redis: Redis, config: RedisSessionConfig) -> Result<Self> {
        let invalid =
            |detail| Error::new(ErrorKind::Invalid, BACKEND, "session.open").with_detail(detail);
        let name = format!("{}.{}", config.namespace, "0".repeat(32));
        if config.namespace.is_empty() || KeySpace::new("session", &name).is_err() {
            return Err(invalid("a namespace is 1 to 47 of A-Z, a-z, 0-9, `.`, `_` and `-`")
                .with_reason(Reason::InvalidName));
        }
        if config.limits.max_fields > MOST_FIELDS {
            return Err(invalid("a session in Redis has at most 1,000 fields"));
        }
        Ok(Self { redis, config: Arc::new(config) })
    }

    fn key(&self, session: SessionRef) -> String {
        format!("standfast:1:session:{{{}.{session}}}", self.config.namespace)
    }

    fn step(
        &self,
        script: &'static Script,
        operation: &'static str,
        access: &Access,
        patch: &Patch,
    ) -> Request {
        let shown = match access {
            Access::Bearer { verifier, .. } => Some(*verifier),
            Access::Trusted { .. } => None,
        };
        let request = script.on(operation, &[self.key(access.session())]);
        request
            .arg(codec::head(&self.config.limits, shown, patch))
            .durability(self.config.durability)
    }

    /// Applies a patch, or touches where there is none. The answer to `done` is left to read.
    async fn change(
        &self,
        operation: &'static str,
        access: &Access,
        patch: &Patch,
    ) -> Result<Answer> {
        let mut request = self.step(&COMMIT, operation, access, patch);
        codec::push_patch(&mut request, patch);
        if patch.is_empty() {
            request = request.repeatable();
        }
        Answer::read(self.redis.call(request).await?, operation)
    }

    /// A creation, or the repetition of one whose reply was lost.
    async fn create_step(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
        holds: &str,
        again: bool,
    ) -> Result<Answer> {
        const OPERATION: &str = "session.create";
        let mut request =
            CREATE.on(OPERATION, &[self.key(session)]).durability(self.config.durability);
        request.push(codec::head(&self.config.limits, Some(verifier), &init.patch));
        request.push(codec::micros(init.timeouts.idle));
        request.push(codec::micros(init.timeouts.absolute));
        request.push(init.principal.as_deref().unwrap_or_default());
        request.push(holds).push(if again { "1" } else { "" });
        codec::push_patch(&mut request, &init.patch);
        Answer::read(self.redis.call(request).await?, OPERATION)
    }
}

/// Whether the reply was lost, as against replicas that lag.
fn is_lost(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown && error.reason().is_none()
}

/// The process slept between the two steps more often than that: something is wrong with a clock.
const LATE: u32 = 3;

fn too_late(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, BACKEND, operation)
        .with_detail("the clocks of the servers are more than half a minute apart")
}

#[async_trait]
impl SessionHandler for RedisSessionHandler {
    fn capabilities(&self) -> SessionCapabilities {
        let mut capabilities = SessionCapabilities::new(self.config.limits);
        capabilities.is_shared = true;
        capabilities.is_durable = true;
        capabilities.has_exact_index = false;
        capabilities
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        const OPERATION: &str = "session.create";
        init.validate(&self.config.limits)?;
        for _ in 0..LATE {
            let holds = match &init.principal {
                Some(principal) => Index::of(self, principal).announce(session, OPERATION).await?,
                None => String::new(),
            };
            let first = self.create_step(session, verifier, init, &holds, false).await;
            let mut answer = match first {
                Err(error) if is_lost(&error) => {
                    self.create_step(session, verifier, init, &holds, true).await?
                }
                other => other?,
            };
            return match answer.word.as_str() {
                "done" => {
                    let (version, expires_at) = answer.done()?;
                    Ok(CreateOutcome::Created { version, expires_at })
                }
                "exists" => Ok(CreateOutcome::Exists),
                "late" => continue,
                "conflict" => Err(Error::new(ErrorKind::Invalid, BACKEND, OPERATION).with_detail(
                    format!("field `{}` does not exist in a new session", answer.conflict()?.field),
                )),
                _ => Err(answer.error(&self.config.limits)?),
            };
        }
        Err(too_late(OPERATION))
    }

    /// No script, because to begin one costs the server more than all that is read: the time is read
    /// first, the session after it, and what others do to the session may come in between. The answer
    /// is right all the same, as of one of the two moments or of the last change between them:
    ///
    /// - A touch or a commit: what is read is what it left, and it found the session alive.
    /// - A rotation: what is read has the new secret, and until when the old one is taken, if it is.
    /// - A logout, or the end of the key: nothing is read.
    /// - The session ends by its record: what is read was there when the time was. The other way
    ///   round, what had ended by then stays so: nothing extends it, and what `create` puts in its
    ///   place has times of its own.
    /// - The grace of the old secret or the life of a field ends: it counts as still running, also
    ///   beside a change that came after it, since it ran when the request had come. A commit judges
    ///   anew.
    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        const OPERATION: &str = "session.load";
        let key = self.key(access.session());
        let request = Request::command(OPERATION, "HGETALL", &key).timed();
        let reply = self.redis.call(request).await?;
        Ok(match codec::read_session(reply, access, OPERATION)? {
            Loaded::Absent => LoadOutcome::Absent,
            Loaded::Found(snapshot) => LoadOutcome::Found(snapshot),
            Loaded::Refused => LoadOutcome::Refused,
        })
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        self.config.limits.check(patch)?;
        let mut answer = self.change("session.commit", access, patch).await?;
        match answer.word.as_str() {
            "done" => {
                let (version, expires_at) = answer.done()?;
                Ok(CommitOutcome::Committed { version, expires_at })
            }
            "conflict" => Ok(CommitOutcome::Conflict(answer.conflict()?)),
            "gone" => Ok(CommitOutcome::Gone),
            "refused" => Ok(CommitOutcome::Refused),
            _ => Err(answer.error(&self.config.limits)?),
        }
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        const OPERATION: &str = "session.rotate";
        rotation.validate()?;
        self.config.limits.check(patch)?;
        if let Access::Trusted { session } = access {
            // it cannot rotate, and need not be announced: all that matters is whether it is there
            let worker = Access::trusted(*session);
            let mut answer = self.change(OPERATION, &worker, &Patch::new()).await?;
            return match answer.word.as_str() {
                "done" => Ok(RotateOutcome::Refused),
                "gone" => Ok(RotateOutcome::Gone),
                _ => Err(answer.error(&self.config.limits)?),
            };
        }
        let (grace, change, principal) = match &rotation.kind {
            RotationKind::Privilege(PrincipalChange::Clear) => (String::new(), "clear", ""),
            RotationKind::Privilege(PrincipalChange::Keep) => (String::new(), "keep", ""),
            RotationKind::Privilege(PrincipalChange::Set(name)) => {
                (String::new(), "set", name.as_str())
            }
            RotationKind::Renewal { grace } => (codec::micros(*grace), "keep", ""),
        };
        for _ in 0..LATE {
            let holds = match change {
                "set" => {
                    let index = Index::of(self, principal);
                    index.announce(access.session(), OPERATION).await?
                }
                _ => String::new(),
            };
            let mut request = self.step(&ROTATE, OPERATION, access, patch).repeatable();
            request.push(rotation.verifier.to_bytes());
            request.push(&grace).push(change).push(principal).push(holds);
            codec::push_patch(&mut request, patch);
            let mut answer = Answer::read(self.redis.call(request).await?, OPERATION)?;
            return match answer.word.as_str() {
                "done" => {
                    let (version, expires_at) = answer.done()?;
                    Ok(RotateOutcome::Rotated { version, expires_at })
                }
                "late" => continue,
                "conflict" => Ok(RotateOutcome::Conflict(answer.conflict()?)),
                "gone" => Ok(RotateOutcome::Gone),
                "refused" => Ok(RotateOutcome::Refused),
                "superseded" => Ok(RotateOutcome::Superseded),
                _ => Err(answer.error(&self.config.limits)?),
            };
        }
        Err(too_late(OPERATION))
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        const OPERATION: &str = "session.touch";
        let mut answer = self.change(OPERATION, access, &Patch::new()).await?;
        match answer.word.as_str() {
            "done" => {
                let (_, expires_at) = answer.done()?;
                Ok(match answer.next().into_int(OPERATION)? {
                    0 => TouchOutcome::Fresh { expires_at },
                    _ => TouchOutcome::Touched { expires_at },
                })
            }
            "gone" => Ok(TouchOutcome::Gone),
            "refused" => Ok(TouchOutcome::Refused),
            _ => Err(answer.error(&self.config.limits)?),
        }
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        const OPERATION: &str = "session.destroy";
        let step = || self.step(&DESTROY, OPERATION, access, &Patch::new());
        let (reply, again) = match self.redis.call(step()).await {
            Err(error) if is_lost(&error) => (self.redis.call(step().repeatable()).await?, true),
            other => (other?, false),
        };
        let mut answer = Answer::read(reply, OPERATION)?;
        match answer.word.as_str() {
            "done" => {
                if let Some(principal) = answer.next().into_option() {
                    let principal = principal.into_text(OPERATION)?;
                    Index::of(self, &principal).remove(access.session(), OPERATION).await;
                }
                Ok(DestroyOutcome::Destroyed)
            }
            // the one whose reply was lost did it
            "gone" if again => Ok(DestroyOutcome::Destroyed),
            "gone" => Ok(DestroyOutcome::Gone),
            "refused" => Ok(DestroyOutcome::Refused),
            _ => Err(answer.error(&self.config.limits)?),
        }
    }

    /// Which `limit` sessions of many are listed is decided by the time of their login.
    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        SessionLimits::check_principal(principal)?;
        Index::of(self, principal).list(limit, "session.sessions_of").await
    }

    /// Redis removes what has expired by itself.
    async fn sweep(&self, _max: usize) -> Result<Swept> {
        Ok(Swept::default())
    }
}

#[async_trait]
impl HealthCheck for RedisSessionHandler {
    async fn health(&self) -> Health {
        self.redis.health().await
    }
}

impl fmt::Debug for RedisSessionHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessionHandler")
            .field("redis", &self.redis)
            .field("namespace", &self.config.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::redis::slot;

    use super::*;

    fn handler(namespace: &str, max_fields: usize) -> Result<RedisSessionHandler> {
        let limits = SessionLimits { max_fields, ..SessionLimits::default() };
        let namespace = namespace.into();
        let config = RedisSessionConfig { namespace, limits, ..RedisSessionConfig::default() };
        RedisSessionHandler::from_parts(Redis::from_url("redis://127.0.0.1:1")?, config)
    }

    #[test]
    fn a_session_has_one_key_and_a_slot_of_its_own() {
        let handler = handler("shop", 128).unwrap();
        let slots = [(); 64].map(|()| {
            let session = SessionRef::random();
            let key = handler.key(session);
            assert_eq!(key, format!("standfast:1:session:{{shop.{session}}}"));
            // the scripts have no other key, and what Redis hashes is all that differs
            assert_eq!(slot(&key), slot(&format!("shop.{session}")));
            slot(&key)
        });
        assert!(slots.iter().any(|slot| *slot != slots[0]), "sessions are spread");
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        for name in ["a", "Web_2.eu-1", &"x".repeat(47)] {
            assert!(handler(name, 128).is_ok(), "{name}");
        }
        for name in ["", "a b", "a}b", "a:b", "ä", &"x".repeat(48)] {
            let error = handler(name, 128).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{name}");
        }
        assert_eq!(handler("a", 1001).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
