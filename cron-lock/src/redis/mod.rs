//! Tick records in Redis. Feature `redis`.
//!
//! # Layout, version 1
//!
//! Three keys of a namespace, in one slot. Numbers are big-endian, times are microseconds since
//! 1970 by the server's clock.
//!
//! | key | what |
//! |---|---|
//! | `standfast:1:cron:{<namespace>}:records` | a hash: when the tick was due, in digits, and its record |
//! | `standfast:1:cron:{<namespace>}:order` | a sorted set: the same ticks, scored by when they were due |
//! | `standfast:1:cron:{<namespace>}:cursor` | layout (1 byte: 1), the last tick claimed, the last fence (8 bytes each), and the schedules evaluated there, sorted, with commas between |
//!
//! A record is
//!
//! | bytes | what |
//! |---|---|
//! | 1 each | layout: 1; state: 1 abandoned, 2 claimed, 3 done, 4 exhausted, 5 failed; number of former owners |
//! | 8 each | fence, previous tick (0: none), first claimed, claimed, end of the lease, finished (0: not), until when the record is kept |
//! | 4 each | attempt, crashes |
//! | 16 each | id of the claim, incarnation of the owner |
//! | each after its length, 4 bytes | name of the owner, error, jobs (16 bytes each), schedules, schedules known before (both as in the cursor), former owners |
//!
//! and a former owner: fence, claimed, end of its lease (8 bytes each), incarnation (16), and its
//! name after its length (1).
//!
//! The lease and the retention are fields. A record that is kept no longer counts as absent at
//! once; claims of new ticks remove up to 32 of them each. The first two keys live as long as the
//! last of their records can, the cursor for ever. What is of a higher layout is left untouched.

mod codec;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use standfast_core::redis::{Durability, KeySpace, Redis, Request, Script};
use standfast_core::{
    Clock, Error, ErrorKind, Fence, Health, HealthCheck, Id128, Result, SystemClock, Tick,
    saturating_add,
};

use self::codec::{Answer, BACKEND};
use crate::claim::{Claim, ClaimOptions, Claimed, Held};
use crate::config::{CronLockCapabilities, CronLockConfig};
use crate::lock::CronLock;
use crate::owner::Owner;
use crate::record::{RecordQuery, TickRecord};
use crate::settle::{ExtendOutcome, SettleOutcome, Settlement};

static CLAIM: Script =
    Script::new(concat!(include_str!("lua/record.lua"), include_str!("lua/claim.lua")));
static EXTEND: Script =
    Script::new(concat!(include_str!("lua/record.lua"), include_str!("lua/extend.lua")));
static SETTLE: Script =
    Script::new(concat!(include_str!("lua/record.lua"), include_str!("lua/settle.lua")));
static RECORDS: Script = Script::new(include_str!("lua/records.lua"));
static NOW: Script = Script::new(include_str!("lua/now.lua"));

/// The most records of a namespace: a week of ticks of a second has 604,800.
const MOST_RECORDS: u128 = 1_000_000;

/// A page has at least so many places, so that a few records that count no longer do not cost
/// another round trip.
const LEAST_PAGE: usize = 100;

/// How a [`RedisCronLock`] behaves.
///
/// ```
/// use standfast_core::redis::Redis;
/// use standfast_cron_lock::{RedisCronConfig, RedisCronLock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut config = RedisCronConfig::default();
/// config.rules.max_crashes = 5;
/// let redis = Redis::from_url("redis://127.0.0.1:6379")?;   // no I/O yet
/// let lock = RedisCronLock::from_parts(redis, "shop", config)?;
/// # let _ = lock;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RedisCronConfig {
    /// What all instances of the namespace must agree on. The retention holds at most 1,000,000
    /// ticks.
    pub rules: CronLockConfig,
    /// What a change has to reach before it counts as stored; the primary by default. With
    /// [`Durability::Replicated`] a claim or an end that was answered survives a failover; one that
    /// too few replicas took fails with `OutcomeUnknown` and [`Reason::NotReplicated`], although
    /// the primary has it. A claim that is refused waits for the replicas too.
    ///
    /// [`Reason::NotReplicated`]: standfast_core::Reason::NotReplicated
    pub durability: Durability,
}

