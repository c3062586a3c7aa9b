//! Receiving from several queues without losing what comes from two of them at once.
//!
//! Queues that may have something are asked in the order of the plan, without waiting. When none
//! has, one receive waits on each of them, in a task of its own that nobody cancels: a delivery
//! on its way to a dropped receive would come back only after its lease. What such a receive brings
//! goes to whoever receives at that time or next; after a moment without anybody it is released,
//! uncounted. Several receivers share those waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use standfast_core::{Error, ErrorKind, Result, saturating_add};

use super::desk::Whom;
use super::{Route, Shared};
use crate::delivery::{Batch, ReceiveOptions, Received, SettleOutcome, Settlement};
use crate::queue::Queue;

/// How long a delivery that came too late for its receiver is kept for the next one; a quarter of
/// the lease, if that is less.
const KEPT_FOR: Duration = Duration::from_millis(200);

/// How long after its deadline a receive gives the queues to end the waits that it began.
const GRACE: Duration = Duration::from_secs(1);

impl<Q: Queue, R: Route> Shared<Q, R> {
    pub(super) async fn receive(self: &Arc<Self>, options: &ReceiveOptions) -> Result<Batch> {
        let now = self.clock.instant();
        let probes = {
            let mut desk = self.desk();
            desk.forgive();
            desk.probes(now)
        };
        for queue in probes {
            self.poll(queue, ReceiveOptions { max: 1, wait: Duration::ZERO, ..options.clone() });
        }
        let mut taken = Taken { shared: self, options, batch: Batch::default() };
        taken.collect();
        let mut asked = Vec::new();
        taken.ask(&mut asked, Whom::Promising).await;
        if taken.batch.is_empty() {
            if options.wait.is_zero() {
                taken.ask(&mut asked, Whom::Everybody).await;
                taken.collect();
            } else {
                taken.wait(saturating_add(now, options.wait)).await;
                if !taken.batch.is_empty() {
                    taken.ask(&mut Vec::new(), Whom::Promising).await;
                }
            }
        }
        let batch = std::mem::take(&mut taken.batch);
        match self.desk().all_failing() {
            Some(error) if batch.is_empty() => Err(error.clone()),
            _ => Ok(batch),
        }
    }

    /// Puts a receive of `queue`, which the desk has marked as waited on, into a task of its own.
    fn poll(self: &Arc<Self>, queue: usize, options: ReceiveOptions) {
        let mut poll = Poll { shared: Arc::clone(self), queue, has_answered: false };
        tokio::spawn(async move {
            let answer = poll.shared.queues[queue].receive(&options).await;
            let tickets = poll.answer(answer, &options);
            if tickets.is_empty() {
                return;
            }
            let clock = &poll.shared.clock;
            let kept_for = KEPT_FOR.min(options.lease / 4);
            clock.sleep(kept_for).await;
            let late = poll.shared.desk().unpark(Some(&tickets));
            poll.shared.release(late).await;
        });
    }

    /// Gives deliveries back that nobody takes. Where that fails, their leases run out.
    pub(super) async fn release(&self, late: Vec<Received>) {
        if late.is_empty() {
            return;
        }
        let batch: Vec<_> =
            late.into_iter().map(|received| (received.receipt, Settlement::release())).collect();
        match self.settle(&batch).await {
            Ok(outcomes) => {
                for (outcome, (receipt, _)) in outcomes.iter().zip(&batch) {
                    if let SettleOutcome::Failed(error) = outcome {
                        tracing::warn!(id = %receipt.id(), %error, "could not release a delivery");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(count = batch.len(), %error, "could not release deliveries");
            }
        }
    }

    /// Waits until no receive is under way and gives back what nobody has taken.
    pub(super) async fn drain(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let late = self.desk().unpark(None);
            self.release(late).await;
            if !self.desk().is_polled(None) {
                return;
            }
            changed.await;
        }
    }

    /// Marks deliveries of `queue` as its own.
    fn mark(&self, queue: usize, mut batch: Batch) -> Batch {
        for received in &mut batch.deliveries {
            received.receipt = received.receipt.clone().push(Arc::clone(&self.places[queue]) as _);
        }
        batch
    }
}

/// One receive that waits on behalf of whoever receives. Dropped without an answer, because the
/// queue panicked or the runtime ended, it counts as failed.
struct Poll<Q: Queue, R: Route> {
    shared: Arc<Shared<Q, R>>,
    queue: usize,
    has_answered: bool,
}

impl<Q: Queue, R: Route> Poll<Q, R> {
    /// Tells the desk and wakes the receivers.
    fn answer(&mut self, answer: Result<Batch>, options: &ReceiveOptions) -> Vec<u64> {
        self.has_answered = true;
        let Self { shared, queue, .. } = self;
        let now = shared.clock.instant();
        let mut desk = shared.desk();
        desk.poll_ended(*queue);
        let tickets = match answer {
            Ok(batch) => {
                desk.answered(*queue, batch.deliveries.len() >= options.max, now);
                desk.park(shared.mark(*queue, batch), options.lease)
            }
            Err(error) => {
                desk.failed(*queue, error, now);
                Vec::new()
            }
        };
        drop(desk);
        shared.changed.notify_waiters();
        tickets
    }
}

impl<Q: Queue, R: Route> Drop for Poll<Q, R> {
    fn drop(&mut self) {
        if !self.has_answered {
            let error = Error::new(ErrorKind::Unexpected, self.shared.backend(), "queue.receive")
                .with_detail("the receive ended without an answer");
            // nothing is received, so the options do not matter
            self.answer(Err(error), &ReceiveOptions::new(0));
        }
    }
}

/// What one call has received so far. Dropped with it, because the caller went away, it is left to
/// the next one.
struct Taken<'a, Q: Queue, R: Route> {
    shared: &'a Arc<Shared<Q, R>>,
    options: &'a ReceiveOptions,
    batch: Batch,
}

