//! The suite against `RedisQueue` on every topology.
#![cfg(feature = "redis")]

mod redis_support;

use redis_support::RedisHarness;

standfast_queue::queue_conformance!(single, RedisHarness::single());
standfast_queue::queue_conformance!(cluster, RedisHarness::cluster());
standfast_queue::queue_conformance!(sentinel, RedisHarness::sentinel());
