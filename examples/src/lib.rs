//! The report application: how the parts of standfast fit together. `README.md` says which file
//! shows what.

#![warn(missing_docs)]

pub mod assets;
pub mod config;
mod cron;
pub mod jobs;
mod parts;
pub mod record;
pub mod report;
pub mod server;
pub mod start;
pub mod wiring;

/// The code in the prose of the repository runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../DESIGN.md")]
mod prose {}
