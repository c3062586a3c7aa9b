//! What the records say about ticks before: those that nobody finished.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::{Result, saturating_add};

use super::run::Runner;
use crate::claim::Claimed;
use crate::record::{RecordQuery, TickRecord, TickState};

/// How far back the window of a tick reaches.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) previous: Option<DateTime<Utc>>,
    pub(super) known: BTreeSet<String>,
}

/// So many dead owners in a row, each of a tick that is too late to be taken over, are not
/// believed.
const LONGEST_CHAIN: usize = 100;

impl Runner {
    /// The ticks up to `until` that have an owner or had one, are not finished, and can still be
    /// claimed; and when to claim them.
    ///
    /// Whoever wins a tick looks, and whoever starts: an owner may die without anybody else having
    /// tried to claim its tick.
    pub(super) async fn unfinished(
        &self,
        until: Option<DateTime<Utc>>,
    ) -> Result<Vec<(DateTime<Utc>, Instant)>> {
        let asked_at = self.clock.instant();
        let Some(now) = self.time.at(asked_at) else { return Ok(Vec::new()) };
        let max_late = TimeDelta::from_std(self.rules.max_late).unwrap_or(TimeDelta::MAX);
        let after = now.checked_sub_signed(max_late);
        let limit = self.lock.capabilities().max_records.max(1);
        let mut query = RecordQuery { after, until, limit };
        let mut found = Vec::new();
        loop {
            let page = self.call("records", self.lock.records(&query)).await?;
            query.after = page.last().map(|record| record.at);
            let is_last = page.len() < query.limit;
            found.extend(page.into_iter().filter(|record| !record.state.is_finished()).map(
                |record| {
                    let left = match record.state {
                        TickState::Abandoned => TimeDelta::zero(),
                        _ => record.lease_until - now,
                    };
                    (record.at, saturating_add(asked_at, left.to_std().unwrap_or_default()))
                },
            ));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// The tick after which the window of `claimed` begins.
    ///
    /// Usually the tick before it. But if all instances died during that one, and none came back
    /// until it was too late to be taken over, then nobody will ever dispatch what it called for:
    /// so this one, being next to it, does.
    pub(super) async fn reach_back(&self, claimed: &Claimed) -> Result<Reach> {
        let max_late = TimeDelta::from_std(self.rules.max_late).unwrap_or(TimeDelta::MAX);
        let known = claimed.known.clone();
        let mut reach = Reach { previous: claimed.tick.previous, known };
        for _ in 0..LONGEST_CHAIN {
            let Some(previous) = reach.previous else { break };
            if claimed.now - previous <= max_late {
                break;
            }
            let Some(record) = self.record(previous).await? else { break };
            let is_dead = match record.state {
                TickState::Abandoned => true,
                TickState::Claimed => record.lease_until <= claimed.now,
                _ => false,
            };
            if !is_dead {
                break;
            }
            tracing::warn!(at = %record.at, owner = %record.owner, by = %claimed.tick.at,
                "a tick that nobody finished is made up for");
            reach = Reach { previous: record.previous, known: record.known };
        }
        Ok(reach)
    }

    async fn record(&self, at: DateTime<Utc>) -> Result<Option<TickRecord>> {
        let after = at.checked_sub_signed(TimeDelta::microseconds(1));
        let query = RecordQuery { after, until: Some(at), limit: 1 };
        Ok(self.call("records", self.lock.records(&query)).await?.pop())
    }
}
