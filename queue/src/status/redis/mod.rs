//! Statuses in Redis: one hash for each handle.
//!
//! # Layout, version 1
//!
//! The key is `standfast:1:status:{<namespace>.<handle>}`, the handle in 32 hexadecimal digits. It
//! is the hash tag too, so on a Cluster every status has a slot of its own, and it is the name of
//! the channel on which a change is told: the payload is the new version, or `gone`. The fields:
//!
//! | field | what |
//! |---|---|
//! | `v` | the version of this layout: 1 |
//! | `state` | `queued`, `running`, `succeeded`, `failed` or `cancelled` |
//! | `kind` | of the job |
//! | `run`, `attempt`, `delivery` | which execution this is about, each from 1 |
//! | `done`, `total`, `message` | the progress; the last two only where the job told them |
//! | `checkpoint` | the bytes, where there is one |
//! | `result` | JSON, once it succeeded |
//! | `error`, `detail` | the failure: its message, and what else is known |
//! | `owner` | the session that may ask, in 32 hexadecimal digits |
//! | `cancel` | `1` once somebody asked the job to end |
//! | `created`, `updated`, `started`, `finished`, `retry` | microseconds since 1970 by the server's clock; the last three only where there is such a time |
//! | `version` | counts up with each change, from the microsecond of the first |
//! | `step` | names the last step, so that a repetition is known as one |
//!
//! A hash with a higher `v` is left untouched. The key's time to live is the status's own.

mod codec;
mod fields;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::redis::{Durability, KeySpace, Redis, Reply, Request, Script, Signal};
use standfast_core::{
    Clock, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock, saturating_add,
};

use super::memory::{KEEP_CANCELLED, KEEP_UNFINISHED};
use super::{
    Advance, CancelOutcome, JobStatus, MAX_CHECKPOINT, StatusCapabilities, StatusStore,
    StatusUpdate,
};
use crate::handle::StatusHandle;
use codec::{Place, StepName};

static ADVANCE: Script =
    Script::new(concat!(include_str!("layout.lua"), include_str!("advance.lua")));
static CANCEL: Script =
    Script::new(concat!(include_str!("layout.lua"), include_str!("cancel.lua")));
static REMOVE: Script = Script::new(include_str!("remove.lua"));
static LOOK: Script = Script::new(include_str!("look.lua"));

/// How soon a waiter whose look failed looks again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How a [`RedisStatusStore`] behaves.
///
/// ```
/// use standfast_core::redis::Redis;
/// use standfast_queue::{RedisStatusConfig, RedisStatusStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut config = RedisStatusConfig::default();
/// config.namespace = "shop".into();
/// let redis = Redis::from_url("redis://127.0.0.1:6379")?;   // no I/O yet
/// let store = RedisStatusStore::from_parts(redis, config)?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisStatusConfig {
    /// Keeps these statuses apart from others on the same server: 1 to 47 of `A-Za-z0-9._-`;
    /// `jobs` by default.
    pub namespace: String,
    /// What a step has to reach before it counts as stored; the primary by default.
    pub durability: Durability,
    /// How often a waiter looks although nothing was told, for what gets lost without a sign, such
    /// as a message between two nodes of a Cluster; a minute by default.
    pub look_every: Duration,
    /// What waits are timed with. The times of statuses are the server's.
    pub clock: Arc<dyn Clock>,
}

