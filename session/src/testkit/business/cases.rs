//! The cases. Each is an async function over a [`BusinessHarness`] that panics when the rule it
//! names is broken.

use std::sync::Arc;

use serde_json::{Value, json};
use standfast_core::{BusinessRef, Context, ErrorKind, Fence, Id128, SessionRef};
use tokio::task::JoinSet;

use super::BusinessHarness;
use crate::business::{
    Actor, Append, At, BusinessEvent, BusinessMeta, BusinessState, BusinessStore, BusinessStoreExt,
    Changes, EventHash, EventKind, Expected, Verification,
};

/// A store, and a business session of its own.
struct Fixture {
    store: Arc<dyn BusinessStore>,
    order: BusinessRef,
}

fn random(what: &str) -> String {
    format!("{what}-{}", Id128::random())
}

fn meta(step: &str) -> BusinessMeta {
    BusinessMeta::new("req-1", step, Actor::System)
}

fn stored(outcome: Append) -> u64 {
    match outcome {
        Append::Appended { seq, repeated: false } => seq,
        other => panic!("not appended: {other:?}"),
    }
}

impl Fixture {
    async fn new(harness: &dyn BusinessHarness) -> Self {
        Self { store: harness.open().await, order: BusinessRef::new(random("order")) }
    }

    async fn try_append(&self, expected: Expected, changes: Changes, step: &str) -> Append {
        self.store.append(&self.order, expected, &changes, &meta(step)).await.unwrap()
    }

    async fn append(&self, changes: Changes, step: &str) -> u64 {
        stored(self.try_append(Expected::Any, changes, step).await)
    }

    async fn history(&self) -> Vec<BusinessEvent> {
        self.store.history(&self.order, 0, 1000).await.unwrap()
    }

    async fn state(&self) -> BusinessState {
        self.store.state_at(&self.order, At::Latest).await.unwrap().unwrap()
    }
}

/// B1: from 1, each one more.
pub async fn events_are_numbered_without_gaps(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    assert!(f.history().await.is_empty());
    assert_eq!(f.store.state_at(&f.order, At::Latest).await.unwrap(), None);
    for seq in 1..=5 {
        let changes = Changes::new().set("state", seq).add("rows", 2);
        assert_eq!(f.append(changes, &format!("step-{seq}")).await, seq);
    }
    let numbers: Vec<u64> = f.history().await.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let part = f.store.history(&f.order, 2, 2).await.unwrap();
    assert_eq!(part.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(f.append(Changes::new(), "note").await, 6);
    let state = f.state().await;
    assert_eq!((state.seq, &state.fields["rows"]), (6, &json!(10)));
}

/// B1, B7: whoever comes first, everybody comes, and the chain holds.
pub async fn concurrent_appends_are_all_stored_in_one_order(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (store, order) = (Arc::clone(&f.store), f.order.clone());
        writers.spawn(async move {
            for round in 0..10 {
                let meta = meta(&format!("{writer}-{round}"));
                let changes = Changes::new().set(&format!("w{writer}"), round);
                stored(store.append(&order, Expected::Any, &changes, &meta).await.unwrap());
            }
        });
    }
    writers.join_all().await;
    let history = f.history().await;
    assert!(history.iter().map(|event| event.seq).eq(1..=80));
    let head = history.last().unwrap().hash;
    let verified = f.store.verify(&f.order).await.unwrap();
    assert_eq!(verified, Verification::Sound { events: 80, head });
}

/// B2: a caller can merge without reading.
pub async fn what_is_not_where_it_was_expected_is_a_conflict_that_tells_what_happened(
    harness: &dyn BusinessHarness,
) {
    let f = Fixture::new(harness).await;
    let nothing = f.try_append(Expected::Exact(1), Changes::new(), "a").await;
    assert_eq!(nothing, Append::Conflict { current: 0, since: vec![] });
    stored(f.try_append(Expected::NoStream, Changes::new().set("a", 1), "a").await);
    stored(f.try_append(Expected::Exact(1), Changes::new().set("a", 2), "b").await);
    for (expected, since) in
        [(Expected::NoStream, 2), (Expected::Exact(1), 1), (Expected::Exact(9), 0)]
    {
        let outcome = f.try_append(expected, Changes::new().set("a", 3), "c").await;
        let history = f.history().await;
        assert_eq!(history.len(), 2);
        let told = history[2 - since..].to_vec();
        assert_eq!(outcome, Append::Conflict { current: 2, since: told });
    }
    assert_eq!(f.state().await.fields["a"], 2);
}

