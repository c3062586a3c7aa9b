#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod claim;
mod config;
#[cfg(feature = "cron")]
mod due;
#[cfg(feature = "cron")]
mod explain;
mod guard;
#[cfg(feature = "cron")]
mod ledger;
mod lock;
mod memory;
mod owner;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "cron")]
mod runner;
#[cfg(feature = "cron")]
mod schedule;
mod settle;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use claim::{Claim, ClaimOptions, Claimed, Held};
pub use config::{CronLockCapabilities, CronLockConfig};
#[cfg(feature = "cron")]
pub use explain::{Explanation, Fate};
pub use guard::{CronLockExt, TickGuard, TryClaim, Unsettled};
#[cfg(feature = "cron")]
pub use ledger::CronLedger;
pub use lock::CronLock;
pub use memory::MemoryCronLock;
pub use owner::Owner;
pub use record::{FormerOwner, RecordQuery, TickRecord, TickState};
#[cfg(feature = "redis")]
pub use redis::{RedisCronConfig, RedisCronLock};
#[cfg(feature = "cron")]
pub use runner::{Cron, CronConfig, CronHealth, CronReport, Dispatched};
#[cfg(feature = "cron")]
pub use schedule::{
    CatchUp, ClockChange, Occurrences, Recurrence, Schedule, SimulatedRun, Simulation, Span,
    StillRunning, at, cron, custom, daily_at, every,
};
pub use settle::{ExtendOutcome, SettleOutcome, Settlement};
