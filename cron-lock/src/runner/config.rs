use std::time::Duration;

use standfast_core::Result;

use crate::config::{CronLockConfig, invalid};
use crate::owner::Owner;

/// How a [`Cron`](crate::Cron) runs.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{Cron, CronConfig, MemoryCronLock, Owner, Span};
///
/// let mut config = CronConfig::default();
/// config.owner = Owner::new("web-1");
/// config.lease = 60.seconds();
/// assert!(Cron::with_config(MemoryCronLock::new("shop")?, config.clone()).is_ok());
/// config.deadline = 45.seconds(); // the lease could end while a listener is still at it
/// assert!(Cron::with_config(MemoryCronLock::new("shop")?, config).is_err());
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CronConfig {
    /// Who claims: this life of this process. By default it is called after the host and the
    /// process id.
    pub owner: Owner,
    /// How long a tick is held before another instance may take it over; 30 seconds by default. It
    /// is extended while listeners are called.
    pub lease: Duration,
    /// How long one call of a listener may take, less than half the lease; 10 seconds by default.
    /// Then its future is dropped, which counts as an error. Listeners hand work on; they do not
    /// do it.
    pub deadline: Duration,
    /// How long a listener that fails is called again, with growing pauses, while the tick is held;
    /// 10 minutes by default. Then the tick has failed.
    pub retry_for: Duration,
    /// Instances wake up at random within this span after a tick is due; 250 ms by default.
    pub spread: Duration,
    /// How long one call of the lock may take; 5 seconds by default.
    pub call_timeout: Duration,
    /// From which difference between the store's clock and that of the instance on there is a
    /// warning; 1 second by default. A difference never does any harm.
    pub warn_skew: Duration,
    /// How long what is being dispatched may take to end after the stop began; 20 seconds by
    /// default. Then it is let go, and another instance takes over.
    pub grace: Duration,
}

impl Default for CronConfig {
    fn default() -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_default();
        let host = if host.is_empty() { "cron" } else { &host };
        Self {
            owner: Owner::new(format!("{host}-{}", std::process::id())),
            lease: Duration::from_secs(30),
            deadline: Duration::from_secs(10),
            retry_for: Duration::from_secs(600),
            spread: Duration::from_millis(250),
            call_timeout: Duration::from_secs(5),
            warn_skew: Duration::from_secs(1),
            grace: Duration::from_secs(20),
        }
    }
}

impl CronConfig {
    /// The defaults, shortened to what a lock with these settings allows.
    pub(super) fn fitting(lock: &CronLockConfig) -> Self {
        let config = Self::default();
        let lease = config.lease.min(lock.max_lease);
        Self {
            lease,
            deadline: config.deadline.min(lease / 3),
            call_timeout: config.call_timeout.min(lease / 3),
            spread: config.spread.min(lock.resolution / 4),
            ..config
        }
    }

    /// Checks the settings against one another and those of the lock.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the reason.
    pub fn validate(&self, lock: &CronLockConfig) -> Result<()> {
        lock.validate()?;
        let fail = |what: String| Err(invalid("cron", what));
        let Self { lease, deadline, call_timeout, spread, .. } = *self;
        if self.owner.name().trim().is_empty() {
            return fail("the owner has no name".to_owned());
        }
        if lease >= lock.retention {
            let retention = lock.retention;
            return fail(format!("lease {lease:?}: records are forgotten after {retention:?}"));
        }
        lock.check_lease("cron", lease)?;
        if deadline.is_zero() || deadline >= lease / 2 {
            return fail(format!("deadline {deadline:?}: less than half the lease of {lease:?}"));
        }
        if call_timeout.is_zero() || call_timeout >= lease / 2 {
            return fail(format!(
                "call timeout {call_timeout:?}: less than half the lease of {lease:?}"
            ));
        }
        if spread >= lock.resolution {
            let resolution = lock.resolution;
            return fail(format!("spread {spread:?}: less than the ticks' {resolution:?}"));
        }
        Ok(())
    }
}
