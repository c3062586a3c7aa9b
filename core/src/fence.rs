use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that rises each time a resource changes hands.
///
/// Comparable only within the resource that issued it: the fence of a cron tick guards that
/// tick's record and says nothing about any other tick.
///
/// ```
/// use standfast_core::Fence;
///
/// let first = Fence::new(7);
/// let second = Fence::new(8);
/// assert!(second.supersedes(first));
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Fence(u64);

impl Fence {
    /// The fence with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether a holder of `other` has lost the resource to the holder of this fence.
    pub const fn supersedes(self, other: Self) -> bool {
        self.0 > other.0
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
