//! A memory status store with one fault.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Clock, Error, ErrorKind, Health, HealthCheck, Id128, Result, Verdict};
use standfast_queue::status::MAX_CHECKPOINT;
use standfast_queue::testkit::{MemoryHarness, StatusHarness};
use standfast_queue::{
    Advance, CancelOutcome, JobFailure, JobState, JobStatus, Progress, StatusCapabilities,
    StatusHandle, StatusStore, StatusUpdate,
};

use crate::faults::StatusFault;
use StatusFault as F;

/// Makes broken stores; with [`StatusFault::None`], sound ones.
pub(crate) struct BrokenStoreHarness {
    pub(crate) memory: MemoryHarness,
    pub(crate) fault: StatusFault,
}

#[async_trait]
impl StatusHarness for BrokenStoreHarness {
    async fn fresh_store(&self) -> Arc<dyn StatusStore> {
        Arc::new(BrokenStore {
            inner: self.memory.fresh_store().await,
            fault: self.fault,
            clock: self.memory.clock(),
            ends: Mutex::default(),
            forgotten: AtomicU64::new(0),
        })
    }

    async fn pass_time(&self, span: Duration) {
        StatusHarness::pass_time(&self.memory, span).await;
    }

    fn unit(&self) -> Duration {
        StatusHarness::unit(&self.memory)
    }

    fn can_pass(&self, _: Duration) -> bool {
        true
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(4)
    }
}

#[derive(Debug)]
struct BrokenStore {
    inner: Arc<dyn StatusStore>,
    fault: StatusFault,
    clock: Arc<dyn Clock>,
    ends: Mutex<HashMap<StatusHandle, Instant>>,
    /// The last version of what was removed last.
    forgotten: AtomicU64,
}

impl BrokenStore {
    fn is(&self, fault: StatusFault) -> bool {
        self.fault == fault
    }

    fn handle(&self, handle: &StatusHandle) -> StatusHandle {
        if self.is(F::HandlesMeet) {
            return StatusHandle::from(Id128::from_bytes([7; 16]));
        }
        *handle
    }

    /// What is told of a status.
    fn told(&self, mut status: Arc<JobStatus>) -> Arc<JobStatus> {
        let told = Arc::make_mut(&mut status);
        match self.fault {
            F::VersionStuck => told.version = 1,
            F::VersionsBeginAgain => told.version -= self.forgotten.load(Ordering::Relaxed),
            F::VersionIsState => told.version = u64::from(told.delivery) + told.progress.done,
            F::StartedLost => told.started_at = None,
            F::CreatedMoves => told.created_at = told.updated_at,
            F::RetryTimeLost => told.retry_at = None,
            F::RequestHidden => told.cancel_requested = false,
            F::ResultLost => told.result = None,
            F::EndTimeLost => told.finished_at = None,
            F::CheckpointNever => told.checkpoint = None,
            F::ErrorKept if told.state == JobState::Succeeded => {
                told.error = Some(JobFailure::new("of an earlier attempt"));
            }
            _ => {}
        }
        status
    }

