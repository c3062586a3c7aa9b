//! Metrics of the traced decorators. Keys are made once; a call without a recorder costs a few
//! nanoseconds per metric, whenever the recorder is installed.

use std::time::Instant;

use metrics::{Key, Label, Level, Metadata, with_recorder};
use standfast_core::ErrorKind;

static METADATA: Metadata<'_> = Metadata::new("standfast_queue", Level::INFO, None);

/// Makes the keys of one decorator: all of them carry its labels.
#[derive(Clone, Debug)]
pub(super) struct Labels(Vec<Label>);

impl Labels {
    pub(super) fn new(labels: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(labels.into_iter().map(|(key, value)| Label::new(key, value)).collect())
    }

    pub(super) fn key(&self, name: &'static str, more: &[(&'static str, &'static str)]) -> Key {
        let more = more.iter().map(|(key, value)| Label::new(*key, *value));
        Key::from_parts(name, self.0.iter().cloned().chain(more).collect::<Vec<_>>())
    }

    /// Counts an error of `operation`: on the slow path, so the key is made here.
    pub(super) fn error(&self, name: &'static str, operation: &'static str, kind: ErrorKind) {
        count(&self.key(name, &[("operation", operation), ("kind", kind.as_str())]), 1);
    }
}

/// Adds to a counter; nothing is no reason for it to exist.
pub(super) fn count(key: &Key, times: usize) {
    if times > 0 {
        with_recorder(|to| to.register_counter(key, &METADATA).increment(times as u64));
    }
}

pub(super) fn set(key: &Key, value: f64) {
    with_recorder(|to| to.register_gauge(key, &METADATA).set(value));
}

pub(super) fn observe(key: &Key, began: Instant) {
    with_recorder(|to| to.register_histogram(key, &METADATA).record(began.elapsed()));
}

/// Says what metrics mean, to recorders that are installed already.
pub(super) fn describe(counters: &[(&'static str, &'static str)]) {
    for (name, meaning) in counters {
        with_recorder(|to| to.describe_counter((*name).into(), None, (*meaning).into()));
    }
}
