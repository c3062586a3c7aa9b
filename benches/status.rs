//! The memory status store: steps, reads, and how soon those who wait know.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use standfast_benches::{Bench, CpuTime, Table, current_thread, nanos_per, quantile, two_threads};
use standfast_queue::{
    JobState, MemoryStatusStore, Progress, StatusHandle, StatusStore, StatusUpdate,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() {
    let mut bench = Bench::from_args("status");
    if bench.wants("steps") {
        steps(&mut bench);
    }
    if bench.wants("wake") {
        wake(&mut bench);
    }
    if bench.wants("crowd") {
        crowd(&bench);
    }
    bench.finish();
}

fn running(done: u64) -> StatusUpdate {
    StatusUpdate::new("bench", JobState::Running).progress(Progress::new(done, 1_000_000))
}

async fn advance(store: &MemoryStatusStore, handle: &StatusHandle, update: &StatusUpdate) {
    let advanced = store.advance(handle, update, DAY).await.expect("memory does not fail");
    assert!(advanced.is_applied());
}

/// A store that knows as many handles, and these.
fn known(runtime: &Runtime, count: usize) -> (MemoryStatusStore, Vec<StatusHandle>) {
    let store = MemoryStatusStore::new();
    let handles: Vec<_> = (0..count).map(|_| StatusHandle::random()).collect();
    runtime.block_on(async {
        for handle in &handles {
            advance(&store, handle, &running(0)).await;
        }
    });
    (store, handles)
}

/// Single steps, beside a store that knows a hundred thousand other handles.
fn steps(bench: &mut Bench) {
    let count = bench.count(50_000);
    let runtime = current_thread();
    let runtime = &runtime;
    let sizes = [
        ("progress, 10 known", 10),
        ("progress, 1,000 known", 1000),
        ("progress, 100,000 known", bench.count(100_000)),
    ];
    let mut table = Table::new("steps: each a call of its own", &["ns/step"]);
    for (name, size) in sizes {
        let (store, handles) = known(runtime, size);
        let mut done = 0;
        table = table.row(name, move || {
            let start = CpuTime::now();
            runtime.block_on(async {
                for handle in handles.iter().cycle().take(count) {
                    done += 1;
                    advance(&store, handle, &running(done)).await;
                }
            });
            start.nanos_per(count)
        });
    }
    let (store, handles) = known(runtime, 1000);
    let results = table
        .row("get", move || {
            let start = CpuTime::now();
            runtime.block_on(async {
                for handle in handles.iter().cycle().take(count) {
                    black_box(store.get(handle).await.expect("memory does not fail"));
                }
            });
            start.nanos_per(count)
        })
        .row("queued, running and succeeded, each", move || {
            let store = MemoryStatusStore::new();
            let start = CpuTime::now();
            runtime.block_on(async {
                for _ in 0..count {
                    let handle = StatusHandle::random();
                    for state in [JobState::Queued, JobState::Running, JobState::Succeeded] {
                        advance(&store, &handle, &StatusUpdate::new("bench", state)).await;
                    }
                }
            });
            start.nanos_per(count * 3)
        })
        .run(bench);
    let exponent = results.exponent(&sizes);
    println!("  grows with the handles to the power of {exponent:.3}");
    bench.target("growth below 0.1", exponent < 0.1);
}

/// From a step to the task that waits for it, alone or beside 10,000 others.
fn wake(bench: &mut Bench) {
    let count = bench.count(200);
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let runtime = &runtime;
        let mut table = Table::new(
            format!("wake: from a step to the waiter, idle, {name}"),
            &["p50 us", "p99 us"],
        );
        let others = bench.count(10_000);
        for (name, waiters) in [("1 waiter", 1), ("10,000 waiters", others)] {
            let (store, handles) = known(runtime, waiters);
            let base = Instant::now();
            let (seen, mut woken) = mpsc::unbounded_channel();
            for handle in handles.clone() {
                runtime.spawn(wait_for_ever(store.clone(), handle, base, seen.clone()));
            }
            let mut done = 0;
            table = table.rows(name, move || {
                let mut took = Vec::new();
                runtime.block_on(async {
                    for handle in handles.iter().cycle().take(count) {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        done += 1;
                        let update = running(done);
                        let sent = base.elapsed();
                        advance(&store, handle, &update).await;
                        let woken = woken.recv().await.expect("the waiters are there");
                        took.push((woken - sent).as_secs_f64() * 1e6);
                    }
                });
                vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
            });
        }
        let results = table.run(bench);
        for waiters in ["1 waiter", "10,000 waiters"] {
            let met = results.median_of(waiters, 1) < 2000.0;
            bench.target(&format!("p99 below 2 ms, {waiters}, {name}"), met);
        }
    }
}

/// Says when it sees each new version.
async fn wait_for_ever(
    store: MemoryStatusStore,
    handle: StatusHandle,
    base: Instant,
    seen: mpsc::UnboundedSender<Duration>,
) {
    let known = store.get(&handle).await.expect("memory does not fail");
    let mut version = known.expect("it is known").version;
    loop {
        let status = store.wait(&handle, version, DAY).await.expect("memory does not fail");
        if seen.send(base.elapsed()).is_err() {
            return;
        }
        version = status.expect("it is kept").version;
    }
}

/// 10,000 wait for one status: until the last of them knows of a step.
fn crowd(bench: &Bench) {
    let count = bench.count(10_000);
    let runtimes = [("one thread", current_thread()), ("two threads", two_threads())];
    let mut table = Table::new("crowd: 10,000 wait for one status", &["ns/waiter"]);
    for (name, runtime) in &runtimes {
        let (store, handles) = known(runtime, 1);
        let left = Arc::new(AtomicU64::new(0));
        let base = Instant::now();
        let (seen, mut woken) = mpsc::unbounded_channel();
        for _ in 0..count {
            runtime.spawn(wait_for_ever(store.clone(), handles[0], base, seen.clone()));
        }
        table = table.row(*name, move || {
            runtime.block_on(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let update = running(left.fetch_add(1, Ordering::Relaxed) + 1);
                let start = Instant::now();
                advance(&store, &handles[0], &update).await;
                for _ in 0..count {
                    woken.recv().await.expect("the waiters are there");
                }
                nanos_per(start, count)
            })
        });
    }
    table.run(bench);
}