    async fn bend(&self, handle: &StatusHandle, update: &StatusUpdate) -> Result<StatusUpdate> {
        let before = self.inner.get(handle).await?;
        let mut update = update.clone();
        match (self.fault, before.as_deref()) {
            (F::OwnerLost, _) => update.owner = None,
            (F::ErrorLost, _) => update.error = None,
            (F::KindLost, _) => update.kind = "job".to_owned(),
            (F::MessageLost, _) => {
                update.progress = update.progress.map(|it| Progress::new(it.done, it.total));
            }
            (F::CheckpointCut, _) => {
                update.checkpoint =
                    update.checkpoint.map(|it| it.slice(..it.len().min(MAX_CHECKPOINT)));
            }
            (F::CheckpointTooSmall, _) => {
                update.checkpoint = update.checkpoint.filter(|it| it.len() < MAX_CHECKPOINT);
            }
            (F::ProgressHandedOn, Some(before)) => {
                update.progress = update.progress.or_else(|| Some(before.progress.clone()));
            }
            (F::RunHandsOn, Some(before)) if before.run != update.run => {
                update.checkpoint = update.checkpoint.or_else(|| before.checkpoint.clone());
            }
            (F::CheckpointLostOnRetry, Some(before)) if before.delivery != update.delivery => {
                update.checkpoint = update.checkpoint.or(Some(bytes::Bytes::new()));
            }
            (F::DeliveryIgnored, Some(before)) if before.run == update.run => {
                update.delivery = before.delivery;
            }
            (F::ProgressGoesBack, Some(before)) if before.state == update.state => {
                if let Some(progress) = &mut update.progress {
                    progress.done = progress.done.max(before.progress.done);
                }
            }
            _ => {}
        }
        Ok(update)
    }
}

