//! Settling and extending: at most ten receipts become one request for each kind of change.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry as Hide, DeleteMessageBatchRequestEntry as Delete,
};
use standfast_core::{Clock as _, Result, SystemClock};

use super::SqsQueue;
use super::error::Failure;
use super::held::{self, Held, LONGEST, Taken};
use super::meter::Api;
use super::send::{MAX_BATCH, Outgoing, of_entries};
use super::wire::{self, Dead, NOTE_ROOM, Note};
use crate::delivery::{ExtendOutcome, SettleOutcome, Settlement};
use crate::receipt::Receipt;

/// What is left of twelve hours that is not used: what a request takes.
const MARGIN: Duration = Duration::from_secs(5);

/// What a settlement does.
enum Step {
    Delete,
    /// Hides it for so many seconds.
    Hide(u64),
    /// Stores a copy there and deletes it.
    Move(To, Box<Outgoing>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum To {
    /// The back of the same queue.
    Queue,
    Dead,
}

impl SqsQueue {
    /// A process that dies before a request leaves the delivery to its lease. Between storing a
    /// copy and deleting the original it leaves both: never neither.
    pub(super) async fn settle_all(
        &self,
        batch: &[(Receipt, Settlement)],
    ) -> Result<Vec<SettleOutcome>> {
        let mut outcomes: Vec<_> = batch.iter().map(|_| SettleOutcome::Stale).collect();
        let (mut deletes, mut hides) = (Vec::new(), Vec::new());
        let (mut moves, mut dead) = (Vec::new(), Vec::new());
        let era = self.era();
        for (index, (receipt, how)) in batch.iter().enumerate() {
            let Some(taken) = Held::of(receipt).and_then(|held| held.take(era)) else { continue };
            match self.step(taken.held(), how) {
                Step::Delete => deletes.push((index, taken)),
                Step::Hide(seconds) => hides.push((index, taken, seconds)),
                // a delivery whose copy is stored only needs to go
                Step::Move(..) if taken.held().is_copied() => deletes.push((index, taken)),
                Step::Move(To::Queue, copy) => moves.push((index, taken, *copy)),
                Step::Move(To::Dead, copy) => dead.push((index, taken, *copy)),
            }
        }
        for (url, moved) in [(&self.0.url, moves), (&self.0.dead_url, dead)] {
            let (mut places, mut copies) = (Vec::new(), Vec::new());
            for (index, taken, copy) in moved {
                places.push((index, taken));
                copies.push(copy);
            }
            let stored = self.store("queue.settle", url, &copies).await;
            for ((index, taken), stored) in places.into_iter().zip(stored) {
                match stored {
                    Ok(()) => {
                        taken.held().copied();
                        deletes.push((index, taken));
                    }
                    Err(failure) => outcomes[index] = SettleOutcome::Failed(failure.error),
                }
            }
        }
        let handles: Vec<_> = deletes.iter().map(|(_, taken)| handle(taken)).collect();
        let deleted = self.delete("queue.settle", &self.0.url, &handles).await;
        let hidden: Vec<_> =
            hides.iter().map(|(_, taken, seconds)| (handle(taken), *seconds)).collect();
        let hidden = self.hide("queue.settle", &self.0.url, &hidden).await;
        let hides = hides.into_iter().map(|(index, taken, _)| (index, taken));
        for ((index, taken), result) in
            deletes.into_iter().chain(hides).zip(deleted.into_iter().chain(hidden))
        {
            outcomes[index] = match result {
                Ok(()) => {
                    taken.settled();
                    SettleOutcome::Settled
                }
                Err(failure) if failure.stale => SettleOutcome::Stale,
                Err(failure) => SettleOutcome::Failed(failure.error),
            };
        }
        Ok(outcomes)
    }

    fn step(&self, held: &Arc<Held>, how: &Settlement) -> Step {
        let incoming = &held.incoming;
        match how {
            Settlement::Ack => Step::Delete,
            Settlement::DeadLetter { reason } => {
                let dead = Dead {
                    reason: reason.clone(),
                    attempts: held.attempt,
                    deliveries: held.delivery,
                    group: incoming.meta.group.clone(),
                };
                Step::Move(To::Dead, Box::new(self.letter(incoming, dead)))
            }
            Settlement::Release { delay, counted, .. } => {
                let rest = held.rest().saturating_sub(MARGIN);
                if *delay <= rest {
                    return Step::Hide(wire::seconds(*delay));
                }
                if self.0.fifo {
                    // a copy would lose its place in the group
                    let id = incoming.envelope.id;
                    tracing::warn!(%id, ?delay, ?rest, "a release is shorter than it was asked for");
                    return Step::Hide(wire::seconds(rest));
                }
                let uncounted = u32::from(!counted);
                let before = (held.attempt - uncounted.min(held.attempt), held.delivery);
                let note = Note { before, due_at: Some(incoming.due_at()), ..Note::default() };
                let copy = self.copy(incoming, self.delayed(*delay, note));
                Step::Move(To::Queue, Box::new(copy))
            }
        }
    }

    /// A dead letter, which is in nobody's way: each is a group of its own.
    pub(super) fn letter(&self, incoming: &wire::Incoming, mut dead: Dead) -> Outgoing {
        let envelope = &incoming.envelope;
        let bare = wire::encode(envelope, Note::default());
        let wire = loop {
            let note = Note {
                due_at: Some(incoming.due_at()),
                dead: Some(dead.clone()),
                ..Note::default()
            };
            let wire = wire::encode(envelope, note);
            if wire.size - bare.size <= NOTE_ROOM || dead.reason.is_empty() {
                break wire;
            }
            let mut half = dead.reason.len() / 2;
            while !dead.reason.is_char_boundary(half) {
                half -= 1;
            }
            dead.reason.truncate(half);
        };
        let name = format!("d.{}.{}", envelope.id, envelope.run);
        let fifo = self.0.fifo;
        Outgoing { wire, group: fifo.then(|| name.clone()), unique: fifo.then_some(name), delay: 0 }
    }

    pub(super) async fn extend_all(
        &self,
        batch: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<ExtendOutcome>> {
        let mut outcomes: Vec<_> = batch.iter().map(|_| ExtendOutcome::Stale).collect();
        let (mut held, mut handles) = (Vec::new(), Vec::new());
        let seconds = wire::seconds(lease.min(LONGEST));
        let era = self.era();
        for (index, receipt) in batch.iter().enumerate() {
            let Some(one) = Held::of(receipt).filter(|one| one.is_held(era)) else { continue };
            if Duration::from_secs(seconds) + MARGIN > one.rest() {
                outcomes[index] = ExtendOutcome::LeaseCap;
                continue;
            }
            handles.push((one.incoming.meta.handle.clone(), seconds));
            held.push((index, one));
        }
        let until = held::end(SystemClock.instant(), lease);
        let results = self.hide("queue.extend", &self.0.url, &handles).await;
        for ((index, held), result) in held.into_iter().zip(results) {
            outcomes[index] = match result {
                Ok(()) => {
                    held.extended(until);
                    ExtendOutcome::Extended
                }
                Err(failure) if failure.stale => ExtendOutcome::Stale,
                Err(failure) => ExtendOutcome::Failed(failure.error),
            };
        }
        Ok(outcomes)
    }

    /// Deletes deliveries; one result each.
    pub(super) async fn delete(
        &self,
        operation: &'static str,
        url: &str,
        handles: &[String],
    ) -> Vec<Result<(), Failure>> {
        let calls = &self.0.calls;
        let mut results = Vec::with_capacity(handles.len());
        for some in handles.chunks(MAX_BATCH) {
            let mut request = calls.client.delete_message_batch().queue_url(url);
            for (index, handle) in some.iter().enumerate() {
                let entry = Delete::builder().id(index.to_string()).receipt_handle(handle).build();
                // invariant: both required fields are set
                request = request.entries(entry.expect("an entry has an id and a handle"));
            }
            match calls.change(Api::Delete, operation, request.send()).await {
                Err(failure) => results.resize(results.len() + some.len(), Err(failure)),
                Ok(answer) => {
                    let failed = answer.failed().iter().map(|one| {
                        let said = one.message().unwrap_or_default();
                        (one.id(), Failure::entry(operation, one.code(), said, one.sender_fault()))
                    });
                    let done = answer.successful().iter().map(|one| one.id());
                    let of = of_entries(operation, some.len(), done, failed);
                    calls.meter.deleted(of.iter().filter(|result| result.is_ok()).count());
                    results.extend(of);
                }
            }
        }
        results
    }

    /// Hides deliveries for so many seconds from now; one result each.
    pub(super) async fn hide(
        &self,
        operation: &'static str,
        url: &str,
        handles: &[(String, u64)],
    ) -> Vec<Result<(), Failure>> {
        let calls = &self.0.calls;
        let mut results = Vec::with_capacity(handles.len());
        for some in handles.chunks(MAX_BATCH) {
            let mut request = calls.client.change_message_visibility_batch().queue_url(url);
            for (index, (handle, seconds)) in some.iter().enumerate() {
                let seconds = i32::try_from((*seconds).min(LONGEST.as_secs())).unwrap_or(0);
                let entry = Hide::builder()
                    .id(index.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(seconds)
                    .build();
                // invariant: both required fields are set
                request = request.entries(entry.expect("an entry has an id and a handle"));
            }
            match calls.change(Api::ChangeVisibility, operation, request.send()).await {
                Err(failure) => results.resize(results.len() + some.len(), Err(failure)),
                Ok(answer) => {
                    let failed = answer.failed().iter().map(|one| {
                        let said = one.message().unwrap_or_default();
                        (one.id(), Failure::entry(operation, one.code(), said, one.sender_fault()))
                    });
                    let done = answer.successful().iter().map(|one| one.id());
                    results.extend(of_entries(operation, some.len(), done, failed));
                }
            }
        }
        results
    }
}

fn handle(taken: &Taken) -> String {
    taken.held().incoming.meta.handle.clone()
}
