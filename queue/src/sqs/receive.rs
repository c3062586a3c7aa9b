//! Receiving: waiting at the service, and what is not for the caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};
use chrono::TimeDelta;
use futures_util::future::join_all;
use standfast_core::{Backoff, Clock as _, Reason, Result, SystemClock, saturating_add};
use tokio::sync::oneshot;

use super::SqsQueue;
use super::error::Failure;
use super::held::{self, Held, LONGEST};
use super::meter::Api;
use super::send::{MAX_BATCH, Outgoing, run_of};
use super::wire::{self, Dead, Incoming, Note};
use crate::dead::DeadLetter;
use crate::delivery::{Batch, ReceiveOptions, Received};
use crate::receipt::Receipt;

const OPERATION: &str = "queue.receive";

/// The longest wait of one request.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// How long a message that this process cannot read is put aside, by how often it was received: a
/// newer worker is to find it before the redrive policy gives it up.
const UNREADABLE: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60 * 60));

const BETWEEN_HOPS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
const HOP_TRIES: u32 = 4;

/// What one look at the queue brought.
struct Look {
    batch: Batch,
    /// As many as were asked for.
    full: bool,
    /// Nothing, not even what is not for the caller.
    empty: bool,
}

/// What a receive brought, by what is done with it.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) found: Vec<(Incoming, Held)>,
    /// Received too often.
    pub(super) spent: Vec<Incoming>,
    pub(super) later: Vec<Later>,
}

/// What a receive brought that is not to be delivered now.
pub(super) enum Later {
    /// Not due: to be kept back for so long.
    Early(Incoming, Duration),
    /// Not readable here: to be left to others.
    Unread(String, Duration),
}

impl SqsQueue {
    pub(super) async fn receive_or_wait(&self, options: &ReceiveOptions) -> Result<Batch> {
        let max = options.max.min(MAX_BATCH);
        if max == 0 {
            return Ok(Batch::default());
        }
        let deadline = saturating_add(SystemClock.instant(), options.wait);
        if options.wait.is_zero() {
            let patience = saturating_add(deadline, self.0.config.call_timeout);
            loop {
                let look = self.look(max, options.lease, Duration::ZERO).await?;
                // what was kept back is now out of the way of the rest
                let over = look.empty || SystemClock.instant() >= patience;
                if over || !look.batch.is_empty() {
                    return Ok(look.batch);
                }
            }
        }
        let gate = &self.0.gate;
        loop {
            let turn = tokio::select! {
                biased;
                turn = gate.turn() => turn,
                // somebody else has looked all the time, and there was nothing
                () = SystemClock.sleep_until(deadline) => return Ok(Batch::default()),
            };
            let left = deadline.saturating_duration_since(SystemClock.instant());
            let wait = Duration::from_secs(wire::seconds(left.min(MAX_WAIT)));
            let look = self.look(max, options.lease, wait).await?;
            if look.full {
                gate.widen();
            }
            if look.empty {
                gate.narrow(turn);
            } else {
                drop(turn);
            }
            if !look.batch.is_empty() || SystemClock.instant() >= deadline {
                return Ok(look.batch);
            }
        }
    }

    /// Asks once, in a task of its own: if the caller is gone when the answer comes, what it brings
    /// is given back at once instead of after its lease. If this process dies, it comes back after
    /// its lease.
    async fn look(&self, max: usize, lease: Duration, wait: Duration) -> Result<Look> {
        let (tell, told) = oneshot::channel();
        let queue = self.clone();
        tokio::spawn(async move {
            let era = queue.era();
            let asked_at = SystemClock.instant();
            let messages = match queue.ask(max, lease, wait).await {
                Ok(messages) => messages,
                // nobody waits for the error any more, or gets it now
                Err(failure) => return drop(tell.send(Err(failure.error))),
            };
            let full = messages.len() >= max;
            let empty = messages.is_empty();
            let Sorted { found, spent, later } = queue.sort(messages, asked_at, lease, era);
            let dead = queue.bury(spent).await;
            let deliveries = queue.fresh_leases(found, asked_at, lease).await;
            let batch = Batch { deliveries, dead, ..Batch::default() };
            if let Err(Ok(look)) = tell.send(Ok(Look { batch, full, empty })) {
                queue.give_back(look.batch.deliveries).await;
            }
            queue.see_to(later).await;
        });
        // the task only ends without an answer when the runtime does
        told.await
            .unwrap_or_else(|_| Ok(Look { batch: Batch::default(), full: false, empty: true }))
    }

