//! Storing messages: new ones, hops of delayed ones, dead letters.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::SqsQueue;
use super::error::{BACKEND, Failure};
use super::meter::Api;
use super::wire::{self, NOTE_ROOM, Note, Wire};
use crate::envelope::Envelope;
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue as _;

/// The most entries of one request.
pub(super) const MAX_BATCH: usize = 10;

/// The longest delay that the service keeps.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// What is stored in one step.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) wire: Wire,
    pub(super) group: Option<String>,
    /// Only on FIFO queues.
    pub(super) unique: Option<String>,
    /// In seconds; only on standard queues.
    pub(super) delay: u64,
}

impl SqsQueue {
    /// A process that dies before the request has sent nothing; one that dies after it, or whose
    /// answer is lost, may have: on a FIFO queue a repeated send is one message, on a standard queue
    /// it may be two.
    pub(super) async fn send_all(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let (mut going, mut places) = (Vec::new(), Vec::new());
        for (index, message) in batch.iter().enumerate() {
            match self.outgoing(message) {
                Ok(outgoing) => {
                    going.push(outgoing);
                    places.push(index);
                    outcomes.push(SendOutcome::Sent);
                }
                Err(error) => outcomes.push(SendOutcome::Failed(error)),
            }
        }
        let sent = self.store("queue.send", &self.0.url, &going).await;
        if let (Some(Err(first)), true) = (sent.first(), sent.iter().all(Result::is_err))
            && sent.len() == batch.len()
            && !matches!(first.error.kind(), ErrorKind::TooLarge | ErrorKind::Invalid)
        {
            return Err(first.error.clone());
        }
        for (index, sent) in places.into_iter().zip(sent) {
            if let Err(failure) = sent {
                outcomes[index] = SendOutcome::Failed(failure.error);
            }
        }
        Ok(outcomes)
    }

    fn outgoing(&self, message: &OutgoingMessage) -> Result<Outgoing> {
        message.check(&self.capabilities())?;
        let envelope = &message.envelope;
        let note = self.delayed(message.delay, Note::default());
        let delay = note.delay;
        let wire = wire::encode(envelope, note);
        self.fits(&wire)?;
        let (group, unique) = match self.0.fifo {
            true => (
                Some(match &message.group {
                    Some(group) => wire::name("g.", group),
                    None => format!("i.{}", envelope.id),
                }),
                Some(match &message.dedupe {
                    Some(dedupe) => wire::name("k.", &dedupe.key),
                    None => run_of(envelope),
                }),
            ),
            false => (self.fair_key(envelope), None),
        };
        Ok(Outgoing { wire, group, unique, delay })
    }

    /// A note that makes a message wait for `delay` from when it is stored. A FIFO queue has no
    /// delay of single messages: who receives it too early hides it, and with it its group.
    pub(super) fn delayed(&self, delay: Duration, note: Note) -> Note {
        let delay = Duration::from_millis(wire::millis(delay));
        let now = if self.0.fifo { Duration::ZERO } else { delay.min(MAX_DELAY) };
        let seconds = wire::seconds(now);
        let left = delay.saturating_sub(Duration::from_secs(seconds));
        Note { delay: seconds, left: wire::millis(left), ..note }
    }

    /// The key by which a standard queue is fair.
    pub(super) fn fair_key(&self, envelope: &Envelope) -> Option<String> {
        let header = self.0.config.fair_by.as_ref()?;
        let value = envelope.context.headers.get(&**header)?;
        (!value.is_empty()).then(|| wire::name("", value))
    }

