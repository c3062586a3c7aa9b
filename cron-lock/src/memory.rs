use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::{
    Clock, Error, ErrorKind, Fence, Health, HealthCheck, Result, SystemClock, Tick, saturating_add,
};

use crate::claim::{Claim, ClaimOptions, Claimed, Held};
use crate::config::{CronLockCapabilities, CronLockConfig};
use crate::lock::CronLock;
use crate::owner::Owner;
use crate::record::{RecordQuery, TickRecord, TickState};
use crate::settle::{ExtendOutcome, SettleOutcome, Settlement};

/// Tick records in this process: the reference that the contract is told by, for tests and for
/// applications of one process. Its clones are the instances.
///
/// The records go with the process. After a restart the first claim finds no cursor, so nothing is
/// made up for, and a tick that had been settled can be won again: give jobs derived ids.
///
/// ```
/// use std::time::Duration;
/// use standfast_cron_lock::{Claim, ClaimOptions, CronLock, MemoryCronLock, Owner};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let lock = MemoryCronLock::new("shop")?;
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// let options = ClaimOptions::new(Duration::from_secs(30));
/// let first = lock.claim(at, &Owner::new("web-1"), &options).await?;
/// let second = lock.claim(at, &Owner::new("web-2"), &options).await?;
/// assert!(matches!((first, second), (Claim::Claimed(_), Claim::Held(_))));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryCronLock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: String,
    config: CronLockConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<DateTime<Utc>, Kept>,
    cursor: Option<Cursor>,
    last_fence: u64,
}

#[derive(Debug)]
struct Cursor {
    at: DateTime<Utc>,
    schedules: BTreeSet<String>,
}

#[derive(Debug)]
struct Kept {
    record: TickRecord,
    until: DateTime<Utc>,
}

impl MemoryCronLock {
    /// An empty namespace with the default settings, on the clock of the operating system.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that breaks the rule `[A-Za-z0-9._-]{1,80}`.
    pub fn new(namespace: impl Into<String>) -> Result<Self> {
        Self::with_config(namespace, CronLockConfig::default(), Arc::new(SystemClock))
    }

