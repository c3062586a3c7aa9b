mod args;
mod exit;
mod local;
mod open;
mod output;
mod remote;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, Command};
use self::exit::Failure;
use self::output::Output;

pub(super) fn main() -> ExitCode {
    // the command line's own errors end with code 2
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command, &output)),
        Err(error) => Err(Failure::io("starting", &error)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => output.fail(&failure),
    }
}

async fn run(command: Command, output: &Output) -> Result<u8, Failure> {
    match command {
        Command::Hash(hash) => local::hash(hash, output).await,
        Command::Publish(publish) => remote::publish(publish, output).await,
        Command::Resolve(resolve) => remote::resolve(resolve, output).await,
        Command::Verify(verify) => remote::verify(verify, output).await,
        Command::List { store } => remote::list(&store.url, output).await,
        Command::Gc(gc) => remote::gc(gc, output).await,
        Command::Rollback { store, channel, to, dry } => {
            remote::rollback(&store.url, &channel, to, dry.dry_run, output).await
        }
        Command::Pin { store, id, reason, remove, dry } => {
            remote::pin(&store.url, id, &reason, remove, dry.dry_run, output).await
        }
        Command::Diff { old, new, store, rules } => {
            remote::diff([&old, &new], store.as_deref(), &rules, output).await
        }
        Command::Sri { files, algorithm } => local::sri(&files, algorithm, output),
        Command::Completions { shell } => {
            local::completions(shell);
            Ok(exit::DONE)
        }
    }
}