/// Tick records in Redis, on one server, a Cluster or behind Sentinels: whatever [`Redis`] reaches.
/// Feature `redis`.
///
/// Every process that is given the same server and namespace sees the same ticks. Each call is one
/// round trip and one step at the server, by the server's clock.
///
/// # What if something dies?
///
/// - The process, before, during or after a call: the step happened or it did not, since each is
///   one script. What it had claimed is taken over when its lease ends.
/// - The reply: the request is sent again, and answered as the first time. A claim carries an id of
///   its own, so its owner is told that it won, not that it has to wait for itself; the lease and
///   the trust in it still begin before the first request. When no reply comes at all the call ends
///   as `Timeout`, and the tick may be held: a claim by the same owner then says so.
/// - The server: what it had on disk is there when it is back; calls fail as `Unavailable` until
///   then. With an empty memory nothing is made up for, and a settled tick that is not too late can
///   be won again, which derived job ids make harmless. What an asynchronous failover loses is
///   lost, unless the configuration asks for [`Durability::Replicated`]: a claim, so that another
///   owner gets a higher fence, or an end, so that the tick is dispatched again.
///
/// # Errors
///
/// Besides those of [`Redis::call`]: `Corrupt` for bytes at our names that are no record,
/// `Unsupported` with [`Reason::NewerVersion`] for those of a newer library, `Conflict` for a key of
/// another type. What is met there is left as it is.
///
/// [`Reason::NewerVersion`]: standfast_core::Reason::NewerVersion
///
/// ```no_run
/// use standfast_cron_lock::{Claim, ClaimOptions, CronLock, Owner, RedisCronLock};
/// # use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let lock = RedisCronLock::from_url("redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3", "shop")?;
/// let at = lock.capabilities().config.tick_at(lock.now().await?);
/// // in every process
/// let options = ClaimOptions::new(Duration::from_secs(30));
/// if let Claim::Claimed(won) = lock.claim(at, &Owner::new("web-1"), &options).await? {
///     println!("{} is ours until {}", won.tick.at, won.lease_until);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisCronLock(Arc<Inner>);

struct Inner {
    redis: Redis,
    keys: KeySpace,
    /// The records and their order; the cursor.
    names: [String; 3],
    config: RedisCronConfig,
}

impl RedisCronLock {
    /// The ticks of `namespace` on the server that `url` names; see [`Redis::from_url`]. No I/O:
    /// the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none, and with
    /// [`Reason::InvalidName`](standfast_core::Reason::InvalidName) for a namespace that breaks the
    /// rule `[A-Za-z0-9._-]{1,80}`.
    pub fn from_url(url: &str, namespace: &str) -> Result<Self> {
        Self::from_parts(Redis::from_url(url)?, namespace, RedisCronConfig::default())
    }

    /// The ticks of `namespace` that `redis` reaches, for those who share one handle of it. No I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for rules that cannot work or would keep more than 1,000,000 records, and with
    /// [`Reason::InvalidName`](standfast_core::Reason::InvalidName) for a namespace that breaks the
    /// rule `[A-Za-z0-9._-]{1,80}`.
    pub fn from_parts(redis: Redis, namespace: &str, config: RedisCronConfig) -> Result<Self> {
        CronLockConfig::check_namespace(namespace)?;
        config.rules.validate()?;
        let CronLockConfig { resolution, retention, .. } = config.rules;
        let records = retention.as_nanos().div_ceil(resolution.as_nanos());
        if records > MOST_RECORDS {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, "cron.open").with_detail(format!(
                "a retention of {retention:?} is {records} ticks, at most {MOST_RECORDS}"
            )));
        }
        let keys = KeySpace::new("cron", namespace)?;
        let names = ["records", "order", "cursor"].map(|part| keys.key(part));
        Ok(Self(Arc::new(Inner { redis, keys, names, config })))
    }

    /// A step on one tick, which may be repeated: it is answered as the first time.
    fn step(
        &self,
        script: &'static Script,
        operation: &'static str,
        keys: usize,
        at: DateTime<Utc>,
    ) -> Request {
        let Inner { names, config, .. } = &*self.0;
        let rules = &config.rules;
        let mut request = script.on(operation, &names[..keys]).durability(config.durability);
        request.push(at.timestamp_micros().to_string());
        request.push(micros(rules.retention)).push(micros(rules.max_lease));
        request.repeatable()
    }

    async fn ask(&self, request: Request, operation: &'static str) -> Result<Answer> {
        Answer::read(self.0.redis.call(request).await?, operation)
    }
}

