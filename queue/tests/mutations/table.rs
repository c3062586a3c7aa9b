//! Which cases must find which fault. Each fault has the cases that speak of it most directly;
//! each case is somewhere.

use Fault as F;
use StatusFault as S;

use crate::faults::{Fault, StatusFault};

pub(crate) const QUEUE_TABLE: &[(Fault, &[&str])] = &[
    (
        F::AckForgotten,
        &[
            "an_acked_message_is_not_delivered_again",
            "what_a_decorator_remembers_stays_on_the_receipt",
        ],
    ),
    (
        F::AckOnReceive,
        &["an_extension_counts_from_now_and_may_shorten", "a_released_message_comes_back_at_once"],
    ),
    (F::AckScansDelayed, &["ten_thousand_delayed_messages_do_not_slow_an_ack"]),
    (F::AckScansGroups, &["a_thousand_blocked_groups_do_not_slow_an_ack"]),
    (
        F::AckScansLeased,
        &[
            "ten_thousand_leased_messages_do_not_slow_an_ack",
            "a_thousand_blocked_groups_do_not_slow_an_ack",
        ],
    ),
    (F::AgeFromSend, &["the_age_of_the_oldest_is_how_long_it_has_been_due"]),
    (F::AgeOfNothing, &["the_age_of_the_oldest_is_how_long_it_has_been_due"]),
    (F::AgeUnknown, &["the_age_of_the_oldest_is_how_long_it_has_been_due"]),
    (F::AnswersLate, &["an_empty_queue_answers_at_once", "a_wait_ends_in_its_time"]),
    (
        F::AttemptCountsAll,
        &["a_release_counts_as_an_attempt_or_not", "releases_do_not_use_up_the_crash_budget"],
    ),
    (
        F::AttemptOfPurgedKept,
        &[
            "a_release_counts_as_an_attempt_or_not",
            "an_id_is_free_once_its_message_is_gone",
            "a_purged_queue_goes_on",
        ],
    ),
    (
        F::AttemptStuck,
        &[
            "an_unsettled_message_comes_back_after_its_lease",
            "a_receipt_is_stale_once_its_lease_ran_out",
            "a_lease_taken_after_the_wait_began_wakes_it",
        ],
    ),
    (F::BatchLimitIgnored, &["a_batch_of_many_is_taken_or_refused_as_a_whole"]),
    (F::BodyIsText, &["a_body_is_any_bytes"]),
    (
        F::BodyLimitIgnored,
        &[
            "a_mixed_send_tells_of_each_message",
            "a_body_at_the_limit_is_taken_and_one_over_it_is_not",
        ],
    ),
    (F::BodyLimitOffByOne, &["a_body_at_the_limit_is_taken_and_one_over_it_is_not"]),
    (
        F::BuriesLate,
        &[
            "a_crash_budget_of_one_bears_no_crash",
            "a_crash_leaves_the_other_messages_alone",
            "a_dead_head_frees_its_group",
        ],
    ),
    (
        F::BuriesNever,
        &["a_crash_budget_of_one_bears_no_crash", "a_crash_leaves_the_other_messages_alone"],
    ),
    (F::ContextLost, &["what_was_sent_is_what_is_delivered"]),
    (
        F::CrashesUntold,
        &[
            "an_unsettled_message_comes_back_after_its_lease",
            "releases_do_not_use_up_the_crash_budget",
        ],
    ),
    (
        F::DeadCountsOneMore,
        &[
            "a_message_that_crashes_too_often_is_buried",
            "a_first_delivery_that_is_buried_counts_as_one_attempt",
        ],
    ),
    (
        F::DeadForgetsCounts,
        &[
            "a_message_that_crashes_too_often_is_buried",
            "a_first_delivery_that_is_buried_counts_as_one_attempt",
        ],
    ),
    (
        F::DeadForgetsCrashes,
        &["a_message_that_crashes_too_often_is_buried", "releases_do_not_use_up_the_crash_budget"],
    ),
    (F::DeadForgetsError, &["a_dead_letter_keeps_what_is_known"]),
    (
        F::DeadIsAck,
        &[
            "a_dead_lettered_message_is_not_delivered",
            "a_first_delivery_that_is_buried_counts_as_one_attempt",
        ],
    ),
    (
        F::DeadIsRelease,
        &[
            "a_dead_lettered_message_is_not_delivered",
            "a_first_delivery_that_is_buried_counts_as_one_attempt",
        ],
    ),
    (F::DeadKeptForEver, &["dead_letters_are_kept_for_as_long_as_told"]),
    (F::DeadUnbounded, &["the_oldest_dead_letters_make_room"]),
    (F::DeathsToldTwice, &["a_death_is_reported_once"]),
    (F::DeathsUntold, &["a_death_is_reported_once", "a_death_is_told_to_a_receiver_that_waits"]),
    (
        F::DedupeEndsWithMessage,
        &[
            "a_window_outlives_its_message",
            "a_message_repeated_in_its_window_is_no_duplicate_of_itself",
            "a_refused_message_leaves_its_key_free",
        ],
    ),
    (
        F::DedupeIgnored,
        &["a_second_message_of_a_key_is_a_duplicate", "keys_that_look_alike_do_not_meet"],
    ),
    (
        F::DedupeRaces,
        &[
            "a_message_repeated_in_its_window_is_no_duplicate_of_itself",
            "one_of_many_sends_of_a_key_wins",
        ],
    ),
    (F::DelayCapped, &["a_delay_of_days_is_kept"]),
    (F::DelayDoubled, &["delayed_messages_come_as_they_are_due", "a_delay_of_days_is_kept"]),
    (
        F::DelayHalved,
        &[
            "a_delayed_message_is_not_early",
            "delayed_messages_come_as_they_are_due",
            "a_delay_of_days_is_kept",
        ],
    ),
    (F::DelayRefusedWhenHuge, &["a_delay_without_end_is_taken"]),
    (
        F::DelayedHeadLetsPass,
        &["a_delayed_head_blocks_its_group", "a_delay_behind_the_head_runs_from_its_send"],
    ),
    (F::DeletesAll, &["a_listing_bears_changes_between_its_pages", "what_is_deleted_is_gone"]),
    (F::DeletesNone, &["a_listing_bears_changes_between_its_pages", "what_is_deleted_is_gone"]),
    (
        F::DeliveryStuck,
        &[
            "an_unsettled_message_comes_back_after_its_lease",
            "a_release_counts_as_an_attempt_or_not",
        ],
    ),
    (F::DiedWhenDue, &["a_dead_letter_keeps_what_is_known"]),
    (F::DropAfterEager, &["a_message_in_time_is_not_dropped"]),
    (
        F::DropAfterIgnored,
        &["a_message_past_its_point_is_dropped_and_told", "a_dropped_head_frees_its_group"],
    ),
    (F::DroppedUncounted, &["a_message_past_its_point_is_dropped_and_told"]),
    (
        F::DropsUntold,
        &[
            "a_message_past_its_point_is_dropped_and_told",
            "a_message_that_comes_back_too_late_is_dropped",
        ],
    ),
    (
        F::DueIsNow,
        &[
            "a_delivery_tells_when_it_was_due_and_when_its_lease_ends",
            "a_redriven_message_is_delivered_without_its_old_delay",
        ],
    ),
    (F::EmptyBatchRefused, &["an_empty_batch_is_no_error"]),
    (F::ErrorLost, &["the_last_error_travels_with_the_message"]),
    (
        F::EvictedUncounted,
        &["the_oldest_dead_letters_make_room", "dead_letters_are_kept_for_as_long_as_told"],
    ),
    (
        F::ExtendAddsUp,
        &["an_extension_counts_from_now_and_may_shorten", "a_lease_made_shorter_wakes_a_receive"],
    ),
    (
        F::ExtendForgotten,
        &["an_extended_lease_lasts_longer", "an_extension_counts_from_now_and_may_shorten"],
    ),
    (F::ExtendTooShort, &["an_extended_lease_lasts_longer"]),
    (
        F::FenceMissing,
        &[
            "a_slow_worker_cannot_settle_the_next_delivery",
            "a_receipt_is_stale_after_a_release_that_counts_nothing",
            "a_receipt_that_nobody_gave_is_refused",
        ],
    ),
    (F::FilterIdsLast, &["a_filter_means_what_it_says"]),
    (
        F::FilterIgnored,
        &["a_listing_goes_on_where_its_page_ended", "a_redrive_takes_only_what_is_meant"],
    ),
    (F::FilterSinceIgnored, &["a_filter_means_what_it_says"]),
    (
        F::FullBeforeKnown,
        &["a_receive_that_gives_up_takes_nothing_with_it", "a_full_queue_says_so"],
    ),
    (F::FullIgnored, &["a_refused_message_leaves_its_key_free", "many_sends_never_overfill"]),
    (
        F::FullIsFailed,
        &["a_refused_message_leaves_its_key_free", "what_the_target_does_not_take_stays_dead"],
    ),
    (
        F::FullRaces,
        &["a_redrive_into_its_own_full_queue_keeps_the_rest", "many_sends_never_overfill"],
    ),
    (
        F::FullTakesKey,
        &["a_window_ends_and_runs_from_the_first_send", "a_refused_message_leaves_its_key_free"],
    ),
    (
        F::GroupIgnored,
        &[
            "a_group_keeps_its_order",
            "a_group_is_in_nobodys_way",
            "a_head_whose_lease_ran_out_stays_the_head",
        ],
    ),
    (
        F::GroupsAreOne,
        &["a_group_is_in_nobodys_way", "a_thousand_blocked_groups_do_not_slow_an_ack"],
    ),
    (F::HandleLost, &["what_was_sent_is_what_is_delivered", "a_redriven_message_begins_a_new_run"]),
    (
        F::IdsDoubled,
        &[
            "a_second_message_of_a_key_is_a_duplicate",
            "a_send_repeated_while_it_is_ready_is_one_message",
        ],
    ),
    (
        F::IdsRace,
        &[
            "an_id_is_free_once_its_message_is_gone",
            "a_second_message_of_a_key_is_a_duplicate",
            "many_sends_of_one_id_are_one_message",
        ],
    ),
    (
        F::LeaseEndTooLate,
        &[
            "a_delivery_tells_when_it_was_due_and_when_its_lease_ends",
            "a_lease_over_the_cap_is_shortened_to_it",
        ],
    ),
    (F::LeaseNeverEnds, &["each_lease_runs_for_itself", "a_crash_budget_of_one_bears_no_crash"]),
    (F::LeaseTooLong, &["each_lease_runs_for_itself", "a_crash_budget_of_one_bears_no_crash"]),
    (
        F::LeaseTooShort,
        &["an_unsettled_message_comes_back_after_its_lease", "an_extended_lease_lasts_longer"],
    ),
    (F::LeasedIsEmpty, &["it_is_known_who_holds_what"]),
    (F::LeasedIsOld, &["it_is_known_who_holds_what"]),
    (
        F::LosesWhatIsDropped,
        &[
            "a_delivery_tells_when_it_was_due_and_when_its_lease_ends",
            "calls_that_die_at_any_await_lose_nothing",
        ],
    ),
    (F::LowStarves, &["no_priority_starves", "a_turn_that_nobody_wants_goes_to_another"]),
    (
        F::MaxIgnored,
        &["no_more_is_delivered_than_was_asked_for", "workers_that_are_killed_lose_nothing"],
    ),
    (F::NamesBlurred, &["keys_that_look_alike_do_not_meet", "groups_that_look_alike_do_not_meet"]),
    (
        F::NamesUnchecked,
        &["a_mixed_send_tells_of_each_message", "a_name_is_1_to_256_bytes_without_nul"],
    ),
    (F::NeverHealthy, &["a_queue_that_answers_is_healthy"]),
    (
        F::OneFailsAll,
        &[
            "a_mixed_send_tells_of_each_message",
            "a_body_at_the_limit_is_taken_and_one_over_it_is_not",
        ],
    ),
    (
        F::OriginalUnknown,
        &["a_second_message_of_a_key_is_a_duplicate", "a_key_is_kept_within_one_batch_too"],
    ),
    (
        F::OutcomesReversed,
        &["a_mixed_send_tells_of_each_message", "a_receipt_twice_in_a_batch_settles_once"],
    ),
    (
        F::OutcomesTooFew,
        &["no_more_is_delivered_than_was_asked_for", "a_turn_that_nobody_wants_goes_to_another"],
    ),
    (
        F::PageEndsEarly,
        &["a_listing_goes_on_where_its_page_ended", "a_listing_bears_changes_between_its_pages"],
    ),
    (F::PageIsOffset, &["a_listing_bears_changes_between_its_pages"]),
    (
        F::PageLimitIgnored,
        &["a_listing_goes_on_where_its_page_ended", "a_listing_bears_changes_between_its_pages"],
    ),
    (F::PageNewestFirst, &["the_oldest_dead_letters_make_room", "what_is_deleted_is_gone"]),
    (F::PageTokenAny, &["a_page_of_nowhere_is_invalid"]),
    (
        F::PageTokenIgnored,
        &["a_listing_goes_on_where_its_page_ended", "a_page_of_nowhere_is_invalid"],
    ),
    (F::PauseFreezesLeases, &["leases_and_delays_go_on_in_a_pause"]),
    (F::PauseIgnored, &["a_pause_is_told", "a_paused_queue_delivers_nothing_and_takes_everything"]),
    (
        F::PauseStopsSends,
        &["a_resume_wakes_a_receive", "a_paused_queue_delivers_nothing_and_takes_everything"],
    ),
    (F::PauseUntold, &["a_pause_is_told"]),
    (F::PeekIgnoresLimit, &["a_look_ahead_changes_nothing"]),
    (F::PeekIsEmpty, &["a_look_ahead_changes_nothing", "a_look_ahead_shows_what_can_be_delivered"]),
    (F::PeekLeases, &["a_look_ahead_changes_nothing"]),
    (F::PeekOld, &["a_look_ahead_shows_what_can_be_delivered"]),
    (
        F::PriorityIgnored,
        &[
            "the_most_urgent_comes_first",
            "no_priority_starves",
            "a_priority_outlives_release_and_redrive",
        ],
    ),
    (F::PurgeDoesNothing, &["a_purged_group_begins_anew", "a_purged_queue_has_room"]),
    (
        F::PurgeLeavesWhatIsOut,
        &[
            "a_receipt_is_stale_after_a_purge",
            "a_purged_group_begins_anew",
            "a_purged_queue_has_room",
        ],
    ),
    (F::PurgeMiscounts, &["a_purge_deletes_all_but_the_dead"]),
    (F::PurgeTakesDead, &["a_purge_deletes_all_but_the_dead"]),
    (F::ReasonLost, &["a_dead_letter_keeps_what_is_known", "a_filter_means_what_it_says"]),
    (
        F::RedriveCopies,
        &["a_redrive_takes_only_what_is_meant", "a_redrive_can_go_to_another_queue"],
    ),
    (
        F::RedriveDoesNothing,
        &[
            "dead_letters_are_kept_for_as_long_as_told",
            "a_redriven_message_is_delivered_without_its_old_delay",
        ],
    ),
    (
        F::RedriveForgetsPlace,
        &[
            "an_id_that_is_dead_can_be_sent_and_stays_dead",
            "a_redrive_keeps_its_pace",
            "a_pace_that_is_none_is_invalid",
        ],
    ),
    (
        F::RedriveIgnoresLimit,
        &["a_redrive_takes_only_what_is_meant", "a_redrive_can_go_to_another_queue"],
    ),
    (F::RedriveIgnoresRate, &["a_redrive_keeps_its_pace"]),
    (
        F::RedriveIgnoresTarget,
        &["a_redrive_can_go_to_another_queue", "what_the_target_does_not_take_stays_dead"],
    ),
    (
        F::RedriveKeepsRun,
        &[
            "a_redrive_wakes_a_receive",
            "a_redrive_keeps_its_pace",
            "a_redrive_can_go_to_another_queue",
        ],
    ),
    (
        F::RedriveLosesUntaken,
        &[
            "what_the_target_does_not_take_stays_dead",
            "a_redrive_into_its_own_full_queue_keeps_the_rest",
            "two_redrives_at_once_send_each_message_once",
        ],
    ),
    (
        F::RedriveRaces,
        &[
            "a_redriven_message_joins_its_group_at_the_end",
            "a_redrive_keeps_its_pace",
            "a_pace_that_is_none_is_invalid",
        ],
    ),
    (F::RedriveRenames, &["a_redrive_keeps_its_pace", "calls_that_die_at_any_await_lose_nothing"]),
    (F::RedriveTakesAnyRate, &["a_pace_that_is_none_is_invalid"]),
    (
        F::ReleaseAtOnce,
        &[
            "a_released_message_waits_for_its_delay",
            "a_delay_without_end_is_taken",
            "a_released_head_stays_the_head",
        ],
    ),
    (
        F::ReleaseCounts,
        &["a_release_counts_as_an_attempt_or_not", "a_dead_letter_keeps_what_is_known"],
    ),
    (
        F::ReleaseCountsNever,
        &[
            "a_release_counts_as_an_attempt_or_not",
            "a_send_repeated_while_it_waits_for_its_retry_is_one_message",
        ],
    ),
    (
        F::ReleaseForgetsError,
        &["the_last_error_travels_with_the_message", "a_filter_means_what_it_says"],
    ),
    (
        F::ReleaseIsAck,
        &["a_released_message_comes_back_at_once", "a_released_message_waits_for_its_delay"],
    ),
    (
        F::ReleaseIsLost,
        &["a_released_message_comes_back_at_once", "a_released_message_waits_for_its_delay"],
    ),
    (
        F::ReleaseToTheEnd,
        &[
            "the_last_error_travels_with_the_message",
            "a_receipt_is_stale_once_it_is_settled",
            "two_receivers_never_hold_two_of_a_group",
        ],
    ),
    (
        F::ResendReplaces,
        &["the_first_send_of_an_id_wins", "ten_thousand_leased_messages_do_not_slow_an_ack"],
    ),
    (
        F::ResumeIgnored,
        &["a_pause_is_told", "a_paused_queue_delivers_nothing_and_takes_everything"],
    ),
    (
        F::SettleRaces,
        &[
            "a_receipt_is_stale_in_the_next_run",
            "one_of_many_settlements_counts",
            "ten_thousand_leased_messages_do_not_slow_an_ack",
        ],
    ),
    (
        F::SharedOut,
        &[
            "an_id_is_free_once_its_message_is_gone",
            "a_send_repeated_while_it_is_ready_is_one_message",
            "two_receivers_never_hold_the_same_message",
        ],
    ),
    (
        F::StaleIsExtended,
        &["a_receipt_is_stale_once_it_is_settled", "a_mixed_extension_tells_of_each_receipt"],
    ),
    (
        F::StaleIsFailed,
        &[
            "a_receipt_is_stale_once_it_is_settled",
            "a_receipt_that_nobody_gave_is_refused",
            "a_mixed_settle_tells_of_each_receipt",
        ],
    ),
    (
        F::StaleIsSettled,
        &["a_receipt_is_stale_once_it_is_settled", "one_of_many_settlements_counts"],
    ),
    (
        F::StatsLeasedAreReady,
        &[
            "a_send_repeated_while_it_is_leased_is_one_message",
            "a_batch_of_many_is_taken_or_refused_as_a_whole",
        ],
    ),
    (
        F::StatsNoBlocked,
        &[
            "a_send_repeated_behind_its_group_is_one_message",
            "what_waits_behind_its_group_counts_as_ready",
        ],
    ),
    (
        F::StatsNoDead,
        &["a_dead_lettered_message_is_not_delivered", "the_oldest_dead_letters_make_room"],
    ),
    (
        F::StatsNoDelayed,
        &[
            "a_released_message_waits_for_its_delay",
            "a_send_repeated_while_it_is_delayed_is_one_message",
            "each_message_is_counted_where_it_is",
        ],
    ),
    (
        F::StatsNoLeased,
        &[
            "a_send_repeated_while_it_is_leased_is_one_message",
            "a_batch_of_many_is_taken_or_refused_as_a_whole",
        ],
    ),
    (F::StatsOld, &["counts_follow_the_time_without_a_receive", "a_pause_is_told"]),
    (F::TokenIsDelivery, &["a_token_never_comes_again_for_an_id"]),
    (F::TokenReused, &["a_token_never_comes_again_for_an_id"]),
    (
        F::WaitsAlways,
        &["what_is_there_is_not_waited_for", "a_burst_wakes_receives_that_only_begin_to_wait"],
    ),
    (
        F::WaitsNever,
        &[
            "a_receive_is_woken_promptly",
            "several_receives_that_wait_get_one_each",
            "a_wait_ends_in_its_time",
        ],
    ),
    (
        F::WakesForSendsOnly,
        &[
            "a_message_that_becomes_due_wakes_a_receive",
            "a_lease_that_runs_out_wakes_a_receive",
            "a_release_wakes_a_receive",
        ],
    ),
    (
        F::WakesNever,
        &[
            "a_send_wakes_a_receive",
            "a_receive_is_woken_promptly",
            "a_group_that_is_freed_wakes_a_receive",
        ],
    ),
    (
        F::WakesSlowly,
        &[
            "a_receive_is_woken_promptly",
            "a_wait_ends_in_its_time",
            "a_message_is_not_lost_with_the_receive_it_woke",
        ],
    ),
    (F::WindowTooLong, &["a_window_ends_and_runs_from_the_first_send"]),
    (F::WindowTooShort, &["a_window_ends_and_runs_from_the_first_send"]),
    (F::WorkerForgotten, &["it_is_known_who_holds_what"]),
];

