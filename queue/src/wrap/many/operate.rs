//! What operators do with several queues at once.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::join_all;
use standfast_core::{Health, HealthCheck, Result, Verdict};

use super::{Many, Route};
use crate::admin::{Leased, QueueAdmin};
use crate::envelope::Envelope;
use crate::queue::Queue;

#[async_trait]
impl<Q: Queue, R: Route> QueueAdmin for Many<Q, R> {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        let mut next = Vec::new();
        for queue in self.queues() {
            if next.len() < limit {
                next.extend(queue.peek(limit - next.len()).await?);
            }
        }
        Ok(next)
    }

    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        let mut leased = Vec::new();
        for queue in self.queues() {
            if leased.len() < limit {
                leased.extend(queue.leased(limit - leased.len()).await?);
            }
        }
        Ok(leased)
    }

    /// Pauses every queue it can; repeat it after an error.
    async fn pause(&self) -> Result<()> {
        let paused = join_all(self.queues().iter().map(|queue| queue.pause())).await;
        let late = self.0.desk().unpark(None);
        self.0.release(late).await;
        paused.into_iter().collect()
    }

    async fn resume(&self) -> Result<()> {
        let resumed = join_all(self.queues().iter().map(|queue| queue.resume())).await;
        resumed.into_iter().collect()
    }

    async fn purge(&self) -> Result<u64> {
        let purged = join_all(self.queues().iter().map(|queue| queue.purge())).await;
        drop(self.0.desk().unpark(None)); // deleted with the rest
        purged.into_iter().sum()
    }
}

#[async_trait]
impl<Q: Queue, R: Route> HealthCheck for Many<Q, R> {
    /// Degraded while some of the queues fail, failing when all do.
    async fn health(&self) -> Health {
        let began = Instant::now();
        let each = join_all(self.queues().iter().map(|queue| queue.health())).await;
        let troubles: Vec<String> = each
            .iter()
            .enumerate()
            .filter_map(|(index, health)| match &health.verdict {
                Verdict::Degraded(why) | Verdict::Failing(why) => {
                    Some(format!("{} (queue {index}): {why}", health.asked))
                }
                _ => None,
            })
            .collect();
        let verdict = if troubles.is_empty() {
            Verdict::Healthy
        } else if each.iter().any(Health::is_usable) {
            Verdict::Degraded(troubles.join("; "))
        } else {
            Verdict::Failing(troubles.join("; "))
        };
        let asked = each.first().map_or("no queue", |health| &health.asked);
        Health::since(format!("{asked} and {} more", each.len().saturating_sub(1)), began, verdict)
    }
}