impl Default for RedisStatusConfig {
    fn default() -> Self {
        Self {
            namespace: "jobs".into(),
            durability: Durability::default(),
            look_every: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Statuses in Redis, on one server, a Cluster or behind Sentinels: whatever
/// [`Redis`] reaches. Feature `redis`.
///
/// Every process that is given the same server and namespace sees the same statuses. Each call is
/// one round trip and one step at the server, by the server's clock. Those who wait are woken by
/// the change; all waiters of a handle of [`Redis`] share one connection, and look once a second
/// while it is down. Clones share everything.
///
/// # What if something dies?
///
/// - The process, before, during or after a call: the step happened or it did not, since each is
///   one script. What did not happen is the caller's to repeat, see [`StatusStore`].
/// - The reply: the request is sent again under the same name, and the server knows a step that it
///   has taken already, so the answer is what it would have been. Only
///   [`remove`](StatusStore::remove) ends as `OutcomeUnknown` then.
/// - The server: what it had on disk is there when it is back; calls fail as `Unavailable` until
///   then, and waits go on. What an asynchronous failover loses is lost, unless the configuration
///   asks for [`Durability::Replicated`].
///
/// # Errors
///
/// Besides those of [`Redis::call`]: `Corrupt` for a hash at our name that is no status,
/// `Unsupported` with [`Reason::NewerVersion`] for one of a newer library, `Conflict` for a key of
/// another type. What is met there is left as it is.
///
/// ```no_run
/// use std::time::Duration;
/// use standfast_queue::{JobState, RedisStatusStore, StatusHandle, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = RedisStatusStore::from_url("redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3")?;
/// let (handle, day) = (StatusHandle::random(), Duration::from_secs(24 * 60 * 60));
/// let queued = StatusUpdate::new("report", JobState::Queued);
/// let seen = store.advance(&handle, &queued, day).await?.status().version;
/// // in any process
/// let next = store.wait(&handle, seen, Duration::from_secs(30)).await?;
/// println!("{next:?}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisStatusStore {
    redis: Redis,
    config: Arc<RedisStatusConfig>,
}

impl RedisStatusStore {
    /// Statuses in the default namespace of the server that `url` names; see [`Redis::from_url`].
    /// No I/O: the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that is none.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_parts(Redis::from_url(url)?, RedisStatusConfig::default())
    }

    /// Statuses that `redis` reaches, for those who share one handle of it. No I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`] for a namespace that breaks the naming rules.
    pub fn from_parts(redis: Redis, config: RedisStatusConfig) -> Result<Self> {
        let longest = StatusHandle::derive(b"", b"");
        let name = format!("{}.{longest}", config.namespace);
        if config.namespace.is_empty() || KeySpace::new("status", &name).is_err() {
            return Err(Error::new(ErrorKind::Invalid, "redis", "status.open")
                .with_reason(Reason::InvalidName)
                .with_detail("a namespace is 1 to 47 of A-Z, a-z, 0-9, `.`, `_` and `-`"));
        }
        Ok(Self { redis, config: Arc::new(config) })
    }

    fn key(&self, handle: &StatusHandle) -> String {
        format!("standfast:1:status:{{{}.{handle}}}", self.config.namespace)
    }

    fn is_replicated(&self) -> bool {
        !matches!(self.config.durability, Durability::Primary)
    }

    /// A script that takes a step. Whether it has happened when the process dies only the server
    /// knows; it happens as a whole, and once, however often it is sent.
    async fn step(&self, request: Request) -> Result<Reply> {
        self.redis.call(request.durability(self.config.durability).repeatable()).await
    }

    /// The status and how long it will be there.
    async fn look(
        &self,
        key: &str,
        place: &Place,
    ) -> Result<Option<(JobStatus, Option<Duration>)>> {
        let reply = self.redis.call(LOOK.on(place.operation, &[key]).repeatable()).await?;
        place.look(reply)
    }
}

#[async_trait]
impl StatusStore for RedisStatusStore {
    fn capabilities(&self) -> StatusCapabilities {
        StatusCapabilities::all("redis")
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let place = Place::new("status.advance", handle);
        if update.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.len() > MAX_CHECKPOINT) {
            return Err(place
                .error(ErrorKind::TooLarge)
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("a checkpoint holds at most {MAX_CHECKPOINT} bytes")));
        }
        let mut request = ADVANCE.on(place.operation, &[self.key(handle)]);
        StepName::random().push(&mut request, self.is_replicated());
        let unfinished = KEEP_UNFINISHED.max(keep_for);
        // a job that is to begin in a year is not forgotten before
        let unfinished = unfinished.saturating_add(update.retry_in.unwrap_or_default());
        place.push(&mut request, update, keep_for, unfinished)?;
        place.advance(self.step(request).await?)
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        let place = Place::new("status.get", handle);
        let request = Request::command(place.operation, "HGETALL", &self.key(handle)).repeatable();
        let fields = self.redis.call(request).await?.into_array(place.operation)?;
        Ok(place.status(fields)?.map(Arc::new))
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        if seen == 0 || timeout.is_zero() {
            // no version is 0: there is nothing to wait for
            return self.get(handle).await;
        }
        let (place, key) = (Place::new("status.wait", handle), self.key(handle));
        let clock = &self.config.clock;
        let deadline = saturating_add(clock.instant(), timeout);
        // first the subscription, then the look: what changes in between is told
        let mut changes = self.redis.subscribe(&key).await;
        let mut found = self.look(&key, &place).await?;
        loop {
            let Some((status, life)) = found else { return Ok(None) };
            let now = clock.instant();
            if status.version != seen || now >= deadline {
                return Ok(Some(Arc::new(status)));
            }
            let mut wake_at = saturating_add(now, self.config.look_every).min(deadline);
            if let Some(life) = life {
                wake_at = wake_at.min(saturating_add(now, life));
            }
            found = loop {
                tokio::select! {
                    signal = changes.next() => {
                        // told of the change that was seen already
                        let old = matches!(&signal, Signal::Message(version)
                            if *version == seen.to_string().into_bytes());
                        if old {
                            continue;
                        }
                    }
                    () = clock.sleep_until(wake_at) => {}
                }
                match self.look(&key, &place).await {
                    Ok(found) => break found,
                    // an outage ends no wait: whoever waits would only begin another
                    Err(error) if error.is_retryable() && clock.instant() < deadline => {
                        tracing::debug!(?handle, %error, "a waiter could not look");
                        wake_at = saturating_add(clock.instant(), AFTER_FAILURE).min(deadline);
                    }
                    Err(error) => return Err(error),
                }
            };
        }
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        let place = Place::new("status.request_cancel", handle);
        let mut request = CANCEL.on(place.operation, &[self.key(handle)]);
        StepName::random().push(&mut request, self.is_replicated());
        codec::push_millis(&mut request, KEEP_CANCELLED);
        place.cancel(self.step(request).await?)
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        let place = Place::new("status.remove", handle);
        let request = REMOVE.on(place.operation, &[self.key(handle)]);
        // not to be repeated: after it nothing is left that could know a repetition
        let request = request.durability(self.config.durability);
        place.remove(self.redis.call(request).await?)
    }
}

