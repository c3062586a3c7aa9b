//! What operators do, with bodies where they are needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result};

use super::ClaimCheck;
use super::claims::Claims;
use super::reference::Reference;
use crate::admin::{Leased, QueueAdmin};
use crate::capabilities::QueueCapabilities;
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::delivery::{Batch, ExtendOutcome, ReceiveOptions, SettleOutcome, Settlement};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::{Queue, QueueStats};
use crate::receipt::Receipt;
use crate::wrap::delegate::delegate_operators;
use crate::wrap::stored::worse;

#[async_trait]
impl<Q: Queue> DeadLetters for ClaimCheck<Q> {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let mut page = self.queue.list_dead_letters(filter, after, limit).await?;
        let mut room = self.claims.config.max_fetch as u64;
        for letter in &mut page.letters {
            letter.envelope = self.reveal(&letter.envelope, &mut room).await.0;
        }
        Ok(page)
    }

    /// Within the queue the reference goes along and the body stays where it is. To another queue
    /// go whole messages, since nobody knows what is around that one; the bodies they had here
    /// expire.
    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        let Some(to) = &options.to else { return self.queue.redrive(filter, options).await };
        let whole: Arc<dyn Queue> =
            Arc::new(Whole { queue: Arc::clone(to), claims: Arc::clone(&self.claims) });
        self.queue.redrive(filter, &RedriveOptions { to: Some(whole), ..options.clone() }).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.queue.purge_dead_letters(filter).await
    }
}

#[async_trait]
impl<Q: Queue> QueueAdmin for ClaimCheck<Q> {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        let mut shown = self.queue.peek(limit).await?;
        let mut room = self.claims.config.max_fetch as u64;
        for envelope in &mut shown {
            *envelope = self.reveal(envelope, &mut room).await.0;
        }
        Ok(shown)
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.queue.leased(limit).await
    }

    async fn pause(&self) -> Result<()> {
        self.queue.pause().await
    }

    async fn resume(&self) -> Result<()> {
        self.queue.resume().await
    }

    async fn purge(&self) -> Result<u64> {
        self.queue.purge().await
    }
}

#[async_trait]
impl<Q: Queue> HealthCheck for ClaimCheck<Q> {
    async fn health(&self) -> Health {
        let began = Instant::now();
        let (queue, store) = tokio::join!(self.queue.health(), self.claims.store.health());
        worse(queue, store, began)
    }
}

/// A queue that is sent whole messages for those with references.
#[derive(Debug)]
struct Whole<Q> {
    queue: Q,
    claims: Arc<Claims>,
}

impl<Q: Queue> Whole<Q> {
    /// The message with its body; `Full` for one that is to stay where it is.
    async fn message(&self, message: &OutgoingMessage) -> Result<OutgoingMessage, SendOutcome> {
        match self.claims.resolve(&message.envelope).await {
            Ok(envelope) => Ok(OutgoingMessage { envelope, ..message.clone() }),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                let id = message.envelope.id;
                tracing::warn!(%id, %error, "a dead letter without its body stays where it is");
                Err(SendOutcome::Full)
            }
            Err(error) => Err(SendOutcome::Failed(error)),
        }
    }
}

#[async_trait]
impl<Q: Queue> Queue for Whole<Q> {
    fn capabilities(&self) -> QueueCapabilities {
        self.queue.capabilities()
    }

    /// Sends as many at a time as there is room for.
    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut rest = batch.iter().peekable();
        while rest.peek().is_some() {
            let mut room = self.claims.config.max_fetch as u64;
            let (mut places, mut sending) = (Vec::new(), Vec::new());
            while let Some(message) = rest.peek() {
                let reference = Reference::of(&message.envelope);
                let needs = reference.ok().flatten().map_or(0, |reference| reference.len());
                if needs > room && !sending.is_empty() {
                    break;
                }
                room = room.saturating_sub(needs);
                match self.message(message).await {
                    Ok(whole) => {
                        places.push(outcomes.len());
                        sending.push(whole);
                        outcomes.push(SendOutcome::Sent);
                    }
                    Err(outcome) => outcomes.push(outcome),
                }
                rest.next();
            }
            if sending.is_empty() {
                continue;
            }
            let sent = self.queue.send(&sending).await?;
            if sent.len() != sending.len() {
                return Err(Error::new(ErrorKind::Unexpected, "claim_check", "queue.redrive")
                    .with_detail("not one outcome per message"));
            }
            for (at, outcome) in places.into_iter().zip(sent) {
                outcomes[at] = outcome;
            }
        }
        Ok(outcomes)
    }

    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.queue.receive(options).await
    }

    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.queue.settle(batch).await
    }

    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.queue.extend(batch, lease).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.queue.stats().await
    }
}

delegate_operators!(Whole, self => self.queue);
