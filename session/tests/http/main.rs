//! Sessions over HTTP, through real axum servers: what a browser sees, what it costs, what others
//! do meanwhile.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod cookies;
mod costs;
mod ends;
mod events;
mod failures;
mod fields;
#[path = "../support/postgres.rs"]
mod postgres;
mod published;
mod routes;
mod streams;
mod support;
mod websockets;
mod writers;
