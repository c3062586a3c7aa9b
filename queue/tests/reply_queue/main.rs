//! Replies through queues: the status suite as far as it applies, and web instances and workers
//! that share nothing but queues.

mod failing;
mod instances;
mod store;
mod suite;
mod support;
