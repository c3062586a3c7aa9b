//! What callers do with a handler, where the store does not play along.

use std::sync::atomic::{AtomicU32, Ordering};

use standfast_core::{ErrorKind, Health, HealthCheck, Result, SessionRef};
use standfast_session::testkit::async_trait;
use standfast_session::{
    Access, CommitOutcome, CreateOutcome, DestroyOutcome, Key, LoadOutcome, MemorySessionHandler,
    Patch, RotateOutcome, Rotation, SessionCapabilities, SessionHandler, SessionHandlerExt,
    SessionInit, SessionSummary, Swept, TouchOutcome, UpdateOutcome, VerifierHash,
};

const CART: Key<Vec<u32>> = Key::cas("cart");
const VIEWS: Key<i64> = Key::counter("views");

/// A store in which the first `taken` references are taken, and in which somebody is faster by one
/// item `rivals` times.
#[derive(Debug, Default)]
struct Rival {
    inner: MemorySessionHandler,
    taken: AtomicU32,
    rivals: AtomicU32,
}

fn down(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl SessionHandler for Rival {
    fn capabilities(&self) -> SessionCapabilities {
        self.inner.capabilities()
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        if down(&self.taken) {
            return Ok(CreateOutcome::Exists);
        }
        self.inner.create(session, verifier, init).await
    }

    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        self.inner.load(access).await
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        if down(&self.rivals) {
            let _ = self.inner.update(access, &CART, |cart| cart.push(0)).await?;
        }
        self.inner.commit(access, patch).await
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        self.inner.rotate(access, rotation, patch).await
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        self.inner.touch(access).await
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        self.inner.destroy(access).await
    }

    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        self.inner.sessions_of(principal, limit).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.inner.sweep(max).await
    }
}

#[async_trait]
impl HealthCheck for Rival {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[tokio::test]
async fn a_taken_reference_is_drawn_again_but_not_for_ever() {
    let handler = Rival::default();
    handler.taken.store(2, Ordering::Relaxed);
    assert!(handler.start(&SessionInit::new()).await.is_ok());
    handler.taken.store(9, Ordering::Relaxed);
    let error = handler.start(&SessionInit::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(handler.taken.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn an_update_sees_what_was_faster_and_gives_up_in_the_end() {
    let handler = Rival::default();
    let visitor = Access::bearer(&handler.start(&SessionInit::new()).await.unwrap().token);
    handler.rivals.store(4, Ordering::Relaxed);
    let outcome = handler.update(&visitor, &CART, |cart| cart.push(1)).await.unwrap();
    let UpdateOutcome::Updated { value, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(value, [0, 0, 0, 0, 1]);
    handler.rivals.store(5, Ordering::Relaxed);
    let error = handler.update(&visitor, &CART, |cart| cart.push(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
}

#[tokio::test]
async fn an_update_of_what_is_gone_or_no_longer_ours_says_so() {
    let handler = MemorySessionHandler::new();
    let token = handler.start(&SessionInit::new()).await.unwrap().token;
    let (visitor, stranger) = (Access::bearer(&token), Access::bearer(&token.renewed()));
    let refused = handler.update(&stranger, &CART, |cart| cart.push(1)).await.unwrap();
    assert_eq!(refused, UpdateOutcome::Refused);
    let counter = handler.update(&visitor, &VIEWS, |views| *views += 1).await.unwrap_err();
    assert_eq!(counter.kind(), ErrorKind::Invalid);
    let _ = handler.destroy(&visitor).await.unwrap();
    let gone = handler.update(&visitor, &CART, |cart| cart.push(1)).await.unwrap();
    assert_eq!(gone, UpdateOutcome::Gone);
}

#[tokio::test]
async fn each_key_removes_by_its_rule() {
    let handler = MemorySessionHandler::new();
    let visitor = Access::bearer(&handler.start(&SessionInit::new()).await.unwrap().token);
    let _ = handler.update(&visitor, &CART, |cart| cart.push(1)).await.unwrap();
    let _ = handler.commit(&visitor, &VIEWS.add(Patch::new(), 1)).await.unwrap();
    let seen = handler.load(&visitor).await.unwrap().found().unwrap();
    let _ = handler.update(&visitor, &CART, |cart| cart.push(2)).await.unwrap();
    let stale = handler.commit(&visitor, &CART.remove(Patch::new(), &seen)).await.unwrap();
    assert!(matches!(stale, CommitOutcome::Conflict(_)), "{stale:?}");
    let blind = handler.commit(&visitor, &VIEWS.remove(Patch::new(), &seen)).await.unwrap();
    assert!(matches!(blind, CommitOutcome::Committed { .. }), "{blind:?}");
}
