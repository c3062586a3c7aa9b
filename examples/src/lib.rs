//! The parts of the report application that do not touch the network.

#![warn(missing_docs)]

pub mod report;
