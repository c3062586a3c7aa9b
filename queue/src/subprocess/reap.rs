//! The shim's children: how the job ended, and the end of everything it left behind.
//!
//! Only processes that are children of the shim are signalled, and groups that such a child or the
//! job leads. A child that nobody waited for keeps its id, also when it is dead, so that no signal
//! can reach a process that took over the id. Deeper descendants become children of the shim, the
//! subreaper, as their parents die, so that killing children again and again reaches all of them.

use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use super::exit::ExitStatus;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How the job process ended, without giving up its id; nothing while it runs.
pub(super) fn ended(job: Pid) -> Option<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(job), options)).ok()??;
    let signal = status.terminating_signal().map(ExitStatus::Signal);
    signal.or_else(|| status.exit_status().map(ExitStatus::Code))
}

/// Signals the job's process group. The job must not have been waited for.
pub(super) fn signal_group(job: Pid, signal: Signal) {
    // No such group: everybody in it is gone already.
    let _ = kill_process_group(job, signal);
}

/// Removes dead children other than the job: orphans that came to the shim.
pub(super) fn collect_orphans(job: Pid) {
    for child in children() {
        if child != job {
            collect(child);
        }
    }
}

/// Kills every descendant and returns when none is left. A process that cannot be killed is waited
/// for, however long that takes.
pub(super) fn end_all(job: Pid) {
    let mut pause = FIRST_PAUSE;
    let mut job_waited_for = false;
    loop {
        if !job_waited_for {
            signal_group(job, Signal::KILL);
        }
        let mut others = false;
        for child in children() {
            if child == job {
                continue;
            }
            others = true;
            let _ = kill_process_group(child, Signal::KILL);
            let _ = kill_process(child, Signal::KILL);
            collect(child);
        }
        // The list of children can miss some while they change. Only the system's word that there
        // are none ends this, and that needs the job to be waited for.
        if !others {
            job_waited_for |= collect(job);
            if job_waited_for && no_children() {
                return;
            }
        }
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn collect(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::Pid(child), options) {
        Ok(status) => status.is_some(),
        Err(error) => error == Errno::CHILD,
    }
}

fn no_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

#[cfg(target_os = "linux")]
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid();
    // The shim has one thread, the one that all its children belong to.
    match std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => list
            .split_ascii_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect(),
        Err(_) => children_by_scan(own),
    }
}

#[cfg(not(target_os = "linux"))]
fn children() -> Vec<Pid> {
    Vec::new()
}

/// For kernels that are built without a list of children.
#[cfg(target_os = "linux")]
fn children_by_scan(parent: Pid) -> Vec<Pid> {
    let is_child = |pid: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before the last parenthesis can contain anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let of = fields.split_ascii_whitespace().nth(1).and_then(|pid| pid.parse().ok());
        of == Some(parent.as_raw_pid())
    };
    super::sweep::processes().filter(is_child).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_scan_finds_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = rustix::process::getpid();
        let found = children_by_scan(own);
        assert!(found.contains(&Pid::from_child(&child)));
        assert!(!found.contains(&own));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
