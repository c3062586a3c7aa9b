//! Q10: a group keeps its order, one message in flight at a time.

use std::time::Duration;

use super::kit::{
    LONG, ack, assert_nothing, bodies, bury, fresh, is_unsupported, message, put, put_all, receive,
    redrive_all, release, settled, take, take_all,
};
use crate::message::{OutgoingMessage, Priority};
use crate::testkit::harness::{QueueHarness, QueueSetup};

fn of(group: &str, body: &str) -> OutgoingMessage {
    message(body).group(group)
}

pub(crate) async fn a_group_keeps_its_order(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    let levels = [Priority::Low, Priority::Urgent, Priority::Normal, Priority::High];
    let all: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for (index, body) in all.iter().enumerate() {
        put(&queue, of("g", body).priority(levels[index % 4])).await;
    }
    for body in &all {
        let batch = receive(&queue, 10, LONG).await;
        assert_eq!(bodies(&batch.deliveries), [body.as_str()], "the next one, and only it");
        assert_nothing(&queue).await;
        ack(&queue, &batch.deliveries[0]).await;
    }
    assert_nothing(&queue).await;
}

pub(crate) async fn a_group_is_in_nobodys_way(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    let batch = [of("g", "g1"), of("g", "g2"), of("f", "f1"), of("f", "f2"), message("alone")];
    put_all(&queue, &batch).await;
    let first = take_all(&queue, 3, LONG).await;
    let mut seen = bodies(&first);
    seen.sort();
    assert_eq!(seen, ["alone", "f1", "g1"], "one of each group, and what has none");
    assert_nothing(&queue).await;
    let head = first.iter().find(|received| received.envelope().body == "f1");
    ack(&queue, head.expect("it was seen")).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["f2"], "only the group that is free goes on");
    assert_nothing(&queue).await;
}

pub(crate) async fn a_delayed_head_blocks_its_group(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &[of("g", "a").delay(4 * h.unit()), of("g", "b"), of("f", "c")]).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["c"], "the other group goes on");
    assert_nothing(&queue).await;
    h.pass_time(6 * h.unit()).await;
    for body in ["a", "b"] {
        let received = take(&queue, LONG).await;
        assert_eq!(bodies([&received]), [body], "in the order in which they were sent");
        assert_nothing(&queue).await;
        ack(&queue, &received).await;
    }
}

pub(crate) async fn a_delay_behind_the_head_runs_from_its_send(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    let delays = [("a", 0), ("b", 8), ("c", 2)];
    let batch = delays.map(|(body, units)| of("g", body).delay(units * h.unit()));
    put_all(&queue, &batch).await;
    ack(&queue, &take(&queue, LONG).await).await;
    assert_nothing(&queue).await; // the second is the head now, and not due
    h.pass_time(4 * h.unit()).await;
    assert_nothing(&queue).await;
    h.pass_time(6 * h.unit()).await;
    for body in ["b", "c"] {
        let received = take(&queue, LONG).await;
        assert_eq!(bodies([&received]), [body], "each is due since its own send");
        ack(&queue, &received).await;
    }
}

pub(crate) async fn a_released_head_stays_the_head(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &[of("g", "a"), of("g", "b")]).await;
    for (delay, counted) in [(0, false), (0, true), (4, true)] {
        let head = take(&queue, LONG).await;
        assert_eq!(bodies([&head]), ["a"], "the head comes again before the rest");
        settled(&queue, &head, release(delay * h.unit(), counted)).await;
    }
    assert_nothing(&queue).await; // the delayed head blocks
    h.pass_time(6 * h.unit()).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["a"], "the head is due");
    assert_nothing(&queue).await;
}

pub(crate) async fn a_head_whose_lease_ran_out_stays_the_head(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &[of("g", "a"), of("g", "b")]).await;
    take(&queue, 2 * h.unit()).await;
    h.pass_time(4 * h.unit()).await;
    let head = take_all(&queue, 1, LONG).await;
    assert_eq!(bodies(&head), ["a"], "the head comes again before the rest");
    assert_nothing(&queue).await;
    ack(&queue, &head[0]).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["b"], "then the next");
}

pub(crate) async fn a_dead_head_frees_its_group(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_crashes: 1, ..QueueSetup::default() }).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &["a", "b", "c"].map(|body| of("g", body))).await;
    bury(&queue, &take(&queue, LONG).await, "no use").await;
    let second = take(&queue, 2 * h.unit()).await;
    assert_eq!(bodies([&second]), ["b"], "a dead letter frees its group");
    h.pass_time(4 * h.unit()).await;
    let third = super::kit::take_up_to(&queue, 1, LONG).await;
    let third = if third.is_empty() { take_all(&queue, 1, LONG).await } else { third };
    assert_eq!(bodies(&third), ["c"], "so does one that crashed too often");
}

pub(crate) async fn a_dropped_head_frees_its_group(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let capabilities = queue.capabilities();
    if !capabilities.groups || !capabilities.drop_after {
        return is_unsupported(&queue, of("g", "a").drop_after(LONG)).await;
    }
    let batch = [of("g", "a").drop_after(2 * h.unit()), of("g", "b")];
    put_all(&queue, &batch).await;
    h.pass_time(4 * h.unit()).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.extend(receive(&queue, 1, LONG).await.deliveries);
    }
    assert_eq!(bodies(&seen), ["b"], "what is dropped holds nobody up");
}

pub(crate) async fn a_purged_group_begins_anew(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &["a", "b"].map(|body| of("g", body))).await;
    take(&queue, LONG).await;
    queue.purge().await.expect("the queue purges");
    put(&queue, of("g", "c")).await;
    assert_eq!(bodies([&take(&queue, LONG).await]), ["c"], "no purged head blocks it");
}

pub(crate) async fn a_redriven_message_joins_its_group_at_the_end(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    put_all(&queue, &["a", "b", "c"].map(|body| of("g", body))).await;
    bury(&queue, &take(&queue, LONG).await, "no use").await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "it is sent again");
    for body in ["b", "c", "a"] {
        let received = take(&queue, LONG).await;
        assert_eq!(bodies([&received]), [body], "what kept its place comes first");
        assert_nothing(&queue).await;
        ack(&queue, &received).await;
    }
}

pub(crate) async fn groups_that_look_alike_do_not_meet(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return is_unsupported(&queue, of("g", "a")).await;
    }
    let long = "g".repeat(256);
    let groups =
        ["a", "A", "a ", "a:b", "a:", ":b", "{a}", "ä", "a\u{308}", "a\n1", "\u{1}", &long];
    for group in groups {
        put_all(&queue, &[of(group, group), of(group, "behind")]).await;
    }
    let heads = take_all(&queue, groups.len(), LONG).await;
    let mut seen = bodies(&heads);
    let mut expected = groups.map(str::to_owned);
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "the head of each group");
    assert_nothing(&queue).await;
    for head in &heads {
        settled(&queue, head, release(Duration::ZERO, false)).await;
    }
    assert_eq!(take_all(&queue, groups.len(), LONG).await.len(), groups.len(), "each again");
}
