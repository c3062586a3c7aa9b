use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::redis::Reply;
use standfast_core::{Clock, Result, SystemClock};

use super::layout::{self, Letter};
use super::scripts::{FORGET, LOOK, REDRIVE};
use super::{MAX_BATCH, RedisQueue, count, unreadable};
use crate::dead::{
    DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;

/// How many letters one look brings.
const PAGE: usize = 100;

/// Some letters, and the place of the next one.
struct Page {
    letters: Vec<Letter>,
    next: Option<u64>,
}

#[async_trait]
impl DeadLetters for RedisQueue {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let mut from = after.map_or(Ok(0), |token| token.number("redis"))?;
        let mut letters = Vec::new();
        loop {
            let page = self.page("queue.list_dead_letters", from).await?;
            for found in page.letters {
                if !filter.matches(&found.letter) {
                    continue;
                }
                if letters.len() == limit {
                    let next = layout::number(&found.name).map(|at| PageToken::new(at.to_string()));
                    return Ok(DeadLetterPage::new(letters, next));
                }
                letters.push(found.letter);
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(DeadLetterPage::new(letters, None)),
            }
        }
    }

    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        const OPERATION: &str = "queue.redrive";
        let pause = options.pause("redis")?;
        let clock: &dyn Clock = &SystemClock;
        let mut redriven = Redriven::default();
        let mut left = options.limit.unwrap_or(usize::MAX);
        let mut from = 0;
        let mut is_first = true;
        // letters that die while this goes on are left for the next time
        let Some(last) = self.last_letter(OPERATION).await? else { return Ok(redriven) };
        loop {
            let page = self.page(OPERATION, from).await?;
            let meant = page.letters.into_iter().filter(|found| {
                filter.matches(&found.letter)
                    && layout::number(&found.name).is_some_and(|at| at <= last)
            });
            let meant: Vec<Letter> = meant.take(left).collect();
            left -= meant.len();
            for some in meant.chunks(if pause.is_some() { 1 } else { PAGE }) {
                if let Some(pause) = pause.filter(|_| !is_first) {
                    clock.sleep(pause).await;
                }
                is_first = false;
                match &options.to {
                    None => self.redrive_here(some, &mut redriven).await?,
                    Some(queue) => self.redrive_to(&**queue, some, &mut redriven).await?,
                }
            }
            match page.next {
                Some(next) if next <= last && left > 0 => from = next,
                _ => return Ok(redriven),
            }
        }
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        const OPERATION: &str = "queue.purge_dead_letters";
        let (mut purged, mut from) = (0, 0);
        loop {
            let page = self.page(OPERATION, from).await?;
            let meant = page.letters.into_iter().filter(|found| filter.matches(&found.letter));
            purged += self.forget(OPERATION, meant.map(|found| found.name).collect()).await?;
            match page.next {
                Some(next) => from = next,
                None => return Ok(purged),
            }
        }
    }
}

impl RedisQueue {
    /// The letters whose number is `from` or higher, at most a page of them.
    async fn page(&self, operation: &'static str, from: u64) -> Result<Page> {
        let mut request = self.look(operation, "dead", PAGE);
        request.push(from.to_string());
        let parts: Result<[Reply; 2], _> =
            self.call(request).await?.into_array(operation)?.try_into();
        let [names, shown] = parts.map_err(|_| unreadable(operation))?;
        let names = names.into_array(operation)?;
        let next = match names.last() {
            Some(Reply::Bytes(name)) if names.len() == PAGE => {
                Some(layout::number(name).ok_or_else(|| unreadable(operation))? + 1)
            }
            _ => None,
        };
        let mut letters = Vec::new();
        let mut shown = shown.into_array(operation)?.into_iter();
        while let (Some(name), Some(letter)) = (shown.next(), shown.next()) {
            let name = name.into_bytes(operation)?;
            match layout::letter(letter.into_bytes(operation)?) {
                Ok((item, letter)) => letters.push(Letter { name, item, letter }),
                Err(error) => {
                    let (queue, name) = (self.keys().name(), String::from_utf8_lossy(&name));
                    tracing::error!(queue, %name, %error, "a dead letter that cannot be read is left");
                }
            }
        }
        Ok(Page { letters, next })
    }

    async fn last_letter(&self, operation: &'static str) -> Result<Option<u64>> {
        let request = self.look(operation, "last", 1);
        let names = self.call(request).await?.into_array(operation)?;
        match names.into_iter().next() {
            None => Ok(None),
            Some(name) => {
                let number = layout::number(&name.into_bytes(operation)?);
                Ok(Some(number.ok_or_else(|| unreadable(operation))?))
            }
        }
    }

    pub(super) fn look(
        &self,
        operation: &'static str,
        what: &str,
        limit: usize,
    ) -> standfast_core::redis::Request {
        let mut request = LOOK.on(operation, self.keys().all());
        request.push(&self.keys().channel);
        request.push(what);
        self.push_limits(&mut request);
        request.push_int(count(limit));
        request
    }

    /// Dies between two chunks: what was sent stays sent, the rest stays dead.
    async fn redrive_here(&self, letters: &[Letter], redriven: &mut Redriven) -> Result<()> {
        const OPERATION: &str = "queue.redrive";
        let mut request = REDRIVE.on(OPERATION, self.keys().all());
        request.push(&self.keys().channel);
        request.push_int(self.max_len());
        for found in letters {
            request.push(&found.name);
            request.push(found.letter.envelope.next_run().encode());
        }
        let request = request.durability(self.config().durability);
        for digit in self.call(request).await?.into_bytes(OPERATION)? {
            match digit {
                b'1' => redriven.sent += 1,
                b'0' => redriven.kept += 1,
                _ => {} // purged or redriven by somebody else in the meantime
            }
        }
        Ok(())
    }

    /// A letter leaves here only once it has arrived there; a crash in between leaves it on both
    /// sides, and its id makes the repeated move one message.
    async fn redrive_to(
        &self,
        queue: &dyn Queue,
        letters: &[Letter],
        redriven: &mut Redriven,
    ) -> Result<()> {
        for letters in letters.chunks(queue.capabilities().max_batch.min(MAX_BATCH)) {
            let batch: Vec<OutgoingMessage> = letters.iter().map(next_run).collect();
            let outcomes = queue.send(&batch).await?;
            let (mut arrived, mut failure) = (Vec::new(), None);
            for (found, outcome) in letters.iter().zip(outcomes) {
                match outcome {
                    SendOutcome::Sent => arrived.push(found.name.clone()),
                    SendOutcome::Failed(error) => failure = Some(error),
                    _ => redriven.kept += 1,
                }
            }
            redriven.sent += arrived.len() as u64;
            self.forget("queue.redrive", arrived).await?;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn forget(&self, operation: &'static str, names: Vec<Vec<u8>>) -> Result<u64> {
        if names.is_empty() {
            return Ok(0);
        }
        let mut request = FORGET.on(operation, self.keys().letters());
        for name in &names {
            request.push(name);
        }
        let gone = self.call(request).await?.into_int(operation)?;
        u64::try_from(gone).map_err(|_| unreadable(operation))
    }
}

/// The letter as a message of the next run.
fn next_run(found: &Letter) -> OutgoingMessage {
    let message = OutgoingMessage::new(found.letter.envelope.next_run());
    let group = found.item.group.as_deref().map(Arc::from);
    OutgoingMessage { group, ..message.priority(found.item.priority()) }
}