/// B2: expectations are checked where the event is stored.
pub async fn of_two_that_expect_the_same_one_wins(harness: &dyn BusinessHarness) {
    for _ in 0..5 {
        let f = Fixture::new(harness).await;
        f.append(Changes::new(), "first").await;
        let mut racers = JoinSet::new();
        for racer in 0..4 {
            let (store, order) = (Arc::clone(&f.store), f.order.clone());
            racers.spawn(async move {
                let changes = Changes::new().set("winner", racer);
                let meta = meta(&format!("racer-{racer}"));
                store.append(&order, Expected::Exact(1), &changes, &meta).await.unwrap()
            });
        }
        let outcomes = racers.join_all().await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Append::Appended { .. }));
        assert_eq!(won.count(), 1, "{outcomes:?}");
        assert_eq!(f.history().await.len(), 2);
    }
}

/// B3: a job that is delivered twice appends once, however much has happened since.
pub async fn a_repetition_is_answered_as_the_first_time(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let first = || Changes::new().add("paid", 5).set("state", json!({"b": [1, null], "a": 1.5}));
    stored(f.try_append(Expected::NoStream, first(), "pay").await);
    f.append(Changes::new().add("paid", 1), "tip").await;
    for expected in [Expected::NoStream, Expected::Exact(7), Expected::Any] {
        let again = f.try_append(expected, first(), "pay").await;
        assert_eq!(again, Append::Appended { seq: 1, repeated: true });
    }
    assert_eq!((f.history().await.len(), &f.state().await.fields["paid"]), (2, &json!(6)));
    // another business session, another origin, another step
    let other = Fixture { store: Arc::clone(&f.store), order: BusinessRef::new(random("order")) };
    stored(other.try_append(Expected::NoStream, first(), "pay").await);
    let mut meta = meta("pay");
    meta.origin = "req-2".into();
    stored(f.store.append(&f.order, Expected::Any, &first(), &meta).await.unwrap());
    stored(f.try_append(Expected::Any, first(), "pay again").await);
}

/// B3: the same job in two workers at once.
pub async fn concurrent_repetitions_are_stored_once(harness: &dyn BusinessHarness) {
    for _ in 0..5 {
        let f = Fixture::new(harness).await;
        let mut workers = JoinSet::new();
        for _ in 0..4 {
            let (store, order) = (Arc::clone(&f.store), f.order.clone());
            workers.spawn(async move {
                let changes = Changes::new().add("paid", 5);
                store.append(&order, Expected::NoStream, &changes, &meta("pay")).await.unwrap()
            });
        }
        let outcomes = workers.join_all().await;
        let first = |outcome: &&Append| **outcome == Append::Appended { seq: 1, repeated: false };
        let again = |outcome: &&Append| **outcome == Append::Appended { seq: 1, repeated: true };
        let counts = (outcomes.iter().filter(first).count(), outcomes.iter().filter(again).count());
        assert_eq!(counts, (1, 3), "{outcomes:?}");
        assert_eq!(f.state().await.fields["paid"], 5);
    }
}

/// B3: a step that says something else than it said is a bug that must be seen.
pub async fn the_same_step_with_other_content_is_a_mismatch(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    f.append(Changes::new().set("a", 1), "step").await;
    for other in [
        Changes::new(),
        Changes::new().set("a", 2),
        Changes::new().set("b", 1),
        Changes::new().add("a", 1),
        Changes::new().set("a", 1).set("b", 1),
    ] {
        let outcome = f.try_append(Expected::Any, other, "step").await;
        assert_eq!(outcome, Append::Mismatch { seq: 1 });
    }
    let closed = f.store.close(&f.order, "done", &meta("step")).await.unwrap();
    assert_eq!(closed, Append::Mismatch { seq: 1 });
    let mut other = meta("step");
    other.actor = Actor::User("eve".into());
    let changes = Changes::new().set("a", 1);
    let outcome = f.store.append(&f.order, Expected::Any, &changes, &other).await.unwrap();
    assert_eq!(outcome, Append::Mismatch { seq: 1 });
    assert_eq!(f.history().await.len(), 1);
}

