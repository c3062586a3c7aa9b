//! The servers of the test kit, and the proxy in front of one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "testkit_redis/cluster.rs"]
mod cluster;
#[path = "testkit_redis/leftovers.rs"]
mod leftovers;
#[path = "testkit_redis/sentinel.rs"]
mod sentinel;
#[path = "testkit_redis/single.rs"]
mod single;
