#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod backoff;
mod clock;
mod context;
mod error;
mod fence;
mod health;
mod id;
mod lifecycle;
pub mod random;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "testkit")]
pub mod testkit;
mod tick;

pub use backoff::Backoff;
pub use clock::{Clock, SystemClock, checked_add, saturating_add, to_micros};
pub use context::{BusinessRef, Context, SessionRef};
pub use error::{BoxError, Error, ErrorKind, Reason, Result, never_connected};
pub use fence::Fence;
pub use health::{Health, HealthCheck, Verdict};
pub use id::{Id128, JobId, ParseIdError};
pub use lifecycle::{CancellationToken, Lifecycle, LifecycleConfig, Phase};
pub use tick::{ScheduledRun, Tick};
