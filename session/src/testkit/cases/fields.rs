use std::time::Duration;

use bytes::Bytes;
use standfast_core::{BusinessRef, ErrorKind, SystemClock};

use super::{Fixture, SessionHandlerExt};
use crate::testkit::SessionHarness;
use crate::{
    CommitOutcome, Conflict, CreateOutcome, FieldName, FieldValue, Flash, FlashId, FlashLevel, Key,
    Patch, SessionInit, UpdateOutcome,
};

/// S1: who asks for a taken reference is told so and gets nothing.
pub async fn a_taken_reference_is_not_overwritten(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("user", "7")).await;
    let (session, verifier) = (f.token.session(), f.token.renewed().verifier_hash());
    let init = SessionInit::new();
    let outcome = f.handler.create(session, verifier, &init).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Exists);
    assert_eq!(f.load().await.bytes("user").unwrap(), "7");
    assert!(f.handler.load(&f.visitor).await.unwrap().found().is_some());
}

/// S1: fields, owner and version of a new session.
pub async fn what_a_session_starts_with_is_there(harness: &dyn SessionHarness) {
    let owner = super::principal();
    let patch = Patch::new().set("locale", "fi").increment("views", 2);
    let init = SessionInit::new().with_principal(&owner).with_patch(patch);
    let f = Fixture::with(harness, &init).await;
    let snapshot = f.load().await;
    assert_eq!((snapshot.session, snapshot.version), (f.token.session(), 1));
    assert_eq!(snapshot.principal.as_ref(), Some(&owner));
    assert_eq!((snapshot.bytes("locale").unwrap(), snapshot.counter("views")), (&"fi".into(), 2));
    assert_eq!(snapshot.revision("locale"), Some(1));
    assert_eq!(snapshot.expires_at, snapshot.created_at + init.timeouts.idle);
    assert_eq!(snapshot.ends_at, snapshot.created_at + init.timeouts.absolute);
}

/// S3: when one operation cannot be applied, none is.
pub async fn a_patch_is_applied_whole_or_not_at_all(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("a", "1").set("z", "1")).await;
    let before = f.load().await;
    let patch = Patch::new().set("a", "2").increment("n", 1).put_if_absent("z", "2");
    let outcome = f.handler.commit(&f.visitor, &patch).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Conflict(_)), "{outcome:?}");
    let after = f.load().await;
    assert_eq!((after.fields, after.version), (before.fields, before.version));
}

/// S3: a patch says nothing about what it does not name.
pub async fn fields_that_are_not_named_stay(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("a", "1").set("b", "1").set("c", "1")).await;
    f.commit(Patch::new().remove("a").set("b", "2")).await;
    let snapshot = f.load().await;
    let names: Vec<_> = snapshot.fields.keys().map(FieldName::as_str).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!((snapshot.revision("b"), snapshot.revision("c")), (Some(3), Some(2)));
}

/// S5: the operations, each on an absent field and on one that is there.
pub async fn every_operation_does_what_it_says(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    for round in 1..=2u64 {
        let patch = Patch::new()
            .set("set", round.to_string())
            .remove("remove")
            .increment("count", -3)
            .add_member("members", round.to_string())
            .remove_member("members", "1")
            .append("list", round.to_string(), 2)
            .append("list", "x", 2);
        f.commit(patch).await;
    }
    let snapshot = f.load().await;
    let value = |name: &str| snapshot.field(name).map(|field| field.value.clone());
    assert_eq!(value("set"), Some(FieldValue::Bytes("2".into())));
    assert_eq!(value("remove"), None);
    assert_eq!(value("count"), Some(FieldValue::Counter(-6)));
    assert_eq!(value("members"), Some(FieldValue::Set([Bytes::from("2")].into())));
    assert_eq!(value("list"), Some(FieldValue::List(vec!["2".into(), "x".into()])));
    // bytes are bytes, and empty is not absent
    f.commit(Patch::new().set("set", vec![0, 255, 10]).put_if_absent("empty", "")).await;
    f.commit(Patch::new().compare_and_set("count", snapshot.revision("count"), None)).await;
    let snapshot = f.load().await;
    assert_eq!(snapshot.bytes("set").unwrap()[..], [0, 255, 10]);
    assert!(snapshot.bytes("empty").unwrap().is_empty());
    assert_eq!(snapshot.field("count"), None);
}

