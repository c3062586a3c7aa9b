//! The job's side for handlers: the same function that a worker would call.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _};
use std::process::ExitCode;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::Utc;
use serde_json::Value;

use super::child::{self, Reporter};
use super::executor::{ATTEMPT, CHECKPOINT, DELIVERY};
use super::wire::{FailureKind, JobFailureWire};
use crate::delivery::Received;
use crate::envelope::Envelope;
use crate::jobs::Job;
use crate::receipt::Receipt;
use crate::worker::{
    AnyHandler, CancelReason, Handler, JobContext, JobError, JobRequest, Verdict, erase,
};

/// Runs the one job that this process was started for, with the same handlers that a worker could
/// call itself.
///
/// ```no_run
/// # use std::process::ExitCode;
/// # use standfast_queue::{Job, JobContext, JobError};
/// # use standfast_queue::subprocess::{self, JobProcess};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Render;
/// # impl Job for Render { const KIND: &'static str = "render"; type Output = u64; }
/// async fn render(_: Render, ctx: JobContext) -> Result<u64, JobError> {
///     ctx.progress(1, 1);
///     Ok(1)
/// }
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn job() -> ExitCode {
///     JobProcess::new(()).on(render).run().await
/// }
///
/// fn main() -> ExitCode {
///     subprocess::init();
///     job()
/// }
/// ```
pub struct JobProcess<S> {
    state: S,
    handlers: HashMap<&'static str, (u16, AnyHandler)>,
}

impl<S: Clone + Send + Sync + 'static> JobProcess<S> {
    /// A process whose handlers share `state`.
    pub fn new(state: S) -> Self {
        Self { state, handlers: HashMap::new() }
    }

    /// Handles jobs with `handler`.
    #[must_use]
    pub fn on<M: 'static, H: Handler<S, M>>(mut self, handler: H) -> Self {
        let handler = erase(handler, self.state.clone());
        self.handlers.insert(H::Job::KIND, (H::Job::VERSION, handler));
        self
    }

    /// Reads the job, runs it, reports to the worker, and returns the exit code. SIGTERM cancels
    /// the job.
    pub async fn run(self) -> ExitCode {
        match self.try_run().await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn try_run(self) -> io::Result<ExitCode> {
        let reporter = Reporter::new();
        let input = tokio::task::spawn_blocking(read_input);
        let (envelope, attempt) = input.await.map_err(io::Error::other)??;
        let known = self.handlers.get(&*envelope.kind);
        let Some((_, handler)) = known.filter(|(version, _)| *version >= envelope.version) else {
            let message = format!("unknown here: {} version {}", envelope.kind, envelope.version);
            reporter.error(&JobFailureWire::new(FailureKind::Retry, message))?;
            return Ok(ExitCode::FAILURE);
        };
        let context = attempt.context(envelope);
        let signals = watch_signals(context.clone())?;
        let answer = handler(JobRequest { context: context.clone() });
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                () = context.news() => report(&reporter, &context)?,
            }
        };
        signals.abort();
        report(&reporter, &context)?;
        match answer {
            Ok(output) => {
                reporter.result(&output)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                reporter.error(&wire(error))?;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

impl<S> fmt::Debug for JobProcess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobProcess").field("kinds", &self.handlers.keys()).finish_non_exhaustive()
    }
}

/// What the worker said about the attempt.
struct Attempt {
    attempt: u32,
    delivery: u32,
    checkpoint: Option<Bytes>,
}

impl Attempt {
    fn context(self, envelope: Envelope) -> JobContext {
        let receipt = Receipt::new(0, envelope.into());
        let mut received = Received::new(receipt, Utc::now(), Instant::now());
        (received.attempt, received.delivery) = (self.attempt, self.delivery);
        let context = JobContext::new(received, None);
        if let Some(state) = self.checkpoint {
            context.set_last_checkpoint(state);
        }
        context
    }
}

fn read_input() -> io::Result<(Envelope, Attempt)> {
    let mut input = child::input()?;
    let mut body = Vec::new();
    input.body.read_to_end(&mut body)?;
    let mut envelope =
        Envelope::from_parts(&input.header, body.into()).map_err(io::Error::other)?;
    let mut number = |name| {
        let value = envelope.headers.remove(name).and_then(|value| value.as_u64());
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(1)
    };
    let (attempt, delivery) = (number(ATTEMPT), number(DELIVERY));
    let checkpoint = match envelope.headers.remove(CHECKPOINT) {
        Some(Value::String(text)) => Some(STANDARD.decode(text).map_err(io::Error::other)?.into()),
        _ => None,
    };
    Ok((envelope, Attempt { attempt, delivery, checkpoint }))
}

/// Passes on what the handler told since the last time.
fn report(reporter: &Reporter, context: &JobContext) -> io::Result<()> {
    let told = context.news_to_store();
    if let Some(progress) = &told.progress {
        reporter.progress(progress.done, progress.total, progress.message.as_deref())?;
    }
    if let Some(state) = &told.checkpoint {
        reporter.checkpoint(state)?;
    }
    context.stored(&told);
    Ok(())
}

fn wire(JobError { verdict, failure }: JobError) -> JobFailureWire {
    let (kind, delay) = match verdict {
        Verdict::Cancelled => (FailureKind::Cancelled, None),
        Verdict::Dead => (FailureKind::Dead, None),
        Verdict::Retry => (FailureKind::Retry, None),
        Verdict::RetryIn(delay) => (FailureKind::Retry, Some(delay)),
        Verdict::Snooze(delay) => (FailureKind::Snooze, Some(delay)),
    };
    let wire = JobFailureWire::new(kind, failure.message);
    match delay.and_then(|delay| u64::try_from(delay.as_millis()).ok()) {
        Some(delay) => wire.with_delay_ms(delay),
        None => wire,
    }
}

fn watch_signals(context: JobContext) -> io::Result<tokio::task::JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::spawn(async move {
        while terminate.recv().await.is_some() {
            context.cancel(CancelReason::Requested);
        }
    }))
}
