use super::{Fixture, SessionHandlerExt, principal};
use crate::testkit::SessionHarness;
use crate::{
    Access, CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome, Patch, RotateOutcome,
    Rotation, SessionInit, SessionToken, TouchOutcome,
};

/// S2: nothing is there that nobody created.
pub async fn an_unknown_session_is_absent(harness: &dyn SessionHarness) {
    let handler = harness.open().await;
    let token = SessionToken::random();
    for access in [Access::bearer(&token), Access::trusted(token.session())] {
        assert_eq!(handler.load(&access).await.unwrap(), LoadOutcome::Absent);
    }
}

/// S2, S14: the store compares the secret in every operation.
pub async fn a_wrong_secret_is_refused_everywhere(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let forged = f.token.renewed();
    let (access, patch) = (Access::bearer(&forged), Patch::new().set("user", "7"));
    let before = f.load().await;
    assert_eq!(f.handler.load(&access).await.unwrap(), LoadOutcome::Refused);
    assert_eq!(f.handler.commit(&access, &patch).await.unwrap(), CommitOutcome::Refused);
    assert_eq!(f.handler.touch(&access).await.unwrap(), TouchOutcome::Refused);
    let rotation = Rotation::login(&forged.renewed(), "thief");
    let rotated = f.handler.rotate(&access, &rotation, &patch).await.unwrap();
    assert_eq!(rotated, RotateOutcome::Refused);
    assert_eq!(f.handler.destroy(&access).await.unwrap(), DestroyOutcome::Refused);
    let after = f.load().await;
    assert_eq!((after.fields, after.version), (before.fields, before.version));
    assert_eq!(after.principal, None);
}

/// S2: reading, however often, changes nothing.
pub async fn loading_does_not_extend(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 3, 100).await;
    let before = f.load().await;
    f.pass(2).await;
    let after = f.handler.load(&f.visitor).await.unwrap().found().unwrap();
    assert_eq!((after.version, after.expires_at), (before.version, before.expires_at));
    f.pass(2).await;
    assert!(f.is_absent().await);
}

/// S4: an id that a client made up, or that has ended, comes to nothing.
pub async fn nothing_but_create_creates(harness: &dyn SessionHarness) {
    let handler = harness.open().await;
    let token = SessionToken::random();
    let patch = Patch::new().set("user", "7");
    for access in [Access::bearer(&token), Access::trusted(token.session())] {
        assert_eq!(handler.commit(&access, &patch).await.unwrap(), CommitOutcome::Gone);
        assert_eq!(handler.commit(&access, &Patch::new()).await.unwrap(), CommitOutcome::Gone);
        assert_eq!(handler.touch(&access).await.unwrap(), TouchOutcome::Gone);
        let rotation = Rotation::renewal(&token.renewed());
        let rotated = handler.rotate(&access, &rotation, &patch).await.unwrap();
        assert_eq!(rotated, RotateOutcome::Gone);
        assert_eq!(handler.destroy(&access).await.unwrap(), DestroyOutcome::Gone);
        assert_eq!(handler.load(&access).await.unwrap(), LoadOutcome::Absent);
    }
}

/// S8: without a request a session ends, for every operation.
pub async fn an_idle_session_ends(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 3, 100).await;
    f.pass(2).await;
    f.commit(Patch::new().set("a", "1")).await;
    f.pass(2).await;
    assert_eq!(f.load().await.bytes("a").unwrap(), "1");
    f.pass(2).await;
    assert!(f.is_absent().await);
    let late = f.handler.commit(&f.visitor, &Patch::new().set("a", "2")).await.unwrap();
    assert_eq!(late, CommitOutcome::Gone);
    assert_eq!(f.handler.touch(&f.visitor).await.unwrap(), TouchOutcome::Gone);
    // what has ended is no obstacle
    let (session, verifier) = (f.token.session(), f.token.verifier_hash());
    let again = f.handler.create(session, verifier, &SessionInit::new()).await.unwrap();
    assert!(matches!(again, CreateOutcome::Created { version: 1, .. }), "{again:?}");
    assert!(f.load().await.fields.is_empty());
}

/// S8: no amount of use outlives the absolute limit.
pub async fn a_busy_session_ends_at_its_absolute_limit(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 4, 7).await;
    let ends_at = f.load().await.ends_at;
    for _ in 0..3 {
        f.pass(2).await;
        f.commit(Patch::new().increment("n", 1)).await;
        assert!(f.load().await.expires_at <= ends_at);
    }
    assert_eq!(f.load().await.expires_at, ends_at);
    f.pass(2).await;
    assert!(f.is_absent().await);
}

