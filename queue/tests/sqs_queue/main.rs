//! The suite against `SqsQueue`, on standard and on FIFO queues, in the stand-in.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

use std::process::ExitCode;

use sqs_support::Service;
use sqs_support::runner::{self, Bounds};

fn main() -> ExitCode {
    let bounds = Bounds { at_once: 16, requests: usize::MAX };
    runner::main(runner::cases(), bounds, Service::find)
}
