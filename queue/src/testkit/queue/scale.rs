//! Q15: what is stored does not slow what is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kit::{LONG, ack, fresh, message, put, put_all, take, take_all};
use crate::queue::Queue;
use crate::testkit::harness::QueueHarness;

/// How much slower an operation may be with a thousand times more stored. What scans is off by far
/// more; what the machine adds, the medians take out.
const FACTOR: u32 = 6;
const FLOOR: Duration = Duration::from_micros(200);

/// The medians of a send, receive and ack on two queues, measured in turns.
async fn medians(queues: [&Arc<dyn Queue>; 2]) -> [Duration; 2] {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..60 {
        for (queue, took) in queues.into_iter().zip(&mut took) {
            let began = Instant::now();
            put(queue, message("a")).await;
            ack(queue, &take(queue, LONG).await).await;
            took.push(began.elapsed());
        }
    }
    took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    })
}

async fn is_flat(few: &Arc<dyn Queue>, many: &Arc<dyn Queue>, what: &str) {
    let [few, many] = medians([few, many]).await;
    let bound = FACTOR * few + FLOOR;
    assert!(many < bound, "{what}: {many:?} each, and {few:?} with ten; at most {bound:?}");
}

fn numbered(count: usize) -> Vec<crate::OutgoingMessage> {
    (0..count).map(|number| message(&number.to_string())).collect()
}

pub(crate) async fn ten_thousand_leased_messages_do_not_slow_an_ack(h: &dyn QueueHarness) {
    let (few, many) = (fresh(h).await, fresh(h).await);
    let mut held = Vec::new();
    for (queue, count) in [(&few, 10), (&many, h.many())] {
        put_all(queue, &numbered(count)).await;
        held.push(take_all(queue, count, LONG).await);
    }
    is_flat(&few, &many, "with many leased").await;
    super::kit::ack_all(&many, &held[1]).await;
}

pub(crate) async fn ten_thousand_delayed_messages_do_not_slow_an_ack(h: &dyn QueueHarness) {
    let (few, many) = (fresh(h).await, fresh(h).await);
    for (queue, count) in [(&few, 10), (&many, h.many())] {
        let batch: Vec<_> =
            numbered(count).into_iter().map(|message| message.delay(LONG)).collect();
        put_all(queue, &batch).await;
    }
    is_flat(&few, &many, "with many delayed").await;
}

pub(crate) async fn a_thousand_blocked_groups_do_not_slow_an_ack(h: &dyn QueueHarness) {
    let (few, many) = (fresh(h).await, fresh(h).await);
    if !few.capabilities().groups {
        return super::kit::is_unsupported(&few, message("a").group("g")).await;
    }
    for (queue, count) in [(&few, 10), (&many, h.many() / 10)] {
        let of = |number: usize| message("a").group(format!("group {}", number / 2));
        put_all(queue, &(0..2 * count).map(of).collect::<Vec<_>>()).await;
        take_all(queue, count, LONG).await;
    }
    is_flat(&few, &many, "with many blocked groups").await;
}
