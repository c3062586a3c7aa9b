use std::time::Instant;

use metrics::Key;
use standfast_core::ErrorKind;

use crate::wrap::meter::{self, Labels};

/// What an archive counts.
#[derive(Debug)]
pub(super) struct Meter {
    labels: Labels,
    records: Key,
    segments: Key,
    bytes: Key,
    lost: Key,
    put: Key,
}

impl Meter {
    pub(super) fn new(backend: &'static str) -> Self {
        meter::describe(&COUNTERS);
        let labels = Labels::new([("backend", backend.to_owned())]);
        let key = |name| labels.key(name, &[]);
        Self {
            records: key("standfast_archive_records_total"),
            segments: key("standfast_archive_segments_total"),
            bytes: key("standfast_archive_bytes_total"),
            lost: key("standfast_archive_lost_total"),
            put: key("standfast_archive_put_seconds"),
            labels,
        }
    }

    pub(super) fn stored(&self, records: usize, bytes: usize) {
        meter::count(&self.records, records);
        meter::count(&self.segments, 1);
        meter::count(&self.bytes, bytes);
    }

    pub(super) fn put(&self, began: Instant) {
        meter::observe(&self.put, began);
    }

    pub(super) fn lost(&self, records: usize) {
        meter::count(&self.lost, records);
    }

    pub(super) fn error(&self, kind: ErrorKind) {
        self.labels.error("standfast_archive_errors_total", "put", kind);
    }
}

const COUNTERS: [(&str, &str); 5] = [
    ("standfast_archive_records_total", "records stored"),
    ("standfast_archive_segments_total", "segments stored"),
    ("standfast_archive_bytes_total", "bytes of segments stored"),
    ("standfast_archive_lost_total", "records that nobody waited for and that were not stored"),
    ("standfast_archive_errors_total", "segments that could not be stored"),
];