    /// The messages that are there. A FIFO queue gives several of one group at once, although only
    /// the first may be worked on: it is asked for one at a time, by several requests while there
    /// are messages.
    async fn ask(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, Failure> {
        if !self.0.fifo {
            return self.request(&self.0.url, max, lease, wait).await;
        }
        let mut messages = self.request(&self.0.url, 1, lease, wait).await?;
        let mut others = 1;
        while !messages.is_empty() && messages.len() < max {
            let count = others.min(max - messages.len());
            let more = (0..count).map(|_| self.request(&self.0.url, 1, lease, Duration::ZERO));
            let before = messages.len();
            for more in join_all(more).await {
                match more {
                    Ok(more) => messages.extend(more),
                    Err(failure) => tracing::debug!(error = %failure.error, "no more messages"),
                }
            }
            if messages.len() - before < count {
                break;
            }
            others *= 2;
        }
        Ok(messages)
    }

    /// One request for messages.
    pub(super) async fn request(
        &self,
        url: &str,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, Failure> {
        let calls = &self.0.calls;
        let number = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
        let request = calls
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(number(max as u64))
            .visibility_timeout(number(wire::seconds(lease.min(LONGEST))))
            .wait_time_seconds(number(wait.as_secs()))
            .message_attribute_names("All")
            .message_system_attribute_names(System::ApproximateReceiveCount)
            .message_system_attribute_names(System::ApproximateFirstReceiveTimestamp)
            .message_system_attribute_names(System::SentTimestamp)
            .message_system_attribute_names(System::MessageGroupId);
        let answer = calls.ask(Api::Receive, OPERATION, wait, request.send()).await?;
        let messages = answer.messages.unwrap_or_default();
        calls.meter.received(messages.len());
        calls.meter.carried(messages.iter().map(wire::size).sum());
        Ok(messages)
    }

    /// Tells what is to be delivered from what is not.
    pub(super) fn sort(
        &self,
        messages: Vec<Message>,
        asked_at: Instant,
        lease: Duration,
        era: u64,
    ) -> Sorted {
        let mut sorted = Sorted::default();
        for message in messages {
            let meta = wire::meta(&message);
            self.learn_time(&meta);
            let (handle, id, count) = (meta.handle.clone(), meta.message_id.clone(), meta.count);
            let incoming = match wire::decode(&message, meta, &self.0.config.foreign_kind) {
                Ok(incoming) => incoming.raised(),
                Err(error) => {
                    let aside = UNREADABLE.next(count);
                    if error.reason() == Some(Reason::NewerVersion) {
                        tracing::warn!(id, %error, "a message for a newer worker is put aside");
                    } else {
                        tracing::error!(id, %error, "a message that cannot be read is put aside");
                    }
                    sorted.later.push(Later::Unread(handle, aside));
                    continue;
                }
            };
            if let Some(left) = self.early(&incoming) {
                sorted.later.push(Later::Early(incoming, left));
                continue;
            }
            let numbers = numbers(&incoming, self.0.fifo);
            if numbers.0 > self.0.config.max_receives {
                sorted.spent.push(incoming);
                continue;
            }
            let until = held::end(asked_at, lease);
            let held = Held::new(incoming.clone(), numbers, asked_at, until, era);
            sorted.found.push((incoming, held));
        }
        sorted
    }

    /// Moves what was received too often to the dead letters: only that ends a message which takes
    /// its workers down, since they never get to say so. A process that dies between storing a
    /// letter and deleting the message leaves both, and the next receiver reports it again.
    pub(super) async fn bury(&self, spent: Vec<Incoming>) -> Vec<DeadLetter> {
        let letters: Vec<_> = spent
            .iter()
            .map(|incoming| {
                let (attempts, deliveries) = numbers(incoming, self.0.fifo);
                let (attempts, deliveries) = (attempts - 1, deliveries - 1);
                let reason = DeadLetter::CRASHED.to_owned();
                let group = incoming.meta.group.clone();
                self.letter(incoming, Dead { reason, attempts, deliveries, group })
            })
            .collect();
        let stored = self.store(OPERATION, &self.0.dead_url, &letters).await;
        let (mut handles, mut dead) = (Vec::new(), Vec::new());
        for (incoming, stored) in spent.into_iter().zip(stored) {
            match stored {
                Ok(()) => {
                    let (attempts, deliveries) = numbers(&incoming, self.0.fifo);
                    let died_at = self.time();
                    let letter = DeadLetter::new(
                        Arc::clone(&incoming.envelope),
                        DeadLetter::CRASHED,
                        died_at,
                    );
                    let due_at = incoming.due_at();
                    let (attempts, deliveries) = (attempts - 1, deliveries - 1);
                    dead.push(DeadLetter { attempts, deliveries, due_at, ..letter });
                    handles.push(incoming.meta.handle);
                }
                Err(failure) => {
                    tracing::warn!(error = %failure.error, "a spent message comes back once more");
                }
            }
        }
        for failure in
            self.delete(OPERATION, &self.0.url, &handles).await.into_iter().flat_map(Result::err)
        {
            tracing::warn!(error = %failure.error, "a dead letter will be there twice");
        }
        dead
    }

    /// How long a message must still wait. By the service's clock alone, as far as it tells the
    /// time: what is received for the second time is not kept back again without need.
    fn early(&self, incoming: &Incoming) -> Option<Duration> {
        if incoming.note.left == 0 {
            return None;
        }
        let ready_at = incoming.ready_at();
        let now = match (incoming.meta.count, self.0.fifo) {
            // a hidden message has come back: that it was hidden to its end, nobody has noted
            (2.., true) => self.time(),
            _ => incoming.meta.first_received,
        };
        (ready_at - now).to_std().ok().filter(|left| !left.is_zero())
    }

    /// A lease is counted from before it was asked for. After a long wait at the service that would
    /// leave little of it, so it is begun anew.
    pub(super) async fn fresh_leases(
        &self,
        found: Vec<(Incoming, Held)>,
        asked_at: Instant,
        lease: Duration,
    ) -> Vec<Received> {
        let mut until = held::end(asked_at, lease);
        let now = SystemClock.instant();
        if !found.is_empty() && now.duration_since(asked_at) > lease.min(LONGEST) / 10 {
            let seconds = wire::seconds(lease.min(LONGEST - MAX_WAIT));
            let handles: Vec<_> =
                found.iter().map(|(one, _)| (one.meta.handle.clone(), seconds)).collect();
            let results = self.hide(OPERATION, &self.0.url, &handles).await;
            if results.iter().all(Result::is_ok) {
                until = held::end(now, lease);
            }
        }
        let received = found.into_iter().map(|(incoming, held)| {
            let token: Arc<str> = incoming.meta.handle.as_str().into();
            let due_at = incoming.due_at();
            let (attempt, delivery) = (held.attempt, held.delivery);
            held.extended(until);
            let receipt = Receipt::new(token, incoming.envelope).push(Arc::new(held));
            Received { attempt, delivery, ..Received::new(receipt, due_at, until) }
        });
        received.collect()
    }

    /// Gives back what nobody waits for any more. What fails here comes back after its lease.
    async fn give_back(&self, deliveries: Vec<Received>) {
        let held = deliveries.iter().filter_map(|received| Held::of(&received.receipt));
        let handles: Vec<_> = held.map(|held| (held.incoming.meta.handle.clone(), 0)).collect();
        self.hide_quietly(&handles).await;
    }

    /// Hides messages again, or shows them; what fails comes back after its lease.
    async fn hide_quietly(&self, handles: &[(String, u64)]) {
        for failure in
            self.hide(OPERATION, &self.0.url, handles).await.into_iter().flat_map(Result::err)
        {
            tracing::debug!(error = %failure.error, "a message comes back after its lease");
        }
    }

    pub(super) async fn see_to(&self, later: Vec<Later>) {
        let (mut hidden, mut hops) = (Vec::new(), Vec::new());
        for one in later {
            match one {
                Later::Unread(handle, aside) => hidden.push((handle, wire::seconds(aside))),
                // the group of a FIFO queue waits with its head
                Later::Early(incoming, left) if self.0.fifo => {
                    let most = LONGEST - 2 * MAX_WAIT;
                    hidden.push((incoming.meta.handle, wire::seconds(left.min(most))));
                }
                Later::Early(incoming, left) => hops.push((incoming, left)),
            }
        }
        self.hide_quietly(&hidden).await;
        if !hops.is_empty() {
            self.hop(hops).await;
        }
    }

    /// Sends delayed messages on: a fresh copy that is kept back for as long as the service can, and
    /// then the old one is deleted. A process that dies before the copy is stored has changed
    /// nothing, the message comes back after its lease; one that dies before the old one is deleted
    /// leaves two, as a standard queue may by itself.
    async fn hop(&self, mut hops: Vec<(Incoming, Duration)>) {
        for attempt in 1..=HOP_TRIES {
            let copies: Vec<Outgoing> = hops
                .iter()
                .map(|(incoming, left)| {
                    let note = Note { left: 0, ..incoming.note.clone() };
                    self.copy(incoming, self.delayed(*left, note))
                })
                .collect();
            let stored = self.store(OPERATION, &self.0.url, &copies).await;
            let (mut old, mut failed) = (Vec::new(), Vec::new());
            for (hop, stored) in hops.into_iter().zip(stored) {
                match stored {
                    Ok(()) => old.push(hop.0.meta.handle),
                    Err(failure) => {
                        tracing::warn!(error = %failure.error, "a delayed message was not sent on");
                        failed.push(hop);
                    }
                }
            }
            for failure in
                self.delete(OPERATION, &self.0.url, &old).await.into_iter().flat_map(Result::err)
            {
                tracing::warn!(error = %failure.error, "a delayed message is there twice");
            }
            hops = failed;
            if hops.is_empty() {
                return;
            }
            SystemClock
                .sleep_until(saturating_add(SystemClock.instant(), BETWEEN_HOPS.next(attempt)))
                .await;
        }
        let handles: Vec<_> = hops.into_iter().map(|(one, _)| (one.meta.handle, 0)).collect();
        self.hide_quietly(&handles).await;
    }

    /// The message once more, with another note.
    pub(super) fn copy(&self, incoming: &Incoming, note: Note) -> Outgoing {
        let delay = note.delay;
        let wire = wire::encode(&incoming.envelope, note);
        let group = incoming.meta.group.clone();
        let group = match (group, self.0.fifo) {
            (Some(group), _) => Some(group),
            (None, true) => Some(format!("i.{}", incoming.envelope.id)),
            (None, false) => self.fair_key(&incoming.envelope),
        };
        let unique = self.0.fifo.then(|| run_of(&incoming.envelope));
        Outgoing { wire, group, unique, delay }
    }
}

/// The attempt and the delivery. Every receive counts, whatever became of it, but those that only
/// hid a delayed message of a FIFO queue.
fn numbers(incoming: &Incoming, fifo: bool) -> (u32, u32) {
    let (meta, note) = (&incoming.meta, &incoming.note);
    let mut holds = 0;
    let waited = incoming.ready_at() - meta.first_received;
    if fifo && note.left > 0 && waited > TimeDelta::zero() {
        let each = i64::try_from(LONGEST.as_secs()).unwrap_or(i64::MAX);
        holds = u32::try_from(1 + (waited.num_seconds() - 1).max(0) / each).unwrap_or(u32::MAX);
    }
    let count = meta.count.saturating_sub(holds).max(1);
    let (attempts, deliveries) = note.before;
    (attempts.saturating_add(count), deliveries.saturating_add(count))
}
