use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Reason, Result};

/// What all instances of one namespace must agree on.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::CronLockConfig;
///
/// let mut config = CronLockConfig::default();
/// assert!(config.validate().is_ok());
/// config.retention = Duration::from_secs(60); // forgets ticks that can still be claimed
/// assert!(config.validate().is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CronLockConfig {
    /// The distance between ticks: whole milliseconds; one minute by default.
    pub resolution: Duration,
    /// How long a record is kept after its last change; 7 days by default.
    pub retention: Duration,
    /// How late a tick may still be claimed; one hour by default.
    pub max_late: Duration,
    /// The longest lease that may be asked for; 10 minutes by default.
    pub max_lease: Duration,
    /// How many owners may let their lease run out before the tick is closed as
    /// [exhausted](crate::TickState::Exhausted); 3 by default.
    pub max_crashes: u32,
}

impl Default for CronLockConfig {
    fn default() -> Self {
        Self {
            resolution: Duration::from_secs(60),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            max_late: Duration::from_secs(60 * 60),
            max_lease: Duration::from_secs(10 * 60),
            max_crashes: 3,
        }
    }
}

impl CronLockConfig {
    /// Checks the settings against one another; a backend calls it when it is opened.
    ///
    /// # Errors
    ///
    /// `Invalid` where a span is zero or out of range, or where a record could be forgotten while
    /// its tick can still be claimed.
    pub fn validate(&self) -> Result<()> {
        let fail = |detail: &str| Err(invalid("open", detail));
        let resolution = self.resolution;
        if resolution.is_zero() || !resolution.subsec_nanos().is_multiple_of(1_000_000) {
            return fail("the resolution is not a whole number of milliseconds");
        }
        if self.max_lease.is_zero() || self.max_crashes == 0 {
            return fail("the longest lease and the number of crashes must not be zero");
        }
        if self.retention > LONGEST || self.max_late > LONGEST || self.max_lease > LONGEST {
            return fail("no span may exceed ten years");
        }
        if self.retention <= self.max_late + self.max_lease + resolution {
            return fail("the retention must exceed max_late + max_lease + resolution");
        }
        Ok(())
    }

    /// Checks what a claim asks for, before any I/O; every backend calls it first.
    ///
    /// # Errors
    ///
    /// `Invalid` for an instant that is no multiple of the resolution since the Unix epoch, a lease
    /// of nothing or above the longest, and schedule ids that break the naming rule.
    pub fn check_claim(
        &self,
        at: DateTime<Utc>,
        lease: Duration,
        schedules: &BTreeSet<String>,
    ) -> Result<()> {
        // invariant: validate() bounds the resolution
        let resolution = i64::try_from(self.resolution.as_micros()).unwrap_or(i64::MAX);
        if !at.timestamp_subsec_nanos().is_multiple_of(1_000)
            || at.timestamp_micros().rem_euclid(resolution) != 0
        {
            return Err(invalid("claim", format!("{at} is not a tick")));
        }
        self.check_lease("claim", lease)?;
        if schedules.len() > MAX_SCHEDULES {
            return Err(invalid("claim", format!("more than {MAX_SCHEDULES} schedules")));
        }
        match schedules.iter().find(|id| !is_name(id)) {
            Some(id) => {
                Err(invalid("claim", format!("schedule id {id:?}"))
                    .with_reason(Reason::InvalidName))
            }
            None => Ok(()),
        }
    }

    /// Checks a lease, before any I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a lease of nothing or above the longest.
    pub fn check_lease(&self, operation: &'static str, lease: Duration) -> Result<()> {
        if lease.is_zero() || lease > self.max_lease {
            let longest = self.max_lease;
            return Err(invalid(operation, format!("lease {lease:?}, at most {longest:?}")));
        }
        Ok(())
    }

    /// Checks a namespace against the naming rule, `[A-Za-z0-9._-]{1,80}`.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`].
    pub fn check_namespace(namespace: &str) -> Result<()> {
        if is_name(namespace) {
            return Ok(());
        }
        Err(invalid("open", format!("namespace {namespace:?}")).with_reason(Reason::InvalidName))
    }

    /// The last tick at or before `now`.
    pub fn tick_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let resolution = i64::try_from(self.resolution.as_micros()).unwrap_or(i64::MAX).max(1);
        let micros = now.timestamp_micros().div_euclid(resolution) * resolution;
        DateTime::from_timestamp_micros(micros).unwrap_or(now)
    }
}

/// What a [`CronLock`](crate::CronLock) can do, and its limits.
///
/// ```
/// use standfast_cron_lock::{CronLock, MemoryCronLock};
///
/// let capabilities = MemoryCronLock::new("shop")?.capabilities();
/// assert!(!capabilities.is_shared);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CronLockCapabilities {
    /// What the lock was opened with.
    pub config: CronLockConfig,
    /// Whether other processes see the same records.
    pub is_shared: bool,
    /// Whether the records outlive the processes that use them.
    pub is_durable: bool,
    /// The most records that one call of [`records`](crate::CronLock::records) returns.
    pub max_records: usize,
}

impl CronLockCapabilities {
    /// The abilities of a lock in this process only, opened with `config`.
    pub fn new(config: CronLockConfig) -> Self {
        Self { config, is_shared: false, is_durable: false, max_records: 1_000 }
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=80).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

pub(crate) fn invalid(operation: &'static str, detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "cron-lock", operation).with_detail(detail)
}

const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
pub(crate) const MAX_SCHEDULES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let base = CronLockConfig::default();
        let zero = Duration::ZERO;
        for wrong in [
            CronLockConfig { resolution: zero, ..base.clone() },
            CronLockConfig { resolution: Duration::from_micros(1500), ..base.clone() },
            CronLockConfig { max_lease: zero, ..base.clone() },
            CronLockConfig { max_crashes: 0, ..base.clone() },
            CronLockConfig { retention: base.max_late, ..base.clone() },
            CronLockConfig { retention: Duration::MAX, ..base.clone() },
            CronLockConfig { max_late: Duration::MAX, ..base.clone() },
        ] {
            assert_eq!(wrong.validate().unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
        }
    }

    #[test]
    fn the_tick_at_an_instant_is_the_one_before_or_on_it() {
        let config = CronLockConfig::default();
        for (now, tick) in [
            ("2026-03-01T11:30:00Z", "2026-03-01T11:30:00Z"),
            ("2026-03-01T11:30:59.999999Z", "2026-03-01T11:30:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:00Z"),
        ] {
            let now: DateTime<Utc> = now.parse().unwrap();
            assert_eq!(config.tick_at(now), tick.parse::<DateTime<Utc>>().unwrap());
        }
    }
}
