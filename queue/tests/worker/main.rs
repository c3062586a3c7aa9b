//! How jobs, their statuses and workers behave together, on the memory backends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod extracting;
mod faulty;
mod leases;
mod limits;
mod load;
mod outages;
mod outcomes;
mod sending;
mod stops;
mod support;
mod versions;
