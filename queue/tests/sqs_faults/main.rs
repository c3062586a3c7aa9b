//! What happens to a queue while the service, the network or a worker fails: with a ledger of every
//! message, and its sums printed.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

mod ledger;
mod outages;
mod server;
mod workers;