/// S5: what is no counter is not added to.
pub async fn an_operation_on_another_type_is_invalid_and_changes_nothing(
    harness: &dyn SessionHarness,
) {
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("a", "1").increment("n", 1)).await;
    let before = f.load().await;
    for wrong in [
        Patch::new().increment("a", 1),
        Patch::new().add_member("a", "m"),
        Patch::new().append("n", "v", 3),
    ] {
        let wrong = wrong.set("A", "2");
        let error = f.handler.commit(&f.visitor, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong:?}");
    }
    assert_eq!(f.load().await.fields, before.fields);
}

/// S5: counters end at 64 bits, and do not wrap.
pub async fn an_overflow_is_invalid_and_changes_nothing(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    // beyond 2^53, where floating point would lose it
    f.commit(Patch::new().increment("n", i64::MAX - 1)).await;
    f.commit(Patch::new().increment("n", 1)).await;
    let patch = Patch::new().increment("n", 1).set("a", "1");
    let error = f.handler.commit(&f.visitor, &patch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let snapshot = f.load().await;
    assert_eq!((snapshot.counter("n"), snapshot.field("a")), (i64::MAX, None));
}

/// S5: a field may live shorter than its session.
pub async fn a_field_vanishes_at_its_deadline(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let unit = harness.unit();
    let patch = Patch::new().set("code", "1").expiring("code", unit * 2).increment("n", 5);
    f.commit(patch.expiring("n", unit * 2)).await;
    f.pass(1).await;
    assert!(f.load().await.field("code").is_some());
    f.pass(2).await;
    assert!(f.load().await.fields.is_empty());
    // gone for preconditions and sums too
    f.commit(Patch::new().put_if_absent("code", "2").increment("n", 1)).await;
    assert_eq!(f.load().await.counter("n"), 1);
}

/// S5: a deadline belongs to what was set with it.
pub async fn adding_keeps_a_deadline_and_setting_lifts_it(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let unit = harness.unit();
    let patch = Patch::new().set("a", "1").expiring("a", unit * 2).increment("n", 1);
    f.commit(patch.expiring("n", unit * 2)).await;
    f.commit(Patch::new().set("a", "2").increment("n", 1)).await;
    let snapshot = f.load().await;
    assert_eq!(snapshot.field("a").unwrap().expires_at, None);
    assert!(snapshot.field("n").unwrap().expires_at.is_some());
    f.pass(3).await;
    let snapshot = f.load().await;
    assert_eq!((snapshot.field("a").is_some(), snapshot.field("n")), (true, None));
}

/// S6: a retry needs no reload.
pub async fn a_conflict_tells_what_is_there(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let seen = f.commit(Patch::new().set("cart", "tea")).await;
    let now = f.commit(Patch::new().set("cart", "milk")).await;
    let expect = |field: &str, there: Option<(u64, &'static str)>| {
        let there = there.map(|(revision, value)| (revision, FieldValue::Bytes(value.into())));
        CommitOutcome::Conflict(Conflict::new(FieldName::new(field).unwrap(), there))
    };
    for (patch, conflict) in [
        (
            Patch::new().compare_and_set("cart", Some(seen), None),
            expect("cart", Some((now, "milk"))),
        ),
        (Patch::new().compare_and_set("cart", None, None), expect("cart", Some((now, "milk")))),
        (Patch::new().put_if_absent("cart", "x"), expect("cart", Some((now, "milk")))),
        (Patch::new().compare_and_set("none", Some(seen), None), expect("none", None)),
    ] {
        assert_eq!(f.handler.commit(&f.visitor, &patch).await.unwrap(), conflict);
    }
    f.commit(Patch::new().compare_and_set("cart", Some(now), Some("sugar".into()))).await;
}

/// S6: being absent in between does not bring an old revision back.
pub async fn a_removed_and_restored_field_is_a_conflict(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let seen = f.commit(Patch::new().set("cart", "tea")).await;
    f.commit(Patch::new().remove("cart")).await;
    f.commit(Patch::new().set("cart", "tea")).await;
    let patch = Patch::new().compare_and_set("cart", Some(seen), Some("milk".into()));
    let outcome = f.handler.commit(&f.visitor, &patch).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Conflict(_)), "{outcome:?}");
}

/// S7: versions count commits, revisions tell which one.
pub async fn the_version_rises_by_one_and_marks_what_changed(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    for version in 2..=4 {
        assert_eq!(f.commit(Patch::new().increment("n", 1).set("a", "1")).await, version);
        let snapshot = f.load().await;
        assert_eq!(snapshot.version, version);
        assert_eq!([snapshot.revision("n"), snapshot.revision("a")], [Some(version); 2]);
    }
    assert_eq!(f.commit(Patch::new()).await, 4);
    assert_eq!(f.commit(Patch::new().remove("absent")).await, 5);
}

