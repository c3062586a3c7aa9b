//! A memory queue with one fault.

mod admin;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use standfast_core::{Clock, Context, Error, ErrorKind, JobId, Reason, Result};
use standfast_queue::testkit::{MemoryHarness, QueueHarness, QueueSetup};
use standfast_queue::{
    Batch, Dedupe, Envelope, ExtendOutcome, Leased, MemoryQueue, Original, OutgoingMessage,
    Priority, Queue, QueueAdmin, QueueCapabilities, QueueStats, Receipt, ReceiveOptions, Received,
    SendOutcome, SettleOutcome, Settlement,
};

use crate::faults::Fault;
use Fault as F;

const AGES: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const MAX_BATCH: usize = 50;

/// Makes broken queues; with [`Fault::None`], sound ones.
pub(crate) struct BrokenHarness {
    pub(crate) memory: MemoryHarness,
    pub(crate) fault: Fault,
}

#[async_trait]
impl QueueHarness for BrokenHarness {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        let mut config = self.memory.config(setup);
        let max_body = config.max_body;
        match self.fault {
            F::BuriesNever => config.max_crashes = u32::MAX,
            F::BuriesLate => config.max_crashes = config.max_crashes.saturating_add(1),
            F::FullIgnored | F::FullRaces => config.max_len = usize::MAX,
            F::DeadUnbounded => config.max_dead = usize::MAX,
            F::DeadKeptForEver => config.keep_dead = AGES,
            F::BodyLimitIgnored => config.max_body = usize::MAX,
            F::BodyLimitOffByOne => config.max_body -= 1,
            _ => {}
        }
        Arc::new(Broken {
            inner: MemoryQueue::with_config(config),
            fault: self.fault,
            clock: self.memory.clock(),
            max_body,
            max_len: setup.max_len,
            own: Mutex::default(),
        })
    }

    async fn pass_time(&self, span: Duration) {
        QueueHarness::pass_time(&self.memory, span).await;
    }

    fn now(&self) -> Instant {
        self.memory.now()
    }

    fn unit(&self) -> Duration {
        QueueHarness::unit(&self.memory)
    }

    fn can_pass(&self, _: Duration) -> bool {
        true
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(4)
    }
}

#[derive(Debug)]
struct Broken {
    inner: MemoryQueue,
    fault: Fault,
    clock: Arc<dyn Clock>,
    max_body: usize,
    max_len: usize,
    own: Mutex<Own>,
}

/// What some faults remember.
#[derive(Debug, Default)]
struct Own {
    real: HashMap<JobId, Arc<Envelope>>,
    latest: HashMap<JobId, Receipt>,
    dropped: HashSet<JobId>,
    keys: HashMap<Arc<str>, JobId>,
    extra: Vec<Received>,
    dead: Vec<standfast_queue::DeadLetter>,
    stats: Option<QueueStats>,
    leased: Option<Vec<Leased>>,
    grouped: u32,
    count: usize,
    paused: bool,
}

