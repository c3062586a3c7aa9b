//! 1,000 objects of 10 KiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use standfast_benches::{ProcessTime, Table, nanos_per};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::store::Store;

pub(crate) const SIZE: usize = 10 << 10;
pub(crate) const COLUMNS: &[&str] = &["us each", "own cpu us"];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    Put,
    Get,
}

/// Adds a contender that does `work` with `count` objects, so many at a time.
pub(crate) fn row<'a, S: Store>(
    table: Table<'a>,
    name: &str,
    runtime: &'a Runtime,
    store: &S,
    work: Work,
    (count, at_once): (usize, usize),
) -> Table<'a> {
    let store = store.clone();
    table.rows(name, move || run(runtime, &store, work, (count, at_once)))
}

/// Does `work` with `count` objects, so many at a time.
pub(crate) fn run<S: Store>(
    runtime: &Runtime,
    store: &S,
    work: Work,
    (count, at_once): (usize, usize),
) -> Vec<f64> {
    let body = Bytes::from((0..SIZE).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>());
    let (began, cpu) = (Instant::now(), ProcessTime::now());
    runtime.block_on(all(store, work, &body, count, at_once));
    vec![nanos_per(began, count) / 1e3, cpu.nanos_per(count) / 1e3]
}

async fn all<S: Store>(store: &S, work: Work, body: &Bytes, count: usize, at_once: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (store, next, body) = (store.clone(), Arc::clone(&next), body.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let key = format!("small/{number:05}");
                match work {
                    Work::Put => store.put(key, body.clone()).await,
                    Work::Get => assert_eq!(store.get(key).await, SIZE),
                }
            }
        });
    }
    tasks.join_all().await;
}
