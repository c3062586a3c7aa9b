//! The loops of a worker: receive, and stop in order.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Backoff, CancellationToken, Clock, Result};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::heartbeat::Leases;
use super::kind::Kind;
use super::report::{Counters, WorkerHealth, WorkerReport};
use super::{CancelReason, JobContext, Worker, WorkerConfig};
use crate::dead::DeadLetter;
use crate::delivery::{Batch, ReceiveOptions};
use crate::envelope::Envelope;
use crate::jobs::{Jobs, worth_repeating};
use crate::queue::Queue;
use crate::status::{Advance, JobFailure, JobState, StatusUpdate};
use crate::wrap::Coalescing;

const BETWEEN_RECEIVES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// How long what was let go may take to be said.
const LETTING_GO: Duration = Duration::from_secs(2);

/// A worker while it runs.
pub(super) struct Runner {
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) kinds: HashMap<&'static str, Arc<Kind>>,
    pub(super) config: WorkerConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Counters,
    pub(super) health: WorkerHealth,
    /// Cancelled when everything is to be let go.
    pub(super) release: CancellationToken,
    identity: Arc<str>,
    /// Cancelled when nothing more may begin.
    stopping: CancellationToken,
    /// What may be here: a slot for each that runs, and the prefetch.
    places: Arc<Semaphore>,
    /// What may run.
    slots: Semaphore,
    /// The most places that one receive takes.
    share: usize,
}

/// One queue that a worker receives from.
pub(super) struct Source {
    /// Which one of the worker's.
    pub(super) index: usize,
    pub(super) jobs: Jobs,
    pub(super) leases: Leases,
    /// The same queue, where settlements of many jobs go together.
    pub(super) settles: Arc<dyn Queue>,
    weight: u32,
    /// Held by the one loop of this queue that waits for jobs while there are none.
    idle: Mutex<()>,
}

impl Runner {
    pub(super) fn new<S>(worker: Worker<S>) -> Self {
        let Worker { sources, mut kinds, around, config, identity, health, release, .. } = worker;
        for kind in kinds.values_mut() {
            *kind = kind.anew(|handler| around.iter().fold(handler, |inner, wrap| wrap(inner)));
        }
        // invariant: a worker is made from its first source
        let clock = Arc::clone(sources[0].0.clock());
        let most = Semaphore::MAX_PERMITS;
        let slots = config.concurrency.clamp(1, most);
        let places = slots.saturating_add(config.prefetch).min(most);
        let weights: usize = sources.iter().map(|(_, weight)| *weight as usize).sum();
        let sources = sources
            .into_iter()
            .enumerate()
            .map(|(index, (jobs, weight))| {
                let settles = Arc::new(Coalescing::new(Arc::clone(jobs.queue())));
                let (leases, idle) = (Leases::default(), Mutex::default());
                Arc::new(Source { index, jobs, leases, settles, weight, idle })
            })
            .collect();
        Self {
            sources,
            kinds,
            clock,
            counters: Counters::default(),
            health,
            release: release.child_token(),
            identity,
            stopping: CancellationToken::new(),
            places: Arc::new(Semaphore::new(places)),
            slots: Semaphore::new(slots),
            share: (places / weights).max(1),
            config,
        }
    }

    pub(super) async fn run(self, stop: impl Future<Output = ()> + Send) -> WorkerReport {
        let runner = Arc::new(self);
        runner.health.started(runner.config.wait, runner.sources.len());
        let (mut pulls, mut beats) = (JoinSet::new(), JoinSet::new());
        for source in &runner.sources {
            for _ in 0..source.weight {
                pulls.spawn(Arc::clone(&runner).pull(Arc::clone(source)));
            }
        }
        runner.keep_leases(&mut beats);
        tokio::select! {
            () = stop => {}
            () = runner.release.cancelled() => {}
            // neither ends by itself: without one of them the worker does not go on
            Some(ended) = pulls.join_next() => note_end(ended),
            Some(ended) = beats.join_next() => note_end(ended),
        }
        runner.stopping.cancel();
        runner.see_through(&mut pulls).await;
        drop(beats);
        runner.health.stopped();
        runner.counters.report()
    }

