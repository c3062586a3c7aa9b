//! Looks into an archive of messages and sends them again.

mod args;
mod places;
mod show;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::BoxError;
use standfast_queue::wrap::{
    Archive, ArchiveConfig, ArchiveReceived, ArchiveRecord, Archived, ReplayFilter, Replayed,
};

use self::args::{Arguments, Command, HELP};

/// Something was refused or could not be read; all else is done.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let arguments = match args::parse(std::env::args_os().skip(1), environment) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            return finish(write!(io::stdout(), "{HELP}").map(|()| ExitCode::SUCCESS));
        }
        Err(words) => {
            eprintln!("standfast-replay: {words}\nTry `standfast-replay --help`.");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("standfast-replay: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => match error.downcast::<io::Error>() {
            Ok(error) => finish(Err(*error)),
            Err(error) => {
                eprintln!("standfast-replay: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// A reader that has seen enough is no failure.
fn finish(written: io::Result<ExitCode>) -> ExitCode {
    match written {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standfast-replay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, BoxError> {
    let store = places::store(&arguments.store).await?;
    let archive = Archive::new(Arc::clone(&store), arguments.prefix.as_str())?;
    match &arguments.command {
        Command::List { limit } => list(&archive, &arguments, *limit).await,
        Command::Inspect { body } => inspect(&archive, &arguments, *body).await,
        Command::Replay { queue, name, rate, is_dry } => {
            let replay = archive.replay(name.as_str(), arguments.filter.clone());
            let replay = rate.iter().fold(replay, |replay, rate| replay.rate(*rate));
            let done = if *is_dry {
                replay.dry_run().await?
            } else {
                // what is sent again is archived again, so that the next replay knows its run
                let mut config = ArchiveConfig::default();
                config.prefix = arguments.prefix.clone();
                config.linger = Duration::ZERO;
                config.received = ArchiveReceived::Not;
                if let Some(keep_for) = arguments.keep_for {
                    config.keep_for = keep_for;
                }
                let queue = places::queue(queue.as_deref(), &store, arguments.claims.as_deref())?;
                let queue = Archived::with_config(queue, store, config)?;
                let done = replay.run(&queue).await;
                queue.flush().await;
                done?
            };
            show::replayed(&mut io::stdout().lock(), name, *is_dry, &done, arguments.is_json)?;
            Ok(code(&done))
        }
    }
}

fn code(done: &Replayed) -> ExitCode {
    let is_whole = done.refused + done.damaged + done.truncated == 0;
    if is_whole { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

/// Whether a record is to be shown: those without a message match by kind and id.
fn is_meant(filter: &ReplayFilter, record: &ArchiveRecord) -> bool {
    if record.envelope.is_some() || !filter.headers.is_empty() {
        return filter.matches(record);
    }
    filter.kind.as_ref().is_none_or(|kind| *kind == record.kind)
        && filter.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
}

async fn list(
    archive: &Archive,
    arguments: &Arguments,
    limit: usize,
) -> Result<ExitCode, BoxError> {
    let filter = &arguments.filter;
    let mut records = archive.records(filter.since, filter.until);
    let mut shown = 0;
    while shown < limit
        && let Some(record) = records.next().await?
    {
        if is_meant(filter, &record) {
            show::line(&mut io::stdout().lock(), &record, arguments.is_json)?;
            shown += 1;
        }
    }
    Ok(read_code(records.damaged() + records.truncated()))
}

async fn inspect(
    archive: &Archive,
    arguments: &Arguments,
    body: bool,
) -> Result<ExitCode, BoxError> {
    let filter = &arguments.filter;
    let mut records = archive.records(filter.since, filter.until);
    let (mut found, mut last) = (0, None);
    while let Some(record) = records.next().await? {
        if !is_meant(filter, &record) {
            continue;
        }
        found += 1;
        if body {
            last = record.envelope.or(last);
        } else {
            show::whole(&mut io::stdout().lock(), &record, arguments.is_json)?;
        }
    }
    if found == 0 {
        return Err("no such message in the archive".into());
    }
    if let Some(envelope) = last {
        io::stdout().lock().write_all(&envelope.body)?;
    }
    Ok(read_code(records.damaged() + records.truncated()))
}

fn read_code(unreadable: u64) -> ExitCode {
    if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}