/// B4: sums need neither retries nor luck.
pub async fn concurrent_sums_are_all_counted(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (store, order) = (Arc::clone(&f.store), f.order.clone());
        writers.spawn(async move {
            for round in 0..10 {
                let meta = meta(&format!("{writer}-{round}"));
                let changes = Changes::new().add("rows", 1);
                stored(store.append(&order, Expected::Any, &changes, &meta).await.unwrap());
            }
        });
    }
    writers.join_all().await;
    assert_eq!(f.state().await.fields["rows"], 40);
    for (event, rows) in f.history().await.iter().zip(1..) {
        assert_eq!(event.changes[0].after, Some(json!(rows)));
    }
}

/// B4: sums end at 64 bits, and are of integers.
pub async fn a_sum_that_is_none_is_invalid_and_changes_nothing(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let start = Changes::new().set("most", i64::MAX).set("text", "1").set("half", 0.5);
    f.append(start, "start").await;
    for field in ["most", "text", "half"] {
        let changes = Changes::new().add(field, 1).set("other", 1);
        let error = f.store.append(&f.order, Expected::Any, &changes, &meta("sum")).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid, "{field}");
    }
    assert_eq!((f.history().await.len(), f.state().await.fields.get("other")), (1, None));
    f.append(Changes::new().add("most", -1), "sum").await;
    assert_eq!(f.state().await.fields["most"], i64::MAX - 1);
}

/// B5: what an auditor asks for.
pub async fn an_event_has_everything_that_was_said(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    f.append(Changes::new().set("state", "placed").set("gone", Value::Null), "place").await;
    let mut context = Context::default();
    context.request_id = Some(random("req"));
    context.session = Some(SessionRef::random());
    let meta = BusinessMeta::new("job-1", "pay", Actor::User("ada ä".into()))
        .in_context(&context)
        .fenced(Fence::new(u64::MAX))
        .because("she said so");
    let changes = Changes::new().set("state", json!({"x": [1, 2.5, "é\u{0}"]})).remove("gone");
    stored(f.store.append(&f.order, Expected::Exact(1), &changes, &meta).await.unwrap());
    let history = f.history().await;
    let event = &history[1];
    assert_eq!((event.business.clone(), event.kind.clone()), (f.order.clone(), EventKind::Changed));
    assert_eq!((&*event.origin, &*event.step), ("job-1", "pay"));
    assert_eq!((&event.actor, event.cause.as_deref()), (&meta.actor, Some("she said so")));
    assert_eq!((&event.request_id, event.session), (&context.request_id, context.session));
    assert_eq!(event.fence, Some(Fence::new(u64::MAX)));
    let [gone, state] = &event.changes[..] else { panic!("{event:?}") };
    assert_eq!((&gone.before, &gone.after), (&Some(Value::Null), &None));
    assert_eq!(state.before, Some(json!("placed")));
    assert_eq!(state.after, Some(json!({"x": [1, 2.5, "é\u{0}"]})));
    assert!(history[0].at <= event.at);
}