    fn fits(&self, wire: &Wire) -> Result<()> {
        let limit = self.0.config.max_message - NOTE_ROOM;
        if wire.size <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooLarge, BACKEND, "queue.send")
            .with_reason(Reason::BodyTooLarge)
            .with_detail(format!(
                "{} bytes with the headers and as the service takes them, the limit is {limit}",
                wire.size
            )))
    }

    /// Stores messages in requests of at most ten and at most as many bytes as one may carry, in
    /// order; one result each.
    pub(super) async fn store(
        &self,
        operation: &'static str,
        url: &str,
        going: &[Outgoing],
    ) -> Vec<Result<(), Failure>> {
        let mut stored = Vec::with_capacity(going.len());
        let mut rest = going;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take(MAX_BATCH).take_while(|one| {
                bytes += one.wire.size;
                bytes <= self.0.config.max_message
            });
            let (now, later) = rest.split_at(fit.count().max(1));
            let mut results = self.store_some(operation, url, now).await;
            if let (true, Some(Err(failure))) = (self.0.fifo, results.last()) {
                // what comes after must not overtake it
                results.resize(rest.len(), Err(failure.clone()));
                stored.extend(results);
                break;
            }
            stored.extend(results);
            rest = later;
        }
        stored
    }

    async fn store_some(
        &self,
        operation: &'static str,
        url: &str,
        going: &[Outgoing],
    ) -> Vec<Result<(), Failure>> {
        let calls = &self.0.calls;
        let mut request = calls.client.send_message_batch().queue_url(url);
        for (index, one) in going.iter().enumerate() {
            let delay = i32::try_from(one.delay).unwrap_or(0);
            let entry = Entry::builder()
                .id(index.to_string())
                .message_body(&one.wire.body)
                .set_message_attributes(Some(one.wire.attributes.clone()))
                .set_message_group_id(one.group.clone())
                .set_message_deduplication_id(one.unique.clone())
                .set_delay_seconds((!self.0.fifo).then_some(delay));
            // invariant: both required fields are set
            request = request.entries(entry.build().expect("an entry has an id and a body"));
        }
        calls.meter.carried(going.iter().map(|one| one.wire.size).sum());
        match calls.change(Api::Send, operation, request.send()).await {
            Err(failure) => vec![Err(failure); going.len()],
            Ok(answer) => {
                let failed = answer.failed().iter().map(|one| {
                    let said = one.message().unwrap_or_default();
                    (one.id(), Failure::entry(operation, one.code(), said, one.sender_fault()))
                });
                let done = answer.successful().iter().map(|one| one.id());
                let results = of_entries(operation, going.len(), done, failed);
                calls.meter.sent(results.iter().filter(|result| result.is_ok()).count());
                results
            }
        }
    }
}

/// What makes one run of a message one message on a FIFO queue.
pub(super) fn run_of(envelope: &Arc<Envelope>) -> String {
    format!("i.{}.{}", envelope.id, envelope.run)
}

/// The results of the entries of a batch, in order. An entry of which the answer says nothing may
/// have been done.
pub(super) fn of_entries<'a>(
    operation: &'static str,
    count: usize,
    done: impl Iterator<Item = &'a str>,
    failed: impl Iterator<Item = (&'a str, Failure)>,
) -> Vec<Result<(), Failure>> {
    let untold = || {
        let error = Error::new(ErrorKind::OutcomeUnknown, BACKEND, operation)
            .with_detail("the answer says nothing of the entry")
            .with_retryable(true);
        Failure { error, stale: false }
    };
    let mut results: Vec<_> = (0..count).map(|_| Err(untold())).collect();
    let place = |id: &str| id.parse::<usize>().ok().filter(|index| *index < count);
    for index in done.filter_map(place) {
        results[index] = Ok(());
    }
    for (id, failure) in failed {
        if let Some(index) = place(id) {
            results[index] = Err(failure);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_not_told_of_may_have_happened() {
        let failed = Failure::entry("queue.send", "InternalError", "", false);
        let failed = [("0", failed), ("7", Failure::entry("queue.send", "X", "", true))];
        let results =
            of_entries("queue.send", 3, ["2", "nonsense"].into_iter(), failed.into_iter());
        let kinds: Vec<_> =
            results.iter().map(|one| one.as_ref().err().map(|one| one.error.kind())).collect();
        let expected = [Some(ErrorKind::Unavailable), Some(ErrorKind::OutcomeUnknown), None];
        assert_eq!(kinds, expected);
    }
}
