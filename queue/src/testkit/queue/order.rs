//! Q9: priorities.

use super::kit::{LONG, ack, bodies, bury, fresh, message, put, put_all, redrive_all, take};
use crate::message::Priority;
use crate::testkit::harness::QueueHarness;

pub(crate) async fn the_most_urgent_comes_first(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let levels = [Priority::Low, Priority::Normal, Priority::Urgent, Priority::High];
    let batch = levels.map(|priority| message(&format!("{priority:?}")).priority(priority));
    put_all(&queue, &batch).await;
    let mut seen = Vec::new();
    for _ in levels {
        let received = take(&queue, LONG).await;
        seen.extend(bodies([&received]));
        ack(&queue, &received).await;
    }
    if queue.capabilities().priorities {
        assert_eq!(seen, ["Urgent", "High", "Normal", "Low"], "one of each, by urgency");
    } else {
        seen.sort();
        assert_eq!(seen, ["High", "Low", "Normal", "Urgent"], "all alike, and all delivered");
    }
}

pub(crate) async fn no_priority_starves(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let picks = 60; // four rounds of fifteen
    for _ in 0..picks {
        let batch =
            Priority::ALL.map(|priority| message(&format!("{priority:?}")).priority(priority));
        put_all(&queue, &batch).await;
    }
    let mut counts = [0_usize; 4];
    for _ in 0..picks {
        let received = take(&queue, LONG).await;
        let level = bodies([&received]).remove(0);
        let level = Priority::ALL.iter().position(|priority| format!("{priority:?}") == level);
        counts[level.expect("one of the four")] += 1;
        ack(&queue, &received).await;
    }
    if queue.capabilities().priorities {
        for (count, share) in counts.into_iter().zip([8, 4, 2, 1]) {
            let due = picks * share / 15;
            let near = due / 2..=due * 3 / 2 + 1;
            assert!(near.contains(&count), "8, 4, 2 and 1 of fifteen, but it is {counts:?}");
        }
    } else {
        assert_eq!(counts.iter().sum::<usize>(), picks, "all alike, and all delivered");
    }
}

pub(crate) async fn a_turn_that_nobody_wants_goes_to_another(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    for _ in 0..20 {
        put(&queue, message("low").priority(Priority::Low)).await;
    }
    let all = super::kit::take_all(&queue, 20, LONG).await;
    super::kit::ack_all(&queue, &all).await;
}

pub(crate) async fn a_priority_outlives_release_and_redrive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("urgent").priority(Priority::Urgent)).await;
    let first = take(&queue, LONG).await;
    put_all(&queue, &[message("low").priority(Priority::Low), message("normal")]).await;
    super::kit::settled(&queue, &first, super::kit::release(std::time::Duration::ZERO, true)).await;
    let second = take(&queue, LONG).await;
    if queue.capabilities().priorities {
        assert_eq!(bodies([&second]), ["urgent"], "as urgent as before its release");
    }
    bury(&queue, &second, "no use").await;
    put(&queue, message("normal")).await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "it is sent again");
    let third = take(&queue, LONG).await;
    if queue.capabilities().priorities {
        // by now a turn of the less urgent may have come, but not two in a row
        let fourth = take(&queue, LONG).await;
        let seen = bodies([&third, &fourth]);
        assert!(seen.contains(&"urgent".to_owned()), "still urgent, but first come {seen:?}");
    }
}
