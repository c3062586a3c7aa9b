//! The three calls that carry entries, as one shape, so that what batches or distributes them is
//! written once.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use standfast_core::{Error, ErrorKind, Result};

use crate::delivery::{ExtendOutcome, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::queue::Queue;
use crate::receipt::Receipt;

/// A call of [`Queue`] that takes entries and answers with one outcome for each.
pub(super) trait Call: Clone + Debug + Send + Sync + 'static {
    type Entry: Clone + Send + Sync + 'static;
    type Outcome: Send + 'static;

    const OPERATION: &'static str;

    fn call<'a, Q: Queue>(
        &'a self,
        queue: &'a Q,
        batch: &'a [Self::Entry],
    ) -> BoxFuture<'a, Result<Vec<Self::Outcome>>>;

    /// What the entry adds to the size of a call.
    fn bytes(_: &Self::Entry) -> usize {
        0
    }

    fn failed(error: Error) -> Self::Outcome;
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SendCall;

#[derive(Clone, Copy, Debug)]
pub(super) struct SettleCall;

#[derive(Clone, Copy, Debug)]
pub(super) struct ExtendCall {
    pub(super) lease: Duration,
}

impl Call for SendCall {
    type Entry = OutgoingMessage;
    type Outcome = SendOutcome;

    const OPERATION: &'static str = "queue.send";

    fn call<'a, Q: Queue>(
        &'a self,
        queue: &'a Q,
        batch: &'a [OutgoingMessage],
    ) -> BoxFuture<'a, Result<Vec<SendOutcome>>> {
        queue.send(batch)
    }

    fn bytes(message: &OutgoingMessage) -> usize {
        message.envelope.body.len()
    }

    fn failed(error: Error) -> SendOutcome {
        SendOutcome::Failed(error)
    }
}

impl Call for SettleCall {
    type Entry = (Receipt, Settlement);
    type Outcome = SettleOutcome;

    const OPERATION: &'static str = "queue.settle";

    fn call<'a, Q: Queue>(
        &'a self,
        queue: &'a Q,
        batch: &'a [(Receipt, Settlement)],
    ) -> BoxFuture<'a, Result<Vec<SettleOutcome>>> {
        queue.settle(batch)
    }

    fn failed(error: Error) -> SettleOutcome {
        SettleOutcome::Failed(error)
    }
}

impl Call for ExtendCall {
    type Entry = Receipt;
    type Outcome = ExtendOutcome;

    const OPERATION: &'static str = "queue.extend";

    fn call<'a, Q: Queue>(
        &'a self,
        queue: &'a Q,
        batch: &'a [Receipt],
    ) -> BoxFuture<'a, Result<Vec<ExtendOutcome>>> {
        queue.extend(batch, self.lease)
    }

    fn failed(error: Error) -> ExtendOutcome {
        ExtendOutcome::Failed(error)
    }
}

/// How much may go into one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Limits {
    /// How many of `entries` go into one call: at least the first.
    fn fit<C: Call>(self, entries: &[C::Entry]) -> usize {
        let mut bytes = 0_usize;
        let fitting = entries.iter().take(self.entries).take_while(|entry| {
            bytes = bytes.saturating_add(C::bytes(entry));
            bytes <= self.bytes
        });
        fitting.count().max(1).min(entries.len())
    }
}

/// Calls `queue` and holds it to one outcome per entry.
pub(super) async fn checked<C: Call, Q: Queue>(
    call: &C,
    queue: &Q,
    batch: &[C::Entry],
) -> Result<Vec<C::Outcome>> {
    let outcomes = call.call(queue, batch).await?;
    if outcomes.len() == batch.len() {
        return Ok(outcomes);
    }
    let (asked, answered) = (batch.len(), outcomes.len());
    Err(Error::new(ErrorKind::Unexpected, queue.capabilities().backend, C::OPERATION)
        .with_detail(format!("{answered} outcomes for {asked} entries")))
}

/// Calls `queue` as often as `limits` ask, one call after the other, so that the entries keep their
/// order. An error ends it: that of the first call is the error of the whole, a later one the
/// outcome of every entry from there on.
pub(super) async fn in_chunks<C: Call, Q: Queue>(
    call: &C,
    queue: &Q,
    batch: &[C::Entry],
    limits: Limits,
) -> Result<Vec<C::Outcome>> {
    let mut outcomes: Vec<C::Outcome> = Vec::new();
    while outcomes.len() < batch.len() {
        let rest = &batch[outcomes.len()..];
        match checked(call, queue, &rest[..limits.fit::<C>(rest)]).await {
            Ok(some) if outcomes.is_empty() => outcomes = some,
            Ok(some) => outcomes.extend(some),
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => {
                outcomes.extend(rest.iter().map(|_| C::failed(error.clone())));
            }
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;

    #[test]
    fn a_chunk_ends_at_either_limit_and_never_before_its_first_entry() {
        let entries: Vec<_> = [3, 3, 9, 1]
            .map(|size| OutgoingMessage::new(Envelope::new("mail", vec![0; size])))
            .to_vec();
        for (limit, bytes, from, fits) in
            [(9, 99, 0, 4), (3, 99, 0, 3), (9, 6, 0, 2), (9, 7, 0, 2), (9, 6, 2, 1), (0, 0, 0, 1)]
        {
            let limits = Limits { entries: limit, bytes };
            assert_eq!(limits.fit::<SendCall>(&entries[from..]), fits, "{limits:?} from {from}");
        }
    }
    #[cfg(feature = "testkit")]
    #[tokio::test]
    async fn an_error_ends_the_chunks_and_leaves_earlier_outcomes_alone() {
        use crate::memory::MemoryQueue;
        use crate::testkit::{Fault, Faulty, QueueOperation};

        let batch: Vec<_> =
            (0..7).map(|_| OutgoingMessage::new(Envelope::new("mail", ""))).collect();
        let limits = Limits { entries: 3, bytes: usize::MAX };
        for (fails, sent, calls) in [(None, 7, 3), (Some(1), 3, 2), (Some(2), 6, 3)] {
            let queue = Faulty::new(MemoryQueue::new());
            if let Some(fails) = fails {
                let error = Error::new(ErrorKind::Unavailable, "memory", "queue.send");
                let before = std::iter::repeat_n(Fault::None, fails);
                queue.script(QueueOperation::Send, before.chain([Fault::ErrorBefore(error)]));
            }
            let outcomes = in_chunks(&SendCall, &queue, &batch, limits).await.unwrap();
            let is_sent: Vec<_> = outcomes.iter().map(SendOutcome::is_sent).collect();
            assert_eq!(is_sent, (0..7).map(|entry| entry < sent).collect::<Vec<_>>());
            assert_eq!(queue.calls(QueueOperation::Send), calls);
        }
    }
}
