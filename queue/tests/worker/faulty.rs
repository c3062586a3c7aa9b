//! Stores that fail when they are told to.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result};
use standfast_queue::{
    Advance, Batch, CancelOutcome, DeadLetterFilter, DeadLetterPage, DeadLetters, Envelope,
    ExtendOutcome, JobState, JobStatus, Leased, MemoryQueue, MemoryStatusStore, OutgoingMessage,
    PageToken, Queue, QueueAdmin, QueueCapabilities, QueueStats, Receipt, ReceiveOptions,
    RedriveOptions, Redriven, SendOutcome, SettleOutcome, Settlement, StatusCapabilities,
    StatusHandle, StatusStore, StatusUpdate,
};

/// What becomes of calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// They happen.
    None,
    /// They fail for the moment and have not happened.
    Fails,
    /// They are never answered and have not happened.
    Hangs,
    /// They happen, and nobody hears of it.
    LosesAnswers,
    /// They panic.
    Panics,
    /// They fail for good.
    Refuses,
}

#[derive(Debug)]
pub(crate) struct Switch(AtomicU8, &'static str);

impl Switch {
    const fn new(operation: &'static str) -> Self {
        Self(AtomicU8::new(Fault::None as u8), operation)
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    async fn pass<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let is = |fault: Fault| self.0.load(Ordering::SeqCst) == fault as u8;
        let error = |kind| Error::new(kind, "faulty", self.1);
        if is(Fault::Fails) {
            return Err(error(ErrorKind::Unavailable));
        }
        if is(Fault::Hangs) {
            std::future::pending().await
        }
        assert!(!is(Fault::Panics), "on purpose");
        if is(Fault::Refuses) {
            return Err(error(ErrorKind::TooLarge));
        }
        let answer = call.await;
        if is(Fault::LosesAnswers) {
            return Err(error(ErrorKind::OutcomeUnknown));
        }
        answer
    }
}

#[derive(Clone, Debug)]
pub(crate) struct FaultyQueue {
    inner: MemoryQueue,
    pub(crate) faults: Arc<QueueFaults>,
}

#[derive(Debug)]
pub(crate) struct QueueFaults {
    pub(crate) send: Switch,
    pub(crate) receive: Switch,
    pub(crate) settle: Switch,
    pub(crate) extend: Switch,
}

impl FaultyQueue {
    pub(crate) fn new(inner: MemoryQueue) -> Self {
        let faults = QueueFaults {
            send: Switch::new("queue.send"),
            receive: Switch::new("queue.receive"),
            settle: Switch::new("queue.settle"),
            extend: Switch::new("queue.extend"),
        };
        Self { inner, faults: Arc::new(faults) }
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }
    async fn send(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        self.faults.send.pass(self.inner.send(batch)).await
    }
    async fn receive(&self, options: &ReceiveOptions) -> Result<Batch> {
        self.faults.receive.pass(self.inner.receive(options)).await
    }
    async fn settle(&self, batch: &[(Receipt, Settlement)]) -> Result<Vec<SettleOutcome>> {
        self.faults.settle.pass(self.inner.settle(batch)).await
    }
    async fn extend(&self, batch: &[Receipt], lease: Duration) -> Result<Vec<ExtendOutcome>> {
        self.faults.extend.pass(self.inner.extend(batch, lease)).await
    }
    async fn stats(&self) -> Result<QueueStats> {
        self.inner.stats().await
    }
}

#[async_trait]
impl DeadLetters for FaultyQueue {
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        self.inner.list_dead_letters(filter, after, limit).await
    }
    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        options: &RedriveOptions,
    ) -> Result<Redriven> {
        self.inner.redrive(filter, options).await
    }
    async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.inner.purge_dead_letters(filter).await
    }
}

#[async_trait]
impl QueueAdmin for FaultyQueue {
    async fn peek(&self, limit: usize) -> Result<Vec<Arc<Envelope>>> {
        self.inner.peek(limit).await
    }
    async fn leased(&self, limit: usize) -> Result<Vec<Leased>> {
        self.inner.leased(limit).await
    }
    async fn pause(&self) -> Result<()> {
        self.inner.pause().await
    }
    async fn resume(&self) -> Result<()> {
        self.inner.resume().await
    }
    async fn purge(&self) -> Result<u64> {
        self.inner.purge().await
    }
}

#[async_trait]
impl HealthCheck for FaultyQueue {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[derive(Clone, Debug)]
pub(crate) struct FaultyStatus {
    inner: MemoryStatusStore,
    /// Steps into this state, or all of them, meet the fault.
    only: Arc<Mutex<Option<JobState>>>,
    pub(crate) advance: Arc<Switch>,
}

impl FaultyStatus {
    pub(crate) fn new(inner: MemoryStatusStore) -> Self {
        let advance = Arc::new(Switch::new("status.advance"));
        Self { inner, only: Arc::default(), advance }
    }

    /// Faults meet only steps into `state`.
    pub(crate) fn only(&self, state: JobState) {
        *self.only.lock().unwrap() = Some(state);
    }
}

#[async_trait]
impl StatusStore for FaultyStatus {
    fn capabilities(&self) -> StatusCapabilities {
        self.inner.capabilities()
    }
    async fn advance(
        &self,
        handle: &StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
    ) -> Result<Advance> {
        let call = self.inner.advance(handle, update, keep_for);
        let only = *self.only.lock().unwrap();
        if only.is_none_or(|only| only == update.state) {
            self.advance.pass(call).await
        } else {
            call.await
        }
    }
    async fn get(&self, handle: &StatusHandle) -> Result<Option<Arc<JobStatus>>> {
        self.inner.get(handle).await
    }
    async fn wait(
        &self,
        handle: &StatusHandle,
        seen: u64,
        timeout: Duration,
    ) -> Result<Option<Arc<JobStatus>>> {
        self.inner.wait(handle, seen, timeout).await
    }
    async fn request_cancel(&self, handle: &StatusHandle) -> Result<CancelOutcome> {
        self.inner.request_cancel(handle).await
    }
    async fn remove(&self, handle: &StatusHandle) -> Result<bool> {
        self.inner.remove(handle).await
    }
}

#[async_trait]
impl HealthCheck for FaultyStatus {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}
