//! What the worker does when the shim is gone: find what is left of the job by its mark.
//!
//! Every process that runs for a job has a random mark in its environment, which children inherit.
//! The job itself dies with the shim, by the kernel's hand; its descendants are found by the mark.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Kills every process with the mark until none is left; false when some are after five seconds.
pub(super) async fn end_marked(mark: String) -> bool {
    let begin = tokio::time::Instant::now();
    let mut clean = 0;
    // A process that is between fork and exec, or that was created behind the reading position,
    // is missed: once is not enough.
    while clean < 2 {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        let entry = mark.clone();
        let found = tokio::task::spawn_blocking(move || kill_marked(entry.as_bytes())).await;
        if matches!(found, Ok(0)) {
            clean += 1;
        } else {
            clean = 0;
        }
        tokio::time::sleep(PAUSE).await;
    }
    true
}

/// Kills what has the mark at this moment, and counts it.
fn kill_marked(mark: &[u8]) -> usize {
    let own = rustix::process::getpid();
    let mut found = 0;
    for pid in processes() {
        if pid == own || !has_mark(pid, mark) {
            continue;
        }
        found += 1;
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The id may have changed hands since the mark was seen; the handle cannot any more.
            Ok(process) => {
                if has_mark(pid, mark) {
                    let _ = pidfd_send_signal(process, Signal::KILL);
                }
            }
            Err(rustix::io::Errno::SRCH) => {}
            Err(_) => {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    found
}

fn has_mark(pid: Pid, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry == mark)
}

/// The processes that exist.
pub(super) fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}
