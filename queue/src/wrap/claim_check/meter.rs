use metrics::Key;
use standfast_core::ErrorKind;

use crate::wrap::meter::{self, Labels};

/// What a claim check counts.
#[derive(Debug)]
pub(super) struct Meter {
    labels: Labels,
    stored: Key,
    stored_bytes: Key,
    fetched: Key,
    discarded: Key,
    kept: Key,
    missing: Key,
}

impl Meter {
    pub(super) fn new(backend: &'static str) -> Self {
        meter::describe(&COUNTERS);
        let labels = Labels::new([("backend", backend.to_owned())]);
        let key = |name| labels.key(name, &[]);
        Self {
            stored: key("standfast_claims_stored_total"),
            stored_bytes: key("standfast_claims_stored_bytes_total"),
            fetched: key("standfast_claims_fetched_total"),
            discarded: key("standfast_claims_discarded_total"),
            kept: key("standfast_claims_kept_total"),
            missing: key("standfast_claims_missing_total"),
            labels,
        }
    }

    pub(super) fn stored(&self, bytes: usize) {
        meter::count(&self.stored, 1);
        meter::count(&self.stored_bytes, bytes);
    }

    pub(super) fn fetched(&self) {
        meter::count(&self.fetched, 1);
    }

    pub(super) fn discarded(&self) {
        meter::count(&self.discarded, 1);
    }

    pub(super) fn kept(&self) {
        meter::count(&self.kept, 1);
    }

    pub(super) fn missing(&self) {
        meter::count(&self.missing, 1);
    }

    pub(super) fn error(&self, operation: &'static str, kind: ErrorKind) {
        self.labels.error("standfast_claim_errors_total", operation, kind);
    }
}

const COUNTERS: [(&str, &str); 7] = [
    ("standfast_claims_stored_total", "bodies put into the blob store"),
    ("standfast_claims_stored_bytes_total", "bytes of those bodies"),
    ("standfast_claims_fetched_total", "bodies fetched for deliveries"),
    ("standfast_claims_discarded_total", "bodies deleted after their ack"),
    ("standfast_claims_kept_total", "bodies left to their expiry after the ack"),
    ("standfast_claims_missing_total", "messages buried because their body was missing"),
    ("standfast_claim_errors_total", "bodies that could not be put or fetched"),
];
