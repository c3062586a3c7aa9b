//! What is proved of the lock beyond its suite: a model of the protocol, the linearizability of
//! recorded histories, and the behaviours that users of ShedLock rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/broken.rs"]
mod broken;
#[path = "../support/fuzz.rs"]
mod fuzz;
mod linearizable;
mod model;
#[path = "../support/register.rs"]
mod register;
mod shedlock;
