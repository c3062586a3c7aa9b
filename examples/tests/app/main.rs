//! The application from outside, and the parts of it that no outside can make fail.

mod flow;
mod processes;
mod recovery;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod uploads;
