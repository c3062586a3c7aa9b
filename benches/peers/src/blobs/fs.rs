//! Small blobs as files, beside what does no more than write and read files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use opendal::Operator;
use opendal::services::Fs;
use standfast_benches::{Bench, Table};
use standfast_blobstore::{Blobs, FsBlobStore};
use tokio::runtime::Runtime;

use crate::small::{COLUMNS, Work, row, run};
use crate::store::{Dal, Objects, Standfast, Store, THERE};

const POOL: &str = "std::fs on the blocking pool";
const IN_PLACE: &str = "std::fs where the caller is";
const PEERS: [&str; 2] = ["object_store", "OpenDAL"];
const OURS: &str = "standfast";
const FIRST: &str = "standfast, first time";

/// Writes a file beside its place and renames it; reads it whole.
#[derive(Clone)]
struct Files {
    dir: Arc<Path>,
    pool: bool,
    number: Arc<AtomicUsize>,
}

impl Files {
    fn new(dir: &Path, pool: bool) -> Self {
        std::fs::create_dir_all(dir.join("small")).expect("a directory");
        Self { dir: dir.into(), pool, number: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> T {
        let done = match self.pool {
            true => tokio::task::spawn_blocking(work).await.expect("a thread"),
            false => work(),
        };
        done.expect(THERE)
    }
}

impl Store for Files {
    async fn put(&self, key: String, body: Bytes) {
        let (path, number) = (self.dir.join(key), self.number.fetch_add(1, Ordering::Relaxed));
        let staged = self.dir.join(format!("{number}.part"));
        self.run(move || {
            std::fs::write(&staged, &body)?;
            std::fs::rename(&staged, &path)
        })
        .await;
    }

    async fn get(&self, key: String) -> usize {
        let path = self.dir.join(key);
        self.run(move || std::fs::read(path)).await.len()
    }
}

pub(crate) fn measure(bench: &mut Bench, runtime: &Runtime) {
    let dir: PathBuf =
        std::env::temp_dir().join(format!("standfast-bench-blobs-{}", std::process::id()));
    let below = |name: &str| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    };
    let pool = Files::new(&below("pool"), true);
    let in_place = Files::new(&below("in-place"), false);
    let open = || {
        let store = runtime.block_on(FsBlobStore::open(below("standfast")));
        Standfast(Blobs::new(store.expect(THERE)))
    };
    let ours = open();
    let objects = LocalFileSystem::new_with_prefix(below("object_store")).expect(THERE);
    let objects = Objects(Arc::new(objects));
    let (root, staged) = (below("opendal"), below("opendal-staged"));
    let (root, staged) = (root.to_str().expect("text"), staged.to_str().expect("text"));
    let service = Fs::default().root(root).atomic_write_dir(staged);
    let dal = Dal(Operator::new(service).expect(THERE));
    let count = bench.count(1000);
    for at_once in [1, 16] {
        for work in [Work::Put, Work::Get] {
            let much = (count, at_once);
            let title = format!("fs: {work:?} {count} blobs of 10 KiB, {at_once} at a time");
            let table = Table::new(title.clone(), COLUMNS).in_turns(5);
            let table = row(table, POOL, runtime, &pool, work, much);
            let table = row(table, IN_PLACE, runtime, &in_place, work, much);
            let table = row(table, OURS, runtime, &ours, work, much);
            let table = row(table, PEERS[0], runtime, &objects, work, much);
            let mut table = row(table, PEERS[1], runtime, &dal, work, much);
            if work == Work::Get {
                // a store that has read nothing yet
                table = table.rows(FIRST, || run(runtime, &open(), work, much));
                // and what is young is not remembered
                std::thread::sleep(Duration::from_millis(3100));
            }
            let results = table.run(bench);
            for (peer, least) in [(POOL, 0.9), (IN_PLACE, 0.9), (PEERS[0], 1.0), (PEERS[1], 1.0)] {
                let times = results.speed(OURS, peer);
                bench.target(&format!("{title}: {least} x {peer} ({times:.2})"), times >= least);
            }
        }
    }
    std::fs::remove_dir_all(&dir).expect("it was made here");
}
