//! Runs tests many at a time, which the usual harness would not: the service counts in seconds, so
//! they mostly sleep.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use standfast_queue::testkit::{QUEUE_CASES, run_queue_case};

use super::{Service, SqsHarness};

/// Longer than any test takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// What sleeps longest, and so begins first.
const LONGEST: &[&str] = &[
    "a_delivery_tells_when_it_was_due_and_when_its_lease_ends",
    "a_message_is_not_lost_with_the_receive_it_woke",
    "a_receive_that_gives_up_takes_nothing_with_it",
];

/// What is run, by its name.
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn(Service) + Send + Sync>,
    /// Why this service does not pass it. It is run, and has to fail: once it passes, the list that
    /// says so is out of date.
    pub(crate) gap: Option<&'static str>,
}

/// The cases of the suite, on standard and on FIFO queues.
pub(crate) fn cases() -> Vec<Test> {
    let all = [("standard", false), ("fifo", true)].into_iter().flat_map(|(queues, fifo)| {
        QUEUE_CASES.iter().map(move |case| Test {
            name: format!("{queues}::{}", case.name),
            run: Box::new(move |service| {
                run_queue_case(case, || SqsHarness::new(service.clone(), fifo));
            }),
            gap: None,
        })
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|test| !LONGEST.iter().any(|name| test.name.ends_with(name)));
    all
}

/// A test that is no case of the suite.
pub(crate) fn test<F, T>(name: &str, test: F) -> Test
where
    F: Fn(Service) -> T + Send + Sync + 'static,
    T: Future<Output = ()>,
{
    let run = move |service: Service| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let test = test(service);
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
        runtime.shutdown_background();
        assert!(ended.is_ok(), "the test ends within {PATIENCE:?}");
    };
    Test { name: name.to_owned(), run: Box::new(run), gap: None }
}

/// How tests are run: so many at a time, and with at most so many requests in all.
pub(crate) struct Bounds {
    pub(crate) at_once: usize,
    pub(crate) requests: usize,
}

/// Runs those of `tests` that the arguments of the program ask for, on the service that `find`
/// finds.
pub(crate) fn main(tests: Vec<Test>, bounds: Bounds, find: fn() -> Option<Service>) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |arg: &str| args.iter().any(|one| one == arg);
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let fits = |test: &Test| {
        let fits = |wanted: &&String| match has("--exact") {
            true => test.name == **wanted,
            false => test.name.contains(wanted.as_str()),
        };
        wanted.is_empty() || wanted.iter().any(fits)
    };
    let tests: VecDeque<Test> = tests.into_iter().filter(fits).collect();
    if has("--list") {
        for Test { name, .. } in tests.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(service) = find() else { return ExitCode::SUCCESS };
    run(tests, &bounds, &service)
}

thread_local! {
    /// Whether the test of this thread is one that has to fail.
    static FAILS: Cell<bool> = const { Cell::new(false) };
}

fn run(tests: VecDeque<Test>, bounds: &Bounds, service: &Service) -> ExitCode {
    let usual = take_hook();
    set_hook(Box::new(move |info| {
        if !FAILS.get() {
            usual(info);
        }
    }));
    let (began, count) = (Instant::now(), tests.len());
    let (tests, failed) = (Mutex::new(tests), Mutex::new(Vec::new()));
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..bounds.at_once.min(count) {
            scope.spawn(|| {
                loop {
                    let next = tests.lock().expect("no panic").pop_front();
                    let Some(Test { name, run, gap }) = next else { return };
                    let (began, service) = (Instant::now(), service.apart());
                    FAILS.set(gap.is_some());
                    let passed = catch_unwind(AssertUnwindSafe(|| run(service.clone()))).is_ok();
                    FAILS.set(false);
                    let requests = service.http.all();
                    asked.fetch_add(requests, Ordering::Relaxed);
                    let said = match (passed, gap) {
                        (true, None) => "ok".to_owned(),
                        (false, None) => "FAILED".to_owned(),
                        (false, Some(why)) => format!("fails, as listed: {why}"),
                        (true, Some(why)) => format!("FAILED: it passes, but is listed: {why}"),
                    };
                    let took = began.elapsed();
                    println!("test {name} ... {said} ({took:.1?}, {requests} requests)");
                    if passed == gap.is_some() {
                        failed.lock().expect("no panic").push(name);
                    }
                }
            });
        }
    });
    let (failed, asked) = (failed.into_inner().expect("no panic"), asked.into_inner());
    println!("\n{count} tests, {} failed: {failed:?}", failed.len());
    println!("{asked} requests; {:.1?}", began.elapsed());
    if asked > bounds.requests {
        println!("FAILED: they may be {}", bounds.requests);
        return ExitCode::FAILURE;
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
