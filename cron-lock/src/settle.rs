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
///
/// ```
/// use standfast_core::testkit::ManualClock;
/// use standfast_cron_lock::{CronLockExt, Owner, SettleOutcome, TryClaim};
/// # use std::{sync::Arc, time::Duration};
/// # use standfast_cron_lock::{ClaimOptions, CronLock, CronLockConfig, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let clock = ManualClock::new();
/// # let config = CronLockConfig::default();
/// # let lock = MemoryCronLock::with_config("shop", config, Arc::new(clock.clone()))?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let options = ClaimOptions::new(Duration::from_secs(30));
/// # let (first, second) = (Owner::new("web-1"), Owner::new("web-2"));
/// let TryClaim::Won(guard) = lock.try_claim(at, &first, &options).await? else { panic!() };
/// clock.advance(options.lease); // web-1 pauses too long
/// let _taken = lock.try_claim(at, &second, &options).await?;
/// match guard.finish([]).await? {
///     SettleOutcome::Fenced { owner, .. } => assert_eq!(owner, second),
///     other => panic!("the tick had two owners: {other:?}"),
/// }
/// # Ok(()) }
/// ```
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
///
/// ```
/// use standfast_core::testkit::ManualClock;
/// use standfast_cron_lock::{CronLockExt, ExtendOutcome, TryClaim};
/// # use std::{sync::Arc, time::Duration};
/// # use standfast_cron_lock::{ClaimOptions, CronLock, CronLockConfig, MemoryCronLock, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let clock = ManualClock::new();
/// # let config = CronLockConfig::default();
/// # let lock = MemoryCronLock::with_config("shop", config, Arc::new(clock.clone()))?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let options = ClaimOptions::new(Duration::from_secs(30));
/// # let owner = Owner::new("web-1");
/// let TryClaim::Won(mut guard) = lock.try_claim(at, &owner, &options).await? else { panic!() };
/// clock.advance(options.lease / 2);
/// let extended = guard.extend(options.lease).await?;
/// assert!(matches!(extended, ExtendOutcome::Extended { .. }));
/// clock.advance(options.lease);
/// assert_eq!(guard.extend(options.lease).await?, ExtendOutcome::Lapsed);
/// # Ok(()) }
/// ```
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
