use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::{Clock, Error, JobId, Result, Tick};

use crate::claim::{Claim, ClaimOptions, Claimed};
use crate::lock::CronLock;
use crate::owner::Owner;
use crate::settle::{ExtendOutcome, SettleOutcome, Settlement};

/// What callers do with a [`CronLock`]. Every lock has it.
///
/// ```
/// use standfast_cron_lock::{CronLockExt, SettleOutcome, TryClaim};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, CronLock, MemoryCronLock, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let (owner, options) = (Owner::new("web-1"), ClaimOptions::new(Duration::from_secs(30)));
/// let TryClaim::Won(guard) = lock.try_claim(at, &owner, &options).await? else { panic!() };
/// // this process is told to stop: let another one have the tick at once
/// assert_eq!(guard.abandon().await?, SettleOutcome::Settled);
/// # Ok(()) }
/// ```
pub trait CronLockExt: CronLock {
    /// Claims the tick due at `at` and guards what was won.
    ///
    /// # Errors
    ///
    /// As [`CronLock::claim`].
    fn try_claim<'a>(
        &'a self,
        at: DateTime<Utc>,
        owner: &'a Owner,
        options: &'a ClaimOptions,
    ) -> impl Future<Output = Result<TryClaim<'a, Self>>> + Send {
        async move {
            Ok(match self.claim(at, owner, options).await? {
                Claim::Claimed(claimed) => {
                    TryClaim::Won(TickGuard { lock: self, claimed, is_settled: false })
                }
                other => TryClaim::Lost(other),
            })
        }
    }
}

impl<L: CronLock + ?Sized> CronLockExt for L {}

/// The answer to [`CronLockExt::try_claim`].
///
/// ```
/// use standfast_cron_lock::{Claim, CronLockExt, Owner, TryClaim};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, CronLock, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let options = ClaimOptions::new(Duration::from_secs(30));
/// let (first, second) = (Owner::new("web-1"), Owner::new("web-2"));
/// let _won = lock.try_claim(at, &first, &options).await?;
/// match lock.try_claim(at, &second, &options).await? {
///     TryClaim::Lost(Claim::Held(held)) => assert_eq!(held.owner, first),
///     other => panic!("two owners of one tick: {other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum TryClaim<'a, L: CronLock + ?Sized> {
    /// Not won, and why; never [`Claim::Claimed`].
    Lost(Claim),
    /// Won.
    Won(TickGuard<'a, L>),
}

/// A tick that this process owns. Whatever settles it consumes it.
///
/// Dropping it does no I/O: the loss is logged, and the lease runs out, after which another
/// instance takes over.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{
///     ClaimOptions, CronLock, CronLockExt, MemoryCronLock, Owner, SettleOutcome, TryClaim,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let (lock, owner) = (MemoryCronLock::new("shop")?, Owner::new("web-1"));
/// let options = ClaimOptions::new(Duration::from_secs(30));
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// if let TryClaim::Won(guard) = lock.try_claim(at, &owner, &options).await? {
///     // … dispatch what is due at guard.tick().at …
///     assert_eq!(guard.finish([]).await?, SettleOutcome::Settled);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a tick that is not settled is claimed again when its lease runs out"]
pub struct TickGuard<'a, L: CronLock + ?Sized> {
    lock: &'a L,
    claimed: Claimed,
    is_settled: bool,
}

impl<'a, L: CronLock + ?Sized> TickGuard<'a, L> {
    /// The tick. Its time is what listeners get, however late it is.
    pub fn tick(&self) -> &Tick {
        &self.claimed.tick
    }

    /// Everything the store said when the tick was won or last extended.
    pub fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// Until when this process may believe that it owns the tick.
    pub fn trusted_until(&self) -> Instant {
        self.claimed.trusted_until
    }

    /// Returns when the lease can no longer be trusted: stop dispatching then.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect.
    pub async fn lost(&self, clock: &dyn Clock) {
        clock.sleep_until(self.claimed.trusted_until).await;
    }