impl Broken {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().expect("no panic")
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "broken", "queue")
    }

    /// Whatever was looked at before is not known any more.
    fn changed(&self) {
        let mut own = self.own();
        (own.stats, own.leased) = (None, None);
    }

    fn check_batch(&self, count: usize) -> Result<()> {
        if count <= MAX_BATCH || self.is(F::BatchLimitIgnored) {
            return Ok(());
        }
        Err(Self::error(ErrorKind::Invalid).with_reason(Reason::BatchTooLarge))
    }

    fn bend(&self, message: &OutgoingMessage) -> OutgoingMessage {
        let mut message = message.clone();
        let envelope = Arc::make_mut(&mut message.envelope);
        match self.fault {
            F::DedupeIgnored | F::DedupeEndsWithMessage | F::DedupeRaces => message.dedupe = None,
            F::WindowTooShort => {
                if let Some(dedupe) = &mut message.dedupe {
                    dedupe.window /= 4;
                }
            }
            F::WindowTooLong => {
                if let Some(dedupe) = &mut message.dedupe {
                    dedupe.window *= 4;
                }
            }
            F::GroupIgnored => message.group = None,
            F::GroupsAreOne => message.group = message.group.map(|_| "g".into()),
            F::DelayedHeadLetsPass if !message.delay.is_zero() => message.group = None,
            F::DelayHalved => message.delay /= 2,
            F::DelayDoubled => message.delay = message.delay.saturating_mul(2),
            F::DelayCapped => message.delay = message.delay.min(Duration::from_secs(900)),
            F::DelayRefusedWhenHuge if message.delay == Duration::MAX => {
                message.group = Some("".into());
            }
            F::PriorityIgnored => message.priority = Priority::Normal,
            F::LowStarves if message.priority == Priority::Low => message.delay = AGES,
            F::DropAfterIgnored => message.drop_after = None,
            F::DropAfterEager => message.drop_after = message.drop_after.map(|it| it / 8),
            F::ContextLost => envelope.context = Context::default(),
            F::HandleLost => envelope.handle = None,
            F::BodyIsText => {
                let text = String::from_utf8_lossy(&envelope.body).into_owned();
                envelope.body = Bytes::from(text);
            }
            F::NamesBlurred => {
                let blur = |name: Arc<str>| -> Arc<str> {
                    if name.trim().is_empty() { name } else { name.trim().to_lowercase().into() }
                };
                message.group = message.group.map(blur);
                message.dedupe =
                    message.dedupe.map(|dedupe| Dedupe::new(blur(dedupe.key), dedupe.window));
            }
            F::NamesUnchecked => {
                let mend = |name: Arc<str>| if name.is_empty() { "x".into() } else { name };
                message.group = message.group.map(mend);
            }
            F::IdsDoubled | F::IdsRace => {
                let real = Arc::clone(&message.envelope);
                let inner = (*real).clone().with_id(JobId::random());
                self.own().real.insert(inner.id, real);
                message.envelope = Arc::new(inner);
            }
            _ => {}
        }
        message
    }

    async fn send_one(&self, message: &OutgoingMessage) -> Result<SendOutcome> {
        let bent = self.bend(message);
        let id = message.envelope.id;
        match (self.fault, &message.dedupe) {
            (F::DedupeEndsWithMessage, Some(dedupe)) => {
                let known = self.own().keys.get(&dedupe.key).copied();
                if let Some(known) = known.filter(|known| *known != id) {
                    return Ok(SendOutcome::Duplicate(Original::new(known, None)));
                }
                self.own().keys.insert(Arc::clone(&dedupe.key), id);
            }
            (F::DedupeRaces, Some(dedupe)) => {
                let known = self.own().keys.get(&dedupe.key).copied();
                tokio::task::yield_now().await;
                if let Some(known) = known.filter(|known| *known != id) {
                    return Ok(SendOutcome::Duplicate(Original::new(known, None)));
                }
                self.own().keys.insert(Arc::clone(&dedupe.key), id);
            }
            (F::FullRaces, _) => {
                let stats = self.inner.stats().await?;
                tokio::task::yield_now().await;
                if stats.ready + stats.leased + stats.delayed >= self.max_len as u64 {
                    return Ok(SendOutcome::Full);
                }
            }
            (F::IdsRace, _) => {
                let known = self.own().dropped.contains(&id);
                tokio::task::yield_now().await;
                if known {
                    return Ok(SendOutcome::Sent);
                }
                self.own().dropped.insert(id);
            }
            (F::FullTakesKey, Some(dedupe)) => {
                let known = self.own().keys.get(&dedupe.key).copied();
                if let Some(known) = known.filter(|known| *known != id) {
                    return Ok(SendOutcome::Duplicate(Original::new(known, None)));
                }
                self.own().keys.insert(Arc::clone(&dedupe.key), id);
            }
            (F::ResendReplaces, _) => {
                let peeked = self.inner.peek(usize::MAX).await?;
                if peeked.iter().any(|envelope| envelope.id == id) {
                    self.own().real.insert(id, Arc::clone(&message.envelope));
                }
            }
            _ => {}
        }
        if message.group.is_some() {
            self.own().grouped += 1;
        }
        let mut outcome = self.inner.send(&[bent]).await?.remove(0);
        if let (F::OriginalUnknown, SendOutcome::Duplicate(_)) = (self.fault, &outcome) {
            outcome = SendOutcome::Duplicate(Original::new(JobId::random(), None));
        }
        if self.is(F::FullIsFailed) && matches!(outcome, SendOutcome::Full) {
            outcome = SendOutcome::Failed(Self::error(ErrorKind::Unavailable));
        }
        if self.is(F::FullBeforeKnown) && outcome.is_sent() {
            let stats = self.inner.stats().await?;
            let known = self.own().dropped.contains(&id);
            if known && stats.ready + stats.leased + stats.delayed >= self.max_len as u64 {
                outcome = SendOutcome::Full;
            }
            self.own().dropped.insert(id);
        }
        Ok(outcome)
    }

    /// The receipt as the memory queue knows it.
    fn inner_receipt(&self, receipt: &Receipt) -> Receipt {
        if self.is(F::FenceMissing) {
            return self.own().latest.get(&receipt.id()).unwrap_or(receipt).clone();
        }
        match receipt.pop::<Receipt>() {
            Some((inner, _)) => (*inner).clone(),
            None => receipt.clone(),
        }
    }

    async fn wait_and_receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        let at_once = options.clone().wait(Duration::ZERO);
        let deadline = self.clock.instant() + options.wait.min(AGES);
        match self.fault {
            F::WaitsNever => self.inner.receive(&at_once).await,
            F::WakesNever => {
                let batch = self.inner.receive(&at_once).await?;
                if !batch.is_empty() || options.wait.is_zero() {
                    return Ok(batch);
                }
                self.clock.sleep_until(deadline).await;
                self.inner.receive(&at_once).await
            }
            F::WakesForSendsOnly => loop {
                let sent = self.own().count;
                let batch = self.inner.receive(&at_once).await?;
                if !batch.is_empty() || self.clock.instant() >= deadline {
                    return Ok(batch);
                }
                while self.own().count == sent && self.clock.instant() < deadline {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            },
            F::WakesSlowly => loop {
                let batch = self.inner.receive(&at_once).await?;
                if !batch.is_empty() || self.clock.instant() >= deadline {
                    return Ok(batch);
                }
                tokio::time::sleep(Duration::from_millis(600)).await;
            },
            F::AnswersLate => {
                let batch = self.inner.receive(&at_once).await?;
                if batch.is_empty() {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
                Ok(batch)
            }
            F::WaitsAlways => {
                self.clock.sleep_until(deadline).await;
                self.inner.receive(&at_once).await
            }
            _ => self.inner.receive(options).await,
        }
    }

    fn bend_received(&self, received: &mut Received, lease: Duration) {
        match self.fault {
            F::AttemptStuck => received.attempt = 1,
            F::AttemptCountsAll => received.attempt = received.delivery,
            F::DeliveryStuck => received.delivery = 1,
            F::CrashesUntold => received.crashes = 0,
            F::ErrorLost => received.last_error = None,
            F::DueIsNow => received.due_at = self.clock.now(),
            F::LeaseEndTooLate => received.lease_until += lease,
            F::TokenReused => {
                let inner = received.receipt.clone();
                let same = Receipt::new(7, Arc::clone(inner.envelope()));
                received.receipt = same.push(Arc::new(inner));
            }
            F::TokenIsDelivery => {
                let inner = received.receipt.clone();
                let token = u64::from(received.delivery);
                let same = Receipt::new(token, Arc::clone(inner.envelope()));
                received.receipt = same.push(Arc::new(inner));
            }
            F::FenceMissing | F::PauseFreezesLeases => {
                let receipt = received.receipt.clone();
                self.own().latest.insert(receipt.id(), receipt);
            }
            _ => {}
        }
        let real = self.own().real.get(&received.receipt.id()).cloned();
        if let Some(real) = real {
            let inner = received.receipt.clone();
            received.receipt = inner.clone().with_envelope(real).push(Arc::new(inner));
        }
    }

    async fn settle_one(&self, receipt: &Receipt, how: &Settlement) -> Result<SettleOutcome> {
        let receipt = self.inner_receipt(receipt);
        let mut how = how.clone();
        match (self.fault, &mut how) {
            (F::AckForgotten, Settlement::Ack) => how = Settlement::release(),
            (F::ReleaseIsAck, Settlement::Release { .. }) => how = Settlement::Ack,
            (F::ReleaseAtOnce, Settlement::Release { delay, .. }) => *delay = Duration::ZERO,
            (F::ReleaseCounts, Settlement::Release { counted, .. }) => *counted = true,
            (F::ReleaseCountsNever, Settlement::Release { counted, .. }) => *counted = false,
            (F::ReleaseForgetsError, Settlement::Release { error, .. }) => *error = None,
            (F::ReleaseIsLost, Settlement::Release { .. }) => return Ok(SettleOutcome::Settled),
            (F::ReleaseToTheEnd, Settlement::Release { delay, .. }) => {
                let envelope = receipt.envelope();
                let message = OutgoingMessage::new(Arc::clone(envelope)).delay(*delay);
                let outcome = self.inner.settle(&[(receipt.clone(), Settlement::Ack)]).await?;
                self.inner.send(&[message.group("g")]).await?;
                return Ok(outcome[0].clone());
            }
            (F::DeadIsAck, Settlement::DeadLetter { .. }) => how = Settlement::Ack,
            (F::DeadIsRelease, Settlement::DeadLetter { .. }) => how = Settlement::release(),
            (F::ReasonLost, Settlement::DeadLetter { reason }) => reason.clear(),
            _ => {}
        }
        if self.is(F::AckOnReceive) {
            return Ok(SettleOutcome::Settled);
        }
        let slow = match self.fault {
            F::AckScansLeased => self.inner.stats().await?.leased,
            F::AckScansDelayed => self.inner.stats().await?.delayed,
            F::AckScansGroups => u64::from(self.own().grouped) * 5,
            _ => 0,
        };
        if slow > 0 {
            let until = Instant::now() + Duration::from_nanos(500 * slow);
            while Instant::now() < until {}
        }
        let outcome = self.inner.settle(&[(receipt.clone(), how)]).await?.remove(0);
        let mut own = self.own();
        own.keys.retain(|_, id| self.fault != F::DedupeEndsWithMessage || *id != receipt.id());
        Ok(match (self.fault, outcome) {
            (F::StaleIsSettled, SettleOutcome::Stale) => SettleOutcome::Settled,
            (F::StaleIsFailed, SettleOutcome::Stale) => {
                SettleOutcome::Failed(Self::error(ErrorKind::NotFound))
            }
            (_, outcome) => outcome,
        })
    }
}

