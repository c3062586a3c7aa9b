//! What proves a backend: the conformance suites of [`Queue`](crate::Queue) and
//! [`StatusStore`](crate::StatusStore). Feature `testkit`.
//!
//! A backend implements [`QueueHarness`] (or [`StatusHarness`]) and stamps the suite:
//!
//! ```
//! // tests/memory.rs
//! use standfast_queue::testkit::MemoryHarness;
//!
//! standfast_queue::queue_conformance!(memory, MemoryHarness::manual());
//! standfast_queue::status_conformance!(memory_status, MemoryHarness::manual());
//! # fn main() {}
//! ```
//!
//! Every case is listed once, in the suite: a backend runs all of them or does not compile. What a
//! backend lacks it declares in its capabilities, and the case asserts the declared form instead.

mod cases;
mod dice;
mod fake;
mod faulty;
mod harness;
mod memory;
mod queue;
mod status;

pub use cases::{QueueCase, StatusCase, guarantee_table, queue_case, status_case};
#[doc(hidden)]
pub use cases::{run_queue_case, run_status_case};
pub use dice::Dice;
pub use fake::{QueueFake, inline};
pub use faulty::{Fault, Faulty, FaultyStatus, Gate, QueueOperation, StatusOperation};
pub use harness::{IntoQueueHarness, IntoStatusHarness, QueueHarness, QueueSetup, StatusHarness};
pub use memory::MemoryHarness;
pub use queue::CASES as QUEUE_CASES;
pub use status::CASES as STATUS_CASES;
