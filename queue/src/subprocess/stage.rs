//! Second stage of the shim: the process that becomes the job.
//!
//! It asks to be killed when the shim dies, takes the job's standard streams and the resource
//! limits, and replaces itself by the job's program. The control socket closes by that; a message
//! on it instead says why the program could not be started.

use std::env::ArgsOs;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::{Child, Command, Stdio};

use super::limits::Limits;
use super::{EXEC, handover, own_program};

const FAILED: i32 = 127;

/// What the second stage is told on its command line.
pub(super) struct Order {
    pub(super) limits: Limits,
    /// The job's `argv[0]`.
    pub(super) name: OsString,
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
}

impl Order {
    pub(super) fn encode(&self) -> Vec<OsString> {
        let mut args = vec![self.limits.encode().into(), self.name.clone(), self.program.clone()];
        args.extend(self.args.iter().cloned());
        args
    }

    pub(super) fn decode(args: &mut ArgsOs) -> Option<Self> {
        let limits = Limits::decode(args.next()?.to_str()?)?;
        Some(Self { limits, name: args.next()?, program: args.next()?, args: args.collect() })
    }
}

/// Starts the second stage in a process group of its own. The socket closes when the job's program
/// runs; text on it tells that it does not.
pub(super) fn spawn(order: &Order) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(own_program()?)
        .arg0(&order.name)
        .arg(EXEC)
        .arg(std::process::id().to_string())
        .args(order.encode())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()?;
    Ok((child, ours))
}

/// Runs the second stage: does not return when the job's program could be started.
pub(super) fn main(mut args: ArgsOs) -> i32 {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return FAILED };
    let mut socket = UnixStream::from(socket);
    let why = match replace(&socket, &mut args) {
        Ok(never) => match never {},
        Err(why) => why,
    };
    // The shim may be gone: then nobody needs to know.
    let _ = socket.write_all(why.as_bytes());
    FAILED
}

fn replace(socket: &UnixStream, args: &mut ArgsOs) -> Result<std::convert::Infallible, String> {
    let shim = args.next().and_then(|pid| pid.to_str()?.parse::<u32>().ok());
    let order = Order::decode(args).ok_or("malformed command line")?;
    let streams = handover::receive(socket.as_fd()).map_err(|error| error.to_string())?;
    let [stdin, stdout] = streams.ok_or("the shim is gone")?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| error.to_string())?;
    // The shim may have died before the signal was asked for: then the parent is another one.
    if shim != Some(parent_id()) {
        return Err("the shim is gone".to_owned());
    }
    order.limits.apply().map_err(|error| format!("resource limits: {error}"))?;
    let error = Command::new(&order.program)
        .arg0(&order.name)
        .args(&order.args)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::inherit())
        .exec();
    Err(format!("{}: {error}", order.program.display()))
}
