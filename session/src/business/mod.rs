//! Business sessions: the record of one piece of business, appended to and never purged.
//!
//! A web session ends; the order that was placed in it, or the report that was asked for, must be
//! answerable for years. A [`BusinessStore`] keeps, for each piece of business, the events that led
//! to what it is now: who changed what, from what to what, in which request and session. Its state
//! is a projection of them. There is no way to delete, and a chain of hashes tells whether somebody
//! did it anyway.

mod change;
mod event;
mod ext;
mod hash;
mod memory;
mod meta;
mod outcome;
mod state;
mod store;

pub use change::{BusinessChange, ChangeOp, Changes};
pub use event::{BusinessEvent, EventKind};
#[cfg(feature = "postgres")]
pub(crate) use event::{Head, check, check_name};
pub use ext::{BusinessStoreExt, Verification};
pub use hash::EventHash;
#[cfg(feature = "postgres")]
pub(crate) use memory::MAX_EVENT;
pub use memory::MemoryBusinessStore;
pub use meta::{Actor, BusinessMeta};
pub use outcome::Append;
pub use state::{At, BusinessState};
#[cfg(feature = "postgres")]
pub(crate) use store::SINCE;
pub use store::{BusinessCapabilities, BusinessStore, Expected, Lookup};