    /// Waits for what still runs: for the grace, then for the grace of those asked to end, then for
    /// what is let go to be given back. What is left after that is dropped, its leases run out.
    async fn see_through(&self, pulls: &mut JoinSet<()>) {
        if self.ended_within(pulls, self.config.grace).await {
            return;
        }
        for context in self.sources.iter().flat_map(|source| source.leases.all()) {
            context.cancel(CancelReason::Shutdown);
        }
        let cancel_grace = self.config.cancel_grace.saturating_add(LETTING_GO);
        if self.ended_within(pulls, cancel_grace).await {
            return;
        }
        self.release.cancel();
        tokio::select! {
            () = drained(pulls) => {}
            () = self.clock.sleep(LETTING_GO) => {
                tracing::error!("jobs could not be given back; their leases run out");
            }
        }
    }

    /// Whether all has ended before `span` has passed and before it is let go.
    async fn ended_within(&self, pulls: &mut JoinSet<()>, span: Duration) -> bool {
        tokio::select! {
            biased;
            () = drained(pulls) => true,
            () = self.release.cancelled() => false,
            () = self.clock.sleep(span) => false,
        }
    }

    /// Receives and runs jobs until the stop, then sees the running ones through. A queue has as
    /// many of these loops as its weight, and all queue up for the places that become free.
    async fn pull(self: Arc<Self>, source: Arc<Source>) {
        let mut running = JoinSet::new();
        let mut failures = 0;
        // a queue without jobs holds no places while another may have some
        let alone = self.sources.len() == 1;
        while !self.stopping.is_cancelled() {
            while let Some(ended) = running.try_join_next() {
                note_end(ended);
            }
            let Some(places) = self.some_places(&source).await else { break };
            let (max, wait) = (places.num_permits(), self.config.wait);
            let wait = if alone { wait } else { Duration::ZERO };
            // what was on its way when the worker stops comes back after its lease
            let mut received = self.unless_stopping(self.receive(&source, max, wait)).await;
            let mut places = Some(places);
            if !alone && matches!(&received, Some(Ok(batch)) if batch.is_empty()) {
                places = None;
                received = self.unless_stopping(self.await_first(&source)).await;
            }
            match received {
                None => break,
                Some(Ok(batch)) => {
                    failures = 0;
                    self.take(&source, batch, places, &mut running);
                }
                Some(Err(error)) => {
                    drop(places);
                    failures += 1;
                    tracing::warn!(failures, %error, "nothing could be received");
                    let pause =
                        error.retry_after().unwrap_or_else(|| BETWEEN_RECEIVES.next(failures));
                    self.unless_stopping(self.clock.sleep(pause)).await;
                }
            }
        }
        drained(&mut running).await;
    }

