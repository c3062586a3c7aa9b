//! Dead letters: the messages of the redrive queue. The service has no listing, so whoever looks
//! receives them and gives them back; meanwhile nobody else sees them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::Message;
use standfast_core::{Clock as _, Error, ErrorKind, Result, SystemClock, saturating_add};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::SqsQueue;
use super::error::BACKEND;
use super::send::MAX_BATCH;
use super::wire::{self, Incoming, Note};
use crate::dead::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;

/// For how long letters are held while one batch of them is dealt with.
const LEASE: Duration = Duration::from_secs(120);

/// A letter that is held.
struct Letter {
    incoming: Incoming,
    letter: DeadLetter,
}

impl Letter {
    /// The group that it was in.
    fn group(&self) -> Option<&str> {
        match &self.incoming.note.dead {
            Some(dead) => dead.group.as_deref(),
            None => self.incoming.meta.group.as_deref(),
        }
    }
}

/// A walk over the dead letters, each seen once. However it ends, also when its caller gives up in
/// the middle of a request, what it holds is given back.
struct Walk<'a> {
    queue: &'a SqsQueue,
    filter: &'a DeadLetterFilter,
    operation: &'static str,
    lease: Duration,
    seen: HashSet<String>,
    held: Arc<Mutex<Vec<String>>>,
    /// Held by the walk and by each of its requests; when the last one is gone, the keeper acts.
    alive: mpsc::Sender<()>,
    keeper: JoinHandle<()>,
}

impl<'a> Walk<'a> {
    fn new(queue: &'a SqsQueue, filter: &'a DeadLetterFilter, operation: &'static str) -> Self {
        let held: Arc<Mutex<Vec<String>>> = Arc::default();
        let (alive, mut ended) = mpsc::channel(1);
        let keeper = tokio::spawn({
            let (queue, held) = (queue.clone(), Arc::clone(&held));
            async move {
                while ended.recv().await.is_some() {}
                let held = std::mem::take(&mut *lock(&held));
                let back: Vec<_> = held.into_iter().map(|handle| (handle, 0)).collect();
                let results = queue.hide(operation, &queue.0.dead_url, &back).await;
                for failure in results.into_iter().flat_map(Result::err) {
                    tracing::debug!(error = %failure.error, "a dead letter comes back later");
                }
            }
        });
        Self { queue, filter, operation, lease: LEASE, seen: HashSet::new(), held, alive, keeper }
    }

