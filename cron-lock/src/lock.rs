use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::{Fence, HealthCheck, Result};

use crate::claim::{Claim, ClaimOptions};
use crate::config::CronLockCapabilities;
use crate::owner::Owner;
use crate::record::{RecordQuery, TickRecord};
use crate::settle::{ExtendOutcome, SettleOutcome, Settlement};

/// One record per cron tick, won by one instance: the contract of backends.
///
/// A value is bound to one namespace. All instances of an application open the same namespace with
/// the same [`CronLockConfig`](crate::CronLockConfig), each claims each tick, and one of them wins.
/// Callers use [`CronLockExt`](crate::CronLockExt).
///
/// # Contract
///
/// Each line is a case of the suite, under this number, unless it says who keeps it.
///
/// - **L1** A claim is answered in one step by one of: claimed, held, finished, too early, too old.
/// - **L2** A tick has at most one live owner. The lease is a field of the record; the record
///   outlives it by the retention, so that a claim which comes late is told "finished".
/// - **L3** Fences rise strictly within a namespace: at least the last one plus one, at least the
///   store's time in microseconds, so that they rise even if the last one was lost by a failover.
/// - **L4** An owner is one life of one process, never a host name.
/// - **L5** Extending and settling compare the fence in the same step; who lost the tick is refused.
///   An owner trusts its lease no longer than measured from before its request was sent.
/// - **L6** Abandoning lets anybody claim at once. Nothing deletes a record before its retention.
/// - **L7** When a lease runs out unsettled the next claim takes over, with a new fence, the attempt
///   one higher and the former owner kept; after `max_crashes` of them the store closes the tick.
/// - **L8** The store's time decides what is early, late and expired; no instance's clock takes part.
/// - **L9** A tick that is claimed late carries its own time.
/// - **L10** The cursor is the last tick claimed. A first claim writes it into the record as
///   `previous`, with the schedules evaluated there, and moves it; a takeover reads what is written
///   and moves nothing. A tick before the cursor that has no record is covered by the one after it.
/// - **L11**, **L12** A job's id is derived from schedule and tick ([`JobId::derive`]), and carries
///   the fence: kept by whoever dispatches.
/// - **L13** A claim acknowledged by a store that fails over asynchronously can be lost; then another
///   owner gets a higher fence (L3). A backend says in its documentation where this can happen.
/// - **L14** Instances wake up spread over a moment after the tick: kept by whoever loops.
///
/// Dropping the future of any method leaves it open whether the call took effect; none leaves half
/// of it behind.
///
/// ```
/// use std::sync::Arc;
/// use standfast_cron_lock::{Claim, CronLock, MemoryCronLock, SettleOutcome, Settlement};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let (owner, options) = (Owner::new("web-1"), ClaimOptions::new(Duration::from_secs(30)));
/// let lock: Arc<dyn CronLock> = Arc::new(MemoryCronLock::new("shop")?);
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// let Claim::Claimed(won) = lock.claim(at, &owner, &options).await? else { panic!() };
/// let settled = lock.settle(at, won.tick.fence, &Settlement::finish([])).await?;
/// assert_eq!(settled, SettleOutcome::Settled);
/// # Ok(()) }
/// ```
///
/// [`JobId::derive`]: standfast_core::JobId::derive
#[async_trait]
pub trait CronLock: HealthCheck + Debug + Send + Sync + 'static {
    /// The namespace whose ticks these are.
    fn namespace(&self) -> &str;

    /// What this lock can do, and its limits.
    fn capabilities(&self) -> CronLockCapabilities;

    /// The store's time.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout` when the store does not answer.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// Claims the tick due at `at`, without waiting.
    ///
    /// Died before: nothing happened. Died after the store acted and before the answer came: the
    /// tick is held, by an owner that may not know it, until the lease ends, and is then taken over.
    /// Died later: the same. No tick is lost by it, and what is dispatched twice has the same id.
    ///
    /// # Errors
    ///
    /// `Invalid` before any I/O: no tick of this resolution, a lease or a schedule id out of range.
    /// `Unavailable`, `Timeout` or `OutcomeUnknown`: the tick may be held by this owner nevertheless,
    /// and a repeated claim says so. `Unsupported` with [`Reason::NewerVersion`]: a newer release wrote the record.
    ///
    /// [`Reason::NewerVersion`]: standfast_core::Reason::NewerVersion
    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim>;

    /// Makes the lease of the tick due at `at` end `lease` from now, if `fence` still holds it.
    ///
    /// Died before or between: the old lease runs out. Died after: the new one does. An extension
    /// never shortens a lease.
    ///
    /// # Errors
    ///
    /// `Invalid` for a lease out of range, `Unavailable`, `Timeout`; then the old lease counts.
    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome>;

    /// Settles the tick due at `at`, if `fence` was the last to be given out: even after its lease
    /// ran out, because nobody has taken over and the work is done.
    ///
    /// Died before: the lease runs out and the tick is dispatched again, with the same job ids.
    /// Died after the store acted: it is settled. A repeated call with the same settlement is
    /// answered as the first one was.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout` or `OutcomeUnknown`: repeat the call.
    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome>;

    /// Reads records, oldest first.
    ///
    /// # Errors
    ///
    /// `Invalid` when `limit` exceeds the capability; `Unavailable`, `Timeout`.
    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<L: CronLock + ?Sized> CronLock for $pointer<L> {
            fn namespace(&self) -> &str {
                (**self).namespace()
            }

            fn capabilities(&self) -> CronLockCapabilities {
                (**self).capabilities()
            }

            async fn now(&self) -> Result<DateTime<Utc>> {
                (**self).now().await
            }

            async fn claim(
                &self,
                at: DateTime<Utc>,
                owner: &Owner,
                options: &ClaimOptions,
            ) -> Result<Claim> {
                (**self).claim(at, owner, options).await
            }

            async fn extend(
                &self,
                at: DateTime<Utc>,
                fence: Fence,
                lease: Duration,
            ) -> Result<ExtendOutcome> {
                (**self).extend(at, fence, lease).await
            }

            async fn settle(
                &self,
                at: DateTime<Utc>,
                fence: Fence,
                settlement: &Settlement,
            ) -> Result<SettleOutcome> {
                (**self).settle(at, fence, settlement).await
            }

            async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
                (**self).records(query).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
