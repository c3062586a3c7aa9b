//! The suite of business sessions against the memory backend, and against broken ones.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use serde_json::json;
use standfast_core::{BusinessRef, Health, HealthCheck, Result};
use standfast_session::business::{
    Actor, Append, At, BusinessCapabilities, BusinessEvent, BusinessMeta, BusinessState,
    BusinessStore, BusinessStoreExt, Changes, Expected, Lookup, MemoryBusinessStore, Verification,
};
use standfast_session::testkit::async_trait;
use standfast_session::testkit::business::{BusinessHarness, cases};

standfast_session::business_conformance!(memory, Memory(None));

/// The memory backend, with a fault if any.
#[derive(Debug)]
struct Memory(Option<Fault>);

#[async_trait]
impl BusinessHarness for Memory {
    async fn open(&self) -> Arc<dyn BusinessStore> {
        let inner = MemoryBusinessStore::new();
        match self.0 {
            None => Arc::new(inner),
            Some(fault) => Arc::new(Broken { inner, fault }),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    ClosesNothing,
    ExpectsBefore,
    FindsNothing,
    ForgetsTheActor,
    ForgetsWhatWasBefore,
    IgnoresExpectations,
    NewStepEachTime,
    NoLimit,
    RecountsSums,
    StateOfNow,
    TellsNothingOfConflicts,
}

#[derive(Debug)]
struct Broken {
    inner: MemoryBusinessStore,
    fault: Fault,
}

#[async_trait]
impl BusinessStore for Broken {
    fn capabilities(&self) -> BusinessCapabilities {
        let mut capabilities = self.inner.capabilities();
        if self.fault == Fault::NoLimit {
            capabilities.max_event /= 2;
        }
        capabilities
    }

    async fn append(
        &self,
        business: &BusinessRef,
        mut expected: Expected,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        let (mut changes, mut meta) = (changes.clone(), meta.clone());
        match self.fault {
            Fault::IgnoresExpectations => expected = Expected::Any,
            Fault::NewStepEachTime => meta.step = standfast_core::Id128::random().to_string(),
            Fault::ForgetsTheActor => meta.actor = Actor::System,
            Fault::ExpectsBefore => {
                // looks, thinks, and appends blindly
                let current = self.inner.state_at(business, At::Latest).await?;
                let current = current.map_or(0, |state| state.seq);
                tokio::task::yield_now().await;
                if expected == Expected::Exact(current) {
                    expected = Expected::Any;
                }
            }
            Fault::RecountsSums => {
                let state = self.inner.state_at(business, At::Latest).await?;
                tokio::task::yield_now().await;
                let rows = state.and_then(|state| state.fields.get("rows")?.as_i64());
                if changes.iter().any(|(field, _)| field == "rows") {
                    changes = Changes::new().set("rows", rows.unwrap_or_default() + 1);
                }
            }
            _ => {}
        }
        let outcome = self.inner.append(business, expected, &changes, &meta).await?;
        Ok(match outcome {
            Append::Conflict { current, .. } if self.fault == Fault::TellsNothingOfConflicts => {
                Append::Conflict { current, since: vec![] }
            }
            other => other,
        })
    }

    async fn close(
        &self,
        business: &BusinessRef,
        reason: &str,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        if self.fault == Fault::ClosesNothing {
            return self.inner.append(business, Expected::Any, &Changes::new(), meta).await;
        }
        self.inner.close(business, reason, meta).await
    }

    async fn state_at(&self, business: &BusinessRef, at: At) -> Result<Option<BusinessState>> {
        let at = if self.fault == Fault::StateOfNow { At::Latest } else { at };
        self.inner.state_at(business, at).await
    }

    async fn history(
        &self,
        business: &BusinessRef,
        after: u64,
        max: usize,
    ) -> Result<Vec<BusinessEvent>> {
        let mut events = self.inner.history(business, after, max).await?;
        if self.fault == Fault::ForgetsWhatWasBefore {
            for change in events.iter_mut().flat_map(|event| &mut event.changes) {
                change.before = None;
            }
        }
        Ok(events)
    }

    async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>> {
        let max = if self.fault == Fault::FindsNothing { 0 } else { max };
        self.inner.find(what, max).await
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

/// One test per fault: the case must fail with it.
macro_rules! caught {
    ($($name:ident: $fault:ident fails $case:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let run = tokio::spawn(async {
                cases::$case(&Memory(Some(Fault::$fault))).await;
            });
            let failed = run.await.is_err_and(|error| error.is_panic());
            assert!(failed, "{} does not notice", stringify!($case));
        }
    )*};
}

caught! {
    open_for_ever: ClosesNothing fails what_is_closed_stays_so;
    two_winners: ExpectsBefore fails of_two_that_expect_the_same_one_wins;
    nobody_found: FindsNothing fails events_are_found_by_request_actor_and_session;
    nobody_did_it: ForgetsTheActor fails an_event_has_everything_that_was_said;
    no_before: ForgetsWhatWasBefore fails an_event_has_everything_that_was_said;
    broken_chain: ForgetsWhatWasBefore fails the_chain_of_hashes_is_sound;
    no_conflicts: IgnoresExpectations fails
        what_is_not_where_it_was_expected_is_a_conflict_that_tells_what_happened;
    stored_twice: NewStepEachTime fails a_repetition_is_answered_as_the_first_time;
    stored_twice_at_once: NewStepEachTime fails concurrent_repetitions_are_stored_once;
    overwritten_step: NewStepEachTime fails the_same_step_with_other_content_is_a_mismatch;
    no_limit: NoLimit fails what_breaks_the_rules_is_refused;
    lost_sums: RecountsSums fails concurrent_sums_are_all_counted;
    no_past: StateOfNow fails the_state_is_what_the_events_say_at_any_moment;
    silent_conflicts: TellsNothingOfConflicts fails
        what_is_not_where_it_was_expected_is_a_conflict_that_tells_what_happened;
}

#[test]
fn the_readme_shows_the_guarantees_of_the_suite() {
    let table = standfast_session::testkit::business::guarantees();
    assert!(include_str!("../README.md").contains(&table), "put there:\n{table}");
}

/// What somebody did behind the store's back.
type Forgery = fn(&mut Vec<BusinessEvent>);

/// Tampers with what it hands out.
#[derive(Debug)]
struct Forged {
    inner: MemoryBusinessStore,
    how: Forgery,
}

#[async_trait]
impl BusinessStore for Forged {
    fn capabilities(&self) -> BusinessCapabilities {
        self.inner.capabilities()
    }

    async fn append(
        &self,
        business: &BusinessRef,
        expected: Expected,
        changes: &Changes,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        self.inner.append(business, expected, changes, meta).await
    }

    async fn close(
        &self,
        business: &BusinessRef,
        why: &str,
        meta: &BusinessMeta,
    ) -> Result<Append> {
        self.inner.close(business, why, meta).await
    }

    async fn state_at(&self, business: &BusinessRef, at: At) -> Result<Option<BusinessState>> {
        self.inner.state_at(business, at).await
    }

    async fn history(
        &self,
        business: &BusinessRef,
        after: u64,
        max: usize,
    ) -> Result<Vec<BusinessEvent>> {
        let mut events = self.inner.history(business, after, max).await?;
        (self.how)(&mut events);
        Ok(events)
    }

    async fn find(&self, what: &Lookup, max: usize) -> Result<Vec<BusinessEvent>> {
        self.inner.find(what, max).await
    }
}

#[async_trait]
impl HealthCheck for Forged {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[tokio::test]
async fn whatever_was_changed_afterwards_is_found() {
    let order = BusinessRef::new("order-17");
    let forgeries: [(Forgery, u64); 8] = [
        (|events| events[1].changes[0].after = Some(json!(0)), 2),
        (|events| events[1].actor = Actor::User("eve".into()), 2),
        (|events| events[1].cause = Some("really".into()), 2),
        (|events| events[1].at += chrono::TimeDelta::microseconds(1), 2),
        (|events| events[2].business = BusinessRef::new("order-18"), 3),
        (|events| drop(events.remove(1)), 2),
        (|events| events.swap(0, 1), 1),
        (|events| events[0].hash = events[1].hash, 1),
    ];
    for (how, seq) in forgeries {
        let store = Forged { inner: MemoryBusinessStore::new(), how };
        for step in ["a", "b", "c"] {
            let meta = BusinessMeta::new("req", step, Actor::System);
            store.append(&order, Expected::Any, &Changes::new().add("n", 1), &meta).await.unwrap();
        }
        assert_eq!(store.verify(&order).await.unwrap(), Verification::Broken { seq });
    }
}
