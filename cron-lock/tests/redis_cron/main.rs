//! Ticks in Redis: the suite, the layout, what is counted, and what breaks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failovers;
mod faults;
mod layout;
mod loss;
mod parity;
mod suite;
mod support;
mod trips;
