//! One run of a job process, seen from the worker.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, ExitOutcome, ExitStatus, RunError};
use super::launch::{self, Link};
use super::lines::Tail;
use super::pump::{self, Output};
use super::report::Report;
use super::spec::Subprocess;
use super::wire::Event;

const RETRY: i32 = 75;
/// How much longer than the grace a stop may take, and how long the end of the descendants may.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to read on when the end of the output does not come because somebody outside of the
/// job's subtree holds the other end.
const DRAIN: Duration = Duration::from_secs(1);
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Subprocess {
    /// Runs a job in the directory `dir`, which must exist.
    ///
    /// The job gets `stdin_header` as the first line of its standard input, then `body`. Progress
    /// and checkpoints go to `events` as they come. When `cancel` is cancelled or the timeout is
    /// over the job is told to stop; it is [done](ExitOutcome::Done) nevertheless if it then exits
    /// with code 0 *and* has reported a result. Of a stop and an exit at the same time the one that
    /// is seen first wins.
    ///
    /// This returns when the job *and its descendants* are gone. If the future is dropped the job
    /// is told to stop as if it were cancelled, and it is killed after the grace.
    pub async fn run(
        &self,
        dir: &Path,
        stdin_header: &[u8],
        body: Bytes,
        events: impl FnMut(Event) + Send,
        cancel: &CancellationToken,
    ) -> Result<Exit, RunError> {
        let deadline = Instant::now() + self.timeout.unwrap_or(FAR).min(FAR);
        if stdin_header.contains(&b'\n') {
            return Err(RunError::Header);
        }
        let started = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(Exit::before_start(ExitOutcome::Cancelled)),
            () = sleep_until(deadline) => return Ok(Exit::before_start(ExitOutcome::TimedOut)),
            started = launch::start(self, dir) => started?,
        };
        let (mut link, mark) = (started.link, started.mark);
        let (stdin, stdout) = open(&link).await.map_err(RunError::Io)?;

        let (mut output, mut tail) = (Output::default(), None);
        let watched = {
            let feed = pump::stdin(stdin, stdin_header, body);
            let read = async {
                tokio::join!(
                    pump::stdout(stdout, self, &mut output, events),
                    pump::stderr(started.stderr, self, &mut tail),
                );
            };
            tokio::pin!(feed, read);
            let (mut feeding, mut reading) = (true, true);
            let watch = watch(self, &mut link, &mark, deadline, cancel);
            tokio::pin!(watch);
            let watched = loop {
                tokio::select! {
                    watched = &mut watch => break watched,
                    () = &mut feed, if feeding => feeding = false,
                    () = &mut read, if reading => reading = false,
                }
            };
            if reading {
                let _ = tokio::time::timeout(DRAIN, read).await;
            }
            watched
        };
        conclude(self, watched, output, tail)
    }
}

/// Opens the job's standard input and output and lets the job start.
async fn open(link: &Link) -> std::io::Result<(pipe::Sender, pipe::Receiver)> {
    let (theirs_in, ours_in) = std::io::pipe()?;
    let (ours_out, theirs_out) = std::io::pipe()?;
    let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(ours_in))?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(ours_out))?;
    link.go(theirs_in.into(), theirs_out.into()).await?;
    Ok((stdin, stdout))
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Cancelled,
    TimedOut,
}

/// What was seen of a run.
#[derive(Debug, Default)]
struct Watched {
    stop: Option<Stop>,
    status: Option<ExitStatus>,
    not_started: Option<String>,
    leftovers: bool,
}

