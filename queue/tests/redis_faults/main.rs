//! What happens to a queue while Redis, the network or a worker fails: with a ledger of every
//! message, and its sums printed.
#![cfg(feature = "redis")]

mod bad_input;
mod failovers;
mod ledger;
mod outages;
mod runtime;
mod workers;
