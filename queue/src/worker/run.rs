//! The loops of a worker: receive, and stop in order.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use standfast_core::{Backoff, CancellationToken, Clock, saturating_add};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::heartbeat::Leases;
use super::kind::Kind;
use super::report::{Counters, WorkerHealth, WorkerReport};
use super::{CancelReason, JobContext, Worker, WorkerConfig};
use crate::dead::DeadLetter;
use crate::delivery::{Batch, ReceiveOptions};
use crate::envelope::Envelope;
use crate::jobs::Jobs;
use crate::queue::Queue;
use crate::status::{JobFailure, JobState, StatusUpdate};
use crate::wrap::Coalescing;

const BETWEEN_RECEIVES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// A worker while it runs.
pub(super) struct Runner {
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) kinds: HashMap<&'static str, Arc<Kind>>,
    pub(super) config: WorkerConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Counters,
    pub(super) release: CancellationToken,
    health: WorkerHealth,
    identity: Arc<str>,
    /// Cancelled when nothing more may begin.
    stopping: CancellationToken,
    slots: Arc<Semaphore>,
}

/// One queue that a worker receives from.
pub(super) struct Source {
    pub(super) jobs: Jobs,
    pub(super) leases: Leases,
    /// The same queue, where settlements of many jobs go together.
    pub(super) settles: Arc<dyn Queue>,
    weight: u32,
    /// Deliveries that wait here for a slot.
    backlog: AtomicUsize,
}

