//! The program `standfast-asset-hash`. Its commands are what the library does; its README says how
//! to use it in a deploy.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
