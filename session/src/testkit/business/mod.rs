//! The conformance suite of [`BusinessStore`]: every one must pass the same named cases.
//!
//! ```
//! use std::sync::Arc;
//! use standfast_session::business::{BusinessStore, MemoryBusinessStore};
//! use standfast_session::testkit::async_trait;
//! use standfast_session::testkit::business::BusinessHarness;
//!
//! #[derive(Debug)]
//! struct Memory;
//!
//! #[async_trait]
//! impl BusinessHarness for Memory {
//!     async fn open(&self) -> Arc<dyn BusinessStore> {
//!         Arc::new(MemoryBusinessStore::new())
//!     }
//! }
//!
//! // standfast_session::business_conformance!(memory, Memory);
//! ```

pub mod cases;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::business::BusinessStore;

/// What the suite must know about a backend.
///
/// ```
/// use std::sync::Arc;
/// use standfast_session::business::{BusinessStore, MemoryBusinessStore};
/// use standfast_session::testkit::async_trait;
/// use standfast_session::testkit::business::{BusinessHarness, cases};
///
/// #[derive(Debug)]
/// struct Memory;
///
/// #[async_trait]
/// impl BusinessHarness for Memory {
///     async fn open(&self) -> Arc<dyn BusinessStore> {
///         Arc::new(MemoryBusinessStore::new())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// cases::a_repetition_is_answered_as_the_first_time(&Memory).await;
/// # }
/// ```
#[async_trait]
pub trait BusinessHarness: Debug + Send + Sync {
    /// Opens the store. What other cases have stored may be in it.
    async fn open(&self) -> Arc<dyn BusinessStore>;
}

/// What [`business_conformance!`](crate::business_conformance) takes: a harness, or none where what
/// it needs is not there, which whoever looked for it has said.
///
/// ```
/// use standfast_session::testkit::business::IntoBusinessHarness;
///
/// fn is_skipped(made: impl IntoBusinessHarness) -> bool {
///     made.into_harness().is_none()
/// }
/// ```
pub trait IntoBusinessHarness {
    /// The harness.
    fn into_harness(self) -> Option<Box<dyn BusinessHarness>>;
}

impl<H: BusinessHarness + 'static> IntoBusinessHarness for H {
    fn into_harness(self) -> Option<Box<dyn BusinessHarness>> {
        Some(Box::new(self))
    }
}

impl<H: BusinessHarness + 'static> IntoBusinessHarness for Option<H> {
    fn into_harness(self) -> Option<Box<dyn BusinessHarness>> {
        self.map(|harness| Box::new(harness) as Box<dyn BusinessHarness>)
    }
}

/// Calls `$then!` with every case of the suite and the rule it is of. The one list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! business_cases {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            B1 events_are_numbered_without_gaps,
            B1 concurrent_appends_are_all_stored_in_one_order,
            B2 what_is_not_where_it_was_expected_is_a_conflict_that_tells_what_happened,
            B2 of_two_that_expect_the_same_one_wins,
            B3 a_repetition_is_answered_as_the_first_time,
            B3 concurrent_repetitions_are_stored_once,
            B3 the_same_step_with_other_content_is_a_mismatch,
            B4 concurrent_sums_are_all_counted,
            B4 a_sum_that_is_none_is_invalid_and_changes_nothing,
            B5 an_event_has_everything_that_was_said,
            B6 the_state_is_what_the_events_say_at_any_moment,
            B7 the_chain_of_hashes_is_sound,
            B8 what_is_closed_stays_so,
            B9 events_are_found_by_request_actor_and_session,
            B10 what_breaks_the_rules_is_refused,
        }
    };
}

/// Stamps one `#[tokio::test]` per case of the suite, in a module of this name. The second argument
/// is an expression that makes a harness, or an `Option` of one; it is evaluated once per case.
#[macro_export]
macro_rules! business_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness may live in the parent or anywhere")]
            use super::*;
            $crate::business_cases!(business_tests $harness);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! business_tests {
    ([$harness:expr] $($rule:ident $case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            use $crate::testkit::business::IntoBusinessHarness as _;
            if let Some(harness) = ($harness).into_harness() {
                $crate::testkit::business::cases::$case(&*harness).await;
            }
        }
    )*};
}

/// Every case: the rule of the contract, and the sentence that the case proves.
pub const CASES: &[(&str, &str)] = business_cases!(session_table);

/// The guarantees as a Markdown table, as the documentation shows them.
pub fn guarantees() -> String {
    super::table(CASES)
}
