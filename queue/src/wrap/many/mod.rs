//! Several queues as one: what [`Prioritized`](super::Prioritized) and [`Sharded`](super::Sharded)
//! share. They differ in their [`Route`] only.

mod dead;
mod desk;
mod operate;
mod receive;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use standfast_core::{Clock, Result};
use tokio::sync::Notify;

use super::calls::{Call, ExtendCall, SendCall, SettleCall, checked};
use crate::capabilities::QueueCapabilities;
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use desk::Desk;

/// Where messages go, and in which order to ask for them.
pub(super) trait Route: fmt::Debug + Send + Sync + 'static {
    /// Which of `queues` a message goes to: always the same one for the same message.
    fn route(&self, message: &OutgoingMessage, queues: usize) -> usize;

    /// Whom to ask for how many of `max` messages, the first one first, each queue once.
    fn plan(&self, max: usize, queues: usize) -> Vec<(usize, usize)>;

    /// What the whole can do, where all of `queues` can do `each`.
    fn capabilities(&self, each: QueueCapabilities, queues: usize) -> QueueCapabilities;
}

/// Several queues behind one interface.
pub(super) struct Many<Q, R>(Arc<Shared<Q, R>>);

struct Shared<Q, R> {
    queues: Vec<Q>,
    /// What the receipts of each queue carry.
    places: Vec<Arc<Place>>,
    /// The most entries that each of them takes in one call.
    max_batch: usize,
    route: R,
    clock: Arc<dyn Clock>,
    desk: Mutex<Desk>,
    changed: Notify,
}

/// Which queue a delivery came from, on top of its receipt.
#[derive(Debug)]
struct Place(usize);

impl<Q: Queue, R: Route> Many<Q, R> {
    /// At least one queue.
    pub(super) fn new(queues: Vec<Q>, route: R, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            places: (0..queues.len()).map(|index| Arc::new(Place(index))).collect(),
            desk: Mutex::new(Desk::new(queues.len())),
            changed: Notify::new(),
            max_batch: queues
                .iter()
                .map(|queue| queue.capabilities().max_batch)
                .min()
                .unwrap_or(usize::MAX),
            queues,
            route,
            clock,
        }))
    }

    pub(super) fn queues(&self) -> &[Q] {
        &self.0.queues
    }

    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }
}

impl<Q: Queue, R: Route> Shared<Q, R> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which queue `receipt` belongs to, and its receipt there; none when it was not given here.
    fn place(&self, receipt: &Receipt) -> Option<(usize, Receipt)> {
        let (place, inner) = receipt.pop::<Place>()?;
        (place.0 < self.queues.len()).then_some((place.0, inner))
    }

    fn backend(&self) -> &'static str {
        self.queues.first().map_or("none", |queue| queue.capabilities().backend)
    }

    /// Calls each queue with the entries that `place` puts there, all at the same time, and brings
    /// the outcomes back in order. An error of one call is the outcome of its entries, unless
    /// every call met one. An entry without a place has its outcome already.
    async fn spread<C: Call>(
        &self,
        call: &C,
        batch: &[C::Entry],
        place: impl Fn(&C::Entry) -> Result<(usize, C::Entry), C::Outcome>,
    ) -> Result<Vec<C::Outcome>> {
        let mut shares: Vec<Share<C>> = Vec::new();
        let mut strays = Vec::new();
        for (position, entry) in batch.iter().enumerate() {
            let (queue, entry) = match place(entry) {
                Ok(placed) => placed,
                Err(outcome) => {
                    strays.push((position, outcome));
                    continue;
                }
            };
            let known = shares.iter().position(|share| share.queue == queue);
            let share = known.unwrap_or_else(|| {
                shares.push(Share { queue, positions: Vec::new(), entries: Vec::new() });
                shares.len() - 1
            });
            shares[share].positions.push(position);
            shares[share].entries.push(entry);
        }
        if let ([share], []) = (&shares[..], &strays[..]) {
            return self.ask(call, share).await;
        }
        let answers = join_all(shares.iter().map(|share| self.ask(call, share))).await;
        if strays.is_empty() && answers.iter().all(Result::is_err) {
            return answers.into_iter().next().unwrap_or_else(|| Ok(Vec::new()));
        }
        let mut placed = strays;
        for (answer, share) in answers.into_iter().zip(shares) {
            match answer {
                Ok(outcomes) => placed.extend(share.positions.into_iter().zip(outcomes)),
                Err(error) => placed.extend(
                    share
                        .positions
                        .into_iter()
                        .map(|position| (position, C::failed(error.clone()))),
                ),
            }
        }
        placed.sort_unstable_by_key(|(position, _)| *position);
        Ok(placed.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn ask<C: Call>(&self, call: &C, share: &Share<C>) -> Result<Vec<C::Outcome>> {
        let answer = checked(call, &self.queues[share.queue], &share.entries).await;
        self.desk().stir(share.queue);
        answer
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        let place = |(receipt, settlement): &(Receipt, Settlement)| {
            let (queue, receipt) = self.place(receipt).ok_or(SettleOutcome::Stale)?;
            Ok((queue, (receipt, settlement.clone())))
        };
        self.spread(&SettleCall, batch, place).await
    }
}

/// The entries of a call that go to one queue, and where they stood.
struct Share<C: Call> {
    queue: usize,
    positions: Vec<usize>,
    entries: Vec<C::Entry>,
}

impl<Q: fmt::Debug, R: fmt::Debug> fmt::Debug for Many<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.queues).finish()
    }
}

