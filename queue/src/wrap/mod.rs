//! Queues made of queues: each decorator implements [`Queue`](crate::Queue) itself, so that they
//! nest in any order.
//!
//! | decorator | what it adds |
//! |---|---|
//! | `Archived` (feature `blobstore`) | an archive of every message, and replay from it |
//! | `ClaimCheck` (feature `blobstore`) | large bodies in a blob store |
//! | [`Coalescing`] | concurrent sends and settles go out together |
//! | [`Prioritized`] | priorities, where a backend has none: one queue for each |
//! | [`Sharded`] | one queue spread over several |
//! | [`Traced`], [`TracedStatus`] | spans and metrics at the boundary |
//!
//! Nothing here waits for company unless it is told to, and nothing is lost between the layers: a
//! receipt remembers which queue it came from, and whatever a layer holds back it gives back.

#[cfg(feature = "blobstore")]
mod archived;
mod calls;
#[cfg(feature = "blobstore")]
mod claim_check;
mod coalescing;
mod delegate;
mod lane;
mod many;
mod meter;
mod prioritized;
mod sharded;
#[cfg(feature = "blobstore")]
mod stored;
mod traced;
mod traced_status;

#[cfg(feature = "blobstore")]
pub use archived::{
    Archive, ArchiveConfig, ArchiveEvent, ArchiveReceived, ArchiveRecord, ArchiveRecords, Archived,
    Replay, ReplayFilter, Replayed,
};
#[cfg(feature = "blobstore")]
pub use claim_check::{ClaimCheck, ClaimCheckConfig};
pub use coalescing::{Coalescing, CoalescingConfig};
pub use prioritized::Prioritized;
pub use sharded::Sharded;
pub use traced::Traced;
pub use traced_status::TracedStatus;

pub(crate) use delegate::delegate_operators;
