#![doc = include_str!("../README.md")]

#[cfg(feature = "subprocess")]
pub mod subprocess;
