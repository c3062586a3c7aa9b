//! What tests of queues need. Feature `testkit`.

mod faulty;

pub use faulty::{Fault, Faulty, FaultyStatus, Gate, QueueOperation, StatusOperation};