impl<Q: Queue, R: Route> Taken<'_, Q, R> {
    fn room(&self) -> usize {
        self.options.max.saturating_sub(self.batch.deliveries.len())
    }

    /// Takes what is parked.
    fn collect(&mut self) {
        let now = self.shared.clock.instant();
        self.shared.desk().take(&mut self.batch, self.options.max, self.options.lease, now);
    }

    /// Asks the queues in turn, without waiting, except those it has `asked` already.
    async fn ask(&mut self, asked: &mut Vec<usize>, whom: Whom) {
        let shared = self.shared;
        let mut generous = Vec::new();
        for (queue, quota) in shared.route.plan(self.options.max, shared.queues.len()) {
            let now = shared.clock.instant();
            let max = quota.min(self.room()).min(shared.max_batch);
            let skips = asked.contains(&queue) || shared.desk().skips(queue, whom, now);
            if max == 0 || skips {
                continue;
            }
            asked.push(queue);
            if self.ask_one(queue, max).await {
                generous.push(queue);
            }
        }
        for queue in generous {
            let max = self.room().min(shared.max_batch);
            if max > 0 {
                self.ask_one(queue, max).await;
            }
        }
    }

    /// Asks one queue and says whether it gave all it was asked for, so that it may have more.
    async fn ask_one(&mut self, queue: usize, max: usize) -> bool {
        let options = ReceiveOptions { max, wait: Duration::ZERO, ..self.options.clone() };
        let answer = self.shared.queues[queue].receive(&options).await;
        let now = self.shared.clock.instant();
        let mut desk = self.shared.desk();
        match answer {
            Ok(batch) => {
                let gave_all = batch.deliveries.len() >= max;
                desk.answered(queue, gave_all, now);
                let batch = self.shared.mark(queue, batch);
                self.batch.deliveries.extend(batch.deliveries);
                self.batch.dead.extend(batch.dead);
                self.batch.dropped.extend(batch.dropped);
                gave_all
            }
            Err(error) => {
                desk.failed(queue, error, now);
                false
            }
        }
    }

    /// Waits on all queues until one of them has brought something, all of them fail, or the
    /// deadline has passed.
    async fn wait(&mut self, deadline: Instant) {
        let Self { shared, options, .. } = *self;
        let share = (options.max / shared.queues.len()).max(1).min(options.max);
        let give_up = saturating_add(deadline, GRACE);
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let now = shared.clock.instant();
            let (polls, wake_at) = {
                let mut desk = shared.desk();
                desk.take(&mut self.batch, options.max, options.lease, now);
                if !self.batch.is_empty() || desk.all_failing().is_some() {
                    return;
                }
                if now < deadline {
                    let polls = desk.unpolled(deadline, now);
                    (polls, desk.next_probe().map_or(deadline, |probe| probe.min(deadline)))
                } else if now < give_up && desk.is_polled(Some(deadline)) {
                    // they end now, and may bring what came in the last moment
                    (Vec::new(), give_up)
                } else {
                    return;
                }
            };
            for queue in polls {
                let wait = deadline.saturating_duration_since(now);
                shared.poll(queue, ReceiveOptions { max: share, wait, ..options.clone() });
            }
            tokio::select! {
                () = changed => {}
                () = shared.clock.sleep_until(wake_at) => {}
            }
        }
    }
}

impl<Q: Queue, R: Route> Drop for Taken<'_, Q, R> {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.shared.desk().park(batch, self.options.lease);
        }
    }
}
