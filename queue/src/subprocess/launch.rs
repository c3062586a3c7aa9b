//! Starting the shim, up to the moment when the job may start.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};

use super::exit::RunError;
use super::lines::{Lines, Tail};
use super::report::Report;
use super::spec::Subprocess;
use super::stage::Order;
use super::{READY, SHIM, handover, own_program};

const MARK: &str = "STANDFAST_JOB_MARK";
const LONGEST_REPORT: usize = 4 * 1024;
const TAIL: usize = 4 * 1024;
/// How long to wait for the last words of a program that is no shim.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A shim that answered and waits for the job's streams.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) link: Link,
    pub(super) stderr: ChildStderr,
    /// The entry in the environment of everything that runs for this job.
    pub(super) mark: String,
}

/// The connection to the shim.
#[derive(Debug)]
pub(super) struct Link {
    control: UnixStream,
    lines: Lines,
    reports: VecDeque<Report>,
    pub(super) child: Child,
}

impl Link {
    /// The next report; nothing when the shim is gone.
    pub(super) async fn next(&mut self) -> Option<Report> {
        let mut part = [0; 512];
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Some(report);
            }
            let read = self.control.read(&mut part).await;
            let count = read.ok().filter(|&count| count > 0)?;
            let reports = &mut self.reports;
            self.lines.push(
                &part[..count],
                |_| 0,
                |line, cut| {
                    if !cut {
                        reports.extend(Report::parse(line));
                    }
                },
            );
        }
    }

    /// Lets the job start with these streams.
    pub(super) async fn go(&self, stdin: OwnedFd, stdout: OwnedFd) -> io::Result<()> {
        let send = || handover::send(self.control.as_fd(), [stdin.as_fd(), stdout.as_fd()]);
        self.control.async_io(tokio::io::Interest::WRITABLE, send).await
    }

    /// Asks for the end of the job. A shim that is gone cannot be asked, which [`Self::next`] tells.
    pub(super) async fn stop(&mut self) {
        let _ = self.control.write_all(b"T").await;
    }

    /// Kills the shim with everything in its process group.
    pub(super) fn kill(&mut self) {
        // The id is the child's as long as nobody waited for it, and there is none after that.
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.start_kill();
        }
    }
}

/// Kills what was started as shim unless it has proved to be one. A shim ends by itself when the
/// connection closes, but another program would go on.
struct Unproven(Option<Link>);

impl Unproven {
    async fn next(&mut self) -> Option<Report> {
        self.0.as_mut()?.next().await
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        if let Some(link) = &mut self.0 {
            link.kill();
        }
    }
}

/// Starts the shim and waits for its answer.
pub(super) async fn start(spec: &Subprocess, dir: &Path) -> Result<Shim, RunError> {
    let (link, mut stderr, mark) = spawn(spec, dir)?;
    let mut unproven = Unproven(Some(link));
    let answer = tokio::time::timeout(spec.start_timeout, unproven.next()).await;
    if matches!(answer, Ok(Some(Report::Hello)))
        && let Some(link) = unproven.0.take()
    {
        return Ok(Shim { link, stderr, mark });
    }
    let detail = last_words(&mut unproven, &mut stderr, answer.is_err()).await;
    Err(RunError::NoShim { detail })
}

async fn last_words(link: &mut Unproven, stderr: &mut ChildStderr, timed_out: bool) -> String {
    let mut detail = String::new();
    if let Some(link) = &mut link.0 {
        if timed_out {
            detail.push_str("no answer in time");
            link.kill();
        }
        match tokio::time::timeout(LAST_WORDS, link.child.wait()).await {
            Ok(Ok(status)) if !timed_out => _ = write!(detail, "{status}"),
            Ok(_) => {}
            Err(_) => detail.push_str("no answer"),
        }
    }
    let mut tail = Tail::new(TAIL);
    let read = async {
        let mut part = [0; 1024];
        while let Ok(count @ 1..) = stderr.read(&mut part).await {
            tail.push(&part[..count]);
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, read).await;
    let words = tail.into_text();
    if !words.trim().is_empty() {
        _ = write!(detail, "; standard error: {}", words.trim());
    }
    detail
}

fn spawn(spec: &Subprocess, dir: &Path) -> Result<(Link, ChildStderr, String), RunError> {
    if spec.shim.is_none() && !READY.load(std::sync::atomic::Ordering::Relaxed) {
        // It would run the whole program again, perhaps as a worker that starts jobs.
        return Err(RunError::NotInitialised);
    }
    let shim = match &spec.shim {
        Some(shim) => shim.clone(),
        None => own_program().map_err(RunError::Spawn)?,
    };
    let own_name = std::env::args_os().next().unwrap_or_default();
    let order = Order {
        limits: spec.limits,
        name: spec.program.clone().unwrap_or_else(|| own_name.clone()),
        program: match (&spec.program, &spec.shim) {
            (Some(program), _) => program.clone(),
            (None, None) => shim.clone().into(),
            (None, Some(_)) => std::env::current_exe().map_err(RunError::Spawn)?.into(),
        },
        args: spec.args.clone(),
    };
    let mark = mark();
    let grace = u64::try_from(spec.grace.as_millis()).unwrap_or(u64::MAX / 2);
    let (ours, theirs) = StdUnixStream::pair().map_err(RunError::Spawn)?;
    let mut command = Command::new(shim);
    command
        .arg0(&own_name)
        .arg(SHIM)
        .arg(grace.to_string())
        .args(order.encode())
        .env_clear()
        .envs(spec.environment())
        .env(MARK, &mark)
        .current_dir(dir)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(RunError::Spawn)?;
    // The command holds the shim's end of the socket: its end would not be noticed.
    drop(command);
    let stderr = child.stderr.take();
    let control = ours.set_nonblocking(true).and_then(|()| UnixStream::from_std(ours));
    match (control, stderr) {
        (Ok(control), Some(stderr)) => {
            let lines = Lines::new(LONGEST_REPORT);
            let link = Link { control, lines, reports: VecDeque::new(), child };
            Ok((link, stderr, format!("{MARK}={mark}")))
        }
        // What was started sees the end of its input; it did not get to start anything.
        (control, _) => {
            let _ = child.start_kill();
            Err(RunError::Io(control.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
        }
    }
}

/// A name that no other run has: no secret, so that the hasher's keys are random enough.
fn mark() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let own = std::process::id();
    let (left, right) = (RandomState::new().hash_one((own, run)), RandomState::new().hash_one(run));
    format!("{own}-{run}-{left:016x}{right:016x}")
}