    /// An empty namespace with these settings, whose store time is that of `clock`.
    ///
    /// # Errors
    ///
    /// `Invalid` for settings or a name that break the rules.
    pub fn with_config(
        namespace: impl Into<String>,
        config: CronLockConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let namespace = namespace.into();
        CronLockConfig::check_namespace(&namespace)?;
        config.validate()?;
        Ok(Self(Arc::new(Inner { namespace, config, clock, state: Mutex::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can leave a change half done, so poison says nothing
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_fence(&mut self, now: DateTime<Utc>) -> Fence {
        let micros = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        self.last_fence = micros.max(self.last_fence + 1);
        Fence::new(self.last_fence)
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        while let Some(oldest) = self.records.first_entry() {
            if oldest.get().until > now {
                break;
            }
            oldest.remove();
        }
    }

    fn record(&mut self, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<&mut Kept> {
        self.records.get_mut(&at).filter(|kept| kept.until > now)
    }

    /// Grants a tick without a record: writes what came before it, then moves the cursor.
    fn first_claim(
        &mut self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
        now: DateTime<Utc>,
        retention: Duration,
    ) -> &TickRecord {
        let fence = self.next_fence(now);
        let mut record = TickRecord::first(at, owner.clone(), fence, now, now + options.lease);
        record.schedules = options.schedules.clone();
        let cursor = Cursor { at, schedules: options.schedules.clone() };
        if let Some(before) = self.cursor.replace(cursor) {
            record.previous = Some(before.at);
            record.known = before.schedules;
        }
        let kept = Kept { record, until: now + options.lease + retention };
        &self.records.entry(at).insert_entry(kept).into_mut().record
    }

    /// Grants a tick whose owner let it go or its lease run out. `previous`, `known` and the
    /// cursor's place stay; the schedules are those that any owner evaluated.
    fn takeover(
        &mut self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
        now: DateTime<Utc>,
        retention: Duration,
    ) -> Option<&TickRecord> {
        let fence = self.next_fence(now);
        if let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.at == at) {
            cursor.schedules.extend(options.schedules.iter().cloned());
        }
        let kept = self.records.get_mut(&at)?;
        kept.record.take_over(owner.clone(), fence, now, now + options.lease);
        kept.record.schedules.extend(options.schedules.iter().cloned());
        kept.until = now + options.lease + retention;
        Some(&kept.record)
    }
}

#[async_trait]
impl CronLock for MemoryCronLock {
    fn namespace(&self) -> &str {
        &self.0.namespace
    }

    fn capabilities(&self) -> CronLockCapabilities {
        CronLockCapabilities::new(self.0.config.clone())
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(self.0.clock.now())
    }

    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim> {
        let Inner { namespace, config, clock, .. } = &*self.0;
        config.check_claim(at, options.lease, &options.schedules)?;
        let asked_at = clock.instant();
        let mut state = self.state();
        let now = clock.now();
        state.forget(now);
        if at > now {
            return Ok(Claim::TooEarly { now });
        }
        let cursor = state.cursor.as_ref().map(|cursor| cursor.at);
        let too_old = Claim::TooOld { now, cursor };
        let is_late = now - at > chrono(config.max_late);

        let record = match state.record(at, now) {
            None if is_late || cursor.is_some_and(|cursor| at <= cursor) => return Ok(too_old),
            None => state.first_claim(at, owner, options, now, config.retention),
            Some(Kept { record, until }) => {
                if record.state == TickState::Claimed {
                    if record.lease_until > now {
                        let remaining = (record.lease_until - now).to_std().unwrap_or_default();
                        return Ok(Claim::Held(Held::new(
                            record.owner.clone(),
                            record.fence,
                            remaining,
                        )));
                    }
                    // counted with the grant or the closing below, so at most once per owner;
                    // a tick too late for a grant is left as it is
                    if record.crashes + 1 >= config.max_crashes {
                        record.crashes += 1;
                        record.state = TickState::Exhausted;
                        record.finished_at = Some(now);
                        *until = now + config.retention;
                    }
                }
                if record.state.is_finished() {
                    return Ok(Claim::Finished(record.clone()));
                }
                if is_late {
                    return Ok(too_old);
                }
                record.crashes += u32::from(record.state == TickState::Claimed);
                match state.takeover(at, owner, options, now, config.retention) {
                    Some(record) => record,
                    None => return Ok(too_old),
                }
            }
        };
        let tick = Tick::new(namespace.clone(), at, record.fence).with_attempt(record.attempt);
        let tick = match record.previous {
            Some(previous) => tick.with_previous(previous),
            None => tick,
        };
        let trusted_until = saturating_add(asked_at, options.lease);
        let mut claimed = Claimed::new(tick, now, record.lease_until, trusted_until);
        claimed.known = record.known.clone();
        Ok(Claim::Claimed(claimed))
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        let Inner { config, clock, .. } = &*self.0;
        config.check_lease("extend", lease)?;
        let asked_at = clock.instant();
        let mut state = self.state();
        let now = clock.now();
        let Some(Kept { record, until }) = state.record(at, now) else {
            return Ok(ExtendOutcome::Missing);
        };
        if record.fence != fence || record.state != TickState::Claimed {
            let (owner, fence) = (record.owner.clone(), record.fence);
            return Ok(ExtendOutcome::Fenced { owner, fence });
        }
        if record.lease_until <= now {
            return Ok(ExtendOutcome::Lapsed);
        }
        record.lease_until = record.lease_until.max(now + lease);
        *until = record.lease_until + config.retention;
        Ok(ExtendOutcome::Extended {
            lease_until: record.lease_until,
            trusted_until: saturating_add(asked_at, lease),
        })
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let Some(Kept { record, until }) = state.record(at, now) else {
            return Ok(SettleOutcome::Missing);
        };
        let target = match settlement {
            Settlement::Abandon => TickState::Abandoned,
            Settlement::Fail { .. } => TickState::Failed,
            Settlement::Finish { .. } => TickState::Done,
        };
        if record.fence == fence && record.state == target {
            return Ok(SettleOutcome::Settled);
        }
        if record.fence != fence || record.state != TickState::Claimed {
            let (owner, fence) = (record.owner.clone(), record.fence);
            return Ok(SettleOutcome::Fenced { owner, fence });
        }
        record.state = target;
        match settlement {
            Settlement::Abandon => record.lease_until = record.lease_until.min(now),
            Settlement::Fail { error } => record.error = Some(error.clone()),
            Settlement::Finish { jobs } => record.jobs.clone_from(jobs),
        }
        if target.is_finished() {
            record.finished_at = Some(now);
        }
        *until = now + self.0.config.retention;
        Ok(SettleOutcome::Settled)
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        let most = self.capabilities().max_records;
        if query.limit > most {
            return Err(Error::new(ErrorKind::Invalid, "memory", "cron-lock.records")
                .with_detail(format!("limit {}, at most {most}", query.limit)));
        }
        let now = self.0.clock.now();
        let state = self.state();
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(state
            .records
            .range((after, Bound::Unbounded))
            .take_while(|(at, _)| query.until.is_none_or(|until| **at <= until))
            .filter(|(_, kept)| kept.until > now)
            .take(query.limit)
            .map(|(_, kept)| kept.record.clone())
            .collect())
    }
}

#[async_trait]
impl HealthCheck for MemoryCronLock {
    async fn health(&self) -> Health {
        Health::healthy(format!("memory cron lock `{}`", self.0.namespace))
    }
}

fn chrono(span: Duration) -> chrono::TimeDelta {
    // invariant: validate() bounds every span
    chrono::TimeDelta::from_std(span).unwrap_or(chrono::TimeDelta::MAX)
}
