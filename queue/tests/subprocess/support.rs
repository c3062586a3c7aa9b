//! What the tests share.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use standfast_queue::subprocess::{Event, Exit, RunError, Subprocess};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};

/// No run in these tests takes longer.
const AT_MOST: Duration = Duration::from_secs(60);

/// A directory that is removed in the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(token());
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A word that appears on no other command line.
pub(crate) fn token() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("job-{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How often tests of races repeat.
pub(crate) fn loops() -> u32 {
    std::env::var("SUBPROCESS_LOOPS").map_or(5, |loops| loops.parse().unwrap())
}

/// This program as a job.
pub(crate) fn job(words: &[&str]) -> Subprocess {
    Subprocess::new().arg("job").args(words.iter().copied())
}

/// A shell script as a job.
pub(crate) fn script(text: &str) -> Subprocess {
    Subprocess::new().program("sh").args(["-c", text])
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(AT_MOST, future).await }).expect("it ends")
}

/// Runs a job in a fresh directory, and cancels when an event says so.
pub(crate) fn try_run(
    job: &Subprocess,
    body: impl Into<Bytes>,
    mut cancel_at: impl FnMut(&Event) -> bool + Send,
) -> Result<(Exit, Vec<Event>), RunError> {
    let (dir, cancel) = (Dir::new(), CancellationToken::new());
    let mut seen = Vec::new();
    let events = |event: Event| {
        if cancel_at(&event) {
            cancel.cancel();
        }
        seen.push(event);
    };
    let exit = block_on(job.run(&dir.0, b"{\"header\":1}", body.into(), events, &cancel))?;
    Ok((exit, seen))
}

pub(crate) fn run(job: &Subprocess) -> Exit {
    try_run(job, "", |_| false).expect("the job is run").0
}

/// Runs a job and cancels it when it reports progress.
pub(crate) fn run_and_cancel(job: &Subprocess) -> Exit {
    try_run(job, "", |event| matches!(event, Event::Progress { .. })).expect("it is run").0
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what is logged from now on.
pub(crate) fn capture_log() {
    tracing::subscriber::set_global_default(Log).unwrap();
}

/// The lines logged since the last call.
pub(crate) fn log() -> Vec<String> {
    std::mem::take(&mut LOG.lock().unwrap())
}

struct Log;

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "standfast_queue::subprocess"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        LOG.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