fn bend_outcomes<T>(fault: Fault, outcomes: &mut Vec<T>) {
    match fault {
        F::OutcomesTooFew if outcomes.len() > 1 => drop(outcomes.pop()),
        F::OutcomesReversed => outcomes.reverse(),
        _ => {}
    }
}

#[async_trait]
impl Queue for Broken {
    fn capabilities(&self) -> QueueCapabilities {
        let mut capabilities = self.inner.capabilities();
        (capabilities.max_batch, capabilities.max_body) = (MAX_BATCH, self.max_body);
        capabilities
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.changed();
        self.check_batch(batch.len())?;
        self.own().count += 1;
        if batch.is_empty() && self.is(F::EmptyBatchRefused) {
            return Err(Self::error(ErrorKind::Invalid));
        }
        if self.own().paused && self.is(F::PauseStopsSends) {
            return Ok(vec![SendOutcome::Full; batch.len()]);
        }
        let mut outcomes = Vec::new();
        for message in batch {
            let outcome = self.send_one(message).await?;
            if let (F::OneFailsAll, SendOutcome::Failed(error)) = (self.fault, &outcome) {
                return Err(error.clone());
            }
            outcomes.push(outcome);
        }
        bend_outcomes(self.fault, &mut outcomes);
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.changed();
        let asked = options.lease;
        let mut options = options.clone();
        match self.fault {
            F::LeaseNeverEnds | F::LosesWhatIsDropped => options.lease = AGES,
            F::LeaseTooShort => options.lease /= 5,
            F::LeaseTooLong => options.lease = options.lease.saturating_mul(3),
            F::MaxIgnored => options.max += 5,
            F::WorkerForgotten => options.worker = None,
            _ => {}
        }
        let mut batch = self.wait_and_receive(&options).await?;
        if self.is(F::LosesWhatIsDropped) {
            tokio::task::yield_now().await;
            let receipts: Vec<_> =
                batch.deliveries.iter().map(|received| received.receipt.clone()).collect();
            self.inner.extend(&receipts, asked).await?;
        }
        for received in &mut batch.deliveries {
            self.bend_received(received, options.lease);
        }
        match self.fault {
            F::DeathsUntold => batch.dead.clear(),
            F::DeathsToldTwice => {
                let now = batch.dead.clone();
                batch.dead.append(&mut self.own().dead);
                self.own().dead = now;
            }
            F::DropsUntold => batch.dropped.clear(),
            F::AckOnReceive => {
                for received in &batch.deliveries {
                    self.inner.settle(&[(received.receipt.clone(), Settlement::Ack)]).await?;
                }
            }
            F::SharedOut => {
                let mut own = self.own();
                if let Some(last) = batch.deliveries.last() {
                    own.count += 1;
                    if own.count.is_multiple_of(4) {
                        own.extra.push(last.clone());
                    }
                } else {
                    batch.deliveries.append(&mut own.extra);
                }
            }
            F::AttemptOfPurgedKept => {
                for received in &mut batch.deliveries {
                    let mut own = self.own();
                    if !own.dropped.insert(received.receipt.id()) {
                        received.attempt = received.attempt.max(2);
                    }
                }
            }
            _ => {}
        }
        Ok(batch)
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.changed();
        self.check_batch(batch.len())?;
        let mut outcomes = Vec::new();
        for (receipt, how) in batch {
            if self.is(F::SettleRaces) {
                let held = self.inner.leased(usize::MAX).await?;
                tokio::task::yield_now().await;
                if held.iter().any(|leased| leased.id == receipt.id()) {
                    self.settle_one(receipt, how).await?;
                    outcomes.push(SettleOutcome::Settled);
                    continue;
                }
            }
            outcomes.push(self.settle_one(receipt, how).await?);
        }
        bend_outcomes(self.fault, &mut outcomes);
        Ok(outcomes)
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.changed();
        self.check_batch(batch.len())?;
        let receipts: Vec<Receipt> =
            batch.iter().map(|receipt| self.inner_receipt(receipt)).collect();
        let mut outcomes = match self.fault {
            F::ExtendForgotten | F::AckOnReceive => vec![ExtendOutcome::Extended; batch.len()],
            F::ExtendAddsUp => self.inner.extend(&receipts, lease.saturating_mul(8)).await?,
            F::ExtendTooShort => self.inner.extend(&receipts, lease / 8).await?,
            _ => self.inner.extend(&receipts, lease).await?,
        };
        for outcome in &mut outcomes {
            if self.is(F::StaleIsExtended) {
                *outcome = ExtendOutcome::Extended;
            }
        }
        bend_outcomes(self.fault, &mut outcomes);
        Ok(outcomes)
    }

    async fn stats(&self) -> Result<QueueStats> {
        let mut stats = self.inner.stats().await?;
        match self.fault {
            F::StatsOld => {
                let mut own = self.own();
                stats = own.stats.get_or_insert(stats).clone();
            }
            F::StatsNoLeased => stats.leased = 0,
            F::StatsNoDelayed => (stats.ready, stats.delayed) = (stats.ready + stats.delayed, 0),
            F::StatsNoDead => stats.dead = 0,
            F::StatsLeasedAreReady => stats.ready += stats.leased,
            F::StatsNoBlocked => {
                let grouped = u64::from(self.own().grouped);
                stats.ready = stats.ready.saturating_sub(grouped.saturating_sub(1));
            }
            F::AgeUnknown => stats.oldest_age = None,
            F::AgeOfNothing => stats.oldest_age = stats.oldest_age.or(Some(Duration::ZERO)),
            F::AgeFromSend => stats.oldest_age = stats.oldest_age.map(|age| age * 2),
            F::DroppedUncounted => stats.dropped = 0,
            F::EvictedUncounted => stats.dead_evicted = 0,
            F::PauseUntold => stats.paused = false,
            _ => {}
        }
        Ok(stats)
    }
}
