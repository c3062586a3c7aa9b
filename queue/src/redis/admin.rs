use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use standfast_core::Result;
use standfast_core::redis::Reply;

use super::layout::Lease;
use super::scripts::{PAUSE, PURGE};
use super::{RedisQueue, unreadable};
use crate::admin::{Leased, QueueAdmin};
use crate::envelope::Envelope;
use crate::queue::QueueStats;

#[async_trait]
impl QueueAdmin for RedisQueue {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        const OPERATION: &str = "queue.peek";
        let mut shown = Vec::new();
        if limit > 0 {
            let reply = self.call(self.look(OPERATION, "peek", limit)).await?;
            for envelope in reply.into_array(OPERATION)? {
                match Envelope::decode(envelope.into_bytes(OPERATION)?.into()) {
                    Ok(envelope) => shown.push(Arc::new(envelope)),
                    Err(error) => {
                        let queue = self.keys().name();
                        tracing::error!(queue, %error, "a message that cannot be read is not shown");
                    }
                }
            }
        }
        Ok(shown)
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        const OPERATION: &str = "queue.leased";
        let mut shown = Vec::new();
        if limit > 0 {
            let reply = self.call(self.look(OPERATION, "leased", limit)).await?;
            let mut pairs = reply.into_array(OPERATION)?.into_iter();
            while let (Some(lease), Some(head)) = (pairs.next(), pairs.next()) {
                let lease = Lease::parse(&lease.into_bytes(OPERATION)?);
                let lease = lease.ok_or_else(|| unreadable(OPERATION))?;
                let head = head.into_bytes(OPERATION)?;
                match Envelope::decode(Bytes::from(head)) {
                    Ok(envelope) => {
                        let attempt = lease.item.attempt();
                        shown.push(Leased::new(&envelope, lease.worker, lease.since, attempt));
                    }
                    Err(error) => {
                        let queue = self.keys().name();
                        tracing::error!(queue, %error, "a message that cannot be read is not shown");
                    }
                }
            }
        }
        Ok(shown)
    }

    async fn pause(&self) -> Result<()> {
        self.set_paused("queue.pause", 1).await
    }

    async fn resume(&self) -> Result<()> {
        self.set_paused("queue.resume", 0).await
    }

    async fn purge(&self) -> Result<u64> {
        const OPERATION: &str = "queue.purge";
        let request = PURGE.on(OPERATION, self.keys().all());
        let purged = self.call(request).await?.into_int(OPERATION)?;
        u64::try_from(purged).map_err(|_| unreadable(OPERATION))
    }
}

impl RedisQueue {
    async fn set_paused(&self, operation: &'static str, to: i64) -> Result<()> {
        let mut request = PAUSE.on(operation, self.keys().counters());
        request.push(&self.keys().channel);
        request.push_int(to);
        self.call(request.repeatable()).await.map(drop)
    }

    pub(super) async fn count_all(&self) -> Result<QueueStats> {
        const OPERATION: &str = "queue.stats";
        let reply = self.call(self.look(OPERATION, "stats", 0).repeatable()).await?;
        let counts: Result<Vec<i64>> = reply
            .into_array(OPERATION)?
            .into_iter()
            .map(|one: Reply| one.into_int(OPERATION))
            .collect();
        let counts: [i64; 8] = counts?.try_into().map_err(|_| unreadable(OPERATION))?;
        let [ready, leased, delayed, dead, dropped, dead_evicted, paused, oldest] =
            counts.map(|count| u64::try_from(count).ok());
        let all =
            [ready, leased, delayed, dead, dropped, dead_evicted].map(Option::unwrap_or_default);
        let [ready, leased, delayed, dead, dropped, dead_evicted] = all;
        let oldest_age = oldest.map(Duration::from_micros);
        let paused = paused == Some(1);
        Ok(QueueStats { ready, leased, delayed, dead, oldest_age, dropped, dead_evicted, paused })
    }
}
