//! Blobs beside object_store, OpenDAL and the bare SDK, on one S3 service and on one disk.
//!
//! `small` puts and gets 1,000 objects of 10 KiB, 16 at a time. `large` uploads 256 MiB whose length
//! nobody announced and downloads them, as one stream and to a file in parts of 8 MiB, 8 at a time;
//! `--gib` makes it 1 GiB. `fs` does the small ones on files. The service is the one that
//! `STANDFAST_TEST_S3` names, in the form that `scripts/test` gives it.

mod fs;
mod large;
mod s3;
mod small;
mod store;

use standfast_benches::{Bench, two_threads};

fn main() {
    opendal::install_default();
    let mut bench = Bench::from_args("peers of blobs");
    let runtime = two_threads();
    if bench.wants("fs") {
        fs::measure(&mut bench, &runtime);
    }
    if bench.wants("small") || bench.wants("large") {
        match runtime.block_on(s3::Service::find()) {
            Some(service) => s3::measure(&mut bench, &runtime, &service),
            None => println!("left out: S3; STANDFAST_TEST_S3 names no bucket"),
        }
    }
    bench.finish();
}
