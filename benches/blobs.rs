//! Blobs of 10 KiB as files, beside `std::fs`: a file written and renamed, a file read whole.
//!
//! `std::fs` runs where the caller is, which no server can afford whose disk may stall, and on the
//! blocking pool of tokio. Neither keeps attributes, computes checksums or compares them.
//! `benches/peers` has object_store and OpenDAL, and S3.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use standfast_benches::{Bench, ProcessTime, Results, Table, nanos_per, two_threads};
use standfast_blobstore::{Blobs, FsBlobStore};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const SIZE: usize = 10 << 10;
const COLUMNS: &[&str] = &["us each", "own cpu us"];
const DISK: &str = "the disk takes it";

const POOL: &str = "std::fs on the blocking pool";
const IN_PLACE: &str = "std::fs where the caller is";
const AGAIN: &str = "get, read before";
const FIRST: &str = "get, first time";
const PUT: &str = "put";
const SYNCED: &str = ", synced";

fn main() {
    let mut bench = Bench::from_args("blobs");
    let runtime = two_threads();
    let dir = std::env::temp_dir().join(format!("standfast-bench-blobs-{}", std::process::id()));
    for at_once in [1, 16] {
        if bench.wants("put") {
            puts(&mut bench, &runtime, &dir, at_once);
        }
        if bench.wants("get") {
            gets(&mut bench, &runtime, &dir, at_once);
        }
    }
    bench.finish();
}

fn puts(bench: &mut Bench, runtime: &Runtime, dir: &Path, at_once: usize) {
    for sync in [false, true] {
        let count = bench.count(if sync { 100 } else { 1000 });
        let end = if sync { SYNCED } else { "" };
        let title = format!("put {count} blobs of 10 KiB{end}, {at_once} at a time");
        let (pool, in_place) = (Files::new(dir, "pool", sync), Files::new(dir, "here", sync));
        let blobs = open(runtime, dir, sync);
        let results = Table::new(title.clone(), COLUMNS)
            .in_turns(5)
            .rows(POOL, || {
                each(runtime, count, at_once, |number| {
                    let files = pool.clone();
                    async move { on_pool(move || files.write(number)).await }
                })
            })
            .rows(IN_PLACE, || {
                each(runtime, count, at_once, |number| {
                    let files = in_place.clone();
                    async move { files.write(number) }
                })
            })
            .rows(PUT, || {
                each(runtime, count, at_once, |number| {
                    let blobs = blobs.clone();
                    async move { drop(blobs.put(key(number), body()).await.expect(DISK)) }
                })
            })
            .run(bench);
        judge(bench, &title, &results, PUT);
        std::fs::remove_dir_all(dir).expect("it was made here");
    }
}

fn gets(bench: &mut Bench, runtime: &Runtime, dir: &Path, at_once: usize) {
    let count = bench.count(1000);
    let title = format!("get {count} blobs of 10 KiB, {at_once} at a time");
    let (pool, blobs) = (Files::new(dir, "files", false), open(runtime, dir, false));
    for number in 0..count {
        pool.write(number);
        runtime.block_on(async { blobs.put(key(number), body()).await.expect(DISK) });
    }
    // what is young is not remembered
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let get = |blobs: &Blobs| {
        each(runtime, count, at_once, |number| {
            let blobs = blobs.clone();
            async move { assert_eq!(blobs.get_bytes(key(number)).await.expect(DISK).len(), SIZE) }
        })
    };
    let in_place = pool.clone();
    let results = Table::new(title.clone(), COLUMNS)
        .in_turns(5)
        .rows(POOL, || {
            each(runtime, count, at_once, |number| {
                let files = pool.clone();
                async move { on_pool(move || files.read(number)).await }
            })
        })
        .rows(IN_PLACE, || {
            each(runtime, count, at_once, |number| {
                let files = in_place.clone();
                async move { files.read(number) }
            })
        })
        .rows(AGAIN, || get(&blobs))
        // a store that has read nothing yet
        .rows(FIRST, || get(&open(runtime, dir, false)))
        .run(bench);
    judge(bench, &title, &results, AGAIN);
    let times = results.speed(FIRST, POOL);
    bench.target(&format!("{title}, first time: 0.9 x {POOL} ({times:.2})"), times >= 0.9);
    std::fs::remove_dir_all(dir).expect("it was made here");
}

fn judge(bench: &mut Bench, title: &str, results: &Results, ours: &str) {
    for peer in [POOL, IN_PLACE] {
        let times = results.speed(ours, peer);
        bench.target(&format!("{title}: 0.9 x {peer} ({times:.2})"), times >= 0.9);
    }
}

fn open(runtime: &Runtime, dir: &Path, sync: bool) -> Blobs {
    let store = runtime.block_on(FsBlobStore::open(dir.join("standfast")));
    Blobs::new(store.expect(DISK).with_fsync(sync))
}

fn key(number: usize) -> String {
    format!("small/{number:05}")
}

fn body() -> Bytes {
    static BODY: [u8; SIZE] = [7; SIZE];
    Bytes::from_static(&BODY)
}

/// The microseconds that each of `count` takes, by the clock and of this process.
fn each<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> F,
) -> Vec<f64> {
    let (began, cpu) = (Instant::now(), ProcessTime::now());
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for first in 0..at_once {
            let work: Vec<F> = (first..count).step_by(at_once).map(&work).collect();
            tasks.spawn(async move {
                for one in work {
                    one.await;
                }
            });
        }
        tasks.join_all().await;
    });
    vec![nanos_per(began, count) / 1e3, cpu.nanos_per(count) / 1e3]
}

async fn on_pool(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.expect("a thread");
}

/// Files that are written beside their places and renamed.
#[derive(Clone)]
struct Files {
    dir: Arc<PathBuf>,
    sync: bool,
    staged: Arc<AtomicUsize>,
}

impl Files {
    fn new(dir: &Path, name: &str, sync: bool) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(dir.join("small")).expect("a directory");
        Self { dir: Arc::new(dir), sync, staged: Arc::default() }
    }

    fn write(&self, number: usize) {
        use std::io::Write as _;

        let staged = self.dir.join(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = std::fs::File::create(&staged).expect(DISK);
        file.write_all(&body()).expect(DISK);
        if self.sync {
            file.sync_all().expect(DISK);
        }
        std::fs::rename(&staged, self.dir.join(key(number))).expect(DISK);
        if self.sync {
            let parent = std::fs::File::open(self.dir.join("small")).expect(DISK);
            parent.sync_all().expect(DISK);
        }
    }

    fn read(&self, number: usize) {
        let bytes = std::fs::read(self.dir.join(key(number))).expect(DISK);
        assert_eq!(bytes.len(), SIZE);
    }
}
