//! The status suite through a reply queue.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Health, HealthCheck, Result};
use standfast_queue::testkit::{
    MemoryHarness, STATUS_CASES, StatusHarness, run_status_case, status_case,
};
use standfast_queue::{
    Advance, CancelOutcome, Envelope, JobStatus, MemoryQueue, MemoryQueueConfig, MemoryStatusStore,
    Queue, ReceiveOptions, ReplyQueue, ReplyStatuses, ReplyStore, StatusCapabilities, StatusHandle,
    StatusStore, StatusUpdate,
};
use tokio::sync::Mutex;

use crate::support::{is_empty, opens};

/// What a reply queue cannot do, and the cases that ask for it.
const MISSING: &[&str] = &[
    // nobody can be asked to end
    "a_job_that_waits_is_cancelled_at_once",
    "a_job_that_runs_is_asked_to_end",
    "a_job_that_runs_may_end_otherwise",
    "a_request_to_cancel_wakes_a_waiter",
    "a_new_run_begins_with_nothing",
    "versions_differ",
    // checkpoints stay with the delivery
    "a_retry_waits_with_its_error_and_goes_on_at_its_checkpoint",
    "progress_and_checkpoint_stay_until_they_change",
    "a_checkpoint_over_the_limit_is_too_large",
];

#[test]
fn the_suite_holds_through_a_reply_queue() {
    for case in STATUS_CASES.iter().filter(|case| !MISSING.contains(&case.name)) {
        println!("{case:?}");
        run_status_case(case, || ReplyHarness(MemoryHarness::manual()));
    }
}

#[test]
fn what_is_said_to_be_missing_is_missing() {
    for name in MISSING {
        let case = status_case(name);
        let run = || run_status_case(case, || ReplyHarness(MemoryHarness::manual()));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{name} works after all");
    }
}

/// Steps are taken at a worker and looked at where somebody waits.
struct ReplyHarness(MemoryHarness);

#[async_trait]
impl StatusHarness for ReplyHarness {
    async fn fresh_store(&self) -> Arc<dyn StatusStore> {
        let clock = self.0.clock();
        let mut config = MemoryQueueConfig::default();
        config.clock = Arc::clone(&clock);
        let own = MemoryQueue::with_config(config);
        let replies = ReplyQueue::with_clock("web", own.clone(), Arc::clone(&clock));
        let answers = ReplyStore::with_clock(MemoryStatusStore::new(), opens(&own), clock);
        tokio::spawn({
            let replies = replies.clone();
            async move { replies.run_until(std::future::pending()).await }
        });
        let web = replies.statuses();
        while !web.health().await.is_usable() {
            tokio::task::yield_now().await;
        }
        Arc::new(Through { replies, web, answers, own, known: Mutex::default() })
    }

    async fn pass_time(&self, span: Duration) {
        StatusHarness::pass_time(&self.0, span).await;
    }

    fn unit(&self) -> Duration {
        StatusHarness::unit(&self.0)
    }

    fn can_pass(&self, span: Duration) -> bool {
        StatusHarness::can_pass(&self.0, span)
    }
}

#[derive(Debug)]
struct Through {
    replies: ReplyQueue,
    web: ReplyStatuses,
    answers: ReplyStore,
    own: MemoryQueue,
    known: Mutex<HashSet<StatusHandle>>,
}

#[async_trait]
impl StatusStore for Through {
    fn capabilities(&self) -> StatusCapabilities {
        self.web.capabilities()
    }

    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let mut known = self.known.lock().await;
        if known.insert(*handle) {
            // a job of this handle arrives at the worker
            let jobs = MemoryQueue::new();
            let job = Envelope::new("case", "").with_handle(*handle);
            self.replies.asking(jobs.clone()).send(&[job.into()]).await?;
            self.answers.answering(jobs).receive(&ReceiveOptions::new(1)).await?;
        }
        let said = self.answers.advance(handle, update, keep_for).await?;
        while !is_empty(&self.own).await {
            tokio::task::yield_now().await;
        }
        let arrived = self.web.get(handle).await?.unwrap_or_else(|| Arc::clone(said.status()));
        Ok(if said.is_applied() { Advance::Applied(arrived) } else { Advance::Refused(arrived) })
    }

    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.web.get(handle).await
    }

    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.web.wait(handle, seen, timeout).await
    }

    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.web.request_cancel(handle).await
    }

    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.answers.remove(handle).await?;
        self.web.remove(handle).await
    }
}

#[async_trait]
impl HealthCheck for Through {
    async fn health(&self) -> Health {
        self.web.health().await
    }
}
