//! Requests that are under way when a session changes its secret, or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::task::JoinSet;

use super::{Fixture, principal};
use crate::testkit::SessionHarness;
use crate::{
    Access, CommitOutcome, DestroyOutcome, LoadOutcome, Patch, RotateOutcome, Rotation,
    RotationKind, SessionToken, TouchOutcome, Via,
};

const WRITERS: usize = 6;
const ROTATIONS: usize = 6;

fn one() -> Patch {
    Patch::new().increment("n", 1)
}

impl Fixture<'_> {
    /// A renewal whose grace outlasts the case.
    fn lasting_renewal(&self, new: &SessionToken) -> Rotation {
        Rotation::new(new, RotationKind::Renewal { grace: self.harness.unit() * 20 })
    }

    /// Rotates to each of `rotations` at the same time, each with an increment.
    async fn rotate_at_once(&self, rotations: Vec<Rotation>) -> Vec<RotateOutcome> {
        let mut asking = JoinSet::new();
        for rotation in rotations {
            let (handler, visitor) = (Arc::clone(&self.handler), self.visitor.clone());
            asking.spawn(async move { handler.rotate(&visitor, &rotation, &one()).await.unwrap() });
        }
        asking.join_all().await
    }

    async fn reached(&self, tokens: &[SessionToken]) -> Vec<Via> {
        let mut reached = Vec::new();
        for token in tokens {
            let loaded = self.handler.load(&Access::bearer(token)).await.unwrap();
            reached.extend(loaded.found().map(|snapshot| snapshot.via));
        }
        reached
    }
}

