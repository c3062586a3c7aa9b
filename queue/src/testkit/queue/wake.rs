//! Q12: a receive that waits returns when there is something, and not before.

use std::time::{Duration, Instant};

use super::kit::{
    LONG, ack, assert_nothing, bodies, extended, fresh, message, only, put, put_all, put_dead,
    redrive_all, release, settled, take, take_all, waiter, waiting, woken,
};
use crate::delivery::ReceiveOptions;
use crate::testkit::harness::{QueueHarness, QueueSetup};

pub(crate) async fn what_is_there_is_not_waited_for(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_all(&queue, &["a", "b"].map(message)).await;
    let task = waiter(h, &queue, waiting(5)).await;
    let batch = woken(h, task).await;
    assert!(!batch.deliveries.is_empty(), "what is there is delivered, without waiting for more");
}

pub(crate) async fn a_send_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let other = h.another(&queue).await;
    for body in ["a", "b", "c"] {
        let task = waiter(h, &queue, waiting(1)).await;
        assert!(!task.is_finished(), "an empty queue lets a receive wait");
        put(&other, message(body)).await;
        let batch = woken(h, task).await;
        assert_eq!(bodies([only(&batch)]), [body], "the receive that waited gets it");
        ack(&queue, only(&batch)).await;
    }
}

pub(crate) async fn a_receive_is_woken_promptly(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let mut took = Vec::new();
    for _ in 0..11 {
        let task = waiter(h, &queue, waiting(1)).await;
        let began = Instant::now();
        put(&queue, message("a")).await;
        ack(&queue, only(&woken(h, task).await)).await;
        took.push(began.elapsed());
    }
    took.sort();
    // the bound has room for a noisy machine; the median needs less of it
    let (median, bound) = (took[took.len() / 2], h.wake_bound() / 2);
    assert!(median < bound, "from send to ack in {median:?}, at most {bound:?}");
}

pub(crate) async fn a_message_that_becomes_due_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let before = waiter(h, &queue, waiting(1)).await;
    put_all(&queue, &["a", "b"].map(|body| message(body).delay(4 * h.unit()))).await;
    let after = waiter(h, &queue, waiting(1)).await;
    h.pass_time(h.unit()).await;
    tokio::time::sleep(h.idle()).await;
    assert!(!before.is_finished() && !after.is_finished(), "nothing is due yet");
    h.pass_time(4 * h.unit()).await;
    for task in [before, after] {
        let batch = woken(h, task).await;
        ack(&queue, only(&batch)).await;
    }
}

pub(crate) async fn a_lease_that_runs_out_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    take(&queue, 2 * h.unit()).await;
    let task = waiter(h, &queue, waiting(1)).await;
    h.pass_time(4 * h.unit()).await;
    assert_eq!(only(&woken(h, task).await).attempt, 2, "the message is back");
}

pub(crate) async fn a_lease_taken_after_the_wait_began_wakes_it(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let short = waiting(1).lease(4 * h.unit());
    let tasks = [waiter(h, &queue, short.clone()).await, waiter(h, &queue, short).await];
    put(&queue, message("a")).await;
    tokio::time::sleep(h.wake_bound().min(h.unit())).await;
    // one of the two holds it now and dies with it; the other one must not sleep on
    let [first, second] = tasks;
    let (winner, loser) = if first.is_finished() { (first, second) } else { (second, first) };
    assert_eq!(only(&woken(h, winner).await).attempt, 1, "one of the two gets it");
    assert!(!loser.is_finished(), "only one of the two gets it");
    h.pass_time(6 * h.unit()).await;
    assert_eq!(only(&woken(h, loser).await).attempt, 2, "the other gets it when it is back");
}

pub(crate) async fn a_lease_made_shorter_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a")).await;
    let received = take(&queue, LONG).await;
    let task = waiter(h, &queue, waiting(1)).await;
    extended(&queue, &received, 2 * h.unit()).await;
    tokio::time::sleep(h.idle()).await;
    h.pass_time(4 * h.unit()).await;
    assert_eq!(only(&woken(h, task).await).attempt, 2, "the message is back");
}

pub(crate) async fn a_release_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    for delay in [Duration::ZERO, 2 * h.unit()] {
        put(&queue, message("a")).await;
        let received = take(&queue, LONG).await;
        let task = waiter(h, &queue, waiting(1)).await;
        settled(&queue, &received, release(delay, true)).await;
        if !delay.is_zero() {
            tokio::time::sleep(h.idle()).await;
            h.pass_time(4 * h.unit()).await;
        }
        ack(&queue, only(&woken(h, task).await)).await;
    }
}

pub(crate) async fn a_redrive_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put_dead(&queue, message("a"), "no use").await;
    let task = waiter(h, &queue, waiting(1)).await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "it is sent again");
    assert_eq!(only(&woken(h, task).await).envelope().run, 2, "the next run is delivered");
}

