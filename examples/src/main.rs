//! The report application: one binary for all of its processes.

use std::io::Write as _;
use std::process::ExitCode;

use standfast_core::BoxError;
use standfast_examples::config::{Command, Config, HELP};
use standfast_examples::jobs;
use standfast_examples::start;
use standfast_examples::wiring::{self, Backends};
use standfast_queue::subprocess::{self, JobProcess};

fn main() -> ExitCode {
    subprocess::init();
    let arguments = std::env::args_os().skip(1);
    let outcome = match Command::parse(arguments, |name| std::env::var_os(name)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Job) => job(),
        Ok(Command::Migrate(config)) => migrate(&config),
        Ok(Command::Run(config)) => run(*config),
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("standfast-report: {error}");
        ExitCode::FAILURE
    })
}

fn job() -> Result<ExitCode, BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(JobProcess::new(()).on(jobs::build_report).run());
    // a report that nobody wants any more is not seen through
    runtime.shutdown_background();
    Ok(code)
}

#[tokio::main]
async fn migrate(config: &Config) -> Result<ExitCode, BoxError> {
    let migrated = wiring::migrate(config).await?;
    println!("the tables of {} are up to date", migrated.join(" and "));
    Ok(ExitCode::SUCCESS)
}

#[tokio::main]
async fn run(config: Config) -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let backends = match Backends::choose(&config).await {
        Ok(backends) => backends,
        Err(words) => {
            eprintln!("standfast-report: {words}");
            return Ok(ExitCode::from(2));
        }
    };
    let (lifecycle, address) = start::start(config, backends).await?;
    // begun before the line, so that whoever waits for that can stop it in order
    let running = tokio::spawn(async move { lifecycle.run().await });
    // the one line that scripts wait for
    let mut stdout = std::io::stdout();
    match address {
        Some(address) => writeln!(stdout, "http://{address}/")?,
        None => writeln!(stdout, "working")?,
    }
    stdout.flush()?;
    Ok(running.await?)
}
