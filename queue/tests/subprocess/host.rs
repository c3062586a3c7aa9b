//! This program as another worker process, which tests may kill.

use std::process::ExitCode;

use standfast_queue::subprocess::RunError;
use tokio_util::sync::CancellationToken;

use super::support::{Dir, block_on, job};

/// Runs a job with many descendants in the current directory, for ever.
pub(crate) fn main(token: &str) -> ExitCode {
    let (dir, cancel) = (std::env::current_dir().unwrap(), CancellationToken::new());
    let spec = job(&["tree", token]);
    let exit = block_on(spec.run(&dir, b"", "".into(), |_| println!("up"), &cancel));
    println!("{exit:?}");
    ExitCode::FAILURE
}

/// A worker whose program file is gone, as after a deployment.
pub(crate) fn without_file() -> ExitCode {
    std::fs::remove_file(std::env::current_exe().unwrap()).unwrap();
    println!("{}", super::support::run(&job(&["echo"])).outcome);
    ExitCode::SUCCESS
}

/// A program that does not call `init`.
pub(crate) fn without_init() -> ExitCode {
    let (dir, cancel) = (Dir::new(), CancellationToken::new());
    let spec = job(&["echo"]);
    match block_on(spec.run(&dir.0, b"", "".into(), |_| {}, &cancel)) {
        Err(error @ RunError::NotInitialised) => {
            println!("{error}");
            ExitCode::SUCCESS
        }
        other => panic!("{other:?}"),
    }
}
