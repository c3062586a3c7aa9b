//! Does the suite find what is wrong? Each fault is put into a queue or store that is otherwise
//! sound, and the cases named beside it must fail there. Every case is named by at least one fault:
//! a case that nothing can break proves nothing.
//!
//! `STANDFAST_MUTATION_MATRIX=1` runs every case on every fault and prints who finds what.

mod faults;
mod queue;
mod status;
mod table;

use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use standfast_queue::testkit::{
    MemoryHarness, QUEUE_CASES, QueueCase, STATUS_CASES, StatusCase, queue_case, status_case,
};

use faults::{Fault, StatusFault};
use queue::BrokenHarness;
use status::BrokenStoreHarness;
use table::{QUEUE_TABLE, STATUS_TABLE};

/// How long a case may hang on a broken backend before that counts as found.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the case finds nothing. One that hangs, even without an await, is left behind.
fn passes(case: impl FnOnce(&tokio::runtime::Runtime) + Send + 'static) -> bool {
    let (told, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let passed = panic::catch_unwind(AssertUnwindSafe(|| case(&runtime))).is_ok();
        runtime.shutdown_background();
        // nobody listens any more after the patience is over
        let _ = told.send(passed);
    });
    ended.recv_timeout(PATIENCE).unwrap_or(false)
}

fn queue_passes(fault: Fault, case: &'static QueueCase) -> bool {
    passes(move |runtime| {
        let harness = BrokenHarness { memory: MemoryHarness::manual(), fault };
        runtime.block_on((case.run)(&harness));
    })
}

fn status_passes(fault: StatusFault, case: &'static StatusCase) -> bool {
    passes(move |runtime| {
        let harness = BrokenStoreHarness { memory: MemoryHarness::manual(), fault };
        runtime.block_on((case.run)(&harness));
    })
}

/// Runs `check` on every pair, a few at a time, without the noise of the panics that are expected.
fn sift<T: Copy + Send + Sync>(pairs: &[T], check: &(impl Fn(T) -> bool + Sync)) -> Vec<(T, bool)> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(pair) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let passed = check(*pair);
                    results.lock().expect("no panic").push((*pair, passed));
                }
            });
        }
    });
    drop(panic::take_hook());
    println!("{} runs in {:?}", pairs.len(), began.elapsed());
    results.into_inner().expect("no panic")
}

/// Shows that each fault of the table is found by the cases beside it, that the table leaves out
/// neither a fault nor a case, and that every case passes where nothing is wrong.
fn prove<F: Copy + Debug + PartialEq + Send + Sync>(
    kind: &str,
    faults: (F, &[F]),
    cases: &[&'static str],
    table: &[(F, &[&'static str])],
    passes: impl Fn((F, &'static str)) -> bool + Sync,
) {
    let (sound, faults) = faults;
    if std::env::var_os("STANDFAST_MUTATION_MATRIX").is_some() {
        let all = faults.iter().flat_map(|fault| cases.iter().map(|case| (*fault, *case)));
        let found = sift(&all.collect::<Vec<_>>(), &passes);
        for fault in faults {
            let of = found.iter().filter(|((of, _), passed)| of == fault && !passed);
            let names: Vec<_> = of.map(|((_, name), _)| *name).collect();
            println!("MATRIX {kind}: {fault:?} {}", names.join(" "));
        }
        return;
    }
    let pairs: Vec<_> =
        table.iter().flat_map(|(fault, names)| names.iter().map(|name| (*fault, *name))).collect();
    println!("\n| fault of a {kind} | found by |\n|---|---|");
    for (fault, names) in table {
        println!("| {fault:?} | {} |", names.join(", "));
    }
    println!("\n{} faults, {} cases", faults.len(), cases.len());

    let baseline: Vec<_> = cases.iter().map(|case| (sound, *case)).collect();
    let baseline = sift(&baseline, &passes);
    let unsound: Vec<_> = baseline.iter().filter(|it| !it.1).map(|it| it.0.1).collect();
    assert!(unsound.is_empty(), "these cases fail although nothing is wrong: {unsound:#?}");

    // a fault that is a race is not met in every run
    let mut missed = pairs.clone();
    for _ in 0..10 {
        missed = sift(&missed, &passes).into_iter().filter(|it| it.1).map(|it| it.0).collect();
        if missed.is_empty() {
            break;
        }
    }
    assert!(missed.is_empty(), "these faults are not found by these cases: {missed:#?}");

    let unlisted: Vec<_> =
        faults.iter().filter(|fault| !table.iter().any(|(listed, _)| listed == *fault)).collect();
    assert!(unlisted.is_empty(), "these faults are not in the table: {unlisted:?}");
    let idle: Vec<_> =
        cases.iter().filter(|case| !pairs.iter().any(|(_, named)| named == *case)).collect();
    assert!(idle.is_empty(), "nothing shows that these cases can fail: {idle:#?}");
}

// one test, since the panic hook is the process's
#[test]
fn every_fault_is_found_and_every_case_finds_one() {
    let cases: Vec<_> = QUEUE_CASES.iter().map(|case| case.name).collect();
    prove("queue", (Fault::None, Fault::ALL), &cases, QUEUE_TABLE, |(fault, name)| {
        queue_passes(fault, queue_case(name))
    });
    let cases: Vec<_> = STATUS_CASES.iter().map(|case| case.name).collect();
    let faults = (StatusFault::None, StatusFault::ALL);
    prove("status store", faults, &cases, STATUS_TABLE, |(fault, name)| {
        status_passes(fault, status_case(name))
    });
}
