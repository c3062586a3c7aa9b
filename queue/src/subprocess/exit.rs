//! How a run of a job process ends.

use std::fmt;
use std::io;

use serde_json::Value;

use super::wire::JobFailureWire;

/// The end of a run in which the job process was started, or cancelled before it was.
///
/// ```
/// use standfast_queue::subprocess::{ExitOutcome, RunError, Subprocess};
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), RunError> {
/// let (job, dir) = (Subprocess::new().arg("job"), std::env::temp_dir());
/// let cancel = CancellationToken::new();
/// cancel.cancel();
/// let exit = job.run(&dir, b"{}", "body".into(), |_| {}, &cancel).await?;
/// assert_eq!(exit.outcome, ExitOutcome::Cancelled);
/// assert_eq!(exit.status, None, "it was cancelled before it was started");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Exit {
    /// What the run came to.
    pub outcome: ExitOutcome,
    /// The failure that the job reported, also when the outcome is another one (a job that was
    /// told to stop may say what should happen next).
    pub reported: Option<JobFailureWire>,
    /// How the process itself ended, if that is known.
    pub status: Option<ExitStatus>,
    /// The last 4 KiB that the job and its descendants wrote to standard error.
    pub stderr_tail: String,
    /// Processes that the job started could not be ended within the time for it: they run with
    /// other rights, or hang in the kernel.
    pub leftovers: bool,
}

impl Exit {
    /// The end of a run that did not come to start the job.
    pub(super) fn before_start(outcome: ExitOutcome) -> Self {
        Self { outcome, reported: None, status: None, stderr_tail: String::new(), leftovers: false }
    }
}

/// How a process ended.
///
/// ```
/// use standfast_queue::subprocess::ExitStatus;
///
/// assert_eq!(ExitStatus::Code(3).to_string(), "exit code 3");
/// let crash = ExitStatus::Signal(11).to_string();
/// assert_eq!(crash, "killed by SIGSEGV (invalid memory access or stack overflow)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with a code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

/// What a run came to.
///
/// ```
/// use standfast_queue::subprocess::ExitOutcome;
///
/// fn log(outcome: &ExitOutcome) -> String {
///     match outcome {
///         ExitOutcome::Done { result: Some(result), .. } => format!("done, with {result}"),
///         ExitOutcome::Failed { code, .. } => format!("failed with {code}"),
///         other => other.to_string(),
///     }
/// }
/// assert_eq!(log(&ExitOutcome::TimedOut), "timed out");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExitOutcome {
    /// Exit code 0.
    #[non_exhaustive]
    Done {
        /// The result that was reported, if there was one.
        result: Option<Value>,
    },
    /// Exit code 75: the job asks to be tried again.
    Retry,
    /// Any other exit code.
    #[non_exhaustive]
    Failed {
        /// The exit code.
        code: i32,
    },
    /// A signal that nobody here sent ended the job: a crash.
    #[non_exhaustive]
    Signalled {
        /// The number of the signal.
        signal: i32,
    },
    /// The job was told to stop because it is cancelled.
    Cancelled,
    /// The job was told to stop because its time was over.
    TimedOut,
    /// The job said itself how it failed.
    Reported(JobFailureWire),
    /// Exit code 0, but the result was too long and is lost.
    #[non_exhaustive]
    ResultTooLong {
        /// The longest result line that is accepted, in bytes.
        limit: usize,
    },
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match describe(signal) {
                Some((name, words)) => write!(f, "killed by {name} ({words})"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

impl fmt::Display for ExitOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { .. } => f.write_str("done"),
            Self::Retry => f.write_str("the job asks to be tried again (exit code 75)"),
            Self::Failed { code } => ExitStatus::Code(*code).fmt(f),
            Self::Signalled { signal } => ExitStatus::Signal(*signal).fmt(f),
            Self::Cancelled => f.write_str("cancelled"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Reported(failure) if failure.message.is_empty() => {
                f.write_str("the job reported a failure")
            }
            Self::Reported(failure) => f.write_str(&failure.message),
            Self::ResultTooLong { limit } => write!(f, "the result is longer than {limit} bytes"),
        }
    }
}