    async fn unless_stopping<T>(&self, future: impl Future<Output = T> + Send) -> Option<T> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = self.stopping.cancelled() => None,
        }
    }

    /// One place as soon as it is free, and what else is free of the share; none after the stop,
    /// which frees places.
    async fn some_places(&self, source: &Source) -> Option<OwnedSemaphorePermit> {
        let mut places = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return None,
            places = Arc::clone(&self.places).acquire_owned() => places.ok()?,
        };
        let most = self.share.min(source.jobs.queue().capabilities().max_batch);
        let more = self.places.available_permits().min(most.saturating_sub(1));
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(&self.places).try_acquire_many_owned(more) {
            places.merge(more);
        }
        Some(places)
    }

    async fn receive(&self, source: &Source, max: usize, wait: Duration) -> Result<Batch> {
        let options = ReceiveOptions::new(max)
            .wait(wait)
            .lease(self.config.lease)
            .worker(Arc::clone(&self.identity));
        self.health.asking(source.index);
        let received = source.jobs.queue().receive(&options).await;
        self.health.answered(source.index, received.as_ref().err());
        received
    }

    /// Waits for the first job of a queue that has none, without a place for it.
    async fn await_first(&self, source: &Source) -> Result<Batch> {
        let _only_one = source.idle.lock().await;
        self.receive(source, 1, self.config.wait).await
    }

    /// Starts a task for each delivery, and for each status of what the store has ended.
    fn take(
        self: &Arc<Self>,
        source: &Arc<Source>,
        batch: Batch,
        mut places: Option<OwnedSemaphorePermit>,
        running: &mut JoinSet<()>,
    ) {
        for received in batch.deliveries {
            let context = JobContext::new(received, Some(source.jobs.clone()));
            let kept = source.leases.keep(&context);
            let place = places.as_mut().and_then(|places| places.split(1));
            let place = place.or_else(|| Arc::clone(&self.places).try_acquire_owned().ok());
            let (runner, source) = (Arc::clone(self), Arc::clone(source));
            running.spawn(async move {
                let _kept = kept;
                runner.wait_and_execute(&source, context, place).await;
            });
        }
        for letter in batch.dead {
            let (runner, source) = (Arc::clone(self), Arc::clone(source));
            running.spawn(async move { runner.tell_dead(&source, &letter).await });
        }
        for envelope in batch.dropped {
            let (runner, source) = (Arc::clone(self), Arc::clone(source));
            running.spawn(async move { runner.tell_dropped(&source, &envelope).await });
        }
    }

    /// Executes a delivery in its place, once there is a slot. Without a place it could wait for
    /// long, so it is left to others.
    async fn wait_and_execute(
        &self,
        source: &Source,
        context: JobContext,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let slot = async {
            place.as_ref()?;
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => None,
                slot = self.slots.acquire() => slot.ok(),
            }
        };
        match slot.await {
            Some(_slot) => self.execute(source, context).await,
            None => self.release(source, &context, Duration::ZERO).await,
        }
    }

    async fn tell_dropped(&self, source: &Source, envelope: &Envelope) {
        let failure = JobFailure::new("it did not begin in time, so it was dropped");
        self.tell_end(source, envelope, (1, 1), failure).await;
    }

    async fn tell_dead(&self, source: &Source, letter: &DeadLetter) {
        tracing::warn!(id = %letter.envelope.id, reason = letter.reason, "dead letter");
        let mut failure = JobFailure::new(letter.reason.clone());
        failure.detail = letter.last_error.as_ref().map(|error| error.to_string());
        let execution = (letter.attempts, letter.deliveries);
        self.tell_end(source, &letter.envelope, execution, failure).await;
    }

    /// Tells the status of a job that the store has ended, for as long as the worker runs. Dies
    /// before: the status stays as it was until it expires, and the dead letter says what happened.
    async fn tell_end(
        &self,
        source: &Source,
        envelope: &Envelope,
        (attempt, delivery): (u32, u32),
        failure: JobFailure,
    ) {
        let Some(handle) = envelope.handle else { return };
        let status = source.jobs.status();
        let mut update = StatusUpdate::new(envelope.kind.clone(), JobState::Failed)
            .execution(envelope.run, attempt, delivery)
            .error(failure);
        let mut tries = 0;
        loop {
            let error = match status.advance(&handle, &update, source.jobs.kept_for()).await {
                // the store has ended the run, wherever its status is by now
                Ok(Advance::Refused(last))
                    if last.run == update.run && !last.state.is_terminal() =>
                {
                    update = update.execution(last.run, last.attempt, last.delivery);
                    continue;
                }
                Ok(_) => return,
                Err(error) => error,
            };
            tries += 1;
            let pause = self.unless_stopping(self.clock.sleep(BETWEEN_RECEIVES.next(tries)));
            if !worth_repeating(&error) || self.stopping.is_cancelled() || pause.await.is_none() {
                tracing::error!(id = %envelope.id, %error, "the end of a job was not stored");
                return;
            }
        }
    }

    pub(super) async fn drain(self) -> WorkerReport {
        let runner = Arc::new(self);
        let mut beats = JoinSet::new();
        runner.keep_leases(&mut beats);
        while runner.drain_once().await {}
        runner.counters.report()
    }

    /// Goes once through the queues; says whether there was anything in them.
    async fn drain_once(&self) -> bool {
        let mut any = false;
        for source in &self.sources {
            loop {
                let batch = match self.receive(source, 1, Duration::ZERO).await {
                    Ok(batch) if batch.is_empty() => break,
                    Ok(batch) => batch,
                    Err(error) => {
                        tracing::error!(%error, "nothing could be received");
                        return false;
                    }
                };
                any = true;
                for letter in &batch.dead {
                    self.tell_dead(source, letter).await;
                }
                for envelope in &batch.dropped {
                    self.tell_dropped(source, envelope).await;
                }
                for received in batch.deliveries {
                    let context = JobContext::new(received, Some(source.jobs.clone()));
                    let _kept = source.leases.keep(&context);
                    self.execute(source, context).await;
                }
            }
        }
        any
    }

    /// Starts the heartbeats.
    fn keep_leases(self: &Arc<Self>, beats: &mut JoinSet<()>) {
        for source in &self.sources {
            let (runner, source) = (Arc::clone(self), Arc::clone(source));
            beats.spawn(async move {
                let queue = source.jobs.queue();
                source.leases.beat(queue, &*runner.clock, runner.config.lease).await;
            });
        }
    }
}

/// Waits until every task has ended.
async fn drained(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        note_end(ended);
    }
}

/// A panic of the worker's own is a bug; it is not hidden, and the lease of its job runs out.
fn note_end(ended: std::result::Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the worker ended badly");
    }
}
