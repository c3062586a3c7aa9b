use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::{HealthCheck, Result, SessionRef};

use crate::init::{Rotation, SessionInit};
use crate::limits::SessionCapabilities;
use crate::outcome::{
    CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome, RotateOutcome, Swept, TouchOutcome,
};
use crate::patch::Patch;
use crate::snapshot::SessionSummary;
use crate::token::{Access, VerifierHash};

/// Web sessions in which concurrent requests lose nothing: the contract of backends.
///
/// Callers use [`SessionHandlerExt`](crate::SessionHandlerExt) and [`Key`](crate::Key).
///
/// # Contract
///
/// Each line is a case of the suite, under this number, unless it says who keeps it.
///
/// - **S1** `create` never overwrites.
/// - **S2** `load` neither creates nor extends. A session that is unknown, expired or ended is
///   absent; a secret that does not match is refused.
/// - **S3** A patch is applied whole or not at all and touches only the fields it names; patches on
///   different fields commute.
/// - **S4** Nothing but `create` creates: on an absent session everything else answers `Gone`.
/// - **S5** Operations: set, remove, increment, put-if-absent, compare-and-set, set members, bounded
///   append. Preconditions, types and overflow are checked before the first write.
/// - **S6** A failed precondition is answered with the field, its revision and its value.
/// - **S7** The version rises by exactly one with each commit that is not empty, and the revision of
///   each changed field equals it.
/// - **S8** A session ends at the earlier of last touch + idle and creation + absolute, by the
///   store's time. A touch never shortens and never passes the absolute limit.
/// - **S9** A touch writes only if the last one is older than [`Timeouts::touch_interval`]; a commit
///   touches along. [`Access::Trusted`] never extends.
/// - **S10** Rotation replaces the secret and applies a patch in one step, keeping data and deadline.
///   After a change of privilege the old secret is refused at once; after a renewal it is taken
///   until its grace ends. Of two concurrent renewals one wins and the other is superseded.
/// - **S11** `destroy` is idempotent, and no request that loaded earlier brings the data back.
/// - **S12** Limits are checked before the first write and reported as `TooLarge`.
/// - **S13** A field that cannot be decoded fails alone: kept by [`Key`](crate::Key).
/// - **S14** The store is given the hash of the secret, never the secret.
/// - **S17**–**S19** No store call without need, policies when the store fails, commit before the
///   first byte of the response: kept by the HTTP layer. A store that fails says so
///   (`Unavailable`); it never answers `Gone` for it. S15 and S16 are not part of this version.
/// - **S20** `sweep` is bounded and safe to run anywhere at any time.
///
/// Every operation that carries a verifier compares it in the same step as it acts. Dropping the
/// future of any method leaves it open whether the call took effect; none leaves half of it behind.
///
/// ```
/// use std::sync::Arc;
/// use standfast_session::{MemorySessionHandler, Patch, SessionHandler, SessionToken};
/// # use standfast_session::{Access, CommitOutcome, SessionInit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let handler: Arc<dyn SessionHandler> = Arc::new(MemorySessionHandler::new());
/// let token = SessionToken::random();
/// let _ = handler.create(token.session(), token.verifier_hash(), &SessionInit::new()).await?;
/// let patch = Patch::new().set("locale", "fi");
/// let outcome = handler.commit(&Access::bearer(&token), &patch).await?;
/// assert!(matches!(outcome, CommitOutcome::Committed { version: 2, .. }));
/// # Ok(()) }
/// ```
///
/// [`Timeouts::touch_interval`]: crate::Timeouts::touch_interval
#[async_trait]
pub trait SessionHandler: HealthCheck + Debug + Send + Sync + 'static {
    /// What this handler can do, and its limits.
    fn capabilities(&self) -> SessionCapabilities;

    /// Creates a session at version 1.
    ///
    /// Died before: nothing. Died after the store acted: an unreachable session, because nobody has
    /// its secret, which ends by its idle timeout.
    ///
    /// # Errors
    ///
    /// `Invalid` and `TooLarge` before any I/O; `Unavailable`, `Timeout`.
    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome>;

    /// Reads a session. Changes nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`; `Unsupported` with [`Reason::NewerVersion`] for a session that a
    /// newer release wrote.
    ///
    /// [`Reason::NewerVersion`]: standfast_core::Reason::NewerVersion
    async fn load(&self, access: &Access) -> Result<LoadOutcome>;

    /// Applies a patch and touches. An empty patch only does what [`touch`](Self::touch) does.
    ///
    /// Died before: nothing. Died after the store acted: all of it is applied. Who repeats a patch
    /// after an error of unknown outcome must know that sets and members may be repeated, and that
    /// increments and appended values would count twice.
    ///
    /// # Errors
    ///
    /// `Invalid` for a patch that cannot be applied: a name, operations that do not combine, a field
    /// of another type, an overflow. `TooLarge`. In all of these nothing was changed. `Unavailable`,
    /// `Timeout`: it may have been applied.
    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome>;

    /// Replaces the secret and applies a patch.
    ///
    /// Died before: the old secret counts. Died after the store acted, before the visitor got the
    /// new one: a repeated call with the same new secret is answered as the first one was; a visitor
    /// who never gets it keeps the session until the grace ends, or must log in again.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit), and `Invalid` for a rotation out of range.
    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome>;

    /// Lets the idle time run anew, if that is due.
    ///
    /// Died at any point: the session may end as if it had not been touched.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`.
    async fn touch(&self, access: &Access) -> Result<TouchOutcome>;

    /// Ends a session.
    ///
    /// Died before: it lives. Died after the store acted: it is gone, and a repeated call says so.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`: repeat the call.
    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome>;

    /// Lists the live sessions of a principal, the one created last first, at most `limit`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that breaks the rule; `Unavailable`, `Timeout`.
    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>>;

    /// Removes at most `max` expired sessions. A store that expires by itself removes nothing.
    ///
    /// Died at any point: what was removed is removed, the rest is for the next call.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`.
    async fn sweep(&self, max: usize) -> Result<Swept>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<H: SessionHandler + ?Sized> SessionHandler for $pointer<H> {
            fn capabilities(&self) -> SessionCapabilities {
                (**self).capabilities()
            }

            async fn create(
                &self,
                session: SessionRef,
                verifier: VerifierHash,
                init: &SessionInit,
            ) -> Result<CreateOutcome> {
                (**self).create(session, verifier, init).await
            }

            async fn load(&self, access: &Access) -> Result<LoadOutcome> {
                (**self).load(access).await
            }

            async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
                (**self).commit(access, patch).await
            }

            async fn rotate(
                &self,
                access: &Access,
                rotation: &Rotation,
                patch: &Patch,
            ) -> Result<RotateOutcome> {
                (**self).rotate(access, rotation, patch).await
            }

            async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
                (**self).touch(access).await
            }

            async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
                (**self).destroy(access).await
            }

            async fn sessions_of(
                &self,
                principal: &str,
                limit: usize,
            ) -> Result<Vec<SessionSummary>> {
                (**self).sessions_of(principal, limit).await
            }

            async fn sweep(&self, max: usize) -> Result<Swept> {
                (**self).sweep(max).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
