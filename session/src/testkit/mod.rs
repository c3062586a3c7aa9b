//! The conformance suite: every [`SessionHandler`] must pass the same named cases. Feature
//! `testkit`.
//!
//! A backend's test file is its harness and one line, which stamps one `#[tokio::test]` per case
//! (tokio with `macros` and `rt-multi-thread` must be among its dev-dependencies):
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use standfast_core::testkit::ManualClock;
//! use standfast_session::testkit::{SessionHarness, async_trait};
//! use standfast_session::{MemorySessionHandler, SessionHandler, SessionLimits};
//!
//! #[derive(Debug)]
//! struct Memory(ManualClock);
//!
//! #[async_trait]
//! impl SessionHarness for Memory {
//!     async fn open(&self) -> Arc<dyn SessionHandler> {
//!         let clock = Arc::new(self.0.clone());
//!         Arc::new(MemorySessionHandler::with_config(SessionLimits::default(), clock))
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.0.advance(time);
//!     }
//! }
//!
//! // standfast_session::session_conformance!(memory, Memory(ManualClock::new()));
//! ```
#![allow(clippy::unwrap_used, reason = "a suite fails by panicking")]

pub mod business;
pub mod cases;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;

use crate::SessionHandler;

/// What the suite must know about a backend. A difference between backends is a question here,
/// never a skipped case.
///
/// ```
/// use standfast_session::testkit::{SessionHarness, async_trait, cases};
/// # use std::{sync::Arc, time::Duration};
/// # use standfast_core::testkit::ManualClock;
/// # use standfast_session::{MemorySessionHandler, SessionHandler, SessionLimits};
///
/// #[derive(Debug)]
/// struct Memory(ManualClock);
///
/// #[async_trait]
/// impl SessionHarness for Memory {
///     async fn open(&self) -> Arc<dyn SessionHandler> {
///         let clock = Arc::new(self.0.clone());
///         Arc::new(MemorySessionHandler::with_config(SessionLimits::default(), clock))
///     }
///
///     async fn pass(&self, time: Duration) {
///         self.0.advance(time);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// // one case by itself, as a debugger wants it
/// cases::an_idle_session_ends(&Memory(ManualClock::new())).await;
/// # }
/// ```
#[async_trait]
pub trait SessionHarness: Debug + Send + Sync {
    /// Opens the store, with the default limits. Sessions of other cases may be in it.
    async fn open(&self) -> Arc<dyn SessionHandler>;

    /// Lets time pass in the store.
    async fn pass(&self, time: Duration);

    /// A span of time that several calls fit into; 10 seconds unless time is real.
    fn unit(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What [`session_conformance!`](crate::session_conformance) takes: a harness, or none where what it
/// needs is not there, which whoever looked for it has said.
///
/// ```
/// use standfast_session::testkit::{IntoSessionHarness, SessionHarness};
///
/// fn is_skipped(made: impl IntoSessionHarness) -> bool {
///     made.into_harness().is_none()
/// }
/// # #[derive(Debug)]
/// # struct Server;
/// # #[standfast_session::testkit::async_trait]
/// # impl SessionHarness for Server {
/// #     async fn open(&self) -> std::sync::Arc<dyn standfast_session::SessionHandler> {
/// #         std::sync::Arc::new(standfast_session::MemorySessionHandler::new())
/// #     }
/// #     async fn pass(&self, _time: std::time::Duration) {}
/// # }
/// assert!(is_skipped(None::<Server>));
/// assert!(!is_skipped(Server));
/// ```
pub trait IntoSessionHarness {
    /// The harness.
    fn into_harness(self) -> Option<Box<dyn SessionHarness>>;
}

impl<H: SessionHarness + 'static> IntoSessionHarness for H {
    fn into_harness(self) -> Option<Box<dyn SessionHarness>> {
        Some(Box::new(self))
    }
}

impl<H: SessionHarness + 'static> IntoSessionHarness for Option<H> {
    fn into_harness(self) -> Option<Box<dyn SessionHarness>> {
        self.map(|harness| Box::new(harness) as Box<dyn SessionHarness>)
    }
}

