use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_core::{Fence, Tick};

use crate::owner::Owner;
use crate::record::TickRecord;

/// What a claim asks for.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::ClaimOptions;
///
/// let options = ClaimOptions::new(Duration::from_secs(30)).with_schedules(["invoices", "sync"]);
/// assert!(options.schedules.contains("sync"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClaimOptions {
    /// How long the tick is held unless the lease is extended.
    pub lease: Duration,
    /// The ids of the schedules that the claimant will evaluate. They are stored with the record,
    /// so that the winner of the next tick can tell a schedule that is new.
    pub schedules: BTreeSet<String>,
}

impl ClaimOptions {
    /// A claim for `lease` that evaluates no schedules.
    pub fn new(lease: Duration) -> Self {
        Self { lease, schedules: BTreeSet::new() }
    }

    /// The ids of the schedules that the claimant will evaluate.
    #[must_use]
    pub fn with_schedules<S: Into<String>>(self, ids: impl IntoIterator<Item = S>) -> Self {
        Self { schedules: ids.into_iter().map(Into::into).collect(), ..self }
    }
}

/// The answer to a claim. Only [`Claimed`](Claim::Claimed) permits to dispatch.
///
/// ```
/// use standfast_cron_lock::{Claim, CronLock};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, MemoryCronLock, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let (owner, options) = (Owner::new("web-1"), ClaimOptions::new(Duration::from_secs(30)));
/// let answer = match lock.claim(at, &owner, &options).await? {
///     Claim::Claimed(won) => format!("ours until {}", won.lease_until),
///     Claim::Held(held) => format!("{} has it for another {:?}", held.owner, held.remaining),
///     Claim::Finished(record) => format!("{:?} by {}", record.state, record.owner),
///     _ => "nothing to win".to_owned(),
/// };
/// assert!(answer.starts_with("ours"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Claim {
    /// The claimant owns the tick until its lease ends.
    Claimed(Claimed),
    /// The tick is settled; this is its record.
    Finished(TickRecord),
    /// Somebody owns the tick now. It may be this very owner, by a claim whose answer was lost.
    Held(Held),
    /// The tick lies in the future of the store.
    TooEarly {
        /// The store's time.
        now: DateTime<Utc>,
    },
    /// The tick is too late to be claimed, or a later tick was recorded without it and covers it.
    TooOld {
        /// The store's time.
        now: DateTime<Utc>,
        /// The last tick that was ever claimed.
        cursor: Option<DateTime<Utc>>,
    },
}

/// A tick that was won.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{Claim, ClaimOptions, CronLock, MemoryCronLock, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let lock = MemoryCronLock::new("shop")?;
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// let options = ClaimOptions::new(Duration::from_secs(30));
/// let Claim::Claimed(won) = lock.claim(at, &Owner::new("web-1"), &options).await? else {
///     unreachable!("nobody else is here")
/// };
/// assert_eq!((won.tick.at, won.tick.attempt, won.tick.previous), (at, 1, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The tick: its own time, the tick before it, the fence and which owner this is.
    pub tick: Tick,
    /// The schedules that were evaluated at the tick before. One that is absent is new, and what
    /// it would have done earlier is not made up for.
    pub known: BTreeSet<String>,
    /// The store's time of the claim.
    pub now: DateTime<Utc>,
    /// When the lease ends, by the store's time.
    pub lease_until: DateTime<Utc>,
    /// Until when this process may believe that it owns the tick: measured on its own monotonic
    /// clock from before the request was sent, so never later than the store's answer.
    pub trusted_until: Instant,
}

impl Claimed {
    /// A tick that was won, with nothing known before it.
    pub fn new(
        tick: Tick,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        trusted_until: Instant,
    ) -> Self {
        Self { tick, known: BTreeSet::new(), now, lease_until, trusted_until }
    }

    /// How many ticks lie between the previous one and this one: nobody claimed them.
    pub fn missed(&self, resolution: Duration) -> u64 {
        let Some(previous) = self.tick.previous else { return 0 };
        let gap = (self.tick.at - previous).to_std().unwrap_or_default();
        let ticks = gap.as_micros().checked_div(resolution.as_micros()).unwrap_or_default();
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_sub(1)
    }
}

/// A tick that somebody owns.
///
/// ```
/// use standfast_cron_lock::{Claim, CronLock, Owner};
/// # use std::time::Duration;
/// # use standfast_cron_lock::{ClaimOptions, MemoryCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// # let lock = MemoryCronLock::new("shop")?;
/// # let at = lock.capabilities().config.tick_at(lock.now().await?);
/// # let options = ClaimOptions::new(Duration::from_secs(30));
/// let (first, second) = (Owner::new("web-1"), Owner::new("web-2"));
/// let _won = lock.claim(at, &first, &options).await?;
/// let Claim::Held(held) = lock.claim(at, &second, &options).await? else { panic!() };
/// assert_eq!(held.owner, first);
/// assert!(held.remaining <= options.lease); // worth another try then
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Held {
    /// Who owns it.
    pub owner: Owner,
    /// The fence it was given.
    pub fence: Fence,
    /// How long its lease still runs, by the store's time.
    pub remaining: Duration,
}

impl Held {
    /// A tick that `owner` holds for another `remaining`.
    pub fn new(owner: Owner, fence: Fence, remaining: Duration) -> Self {
        Self { owner, fence, remaining }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_between_the_previous_and_this_one_were_missed() {
        let at: DateTime<Utc> = "2026-03-01T11:30:00Z".parse().unwrap();
        let minute = Duration::from_secs(60);
        let won = |minutes_before: u32| {
            let tick =
                Tick::new("t", at, Fence::new(1)).with_previous(at - minute * minutes_before);
            Claimed::new(tick, at, at, Instant::now())
        };
        for (before, missed) in [(0, 0), (1, 0), (2, 1), (600, 599)] {
            assert_eq!(won(before).missed(minute), missed);
        }
        let mut first = won(1);
        first.tick.previous = None;
        assert_eq!(first.missed(minute), 0);
        assert_eq!(won(5).missed(Duration::ZERO), 0);
    }
}
