use super::{Fixture, principal};
use crate::testkit::SessionHarness;
use crate::{
    Access, CommitOutcome, DestroyOutcome, LoadOutcome, Patch, PrincipalChange, RotateOutcome,
    Rotation, RotationKind, SessionToken, Via,
};

impl Fixture<'_> {
    async fn rotate(&self, from: &SessionToken, rotation: &Rotation) -> RotateOutcome {
        let access = Access::bearer(from);
        self.handler.rotate(&access, rotation, &Patch::new()).await.unwrap()
    }

    fn renewal(&self, new: &SessionToken) -> Rotation {
        Rotation::new(new, RotationKind::Renewal { grace: self.harness.unit() * 2 })
    }

    async fn via(&self, token: &SessionToken) -> Option<Via> {
        let loaded = self.handler.load(&Access::bearer(token)).await.unwrap();
        loaded.found().map(|snapshot| snapshot.via)
    }
}

fn is_rotated(outcome: &RotateOutcome) -> bool {
    matches!(outcome, RotateOutcome::Rotated { .. })
}

/// S10: a cookie that was planted before the login is worth nothing after it.
pub async fn a_login_kills_the_old_secret_and_keeps_the_data(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("cart", "tea")).await;
    let before = f.load().await;
    let (owner, new) = (principal(), f.token.renewed());
    let (login, patch) = (Rotation::login(&new, &owner), Patch::new().set("user", "7"));
    let outcome = f.handler.rotate(&f.visitor, &login, &patch).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Rotated { version: 3, .. }), "{outcome:?}");
    assert_eq!(f.handler.load(&f.visitor).await.unwrap(), LoadOutcome::Refused);
    let late = f.handler.commit(&f.visitor, &Patch::new().set("cart", "x")).await.unwrap();
    assert_eq!(late, CommitOutcome::Refused);
    assert_eq!(f.via(&new).await, Some(Via::Current));
    let after = f.load().await;
    assert_eq!(
        (after.bytes("cart").unwrap(), after.bytes("user").unwrap()),
        (&"tea".into(), &"7".into())
    );
    assert_eq!((after.session, after.ends_at), (before.session, before.ends_at));
    assert_eq!(after.principal.as_ref(), Some(&owner));
    assert_eq!(f.handler.sessions_of(&owner, 9).await.unwrap().len(), 1);
    // a logout that keeps the session takes it off the list
    let last = new.renewed();
    let logout = Rotation::new(&last, RotationKind::Privilege(PrincipalChange::Clear));
    assert!(is_rotated(&f.rotate(&new, &logout).await));
    assert_eq!(f.load().await.principal, None);
    assert!(f.handler.sessions_of(&owner, 9).await.unwrap().is_empty());
}

/// S10: requests under way during a renewal lose nothing.
pub async fn after_a_renewal_the_old_secret_works_until_its_grace_ends(
    harness: &dyn SessionHarness,
) {
    let f = Fixture::new(harness).await;
    let new = f.token.renewed();
    assert!(is_rotated(&f.rotate(&f.token, &f.renewal(&new)).await));
    assert_eq!(f.via(&f.token).await, Some(Via::Previous));
    f.commit(Patch::new().set("a", "1")).await;
    assert_eq!(f.via(&new).await, Some(Via::Current));
    f.pass(3).await;
    assert_eq!(f.handler.load(&f.visitor).await.unwrap(), LoadOutcome::Refused);
    let late = f.handler.commit(&f.visitor, &Patch::new().set("a", "2")).await.unwrap();
    assert_eq!(late, CommitOutcome::Refused);
    assert_eq!(f.handler.destroy(&f.visitor).await.unwrap(), DestroyOutcome::Refused);
    assert_eq!(f.load().await.bytes("a").unwrap(), "1");
}

/// S10: one new cookie, and nobody is logged out.
pub async fn of_two_concurrent_renewals_one_is_superseded(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let (one, two) = (f.token.renewed(), f.token.renewed());
    let (rotate_one, rotate_two) = (f.renewal(&one), f.renewal(&two));
    assert!(is_rotated(&f.rotate(&f.token, &rotate_one).await));
    let patch = Patch::new().set("a", "1");
    let second = f.handler.rotate(&f.visitor, &rotate_two, &patch).await.unwrap();
    assert_eq!(second, RotateOutcome::Superseded);
    assert_eq!((f.via(&one).await, f.via(&two).await), (Some(Via::Current), None));
    assert!(f.load().await.fields.is_empty());
}

/// S10: of two logins with one cookie the second has lost its ground.
pub async fn of_two_concurrent_logins_one_is_refused(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let (one, two) = (f.token.renewed(), f.token.renewed());
    let (first, second) = (principal(), principal());
    assert!(is_rotated(&f.rotate(&f.token, &Rotation::login(&one, &first)).await));
    let refused = f.rotate(&f.token, &Rotation::login(&two, &second)).await;
    assert_eq!(refused, RotateOutcome::Refused);
    assert_eq!(f.load().await.principal, Some(first));
    assert_eq!(f.via(&one).await, Some(Via::Current));
}

/// S10: a renewal that happened a moment ago does not get in the way of a login, and all secrets
/// from before it are dead after it.
pub async fn a_login_through_the_old_secret_in_its_grace_counts(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let (renewed, login) = (f.token.renewed(), f.token.renewed());
    assert!(is_rotated(&f.rotate(&f.token, &f.renewal(&renewed)).await));
    assert!(is_rotated(&f.rotate(&f.token, &Rotation::login(&login, principal())).await));
    assert_eq!((f.via(&f.token).await, f.via(&renewed).await), (None, None));
    assert_eq!(f.via(&login).await, Some(Via::Current));
}

/// S10: the answer to a rotation may get lost; asking again is safe, and applies nothing twice.
pub async fn a_repeated_rotation_is_answered_alike(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let new = f.token.renewed();
    let (login, patch) = (Rotation::login(&new, principal()), Patch::new().increment("n", 1));
    let first = f.handler.rotate(&f.visitor, &login, &patch).await.unwrap();
    let again = f.handler.rotate(&f.visitor, &login, &patch).await.unwrap();
    assert!(is_rotated(&first));
    assert_eq!(first, again);
    assert_eq!(f.load().await.counter("n"), 1);
    assert_eq!(f.handler.load(&f.visitor).await.unwrap(), LoadOutcome::Refused);
}

/// S10: secret and patch change together or not at all.
pub async fn a_rotation_whose_patch_conflicts_changes_nothing(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("a", "1")).await;
    let new = f.token.renewed();
    let (login, patch) = (Rotation::login(&new, principal()), Patch::new().put_if_absent("a", "2"));
    let outcome = f.handler.rotate(&f.visitor, &login, &patch).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Conflict(_)), "{outcome:?}");
    assert_eq!(f.via(&f.token).await, Some(Via::Current));
    assert_eq!((f.via(&new).await, f.load().await.principal), (None, None));
}

/// S10: a reference cannot log in.
pub async fn trusted_access_cannot_rotate(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let new = f.token.renewed();
    for rotation in [Rotation::login(&new, principal()), f.renewal(&new)] {
        let outcome = f.handler.rotate(&f.worker, &rotation, &Patch::new()).await.unwrap();
        assert_eq!(outcome, RotateOutcome::Refused);
    }
    assert_eq!(f.via(&f.token).await, Some(Via::Current));
}
