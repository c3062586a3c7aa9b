use std::time::Instant;

use chrono::{DateTime, Utc};
use standfast_core::{Fence, JobId};

use crate::owner::Owner;

/// How an owner parts with its tick.
///
/// ```
/// use standfast_cron_lock::Settlement;
///
/// assert_eq!(Settlement::fail("queue is full"), Settlement::Fail { error: "queue is full".into() });
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Settlement {
    /// Lets it go, so that anybody may claim it at once. Does not count as a crash.
    Abandon,
    /// Gives up on it for good.
    Fail {
        /// Why, for people.
        error: String,
    },
    /// All that was due has been dispatched.
    Finish {
        /// The jobs that were dispatched.
        jobs: Vec<JobId>,
    },
}

impl Settlement {
    /// Gives up on the tick for good. The text is cut at 4 KiB.
    pub fn fail(error: impl Into<String>) -> Self {
        const LIMIT: usize = 4096;
        let mut error = error.into();
        error.truncate(error.floor_char_boundary(LIMIT));
        Self::Fail { error }
    }

    /// All that was due has been dispatched, as `jobs`.
    pub fn finish(jobs: impl IntoIterator<Item = JobId>) -> Self {
        Self::Finish { jobs: jobs.into_iter().collect() }
    }
}

/// The answer to a [`Settlement`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum SettleOutcome {
    /// The tick has gone to somebody else, or was settled otherwise; nothing was changed.
    Fenced {
        /// The last owner.
        owner: Owner,
        /// Its fence.
        fence: Fence,
    },
    /// There is no record of the tick.
    Missing,
    /// Settled, now or by an earlier call that asked for the same.
    Settled,
}

/// The answer to an extension.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum ExtendOutcome {
    /// The lease runs anew from now on.
    Extended {
        /// When it ends, by the store's time.
        lease_until: DateTime<Utc>,
        /// Until when this process may believe that it owns the tick.
        trusted_until: Instant,
    },
    /// The tick has gone to somebody else or is settled.
    Fenced {
        /// The last owner.
        owner: Owner,
        /// Its fence.
        fence: Fence,
    },
    /// The lease ran out before; nobody has claimed the tick yet.
    Lapsed,
    /// There is no record of the tick.
    Missing,
}
