//! The application from outside, and the parts of it that no outside can make fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod assets;
mod flow;
mod processes;
mod recovery;
mod sessions;
mod stopping;
mod straight;
#[path = "../support/mod.rs"]
mod support;
mod uploads;
