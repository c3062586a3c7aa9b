#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod admin;
mod capabilities;
mod dead;
mod deadlines;
mod delivery;
mod envelope;
mod handle;
#[cfg(feature = "tower")]
pub mod http;
mod jobs;
#[cfg(feature = "lambda")]
mod lambda;
mod memory;
mod message;
mod queue;
mod receipt;
#[cfg(feature = "redis")]
mod redis;
mod reply;
#[cfg(feature = "sqs")]
mod sqs;
pub mod status;
#[cfg(feature = "subprocess")]
pub mod subprocess;
#[cfg(feature = "testkit")]
pub mod testkit;
mod worker;
pub mod wrap;

pub use admin::{Leased, QueueAdmin};
pub use capabilities::QueueCapabilities;
pub use dead::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, PageToken, RedriveOptions, Redriven,
};
pub use delivery::{
    Batch, Delivery, ExtendOutcome, ReceiveOptions, Received, SettleOutcome, Settlement,
};
pub use envelope::Envelope;
pub use handle::StatusHandle;
pub use jobs::{Handle, Job, Jobs, SendError, SendJob, UpgradeError, WaitError};
#[cfg(feature = "lambda")]
pub use lambda::{LambdaQueue, LambdaResponse};
pub use memory::{MemoryQueue, MemoryQueueConfig};
pub use message::{Dedupe, Original, OutgoingMessage, Priority, SendOutcome};
pub use queue::{Queue, QueueExt, QueueStats};
pub use receipt::{DeliveryToken, Receipt};
#[cfg(feature = "redis")]
pub use redis::{RedisQueue, RedisQueueConfig};
pub use reply::{Answering, Asking, ReplyQueue, ReplyStatuses, ReplyStore};
#[cfg(feature = "sqs")]
pub use sqs::{
    Drift, MoveTask, SqsAdmin, SqsConfig, SqsMeter, SqsQueue, SqsQueueSpec, SqsQueues, SqsUsage,
};
pub use status::{
    Advance, CancelOutcome, JobFailure, JobState, JobStatus, MemoryStatusConfig, MemoryStatusStore,
    Progress, StatusCapabilities, StatusStore, StatusUpdate,
};
#[cfg(feature = "redis")]
pub use status::{RedisStatusConfig, RedisStatusStore};
#[cfg(feature = "tower")]
pub use worker::middleware;
pub use worker::{
    ByContext, ByState, ByUser, CancelReason, FromJob, Handler, JobContext, JobError, JobRequest,
    KindConfig, RetryPolicy, Worker, WorkerConfig, WorkerHealth, WorkerReport,
};
