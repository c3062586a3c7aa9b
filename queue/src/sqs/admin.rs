//! What operators can do: the service neither shows messages nor pauses.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use standfast_core::{Error, ErrorKind, Result};

use super::SqsQueue;
use super::error::BACKEND;
use super::meter::Api;
use crate::admin::{Leased, QueueAdmin};
use crate::envelope::Envelope;
use crate::queue::QueueStats;

impl SqsQueue {
    /// What the service says of one of the two queues.
    pub(super) async fn attributes(
        &self,
        operation: &'static str,
        url: &str,
    ) -> Result<HashMap<Attribute, String>> {
        let calls = &self.0.calls;
        let request = calls
            .client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(Attribute::All)
            .send();
        let answer = calls.ask(Api::Other, operation, std::time::Duration::ZERO, request).await;
        Ok(answer.map_err(|failure| failure.error)?.attributes.unwrap_or_default())
    }

    pub(super) async fn count_all(&self) -> Result<QueueStats> {
        let own = self.attributes("queue.stats", &self.0.url).await?;
        let dead = self.attributes("queue.stats", &self.0.dead_url).await?;
        let ready = number(&own, &Attribute::ApproximateNumberOfMessages);
        Ok(QueueStats {
            ready,
            leased: number(&own, &Attribute::ApproximateNumberOfMessagesNotVisible),
            delayed: number(&own, &Attribute::ApproximateNumberOfMessagesDelayed),
            dead: total(&dead),
            ..QueueStats::default()
        })
    }
}

fn number(attributes: &HashMap<Attribute, String>, name: &Attribute) -> u64 {
    attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn total(attributes: &HashMap<Attribute, String>) -> u64 {
    number(attributes, &Attribute::ApproximateNumberOfMessages)
        + number(attributes, &Attribute::ApproximateNumberOfMessagesNotVisible)
        + number(attributes, &Attribute::ApproximateNumberOfMessagesDelayed)
}

fn unsupported<T>(operation: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, BACKEND, operation)
        .with_detail("the service has no such request"))
}

#[async_trait]
impl QueueAdmin for SqsQueue {
    async fn peek(&self, _: usize) -> Result<Vec<Arc<Envelope>>> {
        unsupported("queue.peek")
    }

    async fn leased(&self, _: usize) -> Result<Vec<Leased>> {
        unsupported("queue.leased")
    }

    async fn pause(&self) -> Result<()> {
        unsupported("queue.pause")
    }

    async fn resume(&self) -> Result<()> {
        unsupported("queue.resume")
    }

    /// The service takes up to a minute, and refuses a second purge meanwhile.
    async fn purge(&self) -> Result<u64> {
        let there = total(&self.attributes("queue.purge", &self.0.url).await?);
        let calls = &self.0.calls;
        let request = calls.client.purge_queue().queue_url(&self.0.url).send();
        let purged = calls.change(Api::Other, "queue.purge", request).await;
        purged.map_err(|failure| failure.error)?;
        self.begin_era();
        Ok(there)
    }
}
