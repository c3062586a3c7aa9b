//! Ticks in Redis: the suite, the layout, what is counted, and what breaks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failovers;
mod faults;
mod fleet;
#[path = "../support/fuzz.rs"]
mod fuzz;
mod layout;
#[path = "../support/ledger.rs"]
mod ledger;
mod loss;
mod parity;
#[path = "../support/register.rs"]
mod register;
mod suite;
mod support;
mod trips;
