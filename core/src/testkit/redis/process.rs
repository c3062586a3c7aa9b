//! A server process that cannot outlive the test process, with its directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

// Becomes the server; before that it leaves behind a watchman with the other end of our pipe. The
// first end of file without a line means that this process is gone: the server has to go too. The
// second means the same for the directory. A line says that it has been seen to. The watchman
// ignores signals, since a process group that lost its parent while stopped is sent one.
const GUARD: &str = r#"
exec 3<&0 </dev/null
directory=$1
shift
{
    trap '' HUP INT TERM
    read -r _ <&3 || kill -KILL $$ 2>/dev/null
    read -r _ <&3 || { sleep 0.2; rm -rf "$directory"; }
} &
exec "$@" 3<&-
"#;

/// A server, its directory and its log.
///
/// Whatever ends this process, SIGKILL included, ends the server and removes the directory.
#[derive(Debug)]
pub(super) struct Process {
    directory: TempDir,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    child: Child,
    watchman: ChildStdin,
    /// The watchman no longer kills.
    stood_down: bool,
    paused: bool,
}

impl Process {
    /// A directory without a process.
    pub(super) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("standfast-")
            .tempdir()
            .expect("a temporary directory can be made");
        Self { directory, run: None }
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Writes a file into the directory.
    pub(super) fn write(&self, name: &str, content: &str) {
        let path = self.directory().join(name);
        std::fs::write(path, content).expect("the directory of a server is writable");
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("log")
    }

    /// Starts the server, which must not be running, in its directory.
    pub(super) fn spawn(&mut self, command: &[impl AsRef<OsStr>]) {
        let log = File::create(self.log_file()).expect("the directory of a server is writable");
        let errors = log.try_clone().expect("a file can be opened twice");
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(self.directory())
            .args(command)
            .current_dir(self.directory())
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // signals to the group of the test process are not for the watchman
            .process_group(0)
            .spawn()
            .expect("/bin/sh can be started");
        let watchman = child.stdin.take().expect("stdin is a pipe");
        // the watchman of an earlier run sees to the directory until the new one does
        let earlier = self.run.replace(Run { child, watchman, stood_down: false, paused: false });
        if let Some(mut earlier) = earlier {
            earlier.tell();
        }
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.run.as_ref().filter(|run| !run.stood_down).map(|run| run.child.id())
    }

    /// Whether the server runs, paused or not.
    pub(super) fn is_running(&mut self) -> bool {
        let Some(run) = self.run.as_mut().filter(|run| !run.stood_down) else { return false };
        // invariant: it is our child, and waited for here alone
        let ended = run.child.try_wait().expect("a child can be waited for").is_some();
        if ended {
            run.stand_down();
        }
        !ended
    }

    pub(super) fn is_paused(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.paused)
    }

    /// Sends a signal to the server.
    pub(super) fn signal(&mut self, signal: Signal) {
        // a child that has not been waited for keeps its id, so this can hit no other process
        if let Some(id) = self.id() {
            let pid = Pid::from_raw(id.cast_signed()).expect("ids of processes are positive");
            kill_process(pid, signal).expect("a child can be signalled");
        }
        if let Some(run) = &mut self.run
            && [Signal::STOP, Signal::CONT].contains(&signal)
        {
            run.paused = signal == Signal::STOP;
        }
    }

    /// Ends the server with SIGKILL, paused or not.
    pub(super) fn kill(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| !run.stood_down) {
            run.child.kill().expect("a child can be killed");
            run.stand_down();
            run.child.wait().expect("a child can be waited for");
        }
    }
}

impl Run {
    fn stand_down(&mut self) {
        self.tell();
        self.stood_down = true;
    }

    fn tell(&mut self) {
        // a watchman that is gone needs no telling
        let _ = self.watchman.write_all(b"\n");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(self.directory());
        if let Some(run) = &mut self.run {
            run.tell();
        }
    }
}
