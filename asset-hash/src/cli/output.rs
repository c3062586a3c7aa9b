//! What is printed, and where: results on standard output, everything else on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use standfast_asset_hash::{Progress, Steps};

use super::exit::Failure;

/// How results are printed.
#[derive(Debug)]
pub(super) struct Output {
    is_json: bool,
    is_quiet: bool,
    /// Only for somebody who watches: a log file would fill with it.
    shows_progress: bool,
}

impl Output {
    pub(super) fn new(is_json: bool, is_quiet: bool) -> Self {
        let shows_progress = !is_quiet && std::io::stderr().is_terminal();
        Self { is_json, is_quiet, shows_progress }
    }

    /// Prints the result: as JSON, or as text for people and scripts.
    pub(super) fn result(&self, json: Value, text: impl std::fmt::Display) {
        let text = if self.is_json { json.to_string() } else { text.to_string() };
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return;
        }
        // whoever closed the pipe has read enough
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Says something beside the result.
    pub(super) fn note(&self, text: impl std::fmt::Display) {
        if !self.is_quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    pub(super) fn fail(&self, failure: &Failure) -> ExitCode {
        if self.is_json {
            let error = json!({"error": {
                "kind": failure.kind, "message": failure.message, "exit_code": failure.code,
            }});
            let _ = writeln!(std::io::stdout(), "{error}");
        }
        let _ = writeln!(std::io::stderr(), "error: {}", failure.message);
        ExitCode::from(failure.code)
    }

    /// Waits for `work`, and shows how far it has come while it does.
    pub(super) async fn watch<T>(
        &self,
        what: &str,
        progress: &Progress,
        work: impl Future<Output = T>,
    ) -> T {
        if !self.shows_progress {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(BETWEEN, &mut work).await {
                Ok(done) => {
                    eprint!("\r\x1b[K");
                    return done;
                }
                Err(_) => eprint!("\r\x1b[K{}", line(what, progress.steps())),
            }
        }
    }
}

const BETWEEN: Duration = Duration::from_millis(100);

fn line(what: &str, steps: Steps) -> String {
    const WIDTH: u64 = 24;
    if steps.of_files == 0 {
        return format!("{what} …");
    }
    let share = |whole: u64| match steps.of_bytes {
        0 => steps.files * whole / steps.of_files,
        all => (u128::from(steps.bytes) * u128::from(whole) / u128::from(all)) as u64,
    };
    let full = share(WIDTH).min(WIDTH) as usize;
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH as usize - full));
    let (files, all, percent) = (steps.files, steps.of_files, share(100).min(100));
    format!("{what} [{bar}] {percent:3} %  {files}/{all} files")
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line() {
        assert_eq!(line("hashing", Steps::default()), "hashing …");
        let progress = Progress::new();
        assert!(line("hashing", progress.steps()).ends_with('…'));
        assert_eq!((size(1023), size(1536)), ("1023 B".into(), "1.5 KiB".into()));
    }
}
