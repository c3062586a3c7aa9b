//! How the program ends.

use standfast_core::{Error, ErrorKind, Reason};

pub(super) const DONE: u8 = 0;
pub(super) const WRONG: u8 = 1;
const USAGE: u8 = 2;
const MISSING: u8 = 3;
pub(super) const DIFFERS: u8 = 4;
const CONFLICT: u8 = 5;
const TEMPORARY: u8 = 6;

/// What went wrong, and the exit code that says so.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Failure {
    /// The command line asks for what there is not.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, kind: "usage", message: message.into() }
    }

    pub(super) fn io(what: &str, error: &std::io::Error) -> Self {
        let (code, kind) = match error.kind() {
            std::io::ErrorKind::NotFound => (MISSING, "not found"),
            std::io::ErrorKind::PermissionDenied => (WRONG, "denied"),
            _ => (WRONG, "unexpected"),
        };
        Self { code, kind, message: format!("{what}: {error}") }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            _ if error.reason() == Some(Reason::ChangedDuringRead) => TEMPORARY,
            _ if error.is_retryable() => TEMPORARY,
            ErrorKind::OutcomeUnknown | ErrorKind::Cancelled => TEMPORARY,
            ErrorKind::NotFound => MISSING,
            ErrorKind::Checksum | ErrorKind::Corrupt => DIFFERS,
            ErrorKind::Conflict => CONFLICT,
            _ => WRONG,
        };
        Self { code, kind: error.kind().as_str(), message: error.to_string() }
    }
}