#[async_trait]
impl HealthCheck for RedisStatusStore {
    async fn health(&self) -> Health {
        self.redis.health().await
    }
}

impl fmt::Debug for RedisStatusStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStatusStore")
            .field("redis", &self.redis)
            .field("namespace", &self.config.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::redis::slot;

    use super::*;

    fn store(namespace: &str) -> Result<RedisStatusStore> {
        let config =
            RedisStatusConfig { namespace: namespace.into(), ..RedisStatusConfig::default() };
        RedisStatusStore::from_parts(Redis::from_url("redis://127.0.0.1:1")?, config)
    }

    #[test]
    fn a_status_has_one_key_and_a_slot_of_its_own() {
        let store = store("shop").unwrap();
        let handles = [(); 64].map(|()| StatusHandle::random());
        let slots = handles.map(|handle| {
            let key = store.key(&handle);
            assert_eq!(key, format!("standfast:1:status:{{shop.{handle}}}"));
            // the scripts have no other key, and what Redis hashes is all that differs
            assert_eq!(slot(&key), slot(&format!("shop.{handle}")));
            slot(&key)
        });
        assert!(slots.iter().any(|slot| *slot != slots[0]), "statuses are spread");
    }

    #[test]
    fn a_namespace_keeps_the_naming_rules() {
        for name in ["a", "Jobs_2.eu-1", &"x".repeat(47)] {
            assert!(store(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a}b", "a:b", "ä", &"x".repeat(48)] {
            let error = store(name).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{name}");
        }
    }

    #[tokio::test]
    async fn a_checkpoint_over_the_limit_is_refused_before_any_connection() {
        let update = StatusUpdate::new("report", super::super::JobState::Running)
            .checkpoint(vec![0; MAX_CHECKPOINT + 1]);
        let store = store("shop").unwrap();
        let error = store.advance(&StatusHandle::random(), &update, Duration::ZERO).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