/// B6: any moment of the past can be shown.
pub async fn the_state_is_what_the_events_say_at_any_moment(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let mut states = Vec::new();
    for step in 0..6 {
        let field = format!("f{}", step % 3);
        let changes = match step {
            4 => Changes::new().remove("f0").add("n", 1),
            _ => Changes::new().set(&field, step).add("n", 1),
        };
        f.append(changes, &format!("step-{step}")).await;
        states.push(f.state().await);
        // two events of one microsecond have one time
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let last = json!({"f1": 1, "f2": 5, "n": 6});
    assert_eq!(json!(states[5].fields), last, "step 4 removed f0, and set nothing");
    for (state, event) in states.iter().zip(f.history().await) {
        let at = async |at| f.store.state_at(&f.order, at).await.unwrap();
        assert_eq!(at(At::Seq(event.seq)).await.as_ref(), Some(state));
        assert_eq!(at(At::Time(event.at)).await.as_ref(), Some(state));
        let before = event.at - chrono::TimeDelta::microseconds(1);
        let before = at(At::Time(before)).await.map(|state| state.seq);
        assert_eq!(before.unwrap_or_default(), event.seq - 1);
    }
    assert_eq!(f.store.state_at(&f.order, At::Seq(0)).await.unwrap(), None);
    assert_eq!(f.store.state_at(&f.order, At::Seq(99)).await.unwrap().as_ref(), states.last());
}

/// B7: each event has the hash of itself and of the one before it.
pub async fn the_chain_of_hashes_is_sound(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    for step in 0..3 {
        let changes = Changes::new().set("v", json!({"z": 1e300, "a": -0.0, "m": u64::MAX}));
        f.append(changes.add("n", step), &format!("step-{step}")).await;
    }
    let mut previous = EventHash::FIRST;
    for event in f.history().await {
        assert_eq!((event.previous, event.hash), (previous, EventHash::of(&event)));
        let mut forged = event.clone();
        forged.changes[1].after = Some(json!(0));
        assert_ne!(EventHash::of(&forged), event.hash);
        previous = event.hash;
    }
    let verified = f.store.verify(&f.order).await.unwrap();
    assert_eq!(verified, Verification::Sound { events: 3, head: previous });
}

/// B8: the last one is the last one.
pub async fn what_is_closed_stays_so(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    f.append(Changes::new().set("a", 1), "a").await;
    let close = async || f.store.close(&f.order, "shipped", &meta("close")).await.unwrap();
    assert_eq!(stored(close().await), 2);
    assert_eq!(close().await, Append::Appended { seq: 2, repeated: true });
    assert_eq!(f.state().await.closed.as_deref(), Some("shipped"));
    let late = f.try_append(Expected::Any, Changes::new().set("a", 2), "b").await;
    assert_eq!(late, Append::Closed { seq: 2 });
    let again = f.store.close(&f.order, "lost", &meta("close again")).await.unwrap();
    assert_eq!(again, Append::Closed { seq: 2 });
    let known = f.try_append(Expected::Any, Changes::new().set("a", 1), "a").await;
    assert_eq!(known, Append::Appended { seq: 1, repeated: true });
    assert_eq!((f.history().await.len(), &f.state().await.fields["a"]), (2, &json!(1)));
}

/// B9: from a request, a person or a session to what they did.
pub async fn events_are_found_by_request_actor_and_session(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let mut context = Context::default();
    context.request_id = Some(random("req"));
    context.session = Some(SessionRef::random());
    let actor = Actor::User(random("ada"));
    let mut orders = Vec::new();
    for number in 0..3 {
        let order = BusinessRef::new(random("order"));
        let meta = BusinessMeta::new("job", "step", actor.clone()).in_context(&context);
        let changes = Changes::new().set("number", number);
        stored(f.store.append(&order, Expected::NoStream, &changes, &meta).await.unwrap());
        f.append(Changes::new(), &format!("noise-{number}")).await;
        orders.insert(0, order);
    }
    let names = |events: Vec<BusinessEvent>| -> Vec<_> {
        events.into_iter().map(|event| event.business).collect()
    };
    let (request, session) = (context.request_id.unwrap(), context.session.unwrap());
    assert_eq!(names(f.store.by_request(&request, 10).await.unwrap()), orders);
    assert_eq!(names(f.store.by_actor(&actor, 10).await.unwrap()), orders);
    assert_eq!(names(f.store.by_session(session, 10).await.unwrap()), orders);
    assert_eq!(names(f.store.by_actor(&actor, 2).await.unwrap()), orders[..2]);
    let nobody = f.store.by_session(SessionRef::random(), 10).await.unwrap();
    assert!(nobody.is_empty());
}

/// B10: and nothing was stored.
pub async fn what_breaks_the_rules_is_refused(harness: &dyn BusinessHarness) {
    let f = Fixture::new(harness).await;
    let most = f.store.capabilities().max_event;
    let deep = (0..100).fold(json!(1), |value, _| json!([value]));
    for (changes, kind) in [
        (Changes::new().set("no name", 1), ErrorKind::Invalid),
        (Changes::new().set("a", 1).add("a", 1), ErrorKind::Invalid),
        (Changes::new().set("a", deep), ErrorKind::Invalid),
        (Changes::new().set("a", "x".repeat(most)), ErrorKind::TooLarge),
    ] {
        let error = f.store.append(&f.order, Expected::Any, &changes, &meta("a")).await;
        assert_eq!(error.unwrap_err().kind(), kind);
    }
    for wrong in [meta(""), meta("a\nb"), meta(&"x".repeat(201))] {
        let error = f.store.append(&f.order, Expected::Any, &Changes::new(), &wrong).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }
    for name in ["", "a\u{0}b", &"x".repeat(201)] {
        let order = BusinessRef::new(name);
        let error = f.store.append(&order, Expected::Any, &Changes::new(), &meta("a")).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(f.store.history(&order, 0, 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(f.history().await.is_empty());
    f.append(Changes::new().set("a", "x".repeat(most - 3)), "a").await;
}