/// S9: pages that are loaded often do not write often.
pub async fn a_touch_writes_only_when_it_is_due(harness: &dyn SessionHarness) {
    // half of the idle time is less than 30 seconds, so that is the interval
    let f = Fixture::living(harness, 4, 100).await;
    let before = f.load().await;
    let fresh = TouchOutcome::Fresh { expires_at: before.expires_at };
    assert_eq!(f.handler.touch(&f.visitor).await.unwrap(), fresh);
    assert_eq!(f.commit(Patch::new()).await, before.version);
    assert_eq!(f.load().await.touched_at, before.touched_at);
    f.pass(3).await;
    let TouchOutcome::Touched { expires_at } = f.handler.touch(&f.visitor).await.unwrap() else {
        panic!("a touch was due")
    };
    let after = f.load().await;
    assert!(expires_at > before.expires_at);
    assert_eq!((after.expires_at, after.version), (expires_at, before.version));
}

/// S9: who writes anyway touches too.
pub async fn a_commit_touches_along(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 10, 100).await;
    let before = f.load().await;
    f.pass(1).await;
    let patch = Patch::new().set("a", "1");
    let outcome = f.handler.commit(&f.visitor, &patch).await.unwrap();
    let CommitOutcome::Committed { expires_at, .. } = outcome else { panic!("{outcome:?}") };
    assert!(expires_at >= before.expires_at + harness.unit());
    assert_eq!(f.load().await.expires_at, expires_at);
}

/// S9: a job that reports into a session does not keep the visitor logged in.
pub async fn trusted_access_does_not_extend(harness: &dyn SessionHarness) {
    let f = Fixture::living(harness, 3, 100).await;
    let before = f.load().await.expires_at;
    f.pass(2).await;
    let patch = Patch::new().set("progress", "1");
    let outcome = f.handler.commit(&f.worker, &patch).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { expires_at, .. } if expires_at == before));
    let fresh = TouchOutcome::Fresh { expires_at: before };
    assert_eq!(f.handler.touch(&f.worker).await.unwrap(), fresh);
    assert_eq!(f.load().await.bytes("progress").unwrap(), "1");
    f.pass(2).await;
    assert!(f.is_absent().await);
}

/// S14: neither what is printed nor what is read back has the secret or its hash in it.
pub async fn the_secret_is_neither_shown_nor_stored(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let secret = f.token.expose();
    let secret = secret.split_once('.').unwrap().1;
    let hash = f.token.verifier_hash().to_bytes();
    let hash = format!("{:?}", &hash[..8]);
    let hash = hash.trim_matches(['[', ']']);
    let shown = format!("{:?} {:?} {:?} {:?}", f.token, f.visitor, f.load().await, f.handler);
    assert!(!shown.contains(secret) && !shown.contains(hash), "{shown}");
    assert!(shown.contains(&f.token.session().to_string()));
}

/// S20: a sweep takes as many as it may, and never one that lives.
pub async fn a_sweep_is_bounded_and_takes_only_what_has_ended(harness: &dyn SessionHarness) {
    let short = Fixture::living(harness, 2, 100).await;
    let init = SessionInit::new()
        .with_timeouts(crate::Timeouts::new(harness.unit() * 2, harness.unit() * 100));
    for _ in 0..5 {
        short.handler.start(&init).await.unwrap();
    }
    let token = short.handler.start(&SessionInit::new()).await.unwrap().token;
    short.pass(3).await;
    let mut rounds = 0;
    loop {
        let swept = short.handler.sweep(2).await.unwrap();
        assert!(swept.removed <= 2);
        rounds += 1;
        if !swept.more {
            break;
        }
        assert!(rounds < 1_000, "the sweep makes no progress");
    }
    assert!(short.is_absent().await);
    assert!(short.handler.load(&Access::bearer(&token)).await.unwrap().found().is_some());
}

/// S11, S20: somebody sees where they are logged in, and ends it.
pub async fn sessions_of_a_principal_are_listed_and_ended(harness: &dyn SessionHarness) {
    let owner = principal();
    let init = SessionInit::new().with_principal(&owner);
    let f = Fixture::with(harness, &init).await;
    let mut created = vec![f.token.session()];
    for _ in 0..3 {
        // a store may tell times apart by the millisecond only
        harness.pass(harness.unit() / 10).await;
        created.insert(0, f.handler.start(&init).await.unwrap().token.session());
    }
    let list = async |limit| {
        let lines = f.handler.sessions_of(&owner, limit).await.unwrap();
        lines.into_iter().map(|line| line.session).collect::<Vec<_>>()
    };
    assert_eq!(list(100).await, created);
    assert_eq!(list(2).await, created[..2]);
    assert_eq!(f.handler.end_sessions(&owner, Some(created[3])).await.unwrap(), 3);
    assert_eq!(list(100).await, created[3..]);
    assert!(f.handler.load(&f.visitor).await.unwrap().found().is_some());
    assert_eq!(f.handler.end_sessions(&owner, None).await.unwrap(), 1);
    assert!(list(100).await.is_empty());
    assert_eq!(f.handler.load(&f.visitor).await.unwrap(), LoadOutcome::Absent);
}
