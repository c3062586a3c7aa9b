//! What the suites of the other crates share. Feature `testkit`.

mod clock;
mod service;

pub use clock::ManualClock;
pub use service::service;