/// S12: the limits of a value, of the number of fields, and of the session.
pub async fn what_is_too_large_is_refused_before_it_is_written(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let limits = f.handler.capabilities().limits;
    let many = |count: usize, size: usize| {
        (0..count).fold(Patch::new(), |patch, i| patch.set(&format!("f{i}"), vec![b'x'; size]))
    };
    let full = limits.max_session / limits.max_field;
    f.commit(Patch::new().append("list", vec![b'x'; limits.max_field - 100], 9)).await;
    let before = f.load().await;
    for wrong in [
        many(1, limits.max_field + 1),
        many(limits.max_fields + 1, 1),
        many(limits.max_fields, 1),
        many(full, limits.max_field - 8),
        Patch::new().append("list", vec![b'x'; 100], 9),
    ] {
        let error = f.handler.commit(&f.visitor, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    let init = SessionInit::new().with_patch(many(1, limits.max_field + 1));
    assert_eq!(f.handler.start(&init).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(f.load().await.fields, before.fields);
    f.commit(many(1, limits.max_field)).await;
}

/// S12: names have one rule, and what has a prefix of its own cannot be written as a field.
pub async fn a_bad_name_is_invalid(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let long = "n".repeat(65);
    for name in ["", "a b", "b:order", "f:1", "é", &long] {
        let error = f.handler.commit(&f.visitor, &Patch::new().set(name, "1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
    }
    for principal in ["", "a\nb", &"p".repeat(201)] {
        let init = SessionInit::new().with_principal(principal);
        assert_eq!(f.handler.start(&init).await.unwrap_err().kind(), ErrorKind::Invalid);
        let error = f.handler.sessions_of(principal, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let mut init = SessionInit::new();
    init.timeouts.idle = Duration::ZERO;
    assert_eq!(f.handler.start(&init).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// S13: one field of another shape does not cost the session.
pub async fn an_unreadable_field_fails_alone(harness: &dyn SessionHarness) {
    const CART: Key<Vec<String>> = Key::cas("cart");
    const LOCALE: Key<String> = Key::lww("locale");
    let f = Fixture::new(harness).await;
    f.commit(Patch::new().set("cart", "{not json").set("locale", "\"fi\"")).await;
    let snapshot = f.load().await;
    let error = CART.read(&snapshot).unwrap_err();
    assert_eq!((error.kind(), error.detail()), (ErrorKind::Corrupt, "field `cart`"));
    assert_eq!(LOCALE.read(&snapshot).unwrap().as_deref(), Some("fi"));
    f.commit(CART.write(Patch::new(), &snapshot, &vec!["tea".into()]).unwrap()).await;
    let updated = f.handler.update(&f.visitor, &CART, |cart| cart.clear()).await.unwrap();
    assert!(matches!(updated, UpdateOutcome::Updated { value, .. } if value.is_empty()));
}

/// S3: a message that came while another was shown is not lost.
pub async fn flash_messages_are_removed_by_id(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let message = |text: &str| Flash::new(FlashLevel::Info, text);
    let first = FlashId::new(&SystemClock);
    f.commit(Patch::new().push_flash(first, &message("one"))).await;
    let shown = f.load().await.flash();
    f.commit(Patch::new().push_flash(FlashId::new(&SystemClock), &message("two"))).await;
    assert_eq!(shown, [(first, message("one"))]);
    let patch = shown.iter().fold(Patch::new(), |patch, (id, _)| patch.remove_flash(*id));
    f.commit(patch).await;
    let left: Vec<_> = f.load().await.flash().into_iter().map(|(_, flash)| flash).collect();
    assert_eq!(left, [message("two")]);
}

/// S6: a second tab is told which business the session works on.
pub async fn a_business_link_is_not_swapped_silently(harness: &dyn SessionHarness) {
    let f = Fixture::new(harness).await;
    let (one, two) = (BusinessRef::new("order-1"), BusinessRef::new("order-2"));
    f.commit(Patch::new().attach("order", &one)).await;
    let outcome = f.handler.commit(&f.visitor, &Patch::new().attach("order", &two)).await.unwrap();
    let CommitOutcome::Conflict(conflict) = outcome else { panic!("{outcome:?}") };
    assert_eq!(conflict.value, Some(FieldValue::Bytes("order-1".into())));
    assert_eq!(f.load().await.business("order"), Some(one));
    f.commit(Patch::new().switch("order", &two)).await;
    assert_eq!(f.load().await.business("order"), Some(two));
    f.commit(Patch::new().detach("order")).await;
    assert_eq!(f.load().await.business("order"), None);
}
