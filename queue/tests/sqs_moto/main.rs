//! A second opinion on plain behaviour: the suite, and what it does not ask, against moto, a server
//! that others have written to behave as Amazon SQS does. What it does otherwise is in `gaps`.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

mod gaps;
mod others;
mod plain;

use std::process::ExitCode;

use sqs_support::Service;
use sqs_support::runner::{self, Bounds, test};

/// It must not take a minute more than the rest. Most tests sleep most of the time; a request takes
/// moto 4 ms.
const BOUNDS: Bounds = Bounds { at_once: 16, requests: 5_000 };

fn main() -> ExitCode {
    let mut tests = vec![
        test("others::what_boto_sends_is_a_delivery_like_any_other", others::boto),
        test("others::what_an_old_sdk_sends_is_a_delivery_like_any_other", others::query),
        test("others::what_we_send_can_be_read_by_somebody_else", others::reads),
        test("plain::ten_messages_are_one_request_each_way", plain::batches),
        test("plain::queues_are_made_once_and_a_drift_is_told", plain::attributes),
        test("plain::a_queue_that_does_not_exist_is_not_found", plain::missing),
        test("plain::a_second_purge_within_a_minute_is_throttled", plain::purges),
        test("plain::what_is_too_large_for_the_service_is_told", plain::sizes),
        test("plain::what_is_received_too_often_is_moved_and_comes_back", plain::redrive),
    ];
    tests.extend(runner::cases());
    runner::main(gaps::apply(tests), BOUNDS, Service::find_moto)
}