/// Microseconds as digits, at least as long as `span`.
fn micros(span: Duration) -> String {
    span.as_nanos().div_ceil(1000).to_string()
}

#[async_trait]
impl CronLock for RedisCronLock {
    fn namespace(&self) -> &str {
        self.0.keys.name()
    }

    fn capabilities(&self) -> CronLockCapabilities {
        let mut capabilities = CronLockCapabilities::new(self.0.config.rules.clone());
        capabilities.is_shared = true;
        capabilities.is_durable = true;
        capabilities
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        const OPERATION: &str = "cron.now";
        let request = NOW.on(OPERATION, &self.0.names[..1]).repeatable();
        codec::clock(self.0.redis.call(request).await?, OPERATION)
    }

    async fn claim(
        &self,
        at: DateTime<Utc>,
        owner: &Owner,
        options: &ClaimOptions,
    ) -> Result<Claim> {
        const OPERATION: &str = "cron.claim";
        let rules = &self.0.config.rules;
        rules.check_claim(at, options.lease, &options.schedules)?;
        let schedules: Vec<_> = options.schedules.iter().map(String::as_str).collect();
        let mut request = self.step(&CLAIM, OPERATION, 3, at);
        request.push(micros(options.lease)).push(Id128::random().to_bytes());
        request.push(owner.incarnation().to_bytes()).push(owner.name());
        request.push(schedules.join(",")).push(micros(rules.max_late));
        request.push(rules.max_crashes.to_string());
        let asked_at = SystemClock.instant();
        let mut answer = self.ask(request, OPERATION).await?;
        Ok(match answer.word.as_str() {
            "claimed" => {
                answer.time()?;
                let record = answer.record(at)?;
                let tick = Tick::new(self.namespace(), at, record.fence);
                let tick = tick.with_attempt(record.attempt);
                let tick = match record.previous {
                    Some(previous) => tick.with_previous(previous),
                    None => tick,
                };
                let trusted_until = saturating_add(asked_at, options.lease);
                let (now, lease_until) = (record.claimed_at, record.lease_until);
                let mut claimed = Claimed::new(tick, now, lease_until, trusted_until);
                claimed.known = record.known;
                Claim::Claimed(claimed)
            }
            "early" => Claim::TooEarly { now: answer.time()? },
            "finished" => {
                answer.time()?;
                Claim::Finished(answer.record(at)?)
            }
            "held" => {
                let now = answer.time()?;
                let TickRecord { owner, fence, lease_until, .. } = answer.record(at)?;
                Claim::Held(Held::new(
                    owner,
                    fence,
                    (lease_until - now).to_std().unwrap_or_default(),
                ))
            }
            "old" => Claim::TooOld { now: answer.time()?, cursor: answer.optional_time()? },
            _ => return Err(answer.error()?),
        })
    }

    async fn extend(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        lease: Duration,
    ) -> Result<ExtendOutcome> {
        const OPERATION: &str = "cron.extend";
        self.0.config.rules.check_lease("extend", lease)?;
        let mut request = self.step(&EXTEND, OPERATION, 2, at);
        request.push(fence.get().to_be_bytes()).push(micros(lease));
        let asked_at = SystemClock.instant();
        let mut answer = self.ask(request, OPERATION).await?;
        Ok(match answer.word.as_str() {
            "extended" => ExtendOutcome::Extended {
                lease_until: answer.time()?,
                trusted_until: saturating_add(asked_at, lease),
            },
            "fenced" => {
                let TickRecord { owner, fence, .. } = answer.record(at)?;
                ExtendOutcome::Fenced { owner, fence }
            }
            "lapsed" => ExtendOutcome::Lapsed,
            "missing" => ExtendOutcome::Missing,
            _ => return Err(answer.error()?),
        })
    }

