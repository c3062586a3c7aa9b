//! The Redis handle against real servers that are killed, stopped, moved and cut off.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "redis_handle/cluster.rs"]
mod cluster;
#[path = "redis_handle/errors.rs"]
mod errors;
#[path = "redis_handle/faults.rs"]
mod faults;
#[path = "redis_handle/health.rs"]
mod health;
#[path = "redis_handle/replicated.rs"]
mod replicated;
#[path = "redis_handle/sentinel.rs"]
mod sentinel;
#[path = "redis_handle/single.rs"]
mod single;
#[path = "redis_handle/subscribe.rs"]
mod subscribe;
#[path = "redis_handle/support.rs"]
mod support;
#[path = "redis_handle/timed.rs"]
mod timed;
#[cfg(feature = "redis-tls")]
#[path = "redis_handle/tls.rs"]
mod tls;
