//! The suite of queues against the decorators. `Sharded` runs it with one shard, because most cases
//! look at the order of the whole; what several shards keep is in `wrap_many`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standfast_queue::testkit::{
    Fault, Faulty, MemoryHarness, QueueHarness, QueueOperation, QueueSetup,
};
use standfast_queue::wrap::{Coalescing, Prioritized, Sharded, Traced};
use standfast_queue::{MemoryQueue, Queue};

/// Memory queues, put together by `make`.
struct Wrapped {
    memory: MemoryHarness,
    make: fn(&Self, &QueueSetup) -> Arc<dyn Queue>,
}

impl Wrapped {
    fn one(&self, setup: &QueueSetup) -> MemoryQueue {
        MemoryQueue::with_config(self.memory.config(setup))
    }

    fn prioritized(&self, setup: &QueueSetup) -> Prioritized<MemoryQueue> {
        Prioritized::with_clock([(); 4].map(|()| self.one(setup)), self.memory.clock())
    }
}

#[async_trait]
impl QueueHarness for Wrapped {
    async fn fresh_queue(&self, setup: &QueueSetup) -> Arc<dyn Queue> {
        (self.make)(self, setup)
    }

    async fn pass_time(&self, span: Duration) {
        QueueHarness::pass_time(&self.memory, span).await;
    }

    fn now(&self) -> Instant {
        self.memory.now()
    }

    fn unit(&self) -> Duration {
        QueueHarness::unit(&self.memory)
    }

    fn can_pass(&self, span: Duration) -> bool {
        QueueHarness::can_pass(&self.memory, span)
    }
}

fn manual(make: fn(&Wrapped, &QueueSetup) -> Arc<dyn Queue>) -> Wrapped {
    Wrapped { memory: MemoryHarness::manual(), make }
}

/// A queue that answers a moment later, so that calls gather.
fn late(inner: MemoryQueue) -> Faulty<MemoryQueue> {
    let late = Faulty::new(inner);
    for operation in [QueueOperation::Send, QueueOperation::Settle, QueueOperation::Extend] {
        late.always(operation, Fault::Delay(Duration::from_millis(1)));
    }
    late
}

standfast_queue::queue_conformance!(
    coalescing,
    manual(|harness, setup| Arc::new(Coalescing::new(harness.one(setup))))
);
standfast_queue::queue_conformance!(
    coalescing_what_is_late,
    manual(|harness, setup| Arc::new(Coalescing::new(late(harness.one(setup)))))
);
standfast_queue::queue_conformance!(
    prioritized,
    manual(|harness, setup| Arc::new(harness.prioritized(setup)))
);
standfast_queue::queue_conformance!(
    prioritized_in_real_time,
    Wrapped {
        memory: MemoryHarness::real(),
        make: |harness, setup| Arc::new(harness.prioritized(setup)),
    }
);
standfast_queue::queue_conformance!(
    nested,
    manual(|harness, setup| {
        let shard = Traced::new(harness.prioritized(setup), "nested");
        let sharded = Sharded::with_clock([shard], harness.memory.clock());
        Arc::new(Coalescing::new(sharded.expect("there is a shard")))
    })
);
