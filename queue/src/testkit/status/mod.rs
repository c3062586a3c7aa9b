//! The suite of [`StatusStore`](crate::StatusStore), by topic.

mod kit;
mod life;
mod steps;
mod waits;

use super::cases::StatusCase;

/// Every case, in the order of the topics.
pub const CASES: &[StatusCase] = crate::__status_cases! { StatusCase () };

/// The one list, as that of the queue suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __status_cases {
    ($mode:ident $args:tt) => {
        $crate::__stamp! { $mode $args
            T1 steps::a_job_goes_from_queued_to_its_end,
            T3 steps::the_first_step_makes_the_status,
            T1 steps::a_later_step_is_applied_and_an_earlier_one_refused,
            T1 steps::a_step_that_is_repeated_after_a_timeout_harms_nothing,
            T2 steps::an_end_is_never_left_within_its_run,
            T2 steps::a_new_run_begins_with_nothing,
            T4 steps::a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint,
            T4 steps::progress_and_checkpoint_stay_until_they_change,
            T4 steps::a_checkpoint_over_the_limit_is_too_large,
            T8 steps::versions_differ,
            T3 steps::handles_do_not_meet,
            T1 steps::one_of_many_ends_wins,
            T1 steps::steps_at_once_leave_the_latest,
            T3 steps::a_store_that_answers_is_healthy,
            T5 life::an_ended_status_is_kept_for_as_long_as_told,
            T5 life::a_status_that_has_not_ended_outlives_any_keep_for,
            T5 life::a_status_outlives_the_wait_for_its_next_attempt,
            T5 life::a_new_run_is_kept_although_its_last_end_ran_out,
            T5 life::a_removed_status_is_gone,
            T7 life::a_job_that_waits_is_cancelled_at_once,
            T7 life::a_job_that_runs_is_asked_to_end,
            T7 life::a_job_that_runs_may_end_otherwise,
            T7 life::a_job_that_has_ended_is_left_alone,
            T6 waits::a_step_wakes_a_waiter,
            T6 waits::a_version_that_is_over_is_not_waited_for,
            T6 waits::a_request_to_cancel_wakes_a_waiter,
            T6 waits::a_removal_wakes_a_waiter,
            T6 waits::an_expiry_wakes_a_waiter,
            T6 waits::a_wait_ends_in_its_time_with_what_is_there,
            T6 waits::a_wait_for_nobody_returns_at_once,
            T6 waits::what_changes_nothing_wakes_nobody,
            T6 waits::a_waiter_that_goes_leaves_the_others,
            T6 waits::no_change_is_missed_between_two_waits,
            T6 waits::ten_thousand_waiters_are_woken,
        }
    };
}
