//! What happens to a queue while Redis, the network or a worker fails: with a ledger of every
//! message, and its sums printed.
#![cfg(feature = "redis")]

mod bad_input;
mod failovers;
#[path = "../support/ledger.rs"]
mod ledger;
mod load;
mod outages;
mod runtime;
#[path = "../support/steps.rs"]
mod steps;
mod workers;