/// S8: whatever happens at the last moment, the limit stays where it was.
pub async fn touches_that_race_the_absolute_limit_do_not_pass_it(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 2, 5).await;
    let ends_at = f.load().await.ends_at;
    let over = Arc::new(AtomicBool::new(false));
    let mut crowd = JoinSet::new();
    for writer in 0..WRITERS {
        let (handler, visitor, over) =
            (Arc::clone(&f.handler), f.visitor.clone(), Arc::clone(&over));
        crowd.spawn(async move {
            loop {
                let is_over = over.load(Ordering::SeqCst);
                let expires_at = if writer % 2 == 0 {
                    match handler.touch(&visitor).await.unwrap() {
                        TouchOutcome::Fresh { expires_at }
                        | TouchOutcome::Touched { expires_at } => expires_at,
                        outcome => return assert_eq!(outcome, TouchOutcome::Gone),
                    }
                } else {
                    match handler.commit(&visitor, &one()).await.unwrap() {
                        CommitOutcome::Committed { expires_at, .. } => expires_at,
                        outcome => return assert_eq!(outcome, CommitOutcome::Gone),
                    }
                };
                assert!(!is_over, "it lives past its limit");
                assert!(expires_at <= ends_at, "{expires_at} is after {ends_at}");
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..12 {
        harness.pass(harness.unit() / 2).await;
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::SeqCst);
    crowd.join_all().await;
    assert!(f.is_absent().await);
}

/// S10: a job that was sent with the reference does its work whoever logs in meanwhile.
pub async fn a_reference_from_before_a_login_still_finds_the_session(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("cart", "tea")).await;
    let job = Access::trusted(f.token.session());
    let (owner, new) = (principal(), f.token.renewed());
    let login = Rotation::login(&new, &owner);
    let outcome = f.handler.rotate(&f.visitor, &login, &Patch::new()).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
    let found = f.handler.load(&job).await.unwrap().found().unwrap();
    assert_eq!(found.bytes("cart").unwrap(), "tea");
    assert_eq!(found.principal, Some(owner));
    let outcome = f.handler.commit(&job, &Patch::new().set("progress", "1")).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    let found = f.handler.load(&Access::bearer(&new)).await.unwrap().found().unwrap();
    assert_eq!(found.bytes("progress").unwrap(), "1");
}

/// S10: what was answered before a login is kept, and nothing by the old secret comes after it.
pub async fn commits_that_race_a_login_are_applied_before_it_or_refused(
    harness: &dyn SessionHarness,
) {
    for _ in 0..3 {
        let f = Fixture::new(harness).await;
        let (applied, over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut crowd = JoinSet::new();
        for _ in 0..WRITERS {
            let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
            let (applied, over) = (Arc::clone(&applied), Arc::clone(&over));
            crowd.spawn(async move {
                loop {
                    let is_over = over.load(Ordering::SeqCst);
                    match handler.commit(&visitor, &one()).await.unwrap() {
                        CommitOutcome::Committed { .. } => {
                            assert!(!is_over, "a dead secret is taken");
                            applied.fetch_add(1, Ordering::SeqCst);
                        }
                        outcome => break assert_eq!(outcome, CommitOutcome::Refused),
                    }
                    tokio::task::yield_now().await;
                }
                let again = handler.commit(&visitor, &one()).await.unwrap();
                assert_eq!(again, CommitOutcome::Refused, "a dead secret stays dead");
            });
        }
        while applied.load(Ordering::SeqCst) < WRITERS as i64 {
            tokio::task::yield_now().await;
        }
        let new = f.token.renewed();
        let login = Rotation::login(&new, principal());
        let outcome = f.handler.rotate(&f.visitor, &login, &Patch::new()).await.unwrap();
        assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
        over.store(true, Ordering::SeqCst);
        let at_once = f.load().await.counter("n");
        crowd.join_all().await;
        assert_eq!(at_once, applied.load(Ordering::SeqCst), "what was answered is there");
        assert_eq!(f.load().await.counter("n"), at_once, "nothing comes after it");
        assert_eq!(f.reached(&[f.token.clone(), new]).await, [Via::Current]);
    }
}

/// S10: a renewal is noticed by nobody who is under way.
pub async fn commits_that_race_a_renewal_are_all_applied(harness: &dyn SessionHarness) {
    const ROUNDS: usize = 20;
    let f = Fixture::new(harness).await;
    let mut crowd = JoinSet::new();
    for _ in 0..WRITERS {
        let (handler, visitor) = (Arc::clone(&f.handler), f.visitor.clone());
        crowd.spawn(async move {
            for _ in 0..ROUNDS {
                let outcome = handler.commit(&visitor, &one()).await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
                tokio::task::yield_now().await;
            }
        });
    }
    let new = f.token.renewed();
    let renewal = f.lasting_renewal(&new);
    let outcome = f.handler.rotate(&f.visitor, &renewal, &one()).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
    crowd.join_all().await;
    assert_eq!(f.load().await.counter("n"), (WRITERS * ROUNDS + 1) as i64);
    assert_eq!(f.reached(&[f.token.clone(), new]).await, [Via::Previous, Via::Current]);
}

/// S10: one new cookie, whichever of them it is, and the others change nothing.
pub async fn of_many_rotations_at_once_one_wins(harness: &dyn SessionHarness) {
    for (is_login, lost) in [(true, RotateOutcome::Refused), (false, RotateOutcome::Superseded)] {
        let f = Fixture::new(harness).await;
        let tokens: Vec<_> = (0..ROTATIONS).map(|_| f.token.renewed()).collect();
        let rotation = |new| match is_login {
            true => Rotation::login(new, principal()),
            false => f.lasting_renewal(new),
        };
        let outcomes = f.rotate_at_once(tokens.iter().map(rotation).collect()).await;
        let count = outcomes.iter().filter(|outcome| **outcome == lost).count();
        assert_eq!(count, ROTATIONS - 1, "{outcomes:?}");
        assert_eq!(f.load().await.counter("n"), 1);
        assert_eq!(f.reached(&tokens).await, [Via::Current]);
    }
}

/// S10: a login counts, before or after whichever renewal, and all other secrets are dead then.
pub async fn a_login_among_renewals_wins(harness: &dyn SessionHarness) {
    for _ in 0..3 {
        let f = Fixture::new(harness).await;
        let (login, owner) = (f.token.renewed(), principal());
        let others: Vec<_> = (0..ROTATIONS).map(|_| f.token.renewed()).collect();
        let mut rotations: Vec<_> = others.iter().map(|new| f.lasting_renewal(new)).collect();
        rotations.insert(ROTATIONS / 2, Rotation::login(&login, &owner));
        let outcomes = f.rotate_at_once(rotations).await;
        let won = |outcome: &&RotateOutcome| matches!(outcome, RotateOutcome::Rotated { .. });
        let won = outcomes.iter().filter(won).count();
        assert!((1..=2).contains(&won), "the login, and at most one before it: {outcomes:?}");
        let after = f.load().await;
        assert_eq!(after.counter("n"), won as i64);
        assert_eq!(after.principal, Some(owner));
        assert_eq!(f.reached(&[login]).await, [Via::Current]);
        assert_eq!(f.reached(&others).await, []);
        assert_eq!(f.reached(std::slice::from_ref(&f.token)).await, []);
    }
}

/// S4, S11: neither a login nor a renewal brings back what was ended.
pub async fn rotations_that_race_a_logout_do_not_resurrect(harness: &dyn SessionHarness) {
    for _ in 0..5 {
        let f = Fixture::new(harness).await;
        let owner = principal();
        let tokens: Vec<_> = (0..ROTATIONS).map(|_| f.token.renewed()).collect();
        let rotation = |(number, new)| match number % 2 {
            0 => Rotation::login(new, &owner),
            _ => f.lasting_renewal(new),
        };
        let rotations = tokens.iter().enumerate().map(rotation).collect();
        let (_, ended) = tokio::join!(f.rotate_at_once(rotations), f.handler.destroy(&f.worker));
        assert_eq!(ended.unwrap(), DestroyOutcome::Destroyed);
        assert!(f.is_absent().await);
        for token in tokens.iter().chain([&f.token]) {
            let visitor = Access::bearer(token);
            assert_eq!(f.handler.load(&visitor).await.unwrap(), LoadOutcome::Absent);
            let login = Rotation::login(&token.renewed(), &owner);
            let again = f.handler.rotate(&visitor, &login, &one()).await.unwrap();
            assert_eq!(again, RotateOutcome::Gone);
        }
        assert!(f.handler.sessions_of(&owner, 9).await.unwrap().is_empty());
    }
}
