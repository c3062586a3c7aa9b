//! What the suites of the other crates share. Feature `testkit`.

mod clock;

pub use clock::ManualClock;