#[async_trait]
impl StatusStore for BrokenStore {
    fn capabilities(&self) -> StatusCapabilities {
        self.inner.capabilities()
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let handle = self.handle(handle);
        let update = self.bend(&handle, update).await?;
        let before = self.inner.get(&handle).await?;
        let keep_for = match self.fault {
            F::KeptForEver => keep_for * 1_000,
            F::KeptTooShort => keep_for / 8,
            _ => keep_for,
        };
        if self.is(F::FirstMustBeQueued) && before.is_none() && update.state != JobState::Queued {
            return Err(Error::new(ErrorKind::NotFound, "broken", "status.advance"));
        }
        if let Some(before) = &before {
            let same = before.state == update.state && before.delivery == update.delivery;
            let refused = match self.fault {
                F::RefusesRepeats => update.state == JobState::Running && same,
                F::RunIgnored => before.state.is_terminal(),
                _ => false,
            };
            if refused {
                return Ok(Advance::Refused(Arc::clone(before)));
            }
        }
        if self.is(F::EndsRace) && update.state.is_terminal() {
            tokio::task::yield_now().await;
            if before.as_ref().is_some_and(|before| !before.state.is_terminal()) {
                self.inner.remove(&handle).await?;
            }
        }
        let ends = self.clock.instant() + keep_for;
        self.ends.lock().expect("no panic").insert(handle, ends);
        let mut advance = self.inner.advance(&handle, &update, keep_for).await?;
        if let Advance::Refused(status) = &advance {
            let again = match self.fault {
                F::AllApplied => true,
                F::EndLeft => status.state.is_terminal() && update.delivery > status.delivery,
                F::OlderRunWins => update.run < status.run,
                F::OlderDeliveryWins => update.run == status.run && !status.state.is_terminal(),
                _ => false,
            };
            if again {
                self.inner.remove(&handle).await?;
                advance = self.inner.advance(&handle, &update, keep_for).await?;
            } else if self.is(F::RefusedIsApplied) {
                advance = Advance::Applied(Arc::clone(status));
            } else if self.is(F::RefusedTouches) {
                self.inner.request_cancel(&handle).await?;
            } else if self.is(F::RefusedTellsItsOwn) {
                let mut own = (**status).clone();
                own.apply(&update, own.updated_at);
                advance = Advance::Refused(Arc::new(own));
            }
        }
        Ok(match advance {
            Advance::Refused(status) => Advance::Refused(self.told(status)),
            other => Advance::Applied(self.told(Arc::clone(other.status()))),
        })
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        let handle = self.handle(handle);
        let found = self.inner.get(&handle).await?;
        let over = self.ends.lock().expect("no panic").get(&handle).copied();
        if self.is(F::UnfinishedExpires) && over.is_some_and(|over| over < self.clock.instant()) {
            return Ok(None);
        }
        Ok(found.map(|status| self.told(status)))
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        let handle = self.handle(handle);
        let deadline = self.clock.instant() + timeout;
        let found = match self.fault {
            F::WaitsNever => self.inner.get(&handle).await?,
            F::WaitsAlways => {
                self.clock.sleep_until(deadline).await;
                self.inner.get(&handle).await?
            }
            F::WakesNever => {
                let now = self.inner.get(&handle).await?;
                if now.as_ref().is_some_and(|now| now.version == seen) {
                    self.clock.sleep_until(deadline).await;
                }
                self.inner.get(&handle).await?
            }
            F::WakesForStepsOnly => loop {
                let found = self.inner.get(&handle).await?;
                let news = found
                    .as_ref()
                    .is_some_and(|found| found.version != seen && !found.cancel_requested);
                if news || self.clock.instant() >= deadline {
                    break found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
            F::WaitsForLaterOnly => {
                let now = self.inner.get(&handle).await?;
                let seen = now.as_ref().map_or(seen, |now| seen.max(now.version));
                self.inner.wait(&handle, seen, timeout).await?
            }
            F::WaitsForEver => self.inner.wait(&handle, seen, Duration::from_secs(1 << 30)).await?,
            F::WaitGivesUp => {
                self.inner.wait(&handle, seen, timeout).await?.filter(|found| found.version != seen)
            }
            F::WakesForAll => {
                tokio::select! {
                    found = self.inner.wait(&handle, seen, timeout) => found?,
                    () = tokio::time::sleep(Duration::from_millis(2)) => {
                        self.inner.get(&handle).await?
                    }
                }
            }
            F::WakesOne => {
                let now = self.inner.get(&handle).await?;
                let first = self.ends.lock().expect("no panic").remove(&handle).is_some();
                if !first && now.as_ref().is_some_and(|now| now.version == seen) {
                    self.clock.sleep_until(deadline).await;
                }
                self.inner.wait(&handle, seen, timeout).await?
            }
            _ => self.inner.wait(&handle, seen, timeout).await?,
        };
        Ok(found.map(|status| self.told(status)))
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        let handle = self.handle(handle);
        let before = self.inner.get(&handle).await?;
        let state = before.as_ref().map(|before| before.state);
        match (self.fault, state) {
            (F::CancelForgotten, Some(_)) => return Ok(CancelOutcome::Requested),
            (F::CancelUnknownIsFinished, None) => return Ok(CancelOutcome::Finished),
            (F::CancelKills, Some(JobState::Running)) => {
                let before = before.expect("it has a state");
                let end = StatusUpdate::new(before.kind.clone(), JobState::Cancelled).execution(
                    before.run,
                    before.attempt,
                    before.delivery,
                );
                self.inner.advance(&handle, &end, Duration::from_secs(3600)).await?;
                return Ok(CancelOutcome::Cancelled);
            }
            (F::CancelMakes, None) => {
                let made = StatusUpdate::new("unknown", JobState::Cancelled);
                self.inner.advance(&handle, &made, Duration::from_secs(3600)).await?;
                return Ok(CancelOutcome::Unknown);
            }
            (F::CancelOfEndedRemoves, Some(state)) if state.is_terminal() => {
                self.inner.remove(&handle).await?;
                return Ok(CancelOutcome::Finished);
            }
            _ => {}
        }
        self.inner.request_cancel(&handle).await
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        if let Some(status) = self.inner.get(handle).await? {
            self.forgotten.store(status.version, Ordering::Relaxed);
        }
        match self.fault {
            F::RemoveForgotten => Ok(true),
            F::RemoveAlwaysTrue => self.inner.remove(handle).await.map(|_| true),
            _ => self.inner.remove(&self.handle(handle)).await,
        }
    }
}

#[async_trait]
impl HealthCheck for BrokenStore {
    async fn health(&self) -> Health {
        let mut health = self.inner.health().await;
        if self.is(F::NeverHealthy) {
            health.verdict = Verdict::Failing("always".to_owned());
        }
        health
    }
}
