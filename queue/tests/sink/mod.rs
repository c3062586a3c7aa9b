//! A queue that takes everything and remembers it, and can be held up or made to refuse.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, JobId, Result};
use standfast_queue::testkit::Gate;
use standfast_queue::{
    Batch, DeadLetterFilter, DeadLetterPage, DeadLetters, Envelope, ExtendOutcome, Leased,
    OutgoingMessage, PageToken, Queue, QueueAdmin, QueueCapabilities, QueueStats, Receipt,
    ReceiveOptions, RedriveOptions, Redriven, SendOutcome, SettleOutcome, Settlement,
};

type Answer = dyn Fn(usize, &OutgoingMessage) -> SendOutcome + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Sink {
    state: Arc<Mutex<State>>,
    ids_only: bool,
}

#[derive(Default)]
struct State {
    calls: usize,
    ids: Vec<JobId>,
    messages: Vec<OutgoingMessage>,
    before: Option<(usize, Gate)>,
    after: Option<(usize, Gate)>,
    answer: Option<Arc<Answer>>,
}

impl Sink {
    /// One that keeps no bodies.
    pub(crate) fn of_ids() -> Self {
        Self { ids_only: true, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has taken, in order.
    pub(crate) fn ids(&self) -> Vec<JobId> {
        self.state().ids.clone()
    }

    pub(crate) fn messages(&self) -> Vec<OutgoingMessage> {
        self.state().messages.clone()
    }

    /// The call that would bring it to `count` messages waits and takes nothing meanwhile.
    pub(crate) fn hold_before(&self, count: usize, gate: Gate) {
        self.state().before = Some((count, gate));
    }

    /// The call that brings it to `count` messages takes them and waits.
    pub(crate) fn hold_after(&self, count: usize, gate: Gate) {
        self.state().after = Some((count, gate));
    }

    /// Holds no further call.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        (state.before, state.after) = (None, None);
    }

    /// What it says to each message, by the number of the call.
    pub(crate) fn answer(
        &self,
        answer: impl Fn(usize, &OutgoingMessage) -> SendOutcome + Send + Sync + 'static,
    ) {
        self.state().answer = Some(Arc::new(answer));
    }

    fn unsupported<T>(&self) -> Result<T> {
        Err(Error::new(ErrorKind::Unsupported, "sink", "queue"))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

fn due(hold: &mut Option<(usize, Gate)>, count: usize) -> Option<Gate> {
    let is_due = hold.as_ref().is_some_and(|(at, _)| count >= *at);
    is_due.then(|| hold.take()).flatten().map(|(_, gate)| gate)
}

#[async_trait]
impl Queue for Sink {
    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities::all("sink")
    }

    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let gate = {
            let mut state = self.state();
            let count = state.ids.len() + batch.len();
            due(&mut state.before, count)
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let (outcomes, gate) = {
            let mut state = self.state();
            let (call, answer) = (state.calls, state.answer.clone());
            state.calls += 1;
            let mut outcomes = Vec::with_capacity(batch.len());
            for message in batch {
                let outcome =
                    answer.as_ref().map_or(SendOutcome::Sent, |answer| answer(call, message));
                if outcome.is_sent() {
                    state.ids.push(message.envelope.id);
                    if !self.ids_only {
                        state.messages.push(message.clone());
                    }
                }
                outcomes.push(outcome);
            }
            let count = state.ids.len();
            (outcomes, due(&mut state.after, count))
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        Ok(outcomes)
    }

    async fn receive(&self, _: &ReceiveOptions) -> Result<Batch> {
        Ok(Batch::default())
    }

    async fn settle(&self, _: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.unsupported()
    }

    async fn extend(&self, _: &[Receipt], _: Duration) -> Result<Vec<ExtendOutcome>> {
        self.unsupported()
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.unsupported()
    }
}

#[async_trait]
impl DeadLetters for Sink {
    async fn list_dead_letters(
        &self,
        _: &DeadLetterFilter,
        _: Option<&PageToken>,
        _: usize,
    ) -> Result<DeadLetterPage> {
        self.unsupported()
    }

    async fn redrive(&self, _: &DeadLetterFilter, _: &RedriveOptions) -> Result<Redriven> {
        self.unsupported()
    }

    async fn purge_dead_letters(&self, _: &DeadLetterFilter) -> Result<u64> {
        self.unsupported()
    }
}

#[async_trait]
impl QueueAdmin for Sink {
    async fn peek(&self, _: usize) -> Result<Vec<Arc<Envelope>>> {
        self.unsupported()
    }

    async fn leased(&self, _: usize) -> Result<Vec<Leased>> {
        self.unsupported()
    }

    async fn pause(&self) -> Result<()> {
        self.unsupported()
    }

    async fn resume(&self) -> Result<()> {
        self.unsupported()
    }

    async fn purge(&self) -> Result<u64> {
        self.unsupported()
    }
}

#[async_trait]
impl HealthCheck for Sink {
    async fn health(&self) -> Health {
        Health::healthy("sink")
    }
}
