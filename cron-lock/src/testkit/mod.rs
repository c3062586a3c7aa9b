//! The conformance suite: every [`CronLock`] must pass the same named cases. Feature `testkit`.
//!
//! A backend's test file is its harness and one line, which stamps one `#[tokio::test]` per case
//! (tokio with `macros` and `rt-multi-thread` must be among its dev-dependencies):
//!
//! ```text
//! standfast_cron_lock::cron_lock_conformance!(memory, harness());
//! ```
//!
//! [`CronLockHarness`] shows what a harness looks like.
#![allow(clippy::unwrap_used, reason = "a suite fails by panicking")]

pub mod cases;
mod harness;

pub use async_trait::async_trait;
pub use harness::{CronLockHarness, IntoCronLockHarness};

#[cfg(doc)]
use crate::CronLock;

/// Calls `$then!` with every case of the suite and the rule it is of. The one list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! cron_lock_cases {
    ($then:ident $($with:tt)*) => {
        $crate::$then! {
            [$($with)*]
            L1 a_first_claim_wins_and_a_second_one_is_held,
            L1 a_claim_that_is_no_tick_is_invalid,
            L1 a_lease_out_of_range_is_invalid,
            L1 a_schedule_id_that_breaks_the_rule_is_invalid,
            L2 a_finished_tick_stays_finished,
            L2 a_failed_tick_stays_failed_and_says_why,
            L2 a_record_is_read_as_it_was_written,
            L2 a_record_outlives_its_lease,
            L2 a_forgotten_tick_is_not_claimed_again,
            L2 of_many_claims_at_once_one_wins,
            L2 a_counter_that_only_owners_touch_is_exact,
            L2 two_namespaces_know_nothing_of_each_other,
            L3 fences_rise_strictly_within_a_namespace,
            L3 a_fence_is_not_below_the_store_time,
            L4 a_restarted_process_does_not_inherit_what_it_held,
            L5 an_owner_that_lost_the_tick_cannot_settle_it,
            L5 an_owner_that_lost_the_tick_cannot_extend_it,
            L5 a_lapsed_lease_is_not_extended,
            L5 an_extended_lease_keeps_others_out,
            L5 an_extension_never_shortens_a_lease,
            L5 a_lapsed_owner_may_still_settle_what_nobody_took,
            L5 a_repeated_settlement_is_answered_alike,
            L5 a_settled_tick_is_not_settled_otherwise,
            L5 trust_ends_no_later_than_the_lease,
            L5 a_tick_nobody_claimed_is_missing,
            L6 an_abandoned_tick_is_free_at_once,
            L6 abandoning_does_not_count_as_a_crash,
            L7 a_takeover_has_the_next_attempt_and_keeps_the_former_owner,
            L7 a_record_keeps_the_newest_former_owners,
            L7 a_tick_whose_owners_keep_dying_is_closed,
            L8 a_tick_of_the_future_is_too_early,
            L8 a_tick_that_is_too_late_is_too_old,
            L8 a_tick_that_is_too_late_is_not_taken_over,
            L9 a_late_tick_carries_its_own_time,
            L10 a_claim_learns_the_tick_before_it,
            L10 a_takeover_learns_the_tick_that_was_before_it_at_first,
            L10 a_tick_behind_the_cursor_is_too_old,
            L10 a_claim_learns_which_schedules_are_known,
            L10 a_thousand_schedules_are_known,
            L10 what_any_owner_evaluated_is_known_to_the_next_tick,
            L10 an_empty_store_makes_up_for_nothing,
            L10 records_are_read_in_order_and_in_pages,
            L13 a_lock_tells_what_it_was_opened_with,
        }
    };
}

/// Stamps one `#[tokio::test]` per case of the suite, in a module of this name.
/// The second argument is an expression that makes a harness, or an `Option` of one: without one
/// the cases are skipped, so say loudly that they are. It is evaluated once per case.
#[macro_export]
macro_rules! cron_lock_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness may live in the parent or anywhere")]
            use super::*;
            $crate::cron_lock_cases!(cron_lock_tests $harness);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! cron_lock_tests {
    ([$harness:expr] $($rule:ident $case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            use $crate::testkit::IntoCronLockHarness as _;
            if let Some(harness) = ($harness).into_harness() {
                $crate::testkit::cases::$case(&*harness).await;
            }
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! cron_lock_table {
    ([] $($rule:ident $case:ident,)*) => {
        &[$((stringify!($rule), stringify!($case))),*]
    };
}

/// Every case: the rule of the contract, and the sentence that the case proves.
pub const CASES: &[(&str, &str)] = cron_lock_cases!(cron_lock_table);

/// The guarantees as a Markdown table, as each backend's documentation shows them.
pub fn guarantees() -> String {
    let mut table = String::from("| rule | proved by the suite |\n|---|---|\n");
    for (rule, case) in CASES {
        table += &format!("| {rule} | {} |\n", case.replace('_', " "));
    }
    table
}
