//! The suite against `SqsQueue`, on standard and on FIFO queues. The service counts in seconds, so
//! the cases mostly sleep: they run many at a time, which the usual harness would not.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use sqs_support::{Service, SqsHarness};
use standfast_queue::testkit::{QUEUE_CASES, QueueCase, run_queue_case};

const AT_ONCE: usize = 16;

type Test = (String, bool, &'static QueueCase);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |arg: &str| args.iter().any(|one| one == arg);
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let all = [("standard", false), ("fifo", true)].into_iter().flat_map(|(queues, fifo)| {
        QUEUE_CASES.iter().map(move |case| (format!("{queues}::{}", case.name), fifo, case))
    });
    let tests: VecDeque<Test> = all
        .filter(|(name, ..)| {
            let fits = |wanted: &&String| {
                if has("--exact") { name == *wanted } else { name.contains(wanted.as_str()) }
            };
            wanted.is_empty() || wanted.iter().any(fits)
        })
        .collect();
    if has("--list") {
        for (name, ..) in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(service) = Service::find() else { return ExitCode::SUCCESS };
    run(tests, &service)
}

fn run(tests: VecDeque<Test>, service: &Service) -> ExitCode {
    let (began, count) = (Instant::now(), tests.len());
    let (tests, failed) = (Mutex::new(tests), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                loop {
                    let next = tests.lock().expect("no panic").pop_front();
                    let Some((name, fifo, case)) = next else { return };
                    let harness = || SqsHarness::new(service.clone(), fifo);
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| run_queue_case(case, harness)));
                    let said = if ended.is_ok() { "ok" } else { "FAILED" };
                    println!("test {name} ... {said} ({:.1?})", began.elapsed());
                    if ended.is_err() {
                        failed.lock().expect("no panic").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    println!("\n{count} cases, {} failed: {failed:?}; {:.1?}", failed.len(), began.elapsed());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
