//! What of the suite moto does not pass, case by case. A name without `standard::` or `fifo::` is
//! that of both.

use crate::sqs_support::runner::Test;

const A_MINUTE: &str = "it purges twice within a minute, which moto refuses, as Amazon SQS does";
const FORGETS: &str = "moto forgets a deduplication id with the message that had it";

/// What fails there each time. It is run all the same, and has to fail.
const FAILS: &[(&str, &str)] = &[
    ("a_purge_deletes_all_but_the_dead", A_MINUTE),
    ("a_purged_queue_goes_on", A_MINUTE),
    ("a_purged_queue_has_room", A_MINUTE),
    ("a_token_never_comes_again_for_an_id", A_MINUTE),
    ("fifo::a_message_repeated_in_its_window_is_no_duplicate_of_itself", FORGETS),
    ("fifo::a_window_outlives_its_message", FORGETS),
    ("fifo::an_id_is_free_once_its_message_is_gone", FORGETS),
    ("fifo::an_id_that_is_dead_can_be_sent_and_stays_dead", FORGETS),
];

const BLOCKED: &str =
    "a wait of moto's goes by the groups that were blocked as it began, and spins";
const NO_LOCKS: &str =
    "moto has no locks: it is asked one thing after another, so it proves nothing";
const SCANS: &str = "moto walks all messages for each request";
const SLOW: &str = "moto is too slow for so many messages, and this asks nothing of the service";

/// What fails there by chance, or proves nothing and takes long: it is not run.
const LEFT_OUT: &[(&str, &str)] = &[
    ("a_burst_wakes_receives_that_only_begin_to_wait", SLOW),
    ("a_thousand_blocked_groups_do_not_slow_an_ack", SCANS),
    ("calls_that_die_at_any_await_lose_nothing", NO_LOCKS),
    ("fifo::a_group_that_is_freed_wakes_a_receive", BLOCKED),
    ("fifo::a_message_is_not_lost_with_the_receive_it_woke", BLOCKED),
    ("fifo::a_receive_that_gives_up_takes_nothing_with_it", BLOCKED),
    ("fifo::a_release_wakes_a_receive", BLOCKED),
    ("many_sends_never_overfill", NO_LOCKS),
    ("many_sends_of_one_id_are_one_message", NO_LOCKS),
    ("no_priority_starves", SLOW),
    ("one_of_many_sends_of_a_key_wins", NO_LOCKS),
    ("one_of_many_settlements_counts", NO_LOCKS),
    ("ten_thousand_delayed_messages_do_not_slow_an_ack", SCANS),
    ("ten_thousand_leased_messages_do_not_slow_an_ack", SCANS),
    ("two_receivers_never_hold_the_same_message", NO_LOCKS),
    ("two_receivers_never_hold_two_of_a_group", NO_LOCKS),
    ("two_redrives_at_once_send_each_message_once", NO_LOCKS),
    ("workers_that_are_killed_lose_nothing", NO_LOCKS),
];

/// The tests, those marked that fail there, without those that are left out.
pub(crate) fn apply(mut tests: Vec<Test>) -> Vec<Test> {
    for (name, why) in FAILS {
        let found = tests.iter_mut().filter(|test| is_named(test, name));
        let marked = found.map(|test| test.gap = Some(why)).count();
        assert_ne!(marked, 0, "no test {name}");
    }
    for (name, _) in LEFT_OUT {
        let before = tests.len();
        tests.retain(|test| !is_named(test, name));
        assert_ne!(tests.len(), before, "no test {name}");
    }
    tests
}

fn is_named(test: &Test, name: &str) -> bool {
    test.name == name || test.name.split_once("::").is_some_and(|(_, case)| case == name)
}
