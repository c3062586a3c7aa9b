//! The job's output: messages and log lines from standard output, log lines from standard error.

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::lines::{Lines, Tail, log_text};
use super::spec::Subprocess;
use super::wire::{self, Announced, Event, JobFailureWire, Line};

const PART: usize = 16 * 1024;
const TAIL: usize = 4 * 1024;

/// What the job said about its end.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) result: Option<Value>,
    /// The last result was too long.
    pub(super) too_long: bool,
    pub(super) failure: Option<JobFailureWire>,
}

/// Reads standard output to its end. What was read stays in `output` when this is dropped.
pub(super) async fn stdout(
    mut from: impl AsyncRead + Unpin,
    spec: &Subprocess,
    output: &mut Output,
    mut events: impl FnMut(Event),
) {
    let mut lines = Lines::new(spec.max_line);
    let mut log = Log::new("stdout", spec.max_log_lines);
    let mut part = vec![0; PART];
    let longest = |head: &[u8]| match wire::announced(head) {
        Announced::Result => spec.max_result,
        Announced::Checkpoint => wire::checkpoint_line(spec.max_checkpoint),
        Announced::Other => spec.max_line,
    };
    let mut each = |line: &[u8], cut: bool| {
        let line = line.trim_ascii();
        if cut {
            match wire::announced(line) {
                Announced::Result => (output.result, output.too_long) = (None, true),
                Announced::Checkpoint => tracing::warn!(
                    target: TARGET,
                    limit = spec.max_checkpoint,
                    "a checkpoint is too large and is dropped"
                ),
                Announced::Other => log.line(line),
            }
            return;
        }
        match wire::parse(line) {
            Line::Event(Event::Checkpoint(state)) if state.len() > spec.max_checkpoint => {
                tracing::warn!(
                    target: TARGET,
                    limit = spec.max_checkpoint,
                    "a checkpoint is too large and is dropped"
                );
            }
            Line::Event(event) => events(event),
            Line::Result(_) if line.len() > spec.max_result => {
                (output.result, output.too_long) = (None, true);
            }
            Line::Result(value) => (output.result, output.too_long) = (Some(value), false),
            Line::Failure(failure) => output.failure = Some(failure),
            Line::Other => log.line(line),
        }
    };
    while let Ok(count @ 1..) = from.read(&mut part).await {
        lines.push(&part[..count], longest, &mut each);
    }
    lines.finish(each);
}

/// Reads standard error to its end. What was read stays in `tail` when this is dropped.
pub(super) async fn stderr(
    mut from: impl AsyncRead + Unpin,
    spec: &Subprocess,
    tail: &mut Option<Tail>,
) {
    let tail = tail.insert(Tail::new(TAIL));
    let mut lines = Lines::new(spec.max_line);
    let mut log = Log::new("stderr", spec.max_log_lines);
    let mut part = vec![0; PART];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        tail.push(&part[..count]);
        lines.push(&part[..count], |_| 0, |line, _| log.line(line));
    }
    lines.finish(|line, _| log.line(line));
}

/// Writes the header line and the body. A job that does not read them is no error.
pub(super) async fn stdin(mut to: impl AsyncWrite + Unpin, header: &[u8], body: Bytes) {
    let write = async {
        to.write_all(header).await?;
        to.write_all(b"\n").await?;
        to.write_all(&body).await?;
        to.shutdown().await
    };
    if let Err(error) = write.await
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        tracing::warn!(target: TARGET, %error, "the input of a job process could not be written");
    }
}

const TARGET: &str = "standfast_queue::subprocess";

/// Log lines of one stream, of bounded number.
struct Log {
    stream: &'static str,
    left: u64,
}

impl Log {
    fn new(stream: &'static str, left: u64) -> Self {
        Self { stream, left }
    }

    fn line(&mut self, line: &[u8]) {
        if line.is_empty() || self.left == 0 {
            return;
        }
        self.left -= 1;
        tracing::info!(target: TARGET, stream = self.stream, "{}", log_text(line));
        if self.left == 0 {
            tracing::warn!(
                target: TARGET,
                stream = self.stream,
                "too many lines: no more of them are logged"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(spec: &Subprocess, text: &str) -> (Output, Vec<Event>) {
        let (mut output, mut seen) = (Output::default(), Vec::new());
        stdout(text.as_bytes(), spec, &mut output, |event| seen.push(event)).await;
        (output, seen)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_last_result_counts() {
        let spec = Subprocess::new().max_line(64).max_result(100);
        let long = format!("{{\"result\":\"{}\"}}\n", "x".repeat(100));
        let (output, _) = read(&spec, &format!("{{\"result\":1}}\n{long}")).await;
        assert!(output.too_long && output.result.is_none());
        let (output, _) = read(&spec, &format!("{long}{{\"result\":1}}")).await;
        assert!(!output.too_long && output.result == Some(1.into()));
        let fits = format!("{{\"result\":\"{}\"}}", "x".repeat(80));
        let (output, _) = read(&spec, &fits).await;
        assert!(output.result.is_some());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_large_checkpoint_is_dropped() {
        let spec = Subprocess::new().max_line(64).max_checkpoint(90);
        let checkpoint = |size| wire::encode_checkpoint(&vec![b'x'; size]);
        let text =
            [90, 91, 500].map(|size| format!("{{\"checkpoint\":\"{}\"}}\n", checkpoint(size)));
        let (_, seen) = read(&spec, &text.concat()).await;
        assert_eq!(seen, [Event::Checkpoint(Bytes::from(vec![b'x'; 90]))]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_without_end_counts() {
        let (output, seen) = read(
            &Subprocess::new(),
            "{\"progress\":{\"done\":1}}\n{\"error\":{\"kind\":\"dead\"}}",
        )
        .await;
        assert_eq!(seen.len(), 1);
        assert!(output.failure.is_some());
    }
}
