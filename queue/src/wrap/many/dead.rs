//! The dead letters of several queues as one list.

use std::borrow::Cow;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use standfast_core::{Error, ErrorKind, Result};

use super::{Many, Route};
use crate::dead::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::queue::Queue;

/// Where the listing of one queue goes on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Position {
    At(String),
    End,
    Start,
}

impl Position {
    fn after(next: Option<PageToken>) -> Self {
        next.map_or(Self::End, |token| Self::At(token.as_str().to_owned()))
    }
}

#[async_trait]
impl<Q: Queue, R: Route> DeadLetters for Many<Q, R> {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let mut positions = self.positions(after)?;
        let letters = if self.lists_freely() {
            self.merged(filter, &mut positions, limit).await?
        } else {
            self.one_by_one(filter, &mut positions, limit).await?
        };
        let has_ended = positions.iter().all(|position| *position == Position::End);
        // invariant: a list of strings is JSON
        let token = || serde_json::to_string(&positions).expect("positions are JSON");
        Ok(DeadLetterPage::new(letters, (!has_ended).then(|| PageToken::new(token()))))
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        let mut sum = Redriven::default();
        let mut left = options.limit;
        let mut filter = Cow::Borrowed(filter);
        if let Some(limit) = options.limit
            && self.lists_freely()
        {
            // the oldest of all, not those of the first queue
            let oldest = self.merged(&filter, &mut self.positions(None)?, limit).await?;
            let ids = oldest.iter().map(|letter| letter.envelope.id).collect();
            filter.to_mut().ids = Some(ids);
        }
        // one after the other, so that the rate is that of the whole
        for (index, queue) in self.queues().iter().enumerate() {
            if left == Some(0) {
                break;
            }
            let redriven =
                queue.redrive(&filter, &RedriveOptions { limit: left, ..options.clone() }).await?;
            self.0.desk().stir(index);
            sum.sent += redriven.sent;
            sum.kept += redriven.kept;
            let done = usize::try_from(redriven.sent + redriven.kept).unwrap_or(usize::MAX);
            left = left.map(|left| left.saturating_sub(done));
        }
        Ok(sum)
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        let purges = self.queues().iter().map(|queue| queue.purge_dead_letters(filter));
        Ok(try_join_all(purges).await?.into_iter().sum())
    }
}

impl<Q: Queue, R: Route> Many<Q, R> {
    /// Whether looking at dead letters changes nothing.
    fn lists_freely(&self) -> bool {
        self.queues().iter().all(|queue| queue.capabilities().lists_dead_letters)
    }

    fn positions(&self, after: Option<&PageToken>) -> Result<Vec<Position>> {
        let queues = self.queues().len();
        let Some(token) = after else { return Ok(vec![Position::Start; queues]) };
        let invalid = || {
            Error::new(ErrorKind::Invalid, self.0.backend(), "queue.list_dead_letters")
                .with_detail("a page token of another queue")
        };
        let positions: Vec<Position> =
            serde_json::from_str(token.as_str()).map_err(|error| invalid().with_source(error))?;
        if positions.len() == queues { Ok(positions) } else { Err(invalid()) }
    }

    async fn page(
        &self,
        queue: usize,
        filter: &DeadLetterFilter,
        position: &Position,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let queue = &self.queues()[queue];
        match position {
            Position::At(token) => {
                queue.list_dead_letters(filter, Some(&PageToken::new(token.as_str())), limit).await
            }
            Position::End => Ok(DeadLetterPage::default()),
            Position::Start => queue.list_dead_letters(filter, None, limit).await,
        }
    }

    /// The oldest of all queues, twice: to see how many are due from each, and to read just those,
    /// so that each queue says itself where it goes on.
    async fn merged(
        &self,
        filter: &DeadLetterFilter,
        positions: &mut [Position],
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let pages = |limits: Vec<usize>| {
            let pages = positions.iter().zip(limits).enumerate();
            try_join_all(
                pages.map(|(queue, (position, limit))| self.page(queue, filter, position, limit)),
            )
        };
        let seen = pages(vec![limit; self.queues().len()]).await?;
        let mut oldest: Vec<_> = seen
            .iter()
            .enumerate()
            .flat_map(|(queue, page)| page.letters.iter().map(move |one| (one.died_at, queue)))
            .collect();
        oldest.sort();
        oldest.truncate(limit);
        let mut shares = vec![0; seen.len()];
        for (_, queue) in oldest {
            shares[queue] += 1;
        }
        let mut letters = Vec::new();
        for (queue, page) in seen.into_iter().enumerate() {
            let whole = page.letters.len() == shares[queue];
            let page = match shares[queue] {
                _ if whole => page,
                0 => continue,
                share => self.page(queue, filter, &positions[queue], share).await?,
            };
            positions[queue] = Position::after(page.next);
            letters.extend(page.letters);
        }
        letters.sort_by_key(|letter| letter.died_at);
        Ok(letters)
    }

    /// Queue by queue, each letter once: where looking at one leases it.
    async fn one_by_one(
        &self,
        filter: &DeadLetterFilter,
        positions: &mut [Position],
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for (queue, position) in positions.iter_mut().enumerate() {
            if letters.len() < limit {
                let page = self.page(queue, filter, position, limit - letters.len()).await?;
                *position = Position::after(page.next);
                letters.extend(page.letters);
            }
        }
        Ok(letters)
    }
}
