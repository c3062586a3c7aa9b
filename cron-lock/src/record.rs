use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use standfast_core::{Fence, JobId};

use crate::owner::Owner;

/// Where a tick stands.
///
/// ```
/// use standfast_cron_lock::{CronLock, RecordQuery, TickState};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, CronLockExt, MemoryCronLock, Owner, TryClaim};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let (owner, options) = (Owner::new("web-1"), ClaimOptions::new(Duration::from_secs(30)));
/// # let TryClaim::Won(guard) = lock.try_claim(at, &owner, &options).await? else { panic!() };
/// let _settled = guard.fail("the queue is full").await?;
/// let records = lock.records(&RecordQuery::default()).await?;
/// assert_eq!(records[0].state, TickState::Failed);
/// assert!(records[0].state.is_finished()); // and not claimed again
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TickState {
    /// Its owner let it go; anybody may claim it at once.
    Abandoned,
    /// Somebody owns it, or did until the lease ran out.
    Claimed,
    /// Its owner dispatched what was due.
    Done,
    /// Too many owners let their lease run out; the store closed it.
    Exhausted,
    /// Its owner gave up on it, with an error.
    Failed,
}

impl TickState {
    /// Whether the tick is settled for good.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Exhausted | Self::Failed)
    }
}

/// An owner that lost a tick or let it go.
///
/// ```
/// use standfast_core::testkit::ManualClock;
/// use standfast_cron_lock::{CronLock, Owner, RecordQuery};
/// # use std::{sync::Arc, time::Duration};
/// # use standfast_cron_lock::{ClaimOptions, CronLockConfig, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let clock = ManualClock::new();
/// # let config = CronLockConfig::default();
/// # let lock = MemoryCronLock::with_config("shop", config, Arc::new(clock.clone()))?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let options = ClaimOptions::new(Duration::from_secs(30));
/// let (first, second) = (Owner::new("web-1"), Owner::new("web-2"));
/// let _won = lock.claim(at, &first, &options).await?;
/// clock.advance(options.lease); // web-1 is never heard of again
/// let _taken = lock.claim(at, &second, &options).await?;
/// let record = lock.records(&RecordQuery::default()).await?.remove(0);
/// assert_eq!((&record.owner, &record.former[0].owner), (&second, &first));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FormerOwner {
    /// Who it was.
    pub owner: Owner,
    /// The fence it held.
    pub fence: Fence,
    /// When it claimed the tick.
    pub claimed_at: DateTime<Utc>,
    /// When its lease ended.
    pub lease_until: DateTime<Utc>,
}

/// What the store remembers of one tick, long after its lease.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{ClaimOptions, CronLock, MemoryCronLock, Owner, RecordQuery};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let lock = MemoryCronLock::new("shop")?;
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// let owner = Owner::new("web-1");
/// let _won = lock.claim(at, &owner, &ClaimOptions::new(Duration::from_secs(30))).await?;
/// let records = lock.records(&RecordQuery::default()).await?;
/// assert_eq!(records[0].owner, owner);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TickRecord {
    /// When the tick was due.
    pub at: DateTime<Utc>,
    /// The tick before it, written at the first claim and never changed.
    pub previous: Option<DateTime<Utc>>,
    /// The schedules evaluated at the tick before it, written at the first claim and never changed.
    pub known: BTreeSet<String>,
    /// The schedules that any of its owners evaluated.
    pub schedules: BTreeSet<String>,
    /// Where it stands.
    pub state: TickState,
    /// The last owner.
    pub owner: Owner,
    /// The last fence.
    pub fence: Fence,
    /// How many owners there were.
    pub attempt: u32,
    /// How many of them let their lease run out.
    pub crashes: u32,
    /// When the first owner claimed it.
    pub first_claimed_at: DateTime<Utc>,
    /// When the last owner claimed it.
    pub claimed_at: DateTime<Utc>,
    /// When the lease ends or ended.
    pub lease_until: DateTime<Utc>,
    /// When it was settled for good.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<String>,
    /// The jobs that were dispatched.
    pub jobs: Vec<JobId>,
    /// The owners before the last one, oldest first; the newest ten.
    pub former: Vec<FormerOwner>,
}

impl TickRecord {
    /// How many former owners a record keeps.
    pub const MAX_FORMER: usize = 10;

    /// The record of a first claim, made at `now`.
    pub fn first(
        at: DateTime<Utc>,
        owner: Owner,
        fence: Fence,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Self {
        Self {
            at,
            previous: None,
            known: BTreeSet::new(),
            schedules: BTreeSet::new(),
            state: TickState::Claimed,
            owner,
            fence,
            attempt: 1,
            crashes: 0,
            first_claimed_at: now,
            claimed_at: now,
            lease_until,
            finished_at: None,
            error: None,
            jobs: Vec::new(),
            former: Vec::new(),
        }
    }

    /// Hands the tick from its owner to the next one, at `now`.
    pub fn take_over(
        &mut self,
        owner: Owner,
        fence: Fence,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) {
        if self.former.len() == Self::MAX_FORMER {
            self.former.remove(0);
        }
        self.former.push(FormerOwner {
            owner: std::mem::replace(&mut self.owner, owner),
            fence: std::mem::replace(&mut self.fence, fence),
            claimed_at: std::mem::replace(&mut self.claimed_at, now),
            lease_until: std::mem::replace(&mut self.lease_until, lease_until),
        });
        self.attempt += 1;
        self.state = TickState::Claimed;
    }
}

/// Which records to read: those after one instant and up to another, oldest first.
///
/// ```
/// use standfast_cron_lock::RecordQuery;
///
/// let mut query = RecordQuery::default();
/// query.after = Some("2026-03-01T11:30:00Z".parse().unwrap());
/// query.limit = 10;
/// assert_eq!(query.until, None);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// Only ticks later than this.
    pub after: Option<DateTime<Utc>>,
    /// Only ticks up to and including this.
    pub until: Option<DateTime<Utc>>,
    /// At most this many; 1,000 by default. As many as asked for may mean that there are more:
    /// go on after the last one.
    pub limit: usize,
}

impl Default for RecordQuery {
    fn default() -> Self {
        Self { after: None, until: None, limit: 1_000 }
    }
}
