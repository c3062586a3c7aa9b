//! What happens to a queue while the service, the network or a worker fails: with a ledger of every
//! message, and its sums printed.

#[path = "../sqs_support/mod.rs"]
mod sqs_support;

#[path = "../support/ledger.rs"]
mod ledger;
mod outages;
mod server;
#[path = "../support/steps.rs"]
mod steps;
mod workers;
