//! Ticks in Redis: the suite, the layout, what is counted, and what breaks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod loss;
mod suite;
mod support;
mod trips;