/// Follows the shim's reports until nothing of the job is left, or nothing more can be done.
async fn watch(
    spec: &Subprocess,
    link: &mut Link,
    mark: &str,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Watched {
    let mut seen = Watched::default();
    let patience = sleep_until(Instant::now() + FAR);
    tokio::pin!(patience);
    let gone = loop {
        let may_stop = seen.stop.is_none() && seen.status.is_none();
        let stop = tokio::select! {
            report = link.next() => {
                match report {
                    Some(Report::Ended(status)) => {
                        seen.status = Some(status);
                        patience.as_mut().reset(Instant::now() + PATIENCE);
                    }
                    Some(Report::NotStarted(why)) => seen.not_started = Some(why),
                    Some(Report::Clean) => {
                        // It exits now; whoever reaps it later finds nothing to do.
                        let _ = tokio::time::timeout(DRAIN, link.child.wait()).await;
                        return seen;
                    }
                    Some(_) => {}
                    None => break true,
                }
                continue;
            }
            () = &mut patience => break false,
            () = cancel.cancelled(), if may_stop => Stop::Cancelled,
            () = sleep_until(deadline), if may_stop => Stop::TimedOut,
        };
        seen.stop = Some(stop);
        link.stop().await;
        let at_most = spec.grace.saturating_add(PATIENCE).min(FAR);
        patience.as_mut().reset(Instant::now() + at_most);
    };
    if seen.status.is_some() && !gone {
        // The shim goes on trying to end descendants, and nobody else has a better chance.
        seen.leftovers = true;
        return seen;
    }
    // Killing a shim that hangs kills the job.
    link.kill();
    let _ = tokio::time::timeout(DRAIN, link.child.wait()).await;
    seen.leftovers = !end_rest(mark).await;
    seen
}

#[cfg(target_os = "linux")]
async fn end_rest(mark: &str) -> bool {
    super::sweep::end_marked(mark.to_owned()).await
}

#[cfg(not(target_os = "linux"))]
async fn end_rest(_mark: &str) -> bool {
    false
}

fn conclude(
    spec: &Subprocess,
    seen: Watched,
    output: Output,
    tail: Option<Tail>,
) -> Result<Exit, RunError> {
    if let Some(detail) = seen.not_started {
        return Err(RunError::Start { detail });
    }
    let stderr_tail = tail.map(Tail::into_text).unwrap_or_default();
    let reported = output.failure.clone();
    let Some(outcome) = outcome(spec, &seen, output) else {
        return Err(RunError::ShimLost { stderr_tail });
    };
    Ok(Exit { outcome, reported, status: seen.status, stderr_tail, leftovers: seen.leftovers })
}

/// What a run came to; nothing if nobody knows how the job ended.
fn outcome(spec: &Subprocess, seen: &Watched, output: Output) -> Option<ExitOutcome> {
    let stopped = seen.stop.map(|stop| match stop {
        Stop::Cancelled => ExitOutcome::Cancelled,
        Stop::TimedOut => ExitOutcome::TimedOut,
    });
    let outcome = match (output.failure, seen.status, stopped) {
        (None, Some(ExitStatus::Code(0)), Some(stopped)) => match output.result {
            Some(result) => ExitOutcome::Done { result: Some(result) },
            None => stopped,
        },
        (_, _, Some(stopped)) => stopped,
        (_, None, None) => return None,
        (Some(failure), Some(_), None) => ExitOutcome::Reported(failure),
        (None, Some(ExitStatus::Code(0)), None) if output.too_long => {
            ExitOutcome::ResultTooLong { limit: spec.max_result }
        }
        (None, Some(ExitStatus::Code(0)), None) => ExitOutcome::Done { result: output.result },
        (None, Some(ExitStatus::Code(RETRY)), None) => ExitOutcome::Retry,
        (None, Some(ExitStatus::Code(code)), None) => ExitOutcome::Failed { code },
        (None, Some(ExitStatus::Signal(signal)), None) => ExitOutcome::Signalled { signal },
    };
    Some(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::wire::{FailureKind, JobFailureWire};
    use super::*;

    fn check(
        stop: Option<Stop>,
        status: Option<ExitStatus>,
        output: Output,
    ) -> Option<ExitOutcome> {
        let seen = Watched { stop, status, ..Watched::default() };
        outcome(&Subprocess::new(), &seen, output)
    }

    #[test]
    fn a_stopped_job_is_done_only_with_a_result() {
        let stop = Some(Stop::Cancelled);
        let with_result = || Output { result: Some(1.into()), ..Output::default() };
        let zero = Some(ExitStatus::Code(0));
        assert!(matches!(check(stop, zero, with_result()), Some(ExitOutcome::Done { .. })));
        assert_eq!(check(stop, zero, Output::default()), Some(ExitOutcome::Cancelled));
        let one = Some(ExitStatus::Code(1));
        assert_eq!(check(stop, one, with_result()), Some(ExitOutcome::Cancelled));
        assert_eq!(check(stop, None, with_result()), Some(ExitOutcome::Cancelled));
    }

    #[test]
    fn a_report_wins_over_the_exit() {
        let failure = JobFailureWire::new(FailureKind::Dead, "bad input");
        for status in [ExitStatus::Code(0), ExitStatus::Code(75), ExitStatus::Signal(6)] {
            let output =
                Output { failure: Some(failure.clone()), result: Some(1.into()), too_long: true };
            let expect = Some(ExitOutcome::Reported(failure.clone()));
            assert_eq!(check(None, Some(status), output), expect);
        }
    }

    #[test]
    fn exit_codes_and_signals() {
        let of = |status| check(None, Some(status), Output::default());
        assert_eq!(of(ExitStatus::Code(0)), Some(ExitOutcome::Done { result: None }));
        assert_eq!(of(ExitStatus::Code(75)), Some(ExitOutcome::Retry));
        assert_eq!(of(ExitStatus::Code(3)), Some(ExitOutcome::Failed { code: 3 }));
        assert_eq!(of(ExitStatus::Signal(9)), Some(ExitOutcome::Signalled { signal: 9 }));
        assert_eq!(check(None, None, Output::default()), None);
    }
}
