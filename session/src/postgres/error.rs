//! What the errors of the database mean.

use sqlx::Error as Sql;
use standfast_core::{Error, ErrorKind, Reason};

use super::BACKEND;

/// An error before the commit: nothing has happened, because the transaction ends with it.
pub(super) fn failed(operation: &'static str) -> impl FnOnce(Sql) -> Error {
    move |error| of(operation, error)
}

/// An error of the commit itself: it may have happened, also where a server that shuts down or
/// crashes says so while it commits.
pub(super) fn unsure(operation: &'static str) -> impl FnOnce(Sql) -> Error {
    move |error| match error {
        Sql::Database(ref refused)
            if !refused.code().is_some_and(|code| code.starts_with("57P")) =>
        {
            of(operation, error)
        }
        other => Error::new(ErrorKind::OutcomeUnknown, BACKEND, operation)
            .with_detail("the connection ended during the commit")
            .with_source(other),
    }
}

fn of(operation: &'static str, error: Sql) -> Error {
    let make = |kind| Error::new(kind, BACKEND, operation);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    let made = match (&error, &*code) {
        (Sql::Database(_), "42P01" | "42703" | "3F000") => make(ErrorKind::Unsupported)
            .with_detail("the tables are missing or old: call `migrate` once"),
        (Sql::Database(_), "40001" | "40P01" | "55P03") => {
            make(ErrorKind::Unavailable).with_detail("others hold the rows")
        }
        (Sql::Database(_), "53100" | "53200") => {
            make(ErrorKind::Unavailable).with_reason(Reason::NoSpace)
        }
        (Sql::Database(_), "57014") => make(ErrorKind::Timeout),
        (Sql::Database(_), code) if code.starts_with("28") || code == "42501" => {
            make(ErrorKind::Denied)
        }
        (Sql::Database(_), code)
            if ["08", "53", "57", "25006"].iter().any(|class| code.starts_with(class)) =>
        {
            make(ErrorKind::Unavailable)
        }
        (
            Sql::Io(_)
            | Sql::PoolTimedOut
            | Sql::PoolClosed
            | Sql::WorkerCrashed
            | Sql::Protocol(_),
            _,
        ) => make(ErrorKind::Unavailable),
        (Sql::Tls(_), _) => make(ErrorKind::Unavailable),
        (Sql::ColumnDecode { .. } | Sql::Decode(_) | Sql::ColumnNotFound(_), _) => {
            make(ErrorKind::Corrupt)
        }
        _ => make(ErrorKind::Unexpected),
    };
    made.with_source(error)
}