impl Runner {
    pub(super) fn new<S>(worker: Worker<S>) -> Self {
        let Worker { sources, mut kinds, around, config, identity, health, release, .. } = worker;
        for kind in kinds.values_mut() {
            let handler = around.iter().fold(Arc::clone(&kind.handler), |inner, wrap| wrap(inner));
            *kind = Kind::new(kind.version, kind.config.clone(), handler);
        }
        // invariant: a worker is made from its first source
        let clock = Arc::clone(sources[0].0.clock());
        let sources = sources
            .into_iter()
            .map(|(jobs, weight)| {
                let settles = Arc::new(Coalescing::new(Arc::clone(jobs.queue())));
                let (leases, backlog) = (Leases::default(), AtomicUsize::new(0));
                Arc::new(Source { jobs, leases, settles, weight, backlog })
            })
            .collect();
        Self {
            sources,
            kinds,
            clock,
            counters: Counters::default(),
            release,
            health,
            identity,
            stopping: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(config.concurrency.max(1))),
            config,
        }
    }

    pub(super) async fn run(self, stop: impl Future<Output = ()> + Send) -> WorkerReport {
        let runner = Arc::new(self);
        runner.health.started(runner.config.wait);
        let mut loops = JoinSet::new();
        for source in &runner.sources {
            let pull = Arc::clone(&runner).pull(Arc::clone(source));
            loops.spawn(pull);
        }
        let beats: JoinSet<()> = runner
            .sources
            .iter()
            .map(|source| {
                let (runner, source) = (Arc::clone(&runner), Arc::clone(source));
                async move {
                    let queue = source.jobs.queue();
                    source.leases.beat(queue, &*runner.clock, runner.config.lease).await;
                }
            })
            .collect();
        tokio::select! {
            () = stop => {}
            () = runner.release.cancelled() => {}
        }
        runner.stopping.cancel();
        let grace = saturating_add(runner.clock.instant(), runner.config.grace);
        tokio::select! {
            () = drained(&mut loops) => {}
            () = runner.clock.sleep_until(grace) => {
                runner.cancel_running();
                drained(&mut loops).await;
            }
        }
        drop(beats);
        runner.health.stopped();
        runner.counters.report()
    }

    fn cancel_running(&self) {
        for context in self.sources.iter().flat_map(|source| source.leases.all()) {
            context.cancel(CancelReason::Shutdown);
        }
    }

    /// Receives and runs jobs until the stop, then sees the running ones through.
    async fn pull(self: Arc<Self>, source: Arc<Source>) {
        let mut running = JoinSet::new();
        let mut failures = 0;
        while !self.stopping.is_cancelled() {
            let room = self.room(&source);
            if room == 0 {
                tokio::select! {
                    slot = self.slots.acquire() => drop(slot),
                    () = self.stopping.cancelled() => {}
                }
                continue;
            }
            while running.try_join_next().is_some() {}
            let options = ReceiveOptions::new(room)
                .wait(self.config.wait)
                .lease(self.config.lease)
                .worker(Arc::clone(&self.identity));
            let received = tokio::select! {
                biased;
                received = source.jobs.queue().receive(&options) => received,
                // what was on its way comes back after its lease
                () = self.stopping.cancelled() => break,
            };
            match received {
                Ok(batch) => {
                    failures = 0;
                    self.health.answered();
                    self.take(&source, batch, &mut running).await;
                }
                Err(error) => {
                    failures += 1;
                    self.health.failed(&error);
                    tracing::warn!(failures, %error, "nothing could be received");
                    let pause =
                        error.retry_after().unwrap_or_else(|| BETWEEN_RECEIVES.next(failures));
                    tokio::select! {
                        () = self.clock.sleep_until(saturating_add(self.clock.instant(), pause)) => {}
                        () = self.stopping.cancelled() => {}
                    }
                }
            }
        }
        drained(&mut running).await;
    }

    /// How many deliveries to ask for: the free slots and the prefetch, shared by weight when there
    /// are several queues, less what waits here already.
    fn room(&self, source: &Source) -> usize {
        let total: u32 = self.sources.iter().map(|source| source.weight).sum();
        let limit = self.config.concurrency.max(1) * source.weight as usize / total.max(1) as usize;
        let free = self.slots.available_permits().min(limit.max(1));
        let waiting = source.backlog.load(Ordering::Acquire);
        let room = (free + self.config.prefetch).saturating_sub(waiting);
        room.min(source.jobs.queue().capabilities().max_batch)
    }

    /// Starts a task for each delivery, and tells the statuses of what the store has ended.
    async fn take(self: &Arc<Self>, source: &Arc<Source>, batch: Batch, running: &mut JoinSet<()>) {
        for received in batch.deliveries {
            let context = JobContext::new(received, None, Some(source.jobs.clone()));
            source.leases.keep(&context);
            source.backlog.fetch_add(1, Ordering::AcqRel);
            let (runner, source) = (Arc::clone(self), Arc::clone(source));
            running.spawn(async move { runner.wait_and_execute(&source, context).await });
        }
        for letter in &batch.dead {
            self.tell_dead(source, letter).await;
        }
        for envelope in &batch.dropped {
            let failure = JobFailure::new("it did not begin in time, so it was dropped");
            self.tell_end(source, envelope, (1, 1), failure).await;
        }
    }

    async fn wait_and_execute(&self, source: &Source, context: JobContext) {
        let slot = tokio::select! {
            biased;
            slot = self.slots.acquire() => slot.ok(),
            () = self.stopping.cancelled() => None,
        };
        source.backlog.fetch_sub(1, Ordering::AcqRel);
        match slot {
            Some(_slot) => self.execute(source, context).await,
            None => self.release(source, &context, Duration::ZERO).await,
        }
    }

    async fn tell_dead(&self, source: &Source, letter: &DeadLetter) {
        tracing::warn!(id = %letter.envelope.id, reason = letter.reason, "dead letter");
        let mut failure = JobFailure::new(letter.reason.clone());
        failure.detail = letter.last_error.as_ref().map(|error| error.to_string());
        let execution = (letter.attempts, letter.deliveries);
        self.tell_end(source, &letter.envelope, execution, failure).await;
    }

    /// Tells the status of a job that the store has ended. Dies before: the status stays as it was
    /// until it expires, and the dead letter says what happened.
    async fn tell_end(
        &self,
        source: &Source,
        envelope: &Envelope,
        (attempt, delivery): (u32, u32),
        failure: JobFailure,
    ) {
        let Some(handle) = envelope.handle else { return };
        let update = StatusUpdate::new(envelope.kind.clone(), JobState::Failed)
            .execution(envelope.run, attempt, delivery)
            .error(failure);
        let status = source.jobs.status();
        for attempt in 1..=10 {
            match status.advance(&handle, &update, source.jobs.kept_for()).await {
                Ok(_) => return,
                Err(error) if error.is_retryable() && !self.stopping.is_cancelled() => {
                    let pause = BETWEEN_RECEIVES.next(attempt);
                    self.clock.sleep_until(saturating_add(self.clock.instant(), pause)).await;
                }
                Err(error) => {
                    tracing::error!(id = %envelope.id, %error, "the end of a job was not stored");
                    return;
                }
            }
        }
    }

    pub(super) async fn drain(self) -> WorkerReport {
        for source in &self.sources {
            loop {
                let options = ReceiveOptions::new(1).lease(self.config.lease);
                let batch = match source.jobs.queue().receive(&options).await {
                    Ok(batch) if batch.is_empty() => break,
                    Ok(batch) => batch,
                    Err(error) => {
                        tracing::error!(%error, "nothing could be received");
                        break;
                    }
                };
                for letter in &batch.dead {
                    self.tell_dead(source, letter).await;
                }
                for received in batch.deliveries {
                    let context = JobContext::new(received, None, Some(source.jobs.clone()));
                    self.execute(source, context).await;
                }
            }
        }
        self.counters.report()
    }
}

/// Waits until every task has ended. A panic of the worker's own is a bug; it is not hidden, and
/// the lease of its job runs out.
async fn drained(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the worker ended badly");
        }
    }
}
