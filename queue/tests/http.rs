//! The HTTP contract of job status, called as a server calls it.

#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[cfg(feature = "axum")]
#[path = "http/axum.rs"]
mod axum;
#[path = "http/cancel.rs"]
mod cancel;
#[path = "http/events.rs"]
mod events;
#[path = "http/fixture.rs"]
mod fixture;
#[path = "http/poll.rs"]
mod poll;
#[path = "http/wait.rs"]
mod wait;
