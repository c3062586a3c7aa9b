//! The runner and its schedules, on a clock that stands still.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/broken.rs"]
mod broken;
mod catch_up;
mod dst;
mod explained;
mod failures;
mod fleet;
mod input;
#[path = "../support/ledger.rs"]
mod ledger;
mod stand;
mod stop;
mod time;
