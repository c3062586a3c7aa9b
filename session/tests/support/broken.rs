//! A handler that breaks one rule of the contract.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Health, HealthCheck, Result, SessionRef};
use standfast_session::testkit::async_trait;
use standfast_session::{
    Access, CommitOutcome, CreateOutcome, DestroyOutcome, FieldOp, FieldValue, LoadOutcome, Patch,
    PrincipalChange, RotateOutcome, Rotation, RotationKind, SessionCapabilities, SessionHandler,
    SessionInit, SessionSummary, SessionToken, Swept, TouchOutcome, VerifierHash,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    AppliesInParts,
    CreateOverwrites,
    DestroyDoesNothing,
    EveryRotationWins,
    GraceForLogins,
    IgnoresPreconditions,
    IgnoresTheVerifier,
    KeepsNoIndex,
    LoadTouches,
    MovesOnLogin,
    NoGrace,
    ResurrectsOnCommit,
    ResurrectsOnRotate,
    SweepsWithoutBound,
    SumsOutsideTheStore,
    TouchesPastTheLimit,
    WholeSnapshots,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn SessionHandler>,
    pub(crate) fault: Fault,
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
        match self.fault {
            Fault::GraceForLogins => {
                rotation.kind = RotationKind::Renewal { grace: Duration::from_secs(30) };
            }
            Fault::NoGrace => rotation.kind = RotationKind::Privilege(PrincipalChange::Keep),
            _ => {}
        }
        let outcome = self.inner.rotate(&self.access(access), &rotation, patch).await?;
        match (self.fault, &outcome) {
            (Fault::EveryRotationWins, RotateOutcome::Refused | RotateOutcome::Superseded) => {
                let expires_at = chrono::Utc::now();
                Ok(RotateOutcome::Rotated { version: 2, expires_at })
            }
            (Fault::ResurrectsOnRotate, RotateOutcome::Gone) => {
                let (session, init) = (access.session(), SessionInit::new());
                let _ = self.inner.create(session, rotation.verifier, &init).await?;
                Ok(outcome)
            }
            (Fault::MovesOnLogin, RotateOutcome::Rotated { .. }) => {
                let _ = self.inner.destroy(&Access::trusted(access.session())).await?;
                Ok(outcome)
            }
            _ => Ok(outcome),
        }
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        let outcome = self.inner.touch(&self.access(access)).await?;
        Ok(match (self.fault, outcome) {
            (Fault::TouchesPastTheLimit, TouchOutcome::Touched { expires_at }) => {
                TouchOutcome::Touched { expires_at: expires_at + Duration::from_secs(3600) }
            }
            (_, outcome) => outcome,
        })
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
