#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod claim;
mod config;
mod guard;
mod lock;
mod memory;
mod owner;
mod record;
mod settle;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use claim::{Claim, ClaimOptions, Claimed, Held};
pub use config::{CronLockCapabilities, CronLockConfig};
pub use guard::{CronLockExt, TickGuard, TryClaim, Unsettled};
pub use lock::CronLock;
pub use memory::MemoryCronLock;
pub use owner::Owner;
pub use record::{FormerOwner, RecordQuery, TickRecord, TickState};
pub use settle::{ExtendOutcome, SettleOutcome, Settlement};