/// Calls `$then!` with every case of the suite and the rule it is of. The one list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! session_cases {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            S1 a_taken_reference_is_not_overwritten,
            S1 what_a_session_starts_with_is_there,
            S2 an_unknown_session_is_absent,
            S2 a_wrong_secret_is_refused_everywhere,
            S2 loading_does_not_extend,
            S3 concurrent_patches_on_different_fields_are_all_kept,
            S3 a_patch_is_applied_whole_or_not_at_all,
            S3 fields_that_are_not_named_stay,
            S4 nothing_but_create_creates,
            S5 every_operation_does_what_it_says,
            S5 concurrent_increments_are_all_counted,
            S5 an_operation_on_another_type_is_invalid_and_changes_nothing,
            S5 an_overflow_is_invalid_and_changes_nothing,
            S5 a_field_vanishes_at_its_deadline,
            S5 adding_keeps_a_deadline_and_setting_lifts_it,
            S6 a_conflict_tells_what_is_there,
            S6 a_removed_and_restored_field_is_a_conflict,
            S6 concurrent_updates_of_one_field_are_all_kept,
            S7 the_version_rises_by_one_and_marks_what_changed,
            S8 an_idle_session_ends,
            S8 a_busy_session_ends_at_its_absolute_limit,
            S8 touches_that_race_the_absolute_limit_do_not_pass_it,
            S9 a_touch_writes_only_when_it_is_due,
            S9 a_commit_touches_along,
            S9 trusted_access_does_not_extend,
            S10 a_login_kills_the_old_secret_and_keeps_the_data,
            S10 after_a_renewal_the_old_secret_works_until_its_grace_ends,
            S10 of_two_concurrent_renewals_one_is_superseded,
            S10 of_two_concurrent_logins_one_is_refused,
            S10 a_login_through_the_old_secret_in_its_grace_counts,
            S10 a_repeated_rotation_is_answered_alike,
            S10 a_rotation_whose_patch_conflicts_changes_nothing,
            S10 trusted_access_cannot_rotate,
            S10 a_reference_from_before_a_login_still_finds_the_session,
            S10 commits_that_race_a_login_are_applied_before_it_or_refused,
            S10 commits_that_race_a_renewal_are_all_applied,
            S10 of_many_rotations_at_once_one_wins,
            S10 a_login_among_renewals_wins,
            S11 a_destroyed_session_does_not_come_back,
            S11 commits_that_race_a_logout_do_not_resurrect,
            S11 rotations_that_race_a_logout_do_not_resurrect,
            S12 what_is_too_large_is_refused_before_it_is_written,
            S12 a_bad_name_is_invalid,
            S13 an_unreadable_field_fails_alone,
            S14 the_secret_is_neither_shown_nor_stored,
            S3 flash_messages_are_removed_by_id,
            S6 a_business_link_is_not_swapped_silently,
            S20 a_sweep_is_bounded_and_takes_only_what_has_ended,
            S20 sessions_of_a_principal_are_listed_and_ended,
        }
    };
}

/// Stamps one `#[tokio::test]` per case of the suite, in a module of this name. The second argument
/// is an expression that makes a harness, or an `Option` of one; it is evaluated once per case.
#[macro_export]
macro_rules! session_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness may live in the parent or anywhere")]
            use super::*;
            $crate::session_cases!(session_tests $harness);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! session_tests {
    ([$harness:expr] $($rule:ident $case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            use $crate::testkit::IntoSessionHarness as _;
            if let Some(harness) = ($harness).into_harness() {
                $crate::testkit::cases::$case(&*harness).await;
            }
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! session_table {
    ([] $($rule:ident $case:ident,)*) => {
        &[$((stringify!($rule), stringify!($case))),*]
    };
}

/// Every case: the rule of the contract, and the sentence that the case proves.
pub const CASES: &[(&str, &str)] = session_cases!(session_table);

/// The guarantees as a Markdown table, as each backend's documentation shows them.
pub fn guarantees() -> String {
    table(CASES)
}

fn table(cases: &[(&str, &str)]) -> String {
    let mut table = String::from("| rule | proved by the suite |\n|---|---|\n");
    for (rule, case) in cases {
        table += &format!("| {rule} | {} |\n", case.replace('_', " "));
    }
    table
}
