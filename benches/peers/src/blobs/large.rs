//! One large object, up and down.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use standfast_benches::{Bench, ProcessTime, Table};
use tokio::runtime::Runtime;

use crate::s3::Service;
use crate::store::{Large, PART, PARTS};

const COLUMNS: &[&str] = &["ms", "own cpu ms"];
const KEY: &str = "large";
const OURS: &str = "standfast";
const PEERS: [&str; 3] = ["object_store", "OpenDAL", "bare aws-sdk-s3"];

pub(crate) fn measure(bench: &mut Bench, runtime: &Runtime, service: &Service) {
    let all = std::env::args().any(|argument| argument == "--gib");
    let len = if all { 1 << 30 } else { bench.count(256 << 20) };
    let (ours, objects, dal, sdk) = runtime.block_on(service.contenders());
    let mib = len >> 20;

    let table = Table::new(format!("large: upload of {mib} MiB, length unknown"), COLUMNS);
    let table = upload(table, OURS, runtime, &ours, len);
    let table = upload(table, PEERS[0], runtime, &objects, len);
    let table = upload(table, PEERS[1], runtime, &dal, len);
    let results = upload(table, PEERS[2], runtime, &sdk, len).run(bench);
    judge(bench, "upload", &results);

    let table = Table::new(format!("large: download of {mib} MiB, one stream"), COLUMNS);
    let table = download(table, OURS, runtime, &ours, len);
    let table = download(table, PEERS[0], runtime, &objects, len);
    let table = download(table, PEERS[1], runtime, &dal, len);
    let results = download(table, PEERS[2], runtime, &sdk, len).run(bench);
    judge(bench, "download", &results);

    let path = std::env::temp_dir().join(format!("standfast-bench-large-{}", std::process::id()));
    let table = Table::new(format!("large: {mib} MiB to a file, {PARTS} parts at once"), COLUMNS);
    let table = table.rows(OURS, || {
        let get = ours.0.get_to_file(KEY, &path).at_once(PARTS);
        timed(runtime, async { assert_eq!(get.await.expect("it is there").size, len as u64) })
    });
    let table = to_file(table, PEERS[0], runtime, &objects, &path, len);
    let table = to_file(table, PEERS[1], runtime, &dal, &path, len);
    let results = to_file(table, PEERS[2], runtime, &sdk, &path, len).run(bench);
    std::fs::remove_file(&path).expect("it was made here");
    judge(bench, "to a file", &results);
}

fn judge(bench: &mut Bench, what: &str, results: &standfast_benches::Results) {
    for (peer, least) in PEERS.into_iter().zip([1.0, 1.0, 0.9]) {
        let times = results.speed(OURS, peer);
        bench.target(&format!("{what}: {least} x {peer} ({times:.2})"), times >= least);
    }
}

fn upload<'a, S: Large>(
    table: Table<'a>,
    name: &str,
    runtime: &'a Runtime,
    store: &S,
    len: usize,
) -> Table<'a> {
    let store = store.clone();
    table.rows(name, move || timed(runtime, store.upload(KEY.into(), len)))
}

fn download<'a, S: Large>(
    table: Table<'a>,
    name: &str,
    runtime: &'a Runtime,
    store: &S,
    len: usize,
) -> Table<'a> {
    let store = store.clone();
    table.rows(name, move || {
        timed(runtime, async { assert_eq!(store.stream(KEY.into()).await, len) })
    })
}

/// As the peers are used for it: ranges, each written where it belongs.
fn to_file<'a, S: Large>(
    table: Table<'a>,
    name: &str,
    runtime: &'a Runtime,
    store: &S,
    path: &Path,
    len: usize,
) -> Table<'a> {
    let (store, path): (S, PathBuf) = (store.clone(), path.to_owned());
    table.rows(name, move || {
        timed(runtime, async {
            let file = Arc::new(File::create(&path).expect("a file"));
            let parts = (0..len).step_by(PART).map(|from| {
                let (store, file) = (store.clone(), Arc::clone(&file));
                let range = from as u64..(from + PART).min(len) as u64;
                tokio::spawn(async move {
                    let start = range.start;
                    let bytes = store.range(KEY.into(), range).await;
                    let write = move || file.write_all_at(&bytes, start).expect("the disk");
                    tokio::task::spawn_blocking(write).await.expect("a thread");
                })
            });
            let mut parts = stream::iter(parts).buffer_unordered(PARTS);
            while let Some(part) = parts.next().await {
                part.expect("a task");
            }
        })
    })
}

fn timed(runtime: &Runtime, work: impl Future<Output = ()>) -> Vec<f64> {
    let (began, cpu) = (Instant::now(), ProcessTime::now());
    runtime.block_on(work);
    vec![began.elapsed().as_secs_f64() * 1e3, cpu.nanos_per(1) / 1e6]
}