pub(crate) async fn a_resume_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().pause {
        return super::admin::cannot_pause(&queue).await;
    }
    queue.pause().await.expect("the queue pauses");
    put_all(&queue, &["a", "b"].map(message)).await;
    let tasks = [waiter(h, &queue, waiting(1)).await, waiter(h, &queue, waiting(1)).await];
    assert!(tasks.iter().all(|task| !task.is_finished()), "a paused queue lets a receive wait");
    queue.resume().await.expect("the queue resumes");
    for task in tasks {
        only(&woken(h, task).await);
    }
}

pub(crate) async fn a_group_that_is_freed_wakes_a_receive(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return super::kit::is_unsupported(&queue, message("a").group("g")).await;
    }
    put_all(&queue, &["a", "b"].map(|body| message(body).group("g"))).await;
    let head = take(&queue, LONG).await;
    let task = waiter(h, &queue, waiting(1)).await;
    assert!(!task.is_finished(), "the group is busy");
    ack(&queue, &head).await;
    assert_eq!(bodies([only(&woken(h, task).await)]), ["b"], "the next of the group");
}

pub(crate) async fn several_receives_that_wait_get_one_each(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let other = h.another(&queue).await;
    let mut tasks = Vec::new();
    for index in 0..6 {
        tasks.push(waiter(h, if index % 2 == 0 { &queue } else { &other }, waiting(1)).await);
    }
    let names: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    put(&queue, message(&names[0])).await;
    let batch: Vec<_> = names[1..].iter().map(|name| message(name)).collect();
    put_all(&queue, &batch).await;
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(bodies([only(&woken(h, task).await)]));
    }
    seen.sort();
    assert_eq!(seen, names, "nobody sleeps on and nobody gets two");
}

pub(crate) async fn a_burst_wakes_receives_that_only_begin_to_wait(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    for _ in 0..20 {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let queue = std::sync::Arc::clone(&queue);
            tasks.push(tokio::spawn(async move {
                queue.receive(&waiting(1)).await.expect("the queue answers a receive")
            }));
        }
        put_all(&queue, &["a", "b", "c", "d"].map(message)).await;
        for task in tasks {
            ack(&queue, only(&woken(h, task).await)).await;
        }
    }
}

pub(crate) async fn a_wait_ends_in_its_time(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let wait = ReceiveOptions::new(1).wait(6 * h.unit());
    let began = h.now();
    let task = waiter(h, &queue, wait).await;
    h.pass_time(2 * h.unit()).await;
    tokio::time::sleep(h.idle()).await;
    assert!(!task.is_finished(), "it waits as long as it was told to");
    h.pass_time(5 * h.unit()).await;
    let batch = woken(h, task).await;
    assert!(batch.is_empty(), "nothing came");
    assert!(h.now() - began >= 6 * h.unit(), "the wait was not cut short");
}

pub(crate) async fn a_receive_that_gives_up_takes_nothing_with_it(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let setups: [(&str, u32, Duration); 3] = [
        ("is told to", 0, LONG),
        ("gives up before a message is due", 4, LONG),
        ("waits less than the other one", 4, 2 * h.unit()),
    ];
    for (what, delay, wait) in setups {
        let quitter = waiter(h, &queue, waiting(1).wait(wait)).await;
        let stays = waiter(h, &queue, waiting(1)).await;
        put_all(&queue, &[message(what).delay(delay * h.unit())]).await;
        if delay > 0 {
            tokio::time::sleep(h.idle()).await;
            if wait < LONG {
                h.pass_time(3 * h.unit()).await;
                assert!(woken(h, quitter).await.is_empty(), "it is not due yet");
            } else {
                quitter.abort();
                tokio::time::sleep(h.idle()).await;
            }
            h.pass_time(6 * h.unit()).await;
            ack(&queue, only(&woken(h, stays).await)).await;
        } else {
            // whichever got it, the other one still waits and gets the next
            put(&queue, message("next")).await;
            for task in [quitter, stays] {
                ack(&queue, only(&woken(h, task).await)).await;
            }
        }
        assert_nothing(&queue).await;
    }
}

pub(crate) async fn a_message_is_not_lost_with_the_receive_it_woke(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_crashes: 50, ..QueueSetup::default() }).await;
    for _ in 0..10 {
        let quitter = waiter(h, &queue, waiting(1).lease(2 * h.unit())).await;
        let stays = waiter(h, &queue, waiting(1)).await;
        put(&queue, message("a")).await;
        quitter.abort(); // at whatever point it has come to
        let stays = if quitter.await.is_ok() {
            stays.abort();
            drop(stays.await);
            None
        } else {
            Some(stays)
        };
        let received = match stays {
            // what was on its way to the quitter comes back after its lease
            Some(task) => {
                if tokio::time::timeout(h.idle(), async {
                    while !task.is_finished() {
                        tokio::task::yield_now().await;
                    }
                })
                .await
                .is_err()
                {
                    h.pass_time(4 * h.unit()).await;
                }
                woken(h, task).await.deliveries
            }
            None => {
                h.pass_time(4 * h.unit()).await;
                take_all(&queue, 1, LONG).await
            }
        };
        assert_eq!(bodies(&received), ["a"], "the message is not lost");
        ack(&queue, &received[0]).await;
    }
}
