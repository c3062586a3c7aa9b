//! The suites against the memory backends: with a clock that stands still until it is told, and in
//! real time; through both pointers that forward; and with most abilities declared missing.

mod support;

use std::sync::Arc;

use standfast_queue::Queue;
use standfast_queue::testkit::MemoryHarness;
use support::ModestHarness;

standfast_queue::queue_conformance!(manual, MemoryHarness::manual());
standfast_queue::queue_conformance!(real, MemoryHarness::real());
standfast_queue::queue_conformance!(
    forwarded,
    MemoryHarness::manual().wrapping(|queue| {
        let boxed: Box<dyn Queue> = Box::new(queue);
        let shared: Arc<dyn Queue> = Arc::new(boxed);
        Arc::new(shared)
    })
);
standfast_queue::queue_conformance!(modest, ModestHarness(MemoryHarness::manual()));

standfast_queue::status_conformance!(manual_status, MemoryHarness::manual());
standfast_queue::status_conformance!(real_status, MemoryHarness::real());
