use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use standfast_benches::{Bench, Table, current_thread, nanos_per, quantile, two_threads};
use standfast_core::redis::{Redis, Request};
use standfast_queue::{
    JobState, Progress, RedisStatusStore, StatusHandle, StatusStore, StatusUpdate,
};
use tokio::sync::mpsc;

use crate::contender::{HOUR, SERVER, server};

fn running(done: u64) -> StatusUpdate {
    StatusUpdate::new("bench", JobState::Running).progress(Progress::new(done, 1_000_000_000))
}

async fn advance(store: &RedisStatusStore, handle: &StatusHandle, done: u64) {
    let advanced = store.advance(handle, &running(done), HOUR).await.expect(SERVER);
    assert!(advanced.is_applied());
}

/// Steps and reads, one after the other, beside a PING over the same handle.
pub(crate) fn steps(bench: &mut Bench) {
    let count = bench.count(10_000);
    let runtime = current_thread();
    let server = server(false);
    let redis = Redis::from_url(&server.url()).expect("it is a URL");
    let store = RedisStatusStore::from_url(&server.url()).expect("it is a URL");
    let handle = StatusHandle::random();
    let done = AtomicU64::new(0);
    let next = || done.fetch_add(1, Ordering::Relaxed);
    runtime.block_on(advance(&store, &handle, next()));

    let monitor = server.count_commands();
    runtime.block_on(advance(&store, &handle, next()));
    let advance_trips = monitor.end().calls();
    let monitor = server.count_commands();
    runtime.block_on(store.get(&handle)).expect(SERVER);
    let get_trips = monitor.end().calls();
    println!("\nstatus: {advance_trips} round trip(s) for an advance, {get_trips} for a get");
    bench.target("status: one round trip each", (advance_trips, get_trips) == (1, 1));

    let measure = |work: &dyn Fn()| {
        let before = server.usage();
        let start = Instant::now();
        work();
        let wall = nanos_per(start, count) / 1e3;
        vec![wall, server.usage().micros_per(&before, count)]
    };
    Table::new("status: one after the other, one thread", &["wall us", "Redis CPU us"])
        .rows("PING", || {
            measure(&|| {
                runtime.block_on(async {
                    for _ in 0..count {
                        let ping = Request::command("bench.ping", "PING", "bench");
                        redis.call(ping).await.expect(SERVER);
                    }
                });
            })
        })
        .rows("advance", || {
            measure(&|| {
                runtime.block_on(async {
                    for _ in 0..count {
                        advance(&store, &handle, next()).await;
                    }
                });
            })
        })
        .rows("get", || {
            measure(&|| {
                runtime.block_on(async {
                    for _ in 0..count {
                        store.get(&handle).await.expect(SERVER).expect("it is known");
                    }
                });
            })
        })
        .run(bench);
}

/// From a step to the task that waits for it in another process, alone or beside 10,000 others;
/// and how many connections those hold.
pub(crate) fn wake(bench: &mut Bench) {
    let count = bench.count(300);
    let others = bench.count(10_000);
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let runtime = &runtime;
        let mut table = Table::new(
            format!("status: from a step to the waiter, idle, {name}"),
            &["p50 us", "p99 us"],
        );
        for (title, waiters) in [("1 waiter", 1), ("10,000 waiters", others)] {
            let server = server(false);
            let open = || RedisStatusStore::from_url(&server.url()).expect("it is a URL");
            let (writes, waits) = (open(), open());
            let handles: Arc<Vec<_>> =
                Arc::new((0..waiters).map(|_| StatusHandle::random()).collect());
            let mut done = 1;
            let (seen, mut woken) = mpsc::unbounded_channel();
            runtime.block_on(async {
                for handle in handles.iter() {
                    advance(&writes, handle, done).await;
                }
                for at in 0..waiters {
                    let (waits, handles, seen) =
                        (waits.clone(), Arc::clone(&handles), seen.clone());
                    tokio::spawn(async move {
                        wait_for_ever(&waits, &handles[at], &seen).await;
                    });
                }
                // until all have looked once and wait
                let mut looked = server.usage().commands;
                loop {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let now = server.usage().commands;
                    if now - looked <= 3 {
                        break;
                    }
                    looked = now;
                }
            });
            let connections = server.usage().clients;
            // the bench's own, the writer's; the waiters' calls, and their subscriptions
            println!("  {title}: {connections} connections in all");
            bench.target(
                &format!("status: {title} hold one subscribed connection, {name}"),
                connections <= 4,
            );
            table = table.rows(title, move || {
                // lives as long as the row
                let _server = &server;
                let mut took = Vec::with_capacity(count);
                runtime.block_on(async {
                    for handle in handles.iter().cycle().take(count) {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                        done += 1;
                        let sent = Instant::now();
                        advance(&writes, handle, done).await;
                        let woken = woken.recv().await.expect("the waiters are there");
                        took.push((woken - sent).as_secs_f64() * 1e6);
                    }
                });
                vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
            });
        }
        let results = table.run(bench);
        for title in ["1 waiter", "10,000 waiters"] {
            let met = results.median_of(title, 1) <= 2000.0;
            bench.target(&format!("status: p99 at most 2 ms, {title}, {name}"), met);
        }
    }
}

/// Says when it sees each new version; ends with the server.
async fn wait_for_ever(
    store: &RedisStatusStore,
    handle: &StatusHandle,
    seen: &mpsc::UnboundedSender<Instant>,
) {
    let known = store.get(handle).await.expect(SERVER);
    let mut version = known.expect("it is known").version;
    while let Ok(status) = store.wait(handle, version, HOUR).await {
        if seen.send(Instant::now()).is_err() {
            return;
        }
        version = status.expect("it is kept").version;
    }
}
