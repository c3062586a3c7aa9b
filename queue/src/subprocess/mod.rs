//! Jobs in processes of their own.
//!
//! [`Subprocess`] starts a job's program with a header line and a body on standard input, follows
//! its messages on standard output, and sees to it that nothing of it outlives the run:
//!
//! ```no_run
//! use standfast_queue::subprocess::{self, ExitOutcome, Subprocess};
//! use tokio_util::sync::CancellationToken;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     subprocess::init();
//!     if std::env::args().nth(1).as_deref() == Some("job") {
//!         return Ok(subprocess::child::Reporter::new().result("done")?);
//!     }
//!     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     let job = Subprocess::new().arg("job");
//!     let (dir, cancel) = (std::env::temp_dir(), CancellationToken::new());
//!     let run = job.run(&dir, b"{}", "body".into(), |event| println!("{event:?}"), &cancel);
//!     let exit = runtime.block_on(run)?;
//!     assert!(matches!(exit.outcome, ExitOutcome::Done { .. }));
//!     Ok(())
//! }
//! ```
//!
//! # Protocol, version 1
//!
//! Standard input is one line, the header, and then the body up to the end of the input. Standard
//! output is lines; one of these is a message, any other is logged:
//!
//! * `{"progress":{"done":1,"total":2,"message":"text"}}`; `total` and `message` may be null;
//! * `{"checkpoint":…}` with a base64 string, or any other JSON value as it is;
//! * `{"result":…}`;
//! * `{"error":{"kind":"retry","message":"text","delay_ms":1000}}`, where the kind is `retry`,
//!   `dead`, `cancelled` or `snooze` and the delay is optional.
//!
//! Standard error is logged, and its last 4 KiB are kept. Exit code 0 is success, 75 asks for a
//! retry, any other is a failure. An error message counts more than a result, and both count more
//! than the exit code, except that a result needs code 0. Lines, results, checkpoints and the
//! number of logged lines are bounded. [`child`] is this protocol in Rust; any language can speak
//! it.
//!
//! # The shim
//!
//! Between the worker and the job runs a shim: the worker's own program, started again, which is
//! why `main` must call [`init`] first. It is a small process without threads, in a process group
//! of its own; the job's program runs in another group, and the job's standard streams go past the
//! shim. When the job is cancelled, its time is over or the worker dies in whatever way, the job's
//! group gets `SIGTERM`, has the grace to finish, and then gets `SIGKILL`. When the job's process
//! has ended, in this way or by itself, every descendant is killed, also those that left the group
//! or the session. What happens when a process dies:
//!
//! * the worker, also by `SIGKILL`: the shim sees its socket close, and stops the job;
//! * the shim, also by `SIGKILL`: the kernel kills the job, and the worker kills the descendants,
//!   which it knows by a mark in their environment;
//! * the worker and the shim in the same instant: the kernel kills the job's process; descendants
//!   that it had started can survive.
//!
//! # Limits
//!
//! This is no sandbox: the job runs as the worker's user and could do to the worker whatever that
//! user may do. A descendant that runs as another user (as by `sudo`) cannot be killed; see
//! [`Exit::leftovers`]. If the shim is killed, descendants that have cleared their environment are
//! not found, and a job program that is set-user-id does not die with the shim. On other systems
//! than Linux there are no resource limits, descendants that left the process group are not found,
//! and the job does not die with the shim.
//!
//! A service manager that sends its stop signal to every process of the service should be told to
//! send it to the worker only (`KillMode=mixed` for systemd); else jobs get it at once and do not
//! have the time that the worker would give them. The shim ignores such signals.

pub mod child;
mod executor;
mod exit;
mod handover;
mod host;
mod launch;
mod limits;
mod lines;
mod pump;
mod reap;
mod report;
mod run;
mod shim;
mod spec;
mod stage;
#[cfg(target_os = "linux")]
mod sweep;
mod wire;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::executor::SubprocessExecutor;
pub use self::exit::{Exit, ExitOutcome, ExitStatus, RunError};
pub use self::host::JobProcess;
pub use self::limits::Limits;
pub use self::spec::Subprocess;
pub use self::wire::{Event, FailureKind, JobFailureWire};

/// The first argument of the first stage.
const SHIM: &str = "__standfast-shim";
/// The first argument of the second stage.
const EXEC: &str = "__standfast-exec";

/// Whether `main` called [`init`].
static READY: AtomicBool = AtomicBool::new(false);

/// Lets this program be its own shim. Must be called first thing in `main`, before threads are
/// started and before arguments are looked at.
///
/// Returns at once in a normal start of the program. When the program was started as the shim of a
/// job this does not return.
pub fn init() {
    let mut args = std::env::args_os();
    let _name = args.next();
    match args.next().as_deref().and_then(OsStr::to_str) {
        Some(SHIM) => std::process::exit(shim::main(args)),
        Some(EXEC) => std::process::exit(stage::main(args)),
        _ => READY.store(true, Ordering::Relaxed),
    }
}

/// A path that runs this very program.
fn own_program() -> std::io::Result<PathBuf> {
    // Unlike the path, this is still the program that runs when a deployment has replaced the
    // file. It is the child that resolves it, but that is the same program until it does.
    #[cfg(target_os = "linux")]
    return Ok(PathBuf::from("/proc/self/exe"));
    #[cfg(not(target_os = "linux"))]
    std::env::current_exe()
}
