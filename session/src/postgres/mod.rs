//! Sessions and business sessions in PostgreSQL. Feature `postgres`.
//!
//! # Tables, version 1
//!
//! `migrate` makes them, when it is called; nothing else does. Times are microseconds since 1970 by
//! the server's clock.
//!
//! | table | row |
//! |---|---|
//! | `standfast_schema` | an area, `session` or `business`, and the version of its tables |
//! | `standfast_session` | a session: hash of its secret, and of the one before it and until when that is taken; times, version, whose it is; its fields as one value, each after its name as `redis/mod.rs` describes it, both after their lengths (4 bytes) |
//! | `standfast_business` | where a business session stands: number and hash of its last event, its state |
//! | `standfast_business_event` | an event as JSON text, and what it is found by; a trigger refuses to change or to remove one |
//!
//! A change locks its row, so changes of one session come one after the other; what waits is one
//! connection of the pool.

mod business;
mod error;
mod schema;
mod session;

pub use business::PostgresBusinessStore;
pub use session::PostgresSessionHandler;

const BACKEND: &str = "postgres";

/// The server's time, in microseconds.
macro_rules! now {
    () => {
        "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
    };
}
use now;

/// A pool that connects when it is first used.
fn lazy(url: &str) -> standfast_core::Result<sqlx::PgPool> {
    let options =
        sqlx::postgres::PgPoolOptions::new().acquire_timeout(std::time::Duration::from_secs(5));
    options.connect_lazy(url).map_err(|_| {
        // the URL may have a password in it, and the error may repeat it
        standfast_core::Error::new(standfast_core::ErrorKind::Invalid, BACKEND, "postgres.open")
            .with_detail("a URL is postgres://user:password@host:5432/database")
    })
}