    async fn settle(
        &self,
        at: DateTime<Utc>,
        fence: Fence,
        settlement: &Settlement,
    ) -> Result<SettleOutcome> {
        const OPERATION: &str = "cron.settle";
        let mut request = self.step(&SETTLE, OPERATION, 2, at);
        request.push(fence.get().to_be_bytes());
        codec::push_settlement(&mut request, settlement);
        let mut answer = self.ask(request, OPERATION).await?;
        Ok(match answer.word.as_str() {
            "fenced" => {
                let TickRecord { owner, fence, .. } = answer.record(at)?;
                SettleOutcome::Fenced { owner, fence }
            }
            "missing" => SettleOutcome::Missing,
            "settled" => SettleOutcome::Settled,
            _ => return Err(answer.error()?),
        })
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<TickRecord>> {
        const OPERATION: &str = "cron.records";
        let most = self.capabilities().max_records;
        if query.limit > most {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, OPERATION)
                .with_detail(format!("limit {}, at most {most}", query.limit)));
        }
        let bound = |at: DateTime<Utc>| at.timestamp_micros().to_string();
        let until = query.until.map_or_else(|| "+inf".to_owned(), bound);
        let mut after = query.after;
        let mut records = Vec::new();
        while records.len() < query.limit {
            let page = (query.limit - records.len()).max(LEAST_PAGE);
            let from = after.map_or_else(|| "-inf".to_owned(), |at| format!("({}", bound(at)));
            let request = RECORDS.on(OPERATION, &self.0.names[..2]).repeatable();
            let request = request.arg(from).arg(&until).arg(page.to_string());
            let read = codec::read_page(self.0.redis.call(request).await?, OPERATION)?;
            records.extend(read.records);
            after = read.last;
            if read.looked_at < page {
                break;
            }
        }
        records.truncate(query.limit);
        Ok(records)
    }
}

#[async_trait]
impl HealthCheck for RedisCronLock {
    async fn health(&self) -> Health {
        self.0.redis.health().await
    }
}

impl fmt::Debug for RedisCronLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCronLock")
            .field("redis", &self.0.redis)
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::Reason;
    use standfast_core::redis::slot;

    use super::*;

    fn lock(namespace: &str, rules: CronLockConfig) -> Result<RedisCronLock> {
        let config = RedisCronConfig { rules, ..RedisCronConfig::default() };
        RedisCronLock::from_parts(Redis::from_url("redis://127.0.0.1:1")?, namespace, config)
    }

    #[tokio::test]
    async fn the_keys_of_every_script_share_a_slot() {
        for namespace in ["shop", "a.b-c_d", &"x".repeat(80)] {
            let lock = lock(namespace, CronLockConfig::default()).unwrap();
            // the scripts are called with the first one, two or three of them
            for key in &lock.0.names {
                assert!(key.starts_with(&format!("standfast:1:cron:{{{namespace}}}:")), "{key}");
                assert_eq!(slot(key), slot(namespace));
            }
        }
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_work_is_refused() {
        let base = CronLockConfig::default();
        for name in ["", "a b", "a}b", "a:b", "ä", &"x".repeat(81)] {
            let error = lock(name, base.clone()).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{name}");
        }
        let millisecond = Duration::from_millis(1);
        let many = CronLockConfig { resolution: millisecond, ..base.clone() };
        let error = lock("a", many).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("604800000 ticks"), "{error}");
        let short = CronLockConfig { retention: base.max_lease, ..base };
        assert_eq!(lock("a", short).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn no_span_is_shortened() {
        assert_eq!(micros(Duration::from_nanos(1)), "1");
        assert_eq!(micros(Duration::from_micros(7)), "7");
        assert_eq!(micros(Duration::from_nanos(7_001)), "8");
    }
}
