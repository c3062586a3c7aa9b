#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod business;
mod ext;
mod field;
mod flash;
mod handler;
#[cfg(feature = "tower")]
pub mod http;
mod init;
mod key;
mod limits;
mod memory;
#[cfg(all(test, any(feature = "postgres", feature = "redis", feature = "tower")))]
mod noise;
mod outcome;
mod patch;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod snapshot;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod stored;
#[cfg(feature = "testkit")]
pub mod testkit;
mod token;
#[cfg(any(feature = "tower-sessions-0-14", feature = "tower-sessions-0-15"))]
pub mod tower_sessions;

pub use ext::{SessionHandlerExt, Started, UpdateOutcome};
pub use field::{Field, FieldName, FieldValue};
pub use flash::{Flash, FlashId, FlashLevel};
pub use handler::SessionHandler;
pub use init::{PrincipalChange, Rotation, RotationKind, SessionInit, Timeouts};
pub use key::{Key, Merge};
pub use limits::{SessionCapabilities, SessionLimits};
pub use memory::MemorySessionHandler;
pub use outcome::{
    CommitOutcome, Conflict, CreateOutcome, DestroyOutcome, LoadOutcome, RotateOutcome, Swept,
    TouchOutcome,
};
pub use patch::{FieldChange, FieldOp, Patch};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresBusinessStore, PostgresSessionHandler};
#[cfg(feature = "redis")]
pub use redis::{RedisSessionConfig, RedisSessionHandler};
pub use snapshot::{SessionSummary, Snapshot, Via};
pub use token::{Access, SessionToken, VerifierHash};
