//! First stage of the shim: the small process between the worker and the job.
//!
//! It is the subreaper of everything the job starts, waits for the job's end, and ends what the
//! job leaves behind. The control socket is its standard input: anything the worker sends on it,
//! and the end of the stream, which is the worker's death, means that the job is to stop.

use std::env::ArgsOs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use super::exit::ExitStatus;
use super::report::Report;
use super::stage::{self, Order};
use super::{handover, reap};

const MALFORMED: i32 = 2;
const BROKEN: i32 = 1;

/// How often orphans are looked for when nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// The same where the job's end cannot be waited for by a handle.
const TICK_WITHOUT_HANDLE: Duration = Duration::from_millis(20);

/// Runs the shim and returns its exit code, which nobody depends on.
pub(super) fn main(mut args: ArgsOs) -> i32 {
    let grace = args.next().and_then(|grace| grace.to_str()?.parse().ok());
    let (Some(grace), Some(order)) = (grace, Order::decode(&mut args)) else {
        eprintln!("the shim's command line is malformed");
        return MALFORMED;
    };
    match supervise(Duration::from_millis(grace), &order) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("the shim failed: {error}");
            BROKEN
        }
    }
}

fn supervise(grace: Duration, order: &Order) -> io::Result<()> {
    let _handlers = hold_signals()?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    control.write_all(Report::Hello.encode().as_bytes())?;
    let Some(streams) = handover::receive(control.as_fd())? else { return Ok(()) };

    let (child, start) = match stage::spawn(order) {
        Ok(spawned) => spawned,
        Err(error) => {
            tell(&mut control, &Report::NotStarted(error.to_string()));
            tell(&mut control, &Report::Clean);
            return Ok(());
        }
    };
    // A second stage that is already dead is noticed below.
    let _ = handover::send(start.as_fd(), [streams[0].as_fd(), streams[1].as_fd()]);
    // The worker must see the end of the job's output when the job and its descendants are gone.
    drop(streams);

    let job = Pid::from_child(&child);
    let mut watch = Watch {
        handle: handle(job),
        job,
        start: Some(start),
        control,
        connected: true,
        grace,
        kill_at: None,
    };
    let status = watch.wait()?;
    tell(&mut watch.control, &Report::Ended(status));
    reap::end_all(job);
    tell(&mut watch.control, &Report::Clean);
    Ok(())
}

struct Watch {
    job: Pid,
    /// Readable when the job has ended.
    handle: Option<OwnedFd>,
    /// The second stage's end of its socket closes when the job's program runs.
    start: Option<UnixStream>,
    control: UnixStream,
    connected: bool,
    grace: Duration,
    kill_at: Option<Instant>,
}

impl Watch {
    /// Waits for the job's end, which it hastens when told to.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            let (told, started) = self.sleep()?;
            if started {
                self.report_start();
            }
            if told {
                self.stop();
            }
            if let Some(status) = reap::ended(self.job) {
                self.report_start();
                return Ok(status);
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                reap::signal_group(self.job, Signal::KILL);
                self.kill_at = Some(Instant::now() + TICK);
            }
            reap::collect_orphans(self.job);
        }
    }

    /// Sleeps until something happens: whether the worker says something or is gone, and whether
    /// the start of the job's program is decided.
    fn sleep(&self) -> io::Result<(bool, bool)> {
        let tick = if self.handle.is_some() { TICK } else { TICK_WITHOUT_HANDLE };
        let until_kill = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let pause = until_kill.map_or(tick, |left| left.min(tick));
        let pause = Timespec {
            tv_sec: pause.as_secs().try_into().unwrap_or(1),
            tv_nsec: pause.subsec_nanos().into(),
        };
        let mut all = Vec::with_capacity(3);
        if self.connected {
            all.push(PollFd::new(&self.control, PollFlags::IN));
        }
        if let Some(start) = &self.start {
            all.push(PollFd::new(start, PollFlags::IN));
        }
        if let Some(handle) = &self.handle {
            all.push(PollFd::new(handle, PollFlags::IN));
        }
        match poll(&mut all, Some(&pause)) {
            // A signal is most likely the death of a child.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut happened = all.iter().map(|entry| !entry.revents().is_empty());
        let told = self.connected && happened.next() == Some(true);
        let started = self.start.is_some() && happened.next() == Some(true);
        Ok((told, started))
    }

    fn report_start(&mut self) {
        let Some(mut start) = self.start.take() else { return };
        let mut why = String::new();
        // An error means that the second stage was killed before it took the streams: the job
        // ended by that signal.
        if let Ok(1..) = start.read_to_string(&mut why) {
            tell(&mut self.control, &Report::NotStarted(why));
        }
    }

    fn stop(&mut self) {
        let mut ignored = [0; 16];
        self.connected = matches!(self.control.read(&mut ignored), Ok(count) if count > 0);
        if self.kill_at.is_none() {
            // The request does not move the end of an earlier one.
            self.kill_at = Some(Instant::now() + self.grace);
            reap::signal_group(self.job, Signal::TERM);
            // A stopped process would not see the request before it is killed.
            reap::signal_group(self.job, Signal::CONT);
        }
    }
}

fn tell(control: &mut UnixStream, report: &Report) {
    // Without a worker nobody needs to know.
    let _ = control.write_all(report.encode().as_bytes());
}

#[cfg(target_os = "linux")]
fn handle(job: Pid) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    pidfd_open(job, PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn handle(_job: Pid) -> Option<OwnedFd> {
    None
}

/// Keeps the shim alive when a signal goes to every process of a service, as service managers do:
/// the worker decides when the job is to stop. An ignored `SIGCHLD` that came from the worker's own
/// parent would lose the job's exit code, so that is taken as well.
///
/// The runtime only holds the handlers, which are back at their defaults in the job.
fn hold_signals() -> io::Result<tokio::runtime::Runtime> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::child(),
    ] {
        drop(signal(kind)?);
    }
    drop(guard);
    Ok(runtime)
}