    /// Makes the lease end `lease` from now, if the tick is still owned.
    ///
    /// # Errors
    ///
    /// As [`CronLock::extend`]; the old lease counts then.
    pub async fn extend(&mut self, lease: Duration) -> Result<ExtendOutcome> {
        let Tick { at, fence, .. } = self.claimed.tick;
        let outcome = self.lock.extend(at, fence, lease).await?;
        if let ExtendOutcome::Extended { lease_until, trusted_until } = outcome {
            self.claimed.lease_until = lease_until;
            self.claimed.trusted_until = trusted_until;
        }
        Ok(outcome)
    }

    /// Records that all that was due has been dispatched, as `jobs`.
    ///
    /// # Errors
    ///
    /// [`Unsettled`] gives the guard back, so that the call can be repeated.
    pub async fn finish(
        self,
        jobs: impl IntoIterator<Item = JobId> + Send,
    ) -> Result<SettleOutcome, Unsettled<'a, L>> {
        let settlement = Settlement::finish(jobs);
        self.settle(settlement).await
    }

    /// Gives up on the tick for good.
    ///
    /// # Errors
    ///
    /// [`Unsettled`] gives the guard back, so that the call can be repeated.
    pub async fn fail(
        self,
        error: impl Into<String> + Send,
    ) -> Result<SettleOutcome, Unsettled<'a, L>> {
        let settlement = Settlement::fail(error);
        self.settle(settlement).await
    }

    /// Lets the tick go, so that another instance may claim it at once.
    ///
    /// # Errors
    ///
    /// [`Unsettled`] gives the guard back, so that the call can be repeated.
    pub async fn abandon(self) -> Result<SettleOutcome, Unsettled<'a, L>> {
        self.settle(Settlement::Abandon).await
    }

    async fn settle(mut self, settlement: Settlement) -> Result<SettleOutcome, Unsettled<'a, L>> {
        let Tick { at, fence, .. } = self.claimed.tick;
        match self.lock.settle(at, fence, &settlement).await {
            Ok(outcome) => {
                self.is_settled = true;
                Ok(outcome)
            }
            Err(error) => Err(Unsettled { guard: self, error }),
        }
    }
}

impl<L: CronLock + ?Sized> fmt::Debug for TickGuard<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TickGuard").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

impl<L: CronLock + ?Sized> Drop for TickGuard<'_, L> {
    fn drop(&mut self) {
        if !self.is_settled {
            let Tick { namespace, at, fence, .. } = &self.claimed.tick;
            tracing::warn!(%namespace, %at, %fence, "tick dropped unsettled; its lease runs out");
        }
    }
}

/// A tick whose settlement did not get through. The tick may be settled nevertheless; repeating
/// the call is safe.
///
/// ```
/// use standfast_core::Result;
/// use standfast_cron_lock::{CronLock, SettleOutcome, TickGuard, Unsettled};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, CronLockExt, MemoryCronLock, Owner, TryClaim};
///
/// async fn finish<L: CronLock>(guard: TickGuard<'_, L>) -> Result<SettleOutcome> {
///     match guard.finish([]).await {
///         Err(Unsettled { guard, error }) if error.is_retryable() => Ok(guard.finish([]).await?),
///         other => Ok(other?),
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let (owner, options) = (Owner::new("web-1"), ClaimOptions::new(Duration::from_secs(30)));
/// # let TryClaim::Won(guard) = lock.try_claim(at, &owner, &options).await? else { panic!() };
/// # assert_eq!(finish(guard).await?, SettleOutcome::Settled);
/// # Ok(()) }
/// ```
#[must_use]
pub struct Unsettled<'a, L: CronLock + ?Sized> {
    /// The tick, still owned as far as this process knows.
    pub guard: TickGuard<'a, L>,
    /// What went wrong.
    pub error: Error,
}

impl<L: CronLock + ?Sized> fmt::Debug for Unsettled<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsettled").field("guard", &self.guard).field("error", &self.error).finish()
    }
}

impl<L: CronLock + ?Sized> fmt::Display for Unsettled<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tick of {} not settled", self.guard.tick().at)
    }
}

impl<L: CronLock + ?Sized> StdError for Unsettled<'_, L> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

impl<L: CronLock + ?Sized> From<Unsettled<'_, L>> for Error {
    fn from(unsettled: Unsettled<'_, L>) -> Self {
        unsettled.error.clone()
    }
}
