//! The faults of dead letters and of what operators do.

use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::{ErrorKind, Health, HealthCheck, JobId, Result, Verdict};
use standfast_queue::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, Envelope, Leased, OutgoingMessage, PageToken,
    Queue, QueueAdmin, ReceiveOptions, RedriveOptions, Redriven, Settlement,
};

use super::{AGES, Broken, F};

impl Broken {
    /// A redrive made of the other operations.
    async fn own_redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut redriven = Redriven::default();
        for letter in self.inner.list_dead_letters(filter, None, limit).await?.letters {
            tokio::task::yield_now().await;
            let mut envelope = letter.envelope.next_run();
            match self.fault {
                F::RedriveKeepsRun => envelope.run -= 1,
                F::RedriveRenames => envelope.id = JobId::random(),
                _ => {}
            }
            let message = OutgoingMessage::new(envelope);
            let to: &dyn Queue = match &options.to {
                Some(queue) => queue,
                None => &self.inner,
            };
            let sent = to.send(&[message]).await?[0].is_sent();
            if sent || self.is(F::RedriveLosesUntaken) {
                if !self.is(F::RedriveCopies) {
                    let this = DeadLetterFilter::default().id(letter.envelope.id);
                    self.inner.purge_dead_letters(&this).await?;
                }
                redriven.sent += 1;
            } else {
                redriven.kept += 1;
            }
        }
        Ok(redriven)
    }
}

#[async_trait]
impl DeadLetters for Broken {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let (mut filter, mut after, mut limit) = (filter.clone(), after.cloned(), limit);
        match self.fault {
            F::PageTokenIgnored => after = None,
            F::PageTokenAny if after.as_ref().is_some_and(|it| it.as_str().contains(' ')) => {
                after = None;
            }
            F::PageLimitIgnored => limit = usize::MAX,
            F::FilterIgnored => filter = DeadLetterFilter::default(),
            F::FilterSinceIgnored => filter.since = None,
            F::FilterIdsLast => {
                filter.ids = filter.ids.and_then(|ids| ids.last().map(|id| vec![*id]));
            }
            F::PageIsOffset => {
                let skip: usize = match &after {
                    Some(token) => {
                        token.as_str().parse().map_err(|_| Self::error(ErrorKind::Invalid))?
                    }
                    None => 0,
                };
                let all = self.inner.list_dead_letters(&filter, None, usize::MAX).await?.letters;
                let end = skip.saturating_add(limit).min(all.len());
                let next = (end < all.len()).then(|| PageToken::new(end.to_string()));
                let letters = all.into_iter().skip(skip).take(limit).collect();
                return Ok(DeadLetterPage::new(letters, next));
            }
            _ => {}
        }
        let mut page = self.inner.list_dead_letters(&filter, after.as_ref(), limit).await?;
        match self.fault {
            F::PageNewestFirst => page.letters.reverse(),
            F::PageEndsEarly => page.next = None,
            _ => {}
        }
        for letter in &mut page.letters {
            match self.fault {
                F::DeadForgetsError => letter.last_error = None,
                F::DeadForgetsCounts => (letter.attempts, letter.deliveries) = (0, 0),
                F::DeadCountsOneMore => letter.attempts += 1,
                F::DeadForgetsCrashes => letter.crashes = 0,
                F::DiedWhenDue => letter.died_at = letter.due_at,
                _ => {}
            }
        }
        Ok(page)
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.changed();
        let (mut filter, mut options) = (filter.clone(), options.clone());
        match self.fault {
            F::FilterIgnored => filter = DeadLetterFilter::default(),
            F::RedriveIgnoresLimit => options.limit = None,
            F::RedriveIgnoresRate => {
                options.rate = options.rate.filter(|rate| rate.is_nan() || *rate <= 0.0)
            }
            F::RedriveTakesAnyRate => options.rate = options.rate.filter(|rate| *rate > 0.0),
            F::RedriveIgnoresTarget => options.to = None,
            F::RedriveKeepsRun
            | F::RedriveRenames
            | F::RedriveForgetsPlace
            | F::RedriveLosesUntaken
            | F::RedriveCopies
            | F::RedriveRaces => return self.own_redrive(&filter, &options).await,
            F::RedriveDoesNothing => return Ok(Redriven::default()),
            _ => {}
        }
        self.inner.redrive(&filter, &options).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.changed();
        match self.fault {
            F::DeletesNone => Ok(0),
            F::DeletesAll => self.inner.purge_dead_letters(&DeadLetterFilter::default()).await,
            _ => self.inner.purge_dead_letters(filter).await,
        }
    }
}

#[async_trait]
impl QueueAdmin for Broken {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        match self.fault {
            F::PeekIsEmpty => Ok(Vec::new()),
            F::PeekIgnoresLimit => self.inner.peek(usize::MAX).await,
            F::PeekLeases => {
                let batch = self.inner.receive(&ReceiveOptions::new(limit)).await?;
                let mut shown = Vec::new();
                for received in batch.deliveries {
                    shown.push(Arc::clone(received.envelope()));
                    self.inner.settle(&[(received.receipt, Settlement::release())]).await?;
                }
                Ok(shown)
            }
            F::PeekOld => {
                if self.own().real.is_empty() {
                    let shown = self.inner.peek(usize::MAX).await?;
                    self.own().real.extend(shown.into_iter().map(|one| (one.id, one)));
                }
                Ok(self.own().real.values().take(limit).cloned().collect())
            }
            _ => self.inner.peek(limit).await,
        }
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        match self.fault {
            F::LeasedIsEmpty => Ok(Vec::new()),
            F::LeasedIsOld => {
                let shown = self.inner.leased(usize::MAX).await?;
                let mut own = self.own();
                Ok(own.leased.get_or_insert(shown).iter().take(limit).cloned().collect())
            }
            _ => self.inner.leased(limit).await,
        }
    }

    async fn pause(&self) -> Result<()> {
        self.own().paused = true;
        if self.is(F::PauseIgnored) {
            return Ok(());
        }
        if self.is(F::PauseFreezesLeases) {
            for leased in self.inner.leased(usize::MAX).await? {
                let latest = self.own().latest.get(&leased.id).cloned();
                if let Some(receipt) = latest {
                    self.inner.extend(&[receipt], AGES).await?;
                }
            }
        }
        self.inner.pause().await
    }

    async fn resume(&self) -> Result<()> {
        self.own().paused = false;
        if self.is(F::ResumeIgnored) {
            return Ok(());
        }
        self.inner.resume().await
    }

    async fn purge(&self) -> Result<u64> {
        self.changed();
        match self.fault {
            F::PurgeDoesNothing => return Ok(0),
            F::PurgeTakesDead => {
                self.inner.purge_dead_letters(&DeadLetterFilter::default()).await?;
            }
            F::PurgeLeavesWhatIsOut => {
                let mut purged = 0;
                loop {
                    let batch = self.inner.receive(&ReceiveOptions::new(100)).await?;
                    if batch.deliveries.is_empty() {
                        return Ok(purged);
                    }
                    for received in batch.deliveries {
                        self.inner.settle(&[(received.receipt, Settlement::Ack)]).await?;
                        purged += 1;
                    }
                }
            }
            F::PurgeMiscounts => return Ok(self.inner.purge().await? + 1),
            _ => {}
        }
        self.inner.purge().await
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        let mut health = self.inner.health().await;
        if self.is(F::NeverHealthy) {
            health.verdict = Verdict::Failing("always".to_owned());
        }
        health
    }
}