/// Name and meaning of the signals that usually end a process.
fn describe(signal: i32) -> Option<(&'static str, &'static str)> {
    use rustix::process::Signal;
    const KNOWN: [(Signal, &str, &str); 15] = [
        (Signal::HUP, "SIGHUP", "hangup"),
        (Signal::INT, "SIGINT", "interrupted"),
        (Signal::QUIT, "SIGQUIT", "quit"),
        (Signal::ILL, "SIGILL", "illegal instruction"),
        (Signal::TRAP, "SIGTRAP", "trap"),
        (Signal::ABORT, "SIGABRT", "aborted, as by a failed assertion or allocation"),
        (Signal::BUS, "SIGBUS", "bad memory access"),
        (Signal::FPE, "SIGFPE", "arithmetic error"),
        (Signal::KILL, "SIGKILL", "killed from outside, as when memory runs out"),
        (Signal::SEGV, "SIGSEGV", "invalid memory access or stack overflow"),
        (Signal::PIPE, "SIGPIPE", "wrote to a closed pipe"),
        (Signal::TERM, "SIGTERM", "terminated from outside"),
        (Signal::XCPU, "SIGXCPU", "processor time limit exceeded"),
        (Signal::XFSZ, "SIGXFSZ", "file size limit exceeded"),
        (Signal::SYS, "SIGSYS", "system call refused"),
    ];
    let known = KNOWN.iter().find(|(known, _, _)| known.as_raw() == signal);
    known.map(|&(_, name, words)| (name, words))
}

/// Why a job process could not be run to an end that can be told.
///
/// ```
/// # use tokio_util::sync::CancellationToken;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let (dir, cancel) = (std::env::temp_dir(), CancellationToken::new());
/// use standfast_queue::subprocess::{RunError, Subprocess};
///
/// let job = Subprocess::new().arg("job");
/// let run = job.run(&dir, b"two\nlines", "body".into(), |_| {}, &cancel).await;
/// assert!(matches!(run, Err(RunError::Header)));
/// let run = job.run(&dir, b"{}", "body".into(), |_| {}, &cancel).await;
/// assert!(matches!(run, Err(RunError::NotInitialised)), "this `main` did not call `init`");
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// This program's `main` did not call [`init`](super::init), so it cannot be its own shim.
    #[error("`standfast_queue::subprocess::init()` was not called at the start of `main`")]
    NotInitialised,
    /// The header is not one line.
    #[error("the header contains a line end")]
    Header,
    /// The shim could not be started: the directory or the program is missing, or the system
    /// refused another process.
    #[error("the shim process could not be started")]
    Spawn(#[source] io::Error),
    /// The program that was started as shim did not act as one.
    #[error(
        "the program did not act as shim; does its `main` call \
         `standfast_queue::subprocess::init()` first? ({detail})"
    )]
    #[non_exhaustive]
    NoShim {
        /// How it ended or that it did not answer, and what it wrote to standard error.
        detail: String,
    },
    /// The job's program could not be started, for example because there is none of that name.
    #[error("the job's program could not be started: {detail}")]
    #[non_exhaustive]
    Start {
        /// What failed.
        detail: String,
    },
    /// The shim ended or hung while the job ran, so its end is unknown. The job and whatever could
    /// be found of its descendants were killed.
    #[error("the shim process was lost; the job was killed")]
    #[non_exhaustive]
    ShimLost {
        /// The last 4 KiB that the job wrote to standard error.
        stderr_tail: String,
    },
    /// Talking to the shim failed.
    #[error("the connection to the shim process failed")]
    Io(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_told_in_words() {
        let killed = ExitOutcome::Signalled { signal: 9 };
        assert!(killed.to_string().starts_with("killed by SIGKILL ("));
        assert_eq!(ExitStatus::Signal(63).to_string(), "killed by signal 63");
        assert_eq!(ExitOutcome::Failed { code: 3 }.to_string(), "exit code 3");
    }
}
