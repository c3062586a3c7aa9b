//! Functions in AWS Lambda: this program is the function, the runtime's interface that it asks for
//! events, the event source that makes them of messages, and the test runner. The messages are in the
//! stand-in of SQS.

// Nothing but test code, which the lint cannot know without the usual harness.
#![allow(clippy::unwrap_used)]

mod answers;
mod function;
mod invocations;
mod platform;
mod source;
#[path = "../sqs_support/mod.rs"]
mod sqs_support;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use sqs_support::Service;

type Test = (&'static str, fn(Service));

const AT_ONCE: usize = 6;

/// Longer than anything here takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["function"] {
        return function::main();
    }
    let has = |arg: &str| args.iter().any(|one| one == arg);
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let fits = |name: &str| {
        let fits = |wanted: &&String| match has("--exact") {
            true => name == *wanted,
            false => name.contains(wanted.as_str()),
        };
        wanted.is_empty() || wanted.iter().any(fits)
    };
    let all = answers::TESTS.iter().chain(invocations::TESTS).copied();
    let tests: VecDeque<Test> = all.filter(|(name, _)| fits(name)).collect();
    if has("--list") {
        for (name, _) in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(service) = Service::find() else { return ExitCode::SUCCESS };
    let count = tests.len();
    let (tests, failed) = (Mutex::new(tests), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = tests.lock().unwrap().pop_front();
                    let Some((name, test)) = next else { return };
                    // faults are each test's own
                    let service = Service::at(service.endpoint.clone());
                    let ended = catch_unwind(AssertUnwindSafe(|| test(service)));
                    println!("test {name} ... {}", if ended.is_ok() { "ok" } else { "FAILED" });
                    if ended.is_err() {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("\n{count} tests, {} failed: {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    ended.expect("it ends in time");
}

/// Names each test and runs it on a runtime of its own.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::Test] =
            &[$((stringify!($name), |service| $crate::run($name(service)))),*];
    };
}
pub(crate) use tests;
