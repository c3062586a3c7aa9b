//! A suite that nothing fails proves nothing: each fault here breaks one rule of the contract, and
//! the case that names it must notice. The first one is how most session stores work.

mod support;

use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Health, HealthCheck, Result, SessionRef};
use standfast_session::testkit::{SessionHarness, async_trait, cases};
use standfast_session::{
    Access, CommitOutcome, CreateOutcome, DestroyOutcome, FieldOp, FieldValue, LoadOutcome, Patch,
    RotateOutcome, Rotation, RotationKind, SessionCapabilities, SessionHandler, SessionInit,
    SessionSummary, SessionToken, Swept, TouchOutcome, VerifierHash,
};
use support::Memory;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    AppliesInParts,
    CreateOverwrites,
    DestroyDoesNothing,
    GraceForLogins,
    IgnoresPreconditions,
    IgnoresTheVerifier,
    KeepsNoIndex,
    LoadTouches,
    ResurrectsOnCommit,
    SweepsWithoutBound,
    SumsOutsideTheStore,
    WholeSnapshots,
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn SessionHandler>,
    fault: Fault,
}

impl Broken {
    fn access(&self, access: &Access) -> Access {
        match self.fault {
            Fault::IgnoresTheVerifier => Access::trusted(access.session()),
            _ => access.clone(),
        }
    }

    /// Everything that was read is written back with the change.
    async fn write_all(&self, access: &Access, patch: &Patch) -> Result<Patch> {
        let Some(snapshot) = self.inner.load(access).await?.found() else {
            return Ok(patch.clone());
        };
        tokio::task::yield_now().await;
        let mut whole = patch.clone();
        for (name, field) in &snapshot.fields {
            if let FieldValue::Bytes(value) = &field.value
                && patch.iter().all(|(changed, _)| changed != name)
            {
                whole = whole.set(name.as_str(), value.clone());
            }
        }
        Ok(whole)
    }
}

#[async_trait]
impl SessionHandler for Broken {
    fn capabilities(&self) -> SessionCapabilities {
        self.inner.capabilities()
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        if self.fault == Fault::CreateOverwrites {
            let _ = self.inner.destroy(&Access::trusted(session)).await?;
        }
        self.inner.create(session, verifier, init).await
    }

    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        let access = self.access(access);
        if self.fault == Fault::LoadTouches {
            let _ = self.inner.touch(&access).await?;
        }
        self.inner.load(&access).await
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        let access = self.access(access);
        let mut patch = patch.clone();
        match self.fault {
            Fault::WholeSnapshots => patch = self.write_all(&access, &patch).await?,
            Fault::IgnoresPreconditions => {
                tokio::task::yield_now().await;
                for (name, change) in &patch {
                    if let FieldOp::CompareAndSet { value: Some(value), .. } = &change.op {
                        let blind = Patch::new().set(name.as_str(), value.clone());
                        return self.inner.commit(&access, &blind).await;
                    }
                }
            }
            Fault::AppliesInParts => {
                for (name, change) in &patch {
                    if let FieldOp::Set(value) = &change.op {
                        let part = Patch::new().set(name.as_str(), value.clone());
                        let _ = self.inner.commit(&access, &part).await?;
                    }
                }
            }
            Fault::SumsOutsideTheStore => {
                let snapshot = self.inner.load(&access).await?.found();
                tokio::task::yield_now().await;
                let now = self.inner.load(&access).await?.found();
                // adds to what was read before, whatever happened since
                if let (Some(seen), Some(now)) = (snapshot, now) {
                    patch = patch.increment("n", seen.counter("n") - now.counter("n"));
                }
            }
            _ => {}
        }
        let outcome = self.inner.commit(&access, &patch).await?;
        if outcome == CommitOutcome::Gone && self.fault == Fault::ResurrectsOnCommit {
            let init = SessionInit::new().with_patch(patch);
            let hash = SessionToken::random().verifier_hash();
            let _ = self.inner.create(access.session(), hash, &init).await?;
        }
        Ok(outcome)
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        let mut rotation = rotation.clone();
        if self.fault == Fault::GraceForLogins {
            rotation.kind = RotationKind::Renewal { grace: Duration::from_secs(30) };
        }
        self.inner.rotate(&self.access(access), &rotation, patch).await
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        self.inner.touch(&self.access(access)).await
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        if self.fault == Fault::DestroyDoesNothing {
            return Ok(DestroyOutcome::Destroyed);
        }
        self.inner.destroy(&self.access(access)).await
    }

    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        let limit = if self.fault == Fault::KeepsNoIndex { 0 } else { limit };
        self.inner.sessions_of(principal, limit).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        let max = if self.fault == Fault::SweepsWithoutBound { usize::MAX } else { max };
        self.inner.sweep(max).await
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[derive(Debug)]
struct BrokenHarness {
    memory: Memory,
    fault: Fault,
}

#[async_trait]
impl SessionHarness for BrokenHarness {
    async fn open(&self) -> Arc<dyn SessionHandler> {
        let inner = self.memory.open().await;
        Arc::new(Broken { inner, fault: self.fault })
    }

    async fn pass(&self, time: Duration) {
        self.memory.pass(time).await;
    }
}

/// One test per fault: the case must fail with it.
macro_rules! caught {
    ($($name:ident: $fault:ident fails $case:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let run = tokio::spawn(async {
                let harness = BrokenHarness { memory: support::manual(), fault: Fault::$fault };
                cases::$case(&harness).await;
            });
            let failed = run.await.is_err_and(|error| error.is_panic());
            assert!(failed, "{} does not notice", stringify!($case));
        }
    )*};
}

caught! {
    lost_updates: WholeSnapshots fails concurrent_patches_on_different_fields_are_all_kept;
    partial_patch: AppliesInParts fails a_patch_is_applied_whole_or_not_at_all;
    counted_versions: AppliesInParts fails the_version_rises_by_one_and_marks_what_changed;
    overwritten: CreateOverwrites fails a_taken_reference_is_not_overwritten;
    logout_ignored: DestroyDoesNothing fails a_destroyed_session_does_not_come_back;
    session_fixation: GraceForLogins fails a_login_kills_the_old_secret_and_keeps_the_data;
    blind_writes: IgnoresPreconditions fails concurrent_updates_of_one_field_are_all_kept;
    blind_restore: IgnoresPreconditions fails a_removed_and_restored_field_is_a_conflict;
    no_secret: IgnoresTheVerifier fails a_wrong_secret_is_refused_everywhere;
    no_list: KeepsNoIndex fails sessions_of_a_principal_are_listed_and_ended;
    reading_extends: LoadTouches fails loading_does_not_extend;
    resurrection: ResurrectsOnCommit fails nothing_but_create_creates;
    resurrection_after_logout: ResurrectsOnCommit fails a_destroyed_session_does_not_come_back;
    resurrection_by_race: ResurrectsOnCommit fails commits_that_race_a_logout_do_not_resurrect;
    endless_sweep: SweepsWithoutBound fails a_sweep_is_bounded_and_takes_only_what_has_ended;
    lost_sums: SumsOutsideTheStore fails concurrent_increments_are_all_counted;
}
