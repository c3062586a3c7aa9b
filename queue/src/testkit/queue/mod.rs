//! The suite of [`Queue`](crate::Queue), by topic.

mod admin;
mod batch;
mod budget;
mod concurrency;
mod dead_letters;
mod dedupe;
mod delivery;
mod group;
mod kit;
mod limits;
mod order;
mod receipts;
mod resend;
mod scale;
mod stats;
mod time;
mod wake;

use super::cases::QueueCase;

/// Every case, in the order of the topics.
pub const CASES: &[QueueCase] = crate::__queue_cases! { QueueCase () };

/// The one list: what is not here does not exist, and what is here every backend runs. `Q` are the
/// lines of [`Queue`](crate::Queue), `D` of [`DeadLetters`](crate::DeadLetters), `A` of
/// [`QueueAdmin`](crate::QueueAdmin).
#[doc(hidden)]
#[macro_export]
macro_rules! __queue_cases {
    ($mode:ident $args:tt) => {
        $crate::__stamp! { $mode $args
            Q1 delivery::an_acked_message_is_not_delivered_again,
            Q12 delivery::an_empty_queue_answers_at_once,
            Q11 delivery::no_more_is_delivered_than_was_asked_for,
            Q2 delivery::an_unsettled_message_comes_back_after_its_lease,
            Q2 delivery::each_lease_runs_for_itself,
            Q2 delivery::an_extended_lease_lasts_longer,
            Q2 delivery::an_extension_counts_from_now_and_may_shorten,
            Q4 delivery::a_released_message_comes_back_at_once,
            Q4 delivery::a_released_message_waits_for_its_delay,
            Q4 delivery::a_release_counts_as_an_attempt_or_not,
            Q4 delivery::the_last_error_travels_with_the_message,
            Q2 delivery::a_delivery_tells_when_it_was_due_and_when_its_lease_ends,
            Q14 delivery::what_was_sent_is_what_is_delivered,
            Q8 delivery::an_id_is_free_once_its_message_is_gone,
            Q3 receipts::a_receipt_is_stale_once_its_lease_ran_out,
            Q3 receipts::a_slow_worker_cannot_settle_the_next_delivery,
            Q3 receipts::a_receipt_is_stale_once_it_is_settled,
            Q3 receipts::a_receipt_is_stale_after_a_release_that_counts_nothing,
            Q3 receipts::a_receipt_is_stale_in_the_next_run,
            Q3 receipts::a_receipt_is_stale_after_a_purge,
            Q3 receipts::a_receipt_that_nobody_gave_is_refused,
            Q3 receipts::a_token_never_comes_again_for_an_id,
            Q3 receipts::what_a_decorator_remembers_stays_on_the_receipt,
            Q5 budget::a_message_that_crashes_too_often_is_buried,
            Q5 budget::a_crash_budget_of_one_bears_no_crash,
            Q5 budget::a_death_is_reported_once,
            Q5 budget::a_death_is_told_to_a_receiver_that_waits,
            Q5 budget::releases_do_not_use_up_the_crash_budget,
            Q5 budget::a_dead_lettered_message_is_not_delivered,
            Q5 budget::a_dead_letter_keeps_what_is_known,
            Q5 budget::a_first_delivery_that_is_buried_counts_as_one_attempt,
            Q5 budget::the_oldest_dead_letters_make_room,
            Q5 budget::dead_letters_are_kept_for_as_long_as_told,
            Q5 budget::a_crash_leaves_the_other_messages_alone,
            Q6 time::a_delayed_message_is_not_early,
            Q6 time::delayed_messages_come_as_they_are_due,
            Q6 time::a_delay_of_days_is_kept,
            Q6 time::a_delay_without_end_is_taken,
            Q18 time::a_message_past_its_point_is_dropped_and_told,
            Q18 time::a_message_in_time_is_not_dropped,
            Q18 time::a_message_that_comes_back_too_late_is_dropped,
            Q7 dedupe::a_second_message_of_a_key_is_a_duplicate,
            Q7 dedupe::a_window_outlives_its_message,
            Q7 dedupe::a_window_ends_and_runs_from_the_first_send,
            Q7 dedupe::a_message_repeated_in_its_window_is_no_duplicate_of_itself,
            Q7 dedupe::keys_that_look_alike_do_not_meet,
            Q7 dedupe::a_key_is_kept_within_one_batch_too,
            Q7 dedupe::a_refused_message_leaves_its_key_free,
            Q8 resend::a_send_repeated_while_it_is_ready_is_one_message,
            Q8 resend::a_send_repeated_while_it_is_leased_is_one_message,
            Q8 resend::a_send_repeated_while_it_is_delayed_is_one_message,
            Q8 resend::a_send_repeated_while_it_waits_for_its_retry_is_one_message,
            Q8 resend::a_send_repeated_behind_its_group_is_one_message,
            Q8 resend::the_first_send_of_an_id_wins,
            Q8 resend::an_id_that_is_dead_can_be_sent_and_stays_dead,
            Q9 order::the_most_urgent_comes_first,
            Q9 order::no_priority_starves,
            Q9 order::a_turn_that_nobody_wants_goes_to_another,
            Q9 order::a_priority_outlives_release_and_redrive,
            Q10 group::a_group_keeps_its_order,
            Q10 group::a_group_is_in_nobodys_way,
            Q10 group::a_delayed_head_blocks_its_group,
            Q10 group::a_delay_behind_the_head_runs_from_its_send,
            Q10 group::a_released_head_stays_the_head,
            Q10 group::a_head_whose_lease_ran_out_stays_the_head,
            Q10 group::a_dead_head_frees_its_group,
            Q10 group::a_dropped_head_frees_its_group,
            Q10 group::a_purged_group_begins_anew,
            Q10 group::a_redriven_message_joins_its_group_at_the_end,
            Q10 group::groups_that_look_alike_do_not_meet,
            Q11 batch::a_mixed_send_tells_of_each_message,
            Q11 batch::a_mixed_settle_tells_of_each_receipt,
            Q11 batch::a_mixed_extension_tells_of_each_receipt,
            Q11 batch::a_receipt_twice_in_a_batch_settles_once,
            Q11 batch::an_empty_batch_is_no_error,
            Q11 batch::a_batch_of_many_is_taken_or_refused_as_a_whole,
            Q12 wake::what_is_there_is_not_waited_for,
            Q12 wake::a_send_wakes_a_receive,
            Q12 wake::a_receive_is_woken_promptly,
            Q12 wake::a_message_that_becomes_due_wakes_a_receive,
            Q12 wake::a_lease_that_runs_out_wakes_a_receive,
            Q12 wake::a_lease_taken_after_the_wait_began_wakes_it,
            Q12 wake::a_lease_made_shorter_wakes_a_receive,
            Q12 wake::a_release_wakes_a_receive,
            Q12 wake::a_redrive_wakes_a_receive,
            Q12 wake::a_resume_wakes_a_receive,
            Q12 wake::a_group_that_is_freed_wakes_a_receive,
            Q12 wake::several_receives_that_wait_get_one_each,
            Q12 wake::a_burst_wakes_receives_that_only_begin_to_wait,
            Q12 wake::a_wait_ends_in_its_time,
            Q12 wake::a_receive_that_gives_up_takes_nothing_with_it,
            Q12 wake::a_message_is_not_lost_with_the_receive_it_woke,
            Q13 stats::each_message_is_counted_where_it_is,
            Q13 stats::what_waits_behind_its_group_counts_as_ready,
            Q13 stats::counts_follow_the_time_without_a_receive,
            Q13 stats::the_age_of_the_oldest_is_how_long_it_has_been_due,
            Q13 stats::a_pause_is_told,
            Q13 stats::a_queue_that_answers_is_healthy,
            Q14 limits::a_body_is_any_bytes,
            Q14 limits::a_body_at_the_limit_is_taken_and_one_over_it_is_not,
            Q14 limits::a_name_is_1_to_256_bytes_without_nul,
            Q19 limits::a_full_queue_says_so,
            Q19 limits::a_purged_queue_has_room,
            Q2 limits::a_lease_over_the_cap_is_shortened_to_it,
            D1 dead_letters::a_listing_goes_on_where_its_page_ended,
            D1 dead_letters::a_listing_bears_changes_between_its_pages,
            D1 dead_letters::a_filter_means_what_it_says,
            D1 dead_letters::a_page_of_nowhere_is_invalid,
            D2 dead_letters::a_redriven_message_begins_a_new_run,
            D2 dead_letters::a_redrive_takes_only_what_is_meant,
            D2 dead_letters::a_redrive_keeps_its_pace,
            D1 dead_letters::a_pace_that_is_none_is_invalid,
            D2 dead_letters::a_redrive_can_go_to_another_queue,
            D1 dead_letters::what_the_target_does_not_take_stays_dead,
            D2 dead_letters::a_redrive_into_its_own_full_queue_keeps_the_rest,
            D1 dead_letters::two_redrives_at_once_send_each_message_once,
            D1 dead_letters::what_is_deleted_is_gone,
            D2 dead_letters::a_redriven_message_is_delivered_without_its_old_delay,
            A1 admin::a_look_ahead_changes_nothing,
            A1 admin::a_look_ahead_shows_what_can_be_delivered,
            A1 admin::it_is_known_who_holds_what,
            A2 admin::a_paused_queue_delivers_nothing_and_takes_everything,
            A2 admin::leases_and_delays_go_on_in_a_pause,
            A3 admin::a_purge_deletes_all_but_the_dead,
            A3 admin::a_purged_queue_goes_on,
            Q17 concurrency::two_receivers_never_hold_the_same_message,
            Q10 concurrency::two_receivers_never_hold_two_of_a_group,
            Q3 concurrency::one_of_many_settlements_counts,
            Q8 concurrency::many_sends_of_one_id_are_one_message,
            Q7 concurrency::one_of_many_sends_of_a_key_wins,
            Q19 concurrency::many_sends_never_overfill,
            Q16 concurrency::calls_that_die_at_any_await_lose_nothing,
            Q16 concurrency::workers_that_are_killed_lose_nothing,
            Q15 scale::ten_thousand_leased_messages_do_not_slow_an_ack,
            Q15 scale::ten_thousand_delayed_messages_do_not_slow_an_ack,
            Q15 scale::a_thousand_blocked_groups_do_not_slow_an_ack,
        }
    };
}