impl<Q, R> Clone for Many<Q, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait]
impl<Q: Queue, R: Route> Queue for Many<Q, R> {
    fn capabilities(&self) -> QueueCapabilities {
        let each = self.0.queues.iter().map(Queue::capabilities).reduce(common);
        let each = each.unwrap_or_else(|| QueueCapabilities::all("none"));
        self.0.route.capabilities(each, self.0.queues.len())
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let shared = &*self.0;
        let route = |message: &OutgoingMessage| {
            Ok((shared.route.route(message, shared.queues.len()), message.clone()))
        };
        shared.spread(&SendCall, batch, route).await
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.0.receive(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.0.settle(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        let shared = &*self.0;
        let place = |receipt: &Receipt| shared.place(receipt).ok_or(ExtendOutcome::Stale);
        shared.spread(&ExtendCall { lease }, batch, place).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let mut sum = QueueStats { paused: true, ..QueueStats::default() };
        for stats in join_all(self.0.queues.iter().map(Queue::stats)).await {
            let stats = stats?;
            sum.ready += stats.ready;
            sum.leased += stats.leased;
            sum.delayed += stats.delayed;
            sum.dead += stats.dead;
            sum.oldest_age = sum.oldest_age.max(stats.oldest_age);
            sum.dropped += stats.dropped;
            sum.dead_evicted += stats.dead_evicted;
            sum.paused &= stats.paused;
        }
        Ok(sum)
    }
}

/// What two queues have in common.
fn common(one: QueueCapabilities, other: QueueCapabilities) -> QueueCapabilities {
    QueueCapabilities {
        backend: one.backend,
        max_batch: one.max_batch.min(other.max_batch),
        max_body: one.max_body.min(other.max_body),
        max_lease: one.max_lease.min(other.max_lease),
        max_lease_total: one.max_lease_total.into_iter().chain(other.max_lease_total).min(),
        fenced: one.fenced && other.fenced,
        counts_crashes: one.counts_crashes && other.counts_crashes,
        dedupe: one.dedupe && other.dedupe,
        dedupe_window: one.dedupe_window.into_iter().chain(other.dedupe_window).min(),
        tells_duplicates: one.tells_duplicates && other.tells_duplicates,
        idempotent_send: one.idempotent_send && other.idempotent_send,
        id_window: one.id_window.max(other.id_window),
        max_delay: one.max_delay.into_iter().chain(other.max_delay).min(),
        priorities: one.priorities && other.priorities,
        groups: one.groups && other.groups,
        exact_stats: one.exact_stats && other.exact_stats,
        age_of_oldest: one.age_of_oldest && other.age_of_oldest,
        exclusive: one.exclusive && other.exclusive,
        drop_after: one.drop_after && other.drop_after,
        bounded: one.bounded && other.bounded,
        pause: one.pause && other.pause,
        lists_dead_letters: one.lists_dead_letters && other.lists_dead_letters,
    }
}
