use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{
    Clock, Error, ErrorKind, Health, HealthCheck, Reason, Result, SystemClock, saturating_add,
};
use tokio::sync::watch;

use super::{
    Advance, CancelOutcome, JobStatus, MAX_CHECKPOINT, StatusCapabilities, StatusStore,
    StatusUpdate,
};
use crate::deadlines::Deadlines;
use crate::handle::StatusHandle;

/// How long a status that has not ended lives after its last step.
pub(super) const KEEP_UNFINISHED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long one that ended by a request to cancel is kept: the request names no time, and a day
/// lets whoever polls see it.
pub(super) const KEEP_CANCELLED: Duration = Duration::from_secs(24 * 60 * 60);

/// How a [`MemoryStatusStore`] behaves.
///
/// ```
/// # use std::time::Duration;
/// use standfast_queue::{MemoryStatusConfig, MemoryStatusStore};
/// # use standfast_queue::{JobState, StatusHandle, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let mut config = MemoryStatusConfig::default();
/// config.max_finished = 1;
/// let store = MemoryStatusStore::with_config(config);
/// let (older, newer) = (StatusHandle::random(), StatusHandle::random());
/// for handle in [older, newer] {
///     let ended = StatusUpdate::new("report", JobState::Succeeded);
///     store.advance(&handle, &ended, Duration::from_secs(3600)).await?;
/// }
/// assert!(store.get(&older).await?.is_none());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryStatusConfig {
    /// The store's time.
    pub clock: Arc<dyn Clock>,
    /// The most ended statuses kept; the oldest go first. A million by default.
    pub max_finished: usize,
}

impl Default for MemoryStatusConfig {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), max_finished: 1_000_000 }
    }
}

/// Statuses in the memory of this process: the reference for every other backend.
///
/// Clones share the same statuses.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::{JobState, MemoryStatusStore, StatusHandle, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_core::Result<()> {
/// let store = MemoryStatusStore::new();
/// let handle = StatusHandle::random();
/// let queued = StatusUpdate::new("report", JobState::Queued);
/// store.advance(&handle, &queued, Duration::from_secs(3600)).await?;
/// assert_eq!(store.get(&handle).await?.unwrap().state, JobState::Queued);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStatusStore {
    config: Arc<MemoryStatusConfig>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    entries: HashMap<StatusHandle, Entry>,
    expiry: Deadlines<StatusHandle>,
    finished: VecDeque<(StatusHandle, u64)>,
    stamp: u64,
}

struct Entry {
    status: Arc<JobStatus>,
    expires_at: Instant,
    stamp: u64,
    changed: Option<watch::Sender<()>>,
}

impl Entry {
    fn wake(&self) {
        if let Some(changed) = &self.changed {
            changed.send_replace(());
        }
    }
}

impl MemoryStatusStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_config(MemoryStatusConfig::default())
    }

    /// An empty store that behaves as `config` says.
    pub fn with_config(config: MemoryStatusConfig) -> Self {
        Self { config: Arc::new(config), state: Arc::default() }
    }

    /// The state with everything that has expired removed.
    fn lock(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(now);
        state
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        let Self { entries, expiry, .. } = self;
        let live = |handle: &StatusHandle, stamp| {
            entries.get(handle).is_some_and(|entry| entry.stamp == stamp)
        };
        let mut gone = Vec::new();
        while let Some(handle) = expiry.pop_due(now, live) {
            gone.push(handle);
        }
        for handle in gone {
            self.entries.remove(&handle);
        }
    }

    /// Notes when `handle` ends, after its status changed; `unless_ended` is its life until it has.
    fn keep(
        &mut self,
        handle: StatusHandle,
        keep_for: Duration,
        unless_ended: Duration,
        now: Instant,
        max: usize,
    ) {
        self.stamp += 1;
        let stamp = self.stamp;
        let Some(entry) = self.entries.get_mut(&handle) else { return };
        let terminal = entry.status.state.is_terminal();
        let life = if terminal { keep_for } else { unless_ended };
        entry.stamp = stamp;
        entry.expires_at = saturating_add(now, life);
        let Self { entries, expiry, .. } = self;
        expiry.push(entries[&handle].expires_at, handle, stamp, entries.len(), |handle, stamp| {
            entries.get(handle).is_some_and(|entry| entry.stamp == stamp)
        });
        if terminal {
            self.finished.push_back((handle, stamp));
        }
        while self.finished.len() > max {
            let Some((handle, stamp)) = self.finished.pop_front() else { break };
            if self.entries.get(&handle).is_some_and(|entry| entry.stamp == stamp) {
                tracing::warn!(?handle, "too many ended statuses; the oldest is forgotten");
                self.entries.remove(&handle);
            }
        }
    }
}

