//! What the suite does not ask of `SqsQueue`: what others send, hops, fences, entries that fail,
//! cost, queues as they should be, and refusals.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

mod admin;
mod cost;
mod delivery;
mod entries;
mod refusals;
