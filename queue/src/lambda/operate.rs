//! What operators do, as on the queue in SQS itself.

use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::{Health, HealthCheck, Result};

use super::LambdaQueue;
use crate::admin::{Leased, QueueAdmin};
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::envelope::Envelope;

#[async_trait]
impl DeadLetters for LambdaQueue {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        self.0.sqs.list_dead_letters(filter, after, limit).await
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.0.sqs.redrive(filter, options).await
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.0.sqs.purge_dead_letters(filter).await
    }
}

#[async_trait]
impl QueueAdmin for LambdaQueue {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.0.sqs.peek(limit).await
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.0.sqs.leased(limit).await
    }

    async fn pause(&self) -> Result<()> {
        self.0.sqs.pause().await
    }

    async fn resume(&self) -> Result<()> {
        self.0.sqs.resume().await
    }

    async fn purge(&self) -> Result<u64> {
        self.0.sqs.purge().await
    }
}

#[async_trait]
impl HealthCheck for LambdaQueue {
    async fn health(&self) -> Health {
        self.0.sqs.health().await
    }
}
