use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Fixture, SessionHandlerExt};
use crate::testkit::SessionHarness;
use crate::{CommitOutcome, DestroyOutcome, Key, LoadOutcome, Patch, UpdateOutcome};

const WRITERS: u32 = 8;
const ROUNDS: u32 = 50;

/// S3: the race that this crate is for. Each writer reads, thinks, and writes its own field.
pub async fn concurrent_patches_on_different_fields_are_all_kept(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
        writers.spawn(async move {
            let name = format!("writer-{writer}");
            for _ in 0..ROUNDS {
                let snapshot = handler.load(&visitor).await.unwrap().found().unwrap();
                let seen = snapshot.bytes(&name).map_or(0, |value| value.len());
                tokio::task::yield_now().await;
                let patch = Patch::new().set(&name, vec![b'x'; seen + 1]);
                let outcome = handler.commit(&visitor, &patch).await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
            }
        });
    }
    writers.join_all().await;
    let snapshot = f.load().await;
    for writer in 0..WRITERS {
        let value = snapshot.bytes(&format!("writer-{writer}")).unwrap();
        assert_eq!(value.len(), ROUNDS as usize, "writer {writer}");
    }
    assert_eq!(snapshot.version, u64::from(1 + WRITERS * ROUNDS));
}

/// S5: sums need neither retries nor luck.
pub async fn concurrent_increments_are_all_counted(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
        writers.spawn(async move {
            for _ in 0..ROUNDS {
                let patch = Patch::new().increment("n", 1);
                let outcome = handler.commit(&visitor, &patch).await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(f.load().await.counter("n"), i64::from(WRITERS * ROUNDS));
}

/// S6: writers of one field who compare and retry lose nothing.
pub async fn concurrent_updates_of_one_field_are_all_kept(harness: &dyn SessionHarness) {
    const CART: Key<Vec<u32>> = Key::cas("cart");
    let f = Fixture::new(harness).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
        writers.spawn(async move {
            for round in 0..ROUNDS {
                loop {
                    let item = writer * ROUNDS + round;
                    match handler.update(&visitor, &CART, |cart| cart.push(item)).await {
                        Ok(UpdateOutcome::Updated { .. }) => break,
                        Err(error) if error.is_retryable() => tokio::task::yield_now().await,
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let mut items = CART.read(&f.load().await).unwrap().unwrap();
    items.sort_unstable();
    assert_eq!(items, (0..WRITERS * ROUNDS).collect::<Vec<_>>());
}

/// S11: what loaded the session before the logout gets nowhere after it.
pub async fn a_destroyed_session_does_not_come_back(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("user", "7")).await;
    assert_eq!(f.handler.destroy(&f.visitor).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(f.handler.destroy(&f.visitor).await.unwrap(), DestroyOutcome::Gone);
    for access in [&f.visitor, &f.worker] {
        let late = f.handler.commit(access, &Patch::new().set("user", "7")).await.unwrap();
        assert_eq!(late, CommitOutcome::Gone);
        assert_eq!(f.handler.load(access).await.unwrap(), LoadOutcome::Absent);
    }
}

/// S4, S11: a crowd of slow requests around a logout leaves nothing behind.
pub async fn commits_that_race_a_logout_do_not_resurrect(harness: &dyn SessionHarness) {
    for _ in 0..10 {
        let f = Fixture::new(harness).await;
        let mut crowd = JoinSet::new();
        for writer in 0..WRITERS {
            let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
            crowd.spawn(async move {
                for _ in 0..10 {
                    let patch = Patch::new().set(&format!("writer-{writer}"), "1");
                    match handler.commit(&visitor, &patch).await.unwrap() {
                        CommitOutcome::Committed { .. } => tokio::task::yield_now().await,
                        CommitOutcome::Gone => return,
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        tokio::task::yield_now().await;
        assert_eq!(f.handler.destroy(&f.visitor).await.unwrap(), DestroyOutcome::Destroyed);
        crowd.join_all().await;
        assert!(f.is_absent().await);
    }
}
