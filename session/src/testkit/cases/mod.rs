//! The cases, by subject. Each is an async function over a [`SessionHarness`] that panics when the
//! rule it names is broken.

mod fields;
mod lifetime;
mod racing;
mod racing_ends;
mod rotation;

use std::sync::Arc;

use standfast_core::Id128;

use super::SessionHarness;
use crate::{
    Access, CommitOutcome, LoadOutcome, Patch, SessionHandler, SessionHandlerExt, SessionInit,
    SessionToken, Snapshot, Timeouts,
};

pub use fields::*;
pub use lifetime::*;
pub use racing::*;
pub use racing_ends::*;
pub use rotation::*;

/// A session of its own, and the two ways to reach it.
struct Fixture<'a> {
    harness: &'a dyn SessionHarness,
    handler: Arc<dyn SessionHandler>,
    token: SessionToken,
    visitor: Access,
    worker: Access,
}

impl<'a> Fixture<'a> {
    async fn new(harness: &'a dyn SessionHarness) -> Self {
        Self::with(harness, &SessionInit::new()).await
    }

    /// A session that lives for this many units of the harness: idle, and at all.
    async fn living(harness: &'a dyn SessionHarness, idle: u32, absolute: u32) -> Self {
        let unit = harness.unit();
        let timeouts = Timeouts::new(unit * idle, unit * absolute);
        Self::with(harness, &SessionInit::new().with_timeouts(timeouts)).await
    }

    async fn with(harness: &'a dyn SessionHarness, init: &SessionInit) -> Self {
        let handler = harness.open().await;
        let token = handler.start(init).await.unwrap().token;
        let (visitor, worker) = (Access::bearer(&token), Access::trusted(token.session()));
        Self { harness, handler, token, visitor, worker }
    }

    async fn load(&self) -> Snapshot {
        match self.handler.load(&self.worker).await.unwrap() {
            LoadOutcome::Found(snapshot) => *snapshot,
            other => panic!("the session is not there: {other:?}"),
        }
    }

    /// Commits as the visitor, and must succeed; the version afterwards.
    async fn commit(&self, patch: Patch) -> u64 {
        match self.handler.commit(&self.visitor, &patch).await.unwrap() {
            CommitOutcome::Committed { version, .. } => version,
            other => panic!("the patch was not applied: {other:?}"),
        }
    }

    async fn is_absent(&self) -> bool {
        self.handler.load(&self.worker).await.unwrap() == LoadOutcome::Absent
    }

    async fn pass(&self, units: u32) {
        self.harness.pass(self.harness.unit() * units).await;
    }
}

fn principal() -> String {
    format!("suite-{}", Id128::random())
}