pub(crate) const STATUS_TABLE: &[(StatusFault, &[&str])] = &[
    (
        S::AllApplied,
        &[
            "a_step_that_is_repeated_after_a_timeout_harms_nothing",
            "an_end_is_never_left_within_its_run",
        ],
    ),
    (
        S::CancelForgotten,
        &["a_job_that_runs_is_asked_to_end", "a_job_that_has_ended_is_left_alone"],
    ),
    (S::CancelKills, &["a_new_run_begins_with_nothing", "a_job_that_runs_may_end_otherwise"]),
    (S::CancelMakes, &["a_job_that_has_ended_is_left_alone"]),
    (S::CancelOfEndedRemoves, &["a_job_that_has_ended_is_left_alone"]),
    (
        S::CancelUnknownIsFinished,
        &["a_removed_status_is_gone", "a_job_that_has_ended_is_left_alone"],
    ),
    (S::CheckpointCut, &["a_checkpoint_over_the_limit_is_too_large"]),
    (S::CheckpointLostOnRetry, &["a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint"]),
    (
        S::CheckpointNever,
        &[
            "progress_and_checkpoint_stay_until_they_change",
            "a_checkpoint_over_the_limit_is_too_large",
        ],
    ),
    (S::CheckpointTooSmall, &["a_checkpoint_over_the_limit_is_too_large"]),
    (S::CreatedMoves, &["a_job_goes_from_queued_to_its_end"]),
    (
        S::DeliveryIgnored,
        &[
            "a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint",
            "a_job_that_waits_is_cancelled_at_once",
        ],
    ),
    (
        S::EndLeft,
        &[
            "a_later_step_is_applied_and_an_earlier_one_refused",
            "an_end_is_never_left_within_its_run",
        ],
    ),
    (S::EndTimeLost, &["a_job_goes_from_queued_to_its_end", "the_first_step_makes_the_status"]),
    (
        S::EndsRace,
        &[
            "progress_and_checkpoint_stay_until_they_change",
            "no_change_is_missed_between_two_waits",
        ],
    ),
    (S::ErrorKept, &["a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint"]),
    (
        S::ErrorLost,
        &[
            "a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint",
            "progress_and_checkpoint_stay_until_they_change",
        ],
    ),
    (
        S::FirstMustBeQueued,
        &["the_first_step_makes_the_status", "a_later_step_is_applied_and_an_earlier_one_refused"],
    ),
    (S::HandlesMeet, &["the_first_step_makes_the_status", "handles_do_not_meet"]),
    (S::KeptForEver, &["an_ended_status_is_kept_for_as_long_as_told", "an_expiry_wakes_a_waiter"]),
    (S::KeptTooShort, &["an_ended_status_is_kept_for_as_long_as_told"]),
    (S::KindLost, &["a_job_goes_from_queued_to_its_end", "handles_do_not_meet"]),
    (S::MessageLost, &["progress_and_checkpoint_stay_until_they_change"]),
    (S::NeverHealthy, &["a_store_that_answers_is_healthy"]),
    (S::OlderDeliveryWins, &["what_changes_nothing_wakes_nobody"]),
    (S::OlderRunWins, &["a_later_step_is_applied_and_an_earlier_one_refused"]),
    (S::OwnerLost, &["the_first_step_makes_the_status", "a_new_run_begins_with_nothing"]),
    (S::ProgressGoesBack, &["a_later_step_is_applied_and_an_earlier_one_refused"]),
    (
        S::ProgressHandedOn,
        &[
            "a_new_run_begins_with_nothing",
            "a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint",
        ],
    ),
    (
        S::RefusedIsApplied,
        &["an_end_is_never_left_within_its_run", "steps_at_once_leave_the_latest"],
    ),
    (S::RefusedTellsItsOwn, &["an_end_is_never_left_within_its_run", "one_of_many_ends_wins"]),
    (
        S::RefusedTouches,
        &[
            "a_step_that_is_repeated_after_a_timeout_harms_nothing",
            "what_changes_nothing_wakes_nobody",
        ],
    ),
    (
        S::RefusesRepeats,
        &["a_checkpoint_over_the_limit_is_too_large", "no_change_is_missed_between_two_waits"],
    ),
    (
        S::RemoveAlwaysTrue,
        &["an_ended_status_is_kept_for_as_long_as_told", "a_removed_status_is_gone"],
    ),
    (
        S::RemoveForgotten,
        &["an_ended_status_is_kept_for_as_long_as_told", "a_removed_status_is_gone"],
    ),
    (
        S::RequestHidden,
        &[
            "a_job_that_waits_is_cancelled_at_once",
            "a_job_that_runs_is_asked_to_end",
            "a_request_to_cancel_wakes_a_waiter",
        ],
    ),
    (S::ResultLost, &["a_job_goes_from_queued_to_its_end", "one_of_many_ends_wins"]),
    (S::RetryTimeLost, &["a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint"]),
    (S::RunHandsOn, &["a_new_run_begins_with_nothing"]),
    (S::RunIgnored, &["versions_differ", "a_new_run_is_kept_although_its_last_end_ran_out"]),
    (S::StartedLost, &["a_job_goes_from_queued_to_its_end", "the_first_step_makes_the_status"]),
    (
        S::UnfinishedExpires,
        &[
            "a_status_that_has_not_ended_outlives_any_keep_for",
            "a_status_outlives_the_wait_for_its_next_attempt",
            "a_new_run_is_kept_although_its_last_end_ran_out",
        ],
    ),
    (
        S::VersionIsState,
        &["versions_differ", "a_job_that_runs_is_asked_to_end", "a_step_wakes_a_waiter"],
    ),
    (S::VersionStuck, &["versions_differ", "steps_at_once_leave_the_latest"]),
    (S::VersionsBeginAgain, &["versions_differ"]),
    (S::WaitGivesUp, &["a_wait_ends_in_its_time_with_what_is_there"]),
    (
        S::WaitsAlways,
        &["a_version_that_is_over_is_not_waited_for", "a_wait_for_nobody_returns_at_once"],
    ),
    (S::WaitsForEver, &["a_wait_ends_in_its_time_with_what_is_there"]),
    (S::WaitsForLaterOnly, &["a_version_that_is_over_is_not_waited_for"]),
    (
        S::WaitsNever,
        &["a_wait_ends_in_its_time_with_what_is_there", "a_waiter_that_goes_leaves_the_others"],
    ),
    (
        S::WakesForAll,
        &["a_wait_ends_in_its_time_with_what_is_there", "a_waiter_that_goes_leaves_the_others"],
    ),
    (S::WakesForStepsOnly, &["a_removed_status_is_gone", "a_wait_for_nobody_returns_at_once"]),
    (S::WakesNever, &["a_removal_wakes_a_waiter", "a_waiter_that_goes_leaves_the_others"]),
    (S::WakesOne, &["a_waiter_that_goes_leaves_the_others", "ten_thousand_waiters_are_woken"]),
];