impl Default for MemoryStatusStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStatusStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStatusStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl StatusStore for MemoryStatusStore {
    fn capabilities(&self) -> StatusCapabilities {
        StatusCapabilities::all("memory")
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        if update.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.len() > MAX_CHECKPOINT) {
            return Err(Error::new(ErrorKind::TooLarge, "memory", "status.advance")
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("a checkpoint holds at most {MAX_CHECKPOINT} bytes")));
        }
        let (now, instant) = (self.config.clock.now(), self.config.clock.instant());
        let mut state = self.lock(instant);
        let status = match state.entries.get_mut(handle) {
            Some(entry) if !entry.status.precedes(update) => {
                return Ok(Advance::Refused(Arc::clone(&entry.status)));
            }
            Some(entry) => {
                Arc::make_mut(&mut entry.status).apply(update, now);
                entry.wake();
                Arc::clone(&entry.status)
            }
            None => {
                let mut status = JobStatus::first(update, now);
                // above every version that was given out for a handle forgotten since
                status.version += state.stamp;
                let status = Arc::new(status);
                let entry = Entry {
                    status: Arc::clone(&status),
                    expires_at: instant,
                    stamp: 0,
                    changed: None,
                };
                state.entries.insert(*handle, entry);
                status
            }
        };
        // as long as its message, which may wait for its next attempt
        let unless_ended = KEEP_UNFINISHED.max(keep_for);
        let unless_ended = unless_ended.saturating_add(update.retry_in.unwrap_or_default());
        state.keep(*handle, keep_for, unless_ended, instant, self.config.max_finished);
        Ok(Advance::Applied(status))
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        let state = self.lock(self.config.clock.instant());
        Ok(state.entries.get(handle).map(|entry| Arc::clone(&entry.status)))
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        let clock = &self.config.clock;
        let deadline = saturating_add(clock.instant(), timeout);
        loop {
            let (mut changed, wake_at) = {
                let now = clock.instant();
                let mut state = self.lock(now);
                let Some(entry) = state.entries.get_mut(handle) else { return Ok(None) };
                if entry.status.version != seen || now >= deadline {
                    return Ok(Some(Arc::clone(&entry.status)));
                }
                let sender = entry.changed.get_or_insert_with(|| watch::Sender::new(()));
                (sender.subscribe(), deadline.min(entry.expires_at))
            };
            tokio::select! {
                // an error means that the entry is gone, which the next round sees
                _ = changed.changed() => {}
                () = clock.sleep_until(wake_at) => {}
            }
        }
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        let (now, instant) = (self.config.clock.now(), self.config.clock.instant());
        let mut state = self.lock(instant);
        let Some(entry) = state.entries.get_mut(handle) else {
            return Ok(CancelOutcome::Unknown);
        };
        let outcome = Arc::make_mut(&mut entry.status).cancel(now);
        state.stamp += 1;
        let Some(entry) = state.entries.get_mut(handle) else { return Ok(outcome) };
        match outcome {
            CancelOutcome::Cancelled => {
                entry.wake();
                let max = self.config.max_finished;
                state.keep(*handle, KEEP_CANCELLED, KEEP_UNFINISHED, instant, max);
            }
            CancelOutcome::Requested => entry.wake(),
            CancelOutcome::Finished | CancelOutcome::Unknown => {}
        }
        Ok(outcome)
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        Ok(self.lock(self.config.clock.instant()).entries.remove(handle).is_some())
    }
}

#[async_trait]
impl HealthCheck for MemoryStatusStore {
    async fn health(&self) -> Health {
        Health::healthy("memory status store")
    }
}