    async fn request(&self, max: usize) -> Result<Vec<Message>> {
        let (queue, lease, held) = (self.queue.clone(), self.lease, Arc::clone(&self.held));
        let alive = self.alive.clone();
        let asked = tokio::spawn(async move {
            let found = queue.request(&queue.0.dead_url, max, lease, Duration::ZERO).await;
            let handles = found.iter().flatten().filter_map(|one| one.receipt_handle.clone());
            lock(&held).extend(handles);
            drop(alive);
            found
        });
        match asked.await {
            Ok(found) => found.map_err(|failure| failure.error),
            // the runtime ends
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The next letters that are meant; none at the end.
    async fn next(&mut self, max: usize) -> Result<Vec<Letter>> {
        loop {
            let found = self.request(max.min(MAX_BATCH)).await?;
            let mut fresh = false;
            let mut meant = Vec::new();
            for message in found {
                // what has come back within one walk has been seen
                if !self.seen.insert(message.message_id().unwrap_or_default().to_owned()) {
                    continue;
                }
                fresh = true;
                meant.extend(self.read(&message).filter(|one| self.filter.matches(&one.letter)));
            }
            if !fresh || !meant.is_empty() {
                return Ok(meant);
            }
        }
    }

    fn read(&self, message: &Message) -> Option<Letter> {
        let meta = wire::meta(message);
        match wire::decode(message, meta, &self.queue.0.config.foreign_kind) {
            Ok(incoming) => Some(Letter { letter: letter(&incoming), incoming }),
            Err(error) => {
                tracing::error!(%error, "a dead letter cannot be read, and stays");
                None
            }
        }
    }

    /// Deletes letters. Dies before: they come back after the walk's lease, as dead as before.
    async fn delete(&self, handles: &[String]) -> Result<u64> {
        let results = self.queue.delete(self.operation, &self.queue.0.dead_url, handles).await;
        let mut deleted = 0;
        for (handle, result) in handles.iter().zip(results) {
            result.map_err(|failure| failure.error)?;
            lock(&self.held).retain(|one| one != handle);
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Gives back what is left; what fails comes back after the walk's lease.
    async fn end(self) {
        drop(self.alive);
        if let Err(error) = self.keeper.await {
            tracing::debug!(%error, "dead letters come back after their lease");
        }
    }
}

fn lock(held: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a letter. Those that the service has moved by itself say nothing of their end.
fn letter(incoming: &Incoming) -> DeadLetter {
    let meta = &incoming.meta;
    let envelope = Arc::clone(&incoming.envelope);
    let due_at = incoming.due_at();
    match &incoming.note.dead {
        Some(dead) => DeadLetter {
            attempts: dead.attempts,
            deliveries: dead.deliveries,
            due_at,
            ..DeadLetter::new(envelope, dead.reason.clone(), meta.sent_at)
        },
        None => DeadLetter {
            attempts: meta.count,
            deliveries: meta.count,
            due_at,
            ..DeadLetter::new(envelope, DeadLetter::CRASHED, meta.sent_at)
        },
    }
}

impl SqsQueue {
    async fn redrive_all(
        &self,
        walk: &mut Walk<'_>,
        options: &RedriveOptions,
        pause: Option<Duration>,
    ) -> Result<Redriven> {
        let mut redriven = Redriven::default();
        let mut next_at = SystemClock.instant();
        loop {
            let left = match options.limit {
                None => MAX_BATCH,
                Some(limit) => limit.saturating_sub(count(redriven.sent)).min(MAX_BATCH),
            };
            if left == 0 {
                return Ok(redriven);
            }
            let letters = walk.next(if pause.is_some() { 1 } else { left }).await?;
            if letters.is_empty() {
                return Ok(redriven);
            }
            if let Some(pause) = pause {
                SystemClock.sleep_until(next_at).await;
                next_at = saturating_add(SystemClock.instant(), pause);
            }
            let sent = match &options.to {
                None => self.resend(&letters).await?,
                Some(to) => forward(&**to, &letters, self.0.fifo).await?,
            };
            let mut gone = Vec::new();
            for (one, sent) in letters.iter().zip(sent) {
                if sent {
                    gone.push(one.incoming.meta.handle.clone());
                } else {
                    redriven.kept += 1;
                }
            }
            redriven.sent += gone.len() as u64;
            walk.delete(&gone).await?;
        }
    }

    /// Sends letters into this queue, at the end of their groups, as their next run.
    async fn resend(&self, letters: &[Letter]) -> Result<Vec<bool>> {
        let copies: Vec<_> = letters
            .iter()
            .map(|one| {
                let mut next = one.incoming.clone();
                next.envelope = Arc::new(one.letter.envelope.next_run());
                next.meta.group = one.group().map(str::to_owned);
                self.copy(&next, Note::default())
            })
            .collect();
        let stored = self.store("queue.redrive", &self.0.url, &copies).await;
        stored
            .into_iter()
            .map(|stored| stored.map(|()| true).map_err(|failure| failure.error))
            .collect()
    }
}

/// Sends letters to another queue; says which it took.
async fn forward(to: &dyn Queue, letters: &[Letter], fifo: bool) -> Result<Vec<bool>> {
    let capabilities = to.capabilities();
    // on a standard queue it is no group but a key of fairness
    let grouped = fifo && capabilities.groups;
    let batch: Vec<_> = letters
        .iter()
        .map(|one| {
            let message = OutgoingMessage::new(one.letter.envelope.next_run());
            match one.group().and_then(wire::group_of).filter(|_| grouped) {
                Some(group) => message.group(group),
                None => message,
            }
        })
        .collect();
    let mut taken = Vec::with_capacity(batch.len());
    for some in batch.chunks(capabilities.max_batch) {
        for outcome in to.send(some).await? {
            taken.push(match outcome {
                SendOutcome::Sent => true,
                SendOutcome::Failed(error) => return Err(error),
                _ => false,
            });
        }
    }
    Ok(taken)
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[async_trait]
impl DeadLetters for SqsQueue {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        if after.is_some() {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, "queue.list_dead_letters")
                .with_detail("a sample has one page"));
        }
        let mut walk = Walk::new(self, filter, "queue.list_dead_letters");
        let mut letters = Vec::new();
        let ended = loop {
            if letters.len() >= limit {
                break Ok(());
            }
            match walk.next(MAX_BATCH.min(limit - letters.len())).await {
                Ok(some) if some.is_empty() => break Ok(()),
                Ok(some) => letters.extend(some.into_iter().map(|one| one.letter)),
                Err(error) => break Err(error),
            }
        };
        walk.end().await;
        ended?;
        letters.sort_by_key(|letter| letter.died_at);
        Ok(DeadLetterPage::new(letters, None))
    }

    /// A process that dies between the send and the delete leaves a letter both queued and dead.
    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        let pause = options.pause(BACKEND)?;
        let mut walk = Walk::new(self, filter, "queue.redrive");
        if let Some(pause) = pause {
            walk.lease = walk.lease.saturating_add(pause);
        }
        let redriven = self.redrive_all(&mut walk, options, pause).await;
        walk.end().await;
        redriven
    }

    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        let mut walk = Walk::new(self, filter, "queue.purge_dead_letters");
        let mut purged = 0;
        let ended = loop {
            let letters = match walk.next(MAX_BATCH).await {
                Ok(letters) if letters.is_empty() => break Ok(purged),
                Ok(letters) => letters,
                Err(error) => break Err(error),
            };
            let handles: Vec<_> = letters.into_iter().map(|one| one.incoming.meta.handle).collect();
            match walk.delete(&handles).await {
                Ok(deleted) => purged += deleted,
                Err(error) => break Err(error),
            }
        };
        walk.end().await;
        ended
    }
}
