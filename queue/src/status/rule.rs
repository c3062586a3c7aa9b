//! The rule by which one status follows another: pure, so that every backend can be held to it.

use chrono::{DateTime, Utc};
use standfast_core::checked_add;

use super::{JobState, JobStatus, Progress, StatusUpdate};

impl JobStatus {
    /// The first status of a handle.
    pub fn first(update: &StatusUpdate, now: DateTime<Utc>) -> Self {
        let mut status = Self {
            state: update.state,
            kind: update.kind.clone(),
            run: update.run,
            attempt: update.attempt,
            delivery: update.delivery,
            progress: Progress::default(),
            checkpoint: None,
            result: None,
            error: None,
            owner: update.owner,
            cancel_requested: false,
            created_at: now,
            started_at: None,
            finished_at: None,
            retry_at: None,
            updated_at: now,
            version: 0,
        };
        status.apply(update, now);
        status
    }

    /// Whether `update` is later than this status: T1 and T2 of [`StatusStore`](super::StatusStore).
    pub fn precedes(&self, update: &StatusUpdate) -> bool {
        if update.run == self.run && self.state.is_terminal() {
            return false;
        }
        let done = update.progress.as_ref().map_or(self.progress.done, |progress| progress.done);
        let stored = (self.run, self.delivery, self.state.rank());
        let step = (update.run, update.delivery, update.state.rank());
        match step.cmp(&stored) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // the same place: progress does not go back, and a second `queued` says nothing new
            std::cmp::Ordering::Equal => {
                update.state == JobState::Running && done >= self.progress.done
            }
        }
    }

    /// Makes this status what it is after `update`, which it [precedes](Self::precedes).
    pub fn apply(&mut self, update: &StatusUpdate, now: DateTime<Utc>) {
        if update.run != self.run {
            self.checkpoint = None;
            self.result = None;
            self.error = None;
            self.started_at = None;
            self.cancel_requested = false;
        }
        if (update.run, update.delivery) != (self.run, self.delivery) {
            self.progress = Progress::default();
        }
        self.state = update.state;
        (self.run, self.attempt, self.delivery) = (update.run, update.attempt, update.delivery);
        self.progress =
            update.progress.clone().unwrap_or_else(|| std::mem::take(&mut self.progress));
        self.checkpoint = update.checkpoint.clone().or_else(|| self.checkpoint.take());
        self.result = update.result.clone();
        self.error = update.error.clone().or_else(|| self.error.take());
        self.owner = update.owner.or(self.owner);
        if update.state == JobState::Succeeded {
            self.error = None;
        }
        if update.state != JobState::Queued {
            self.started_at = self.started_at.or(Some(now));
        }
        self.finished_at = update.state.is_terminal().then_some(now);
        self.retry_at = update.retry_in.and_then(|delay| checked_add(now, delay));
        self.updated_at = now;
        self.version += 1;
    }

    /// Makes this status what it is after a request to cancel.
    pub fn cancel(&mut self, now: DateTime<Utc>) -> super::CancelOutcome {
        match self.state {
            state if state.is_terminal() => return super::CancelOutcome::Finished,
            JobState::Queued => {
                self.state = JobState::Cancelled;
                self.finished_at = Some(now);
                self.retry_at = None;
            }
            _ if self.cancel_requested => return super::CancelOutcome::Requested,
            _ => {}
        }
        self.cancel_requested = true;
        self.updated_at = now;
        self.version += 1;
        if self.state == JobState::Cancelled {
            super::CancelOutcome::Cancelled
        } else {
            super::CancelOutcome::Requested
        }
    }
}
