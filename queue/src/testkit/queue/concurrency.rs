//! Q16 and Q17: many at once, and processes that die at any step.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use standfast_core::JobId;
use tokio::sync::Barrier;

use super::kit::{
    LONG, ack, assert_counts, dead, fresh, message, put, put_all, receive, release, send,
    take_up_to,
};
use crate::dead::{DeadLetterFilter, RedriveOptions};
use crate::delivery::{ReceiveOptions, SettleOutcome, Settlement};
use crate::message::{OutgoingMessage, SendOutcome};
use crate::testkit::dice::Dice;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// A counter that loses counts when two tasks are in it at once: it is read, and written later.
async fn bump(counter: &AtomicU32) {
    let seen = counter.load(Ordering::Relaxed);
    tokio::task::yield_now().await;
    counter.store(seen + 1, Ordering::Relaxed);
}

pub(crate) async fn two_receivers_never_hold_the_same_message(h: &dyn QueueHarness) {
    const MESSAGES: usize = 300;
    let queue = fresh(h).await;
    let batch: Vec<_> = (0..MESSAGES).map(|number| message(&number.to_string())).collect();
    put_all(&queue, &batch).await;
    let held: Arc<Vec<AtomicU32>> = Arc::new((0..MESSAGES).map(|_| AtomicU32::new(0)).collect());
    let acked = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..8 {
        let queue = h.another(&queue).await;
        let (held, acked) = (Arc::clone(&held), Arc::clone(&acked));
        tasks.push(tokio::spawn(async move {
            while acked.load(Ordering::SeqCst) < MESSAGES {
                for received in receive(&queue, 1 + number % 3, LONG).await.deliveries {
                    let body = String::from_utf8_lossy(&received.envelope().body);
                    bump(&held[body.parse::<usize>().expect("a number was sent")]).await;
                    ack(&queue, &received).await;
                    acked.fetch_add(1, Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a receiver does not panic");
    }
    let counts: HashSet<u32> = held.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    if queue.capabilities().exclusive {
        assert_eq!(counts, HashSet::from([1]), "each message is held once");
        assert_eq!(acked.load(Ordering::SeqCst), MESSAGES, "and acked once");
    } else {
        assert!(!counts.contains(&0), "each message is held at least once");
    }
}

pub(crate) async fn two_receivers_never_hold_two_of_a_group(h: &dyn QueueHarness) {
    const GROUPS: usize = 3;
    const EACH: usize = 30;
    let queue = fresh(h).await;
    if !queue.capabilities().groups {
        return super::kit::is_unsupported(&queue, message("a").group("g")).await;
    }
    for number in 0..EACH {
        let of = |group: usize| message(&format!("{group} {number}")).group(group.to_string());
        put_all(&queue, &(0..GROUPS).map(of).collect::<Vec<_>>()).await;
    }
    let next: Arc<Vec<AtomicU32>> = Arc::new((0..GROUPS).map(|_| AtomicU32::new(0)).collect());
    let acked = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for worker in 0..6 {
        let queue = h.another(&queue).await;
        let (next, acked) = (Arc::clone(&next), Arc::clone(&acked));
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice::from_seed(worker);
            while acked.load(Ordering::SeqCst) < GROUPS * EACH {
                for received in receive(&queue, 4, LONG).await.deliveries {
                    let body = String::from_utf8_lossy(&received.envelope().body).into_owned();
                    let (group, number) = body.split_once(' ').expect("two numbers were sent");
                    let group: usize = group.parse().expect("a number was sent");
                    let expected = next[group].load(Ordering::Relaxed);
                    assert_eq!(number, expected.to_string(), "the order within group {group}");
                    if dice.one_in(4) {
                        let back = release(Duration::ZERO, false);
                        super::kit::settled(&queue, &received, back).await;
                        continue;
                    }
                    bump(&next[group]).await;
                    ack(&queue, &received).await;
                    acked.fetch_add(1, Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a receiver does not panic");
    }
    for count in next.iter() {
        assert_eq!(count.load(Ordering::SeqCst), EACH as u32, "one at a time, so none is lost");
    }
}

/// Runs `calls` at once, started together, and returns what they gave.
async fn together<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<F> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut given = Vec::new();
    for task in tasks {
        given.push(task.await.expect("a call does not panic"));
    }
    given
}

pub(crate) async fn one_of_many_settlements_counts(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    for round in 0..10 {
        put(&queue, message("a")).await;
        let received = super::kit::take(&queue, LONG).await;
        let calls = (0..8).map(|_| {
            let (queue, received) = (Arc::clone(&queue), received.clone());
            async move { super::kit::settle(&queue, &received, Settlement::Ack).await }
        });
        let outcomes = together(calls).await;
        let settled = |outcome: &&SettleOutcome| matches!(outcome, SettleOutcome::Settled);
        let count = outcomes.iter().filter(settled).count();
        if queue.capabilities().fenced {
            assert_eq!(count, 1, "one of eight settles it, in round {round}: {outcomes:?}");
        }
        assert_counts(&queue, [0, 0, 0, 0]).await;
    }
}

pub(crate) async fn many_sends_of_one_id_are_one_message(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    for _ in 0..10 {
        let sent = message("a");
        let calls = (0..8).map(|_| {
            let (queue, sent) = (Arc::clone(&queue), sent.clone());
            async move { send(&queue, sent).await }
        });
        let outcomes = together(calls).await;
        assert!(outcomes.iter().all(SendOutcome::is_sent), "each is told so: {outcomes:?}");
        let found = take_up_to(&queue, 8, LONG).await;
        if queue.capabilities().idempotent_send {
            assert_eq!(found.len(), 1, "one message");
        }
        super::kit::ack_all(&queue, &found).await;
    }
}

pub(crate) async fn one_of_many_sends_of_a_key_wins(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    if !queue.capabilities().dedupe {
        return super::kit::is_unsupported(&queue, message("a").dedupe("key", LONG)).await;
    }
    for round in 0..10 {
        let calls = (0..8).map(|_| {
            let sent = message("a").dedupe(format!("key {round}"), LONG);
            let queue = Arc::clone(&queue);
            async move { (sent.envelope.id, send(&queue, sent).await) }
        });
        let outcomes = together(calls).await;
        let winners: Vec<JobId> =
            outcomes.iter().filter_map(|(id, outcome)| outcome.is_sent().then_some(*id)).collect();
        if queue.capabilities().tells_duplicates {
            assert_eq!(winners.len(), 1, "one of eight is sent: {outcomes:?}");
        }
        let found = take_up_to(&queue, 8, LONG).await;
        assert_eq!(found.len(), 1, "one of eight is there");
        super::kit::ack_all(&queue, &found).await;
        for (_, outcome) in &outcomes {
            if let SendOutcome::Duplicate(original) = outcome {
                assert_eq!(original.id, winners[0], "the others are told which");
            }
        }
    }
}

pub(crate) async fn many_sends_never_overfill(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_len: 10, ..QueueSetup::default() }).await;
    let calls = (0..20).map(|_| {
        let queue = Arc::clone(&queue);
        async move { send(&queue, message("a")).await }
    });
    let outcomes = together(calls).await;
    let sent = outcomes.iter().filter(|outcome| outcome.is_sent()).count();
    let expected = if queue.capabilities().bounded { 10 } else { 20 };
    assert_eq!(sent, expected, "as many as fit are sent: {outcomes:?}");
    assert_counts(&queue, [expected as u64, 0, 0, 0]).await;
}

/// Lets `future` go on for at most `polls` polls, then drops it, as a dying process does.
async fn abandon<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(crate) async fn calls_that_die_at_any_await_lose_nothing(h: &dyn QueueHarness) {
    let mut dice = Dice::new();
    let setup = QueueSetup { max_crashes: u32::MAX, ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    // what each sender knows: that its message is stored, or that it may be
    let mut sent: HashMap<JobId, bool> = HashMap::new();
    let mut may_be_acked: HashSet<JobId> = HashSet::new();
    let mut retry: Vec<OutgoingMessage> = Vec::new();
    for round in 0..150 {
        let polls = dice.below(6);
        match dice.below(8) {
            0..=2 => {
                let message = retry.pop().unwrap_or_else(|| {
                    let delay = if dice.one_in(4) { h.unit() } else { Duration::ZERO };
                    message(&round.to_string()).delay(delay)
                });
                let batch = [message.clone()];
                let outcome = abandon(queue.send(&batch), polls).await;
                let known = matches!(&outcome, Some(Ok(outcomes)) if outcomes[0].is_sent());
                *sent.entry(message.envelope.id).or_default() |= known;
                if !known {
                    retry.push(message);
                }
            }
            3 if dice.one_in(3) => {
                let filter = DeadLetterFilter::default();
                let options = RedriveOptions::default();
                drop(abandon(queue.redrive(&filter, &options), polls).await);
            }
            3 if dice.one_in(3) => h.pass_time(h.unit()).await,
            _ => {
                let wait = if dice.one_in(2) { LONG } else { Duration::ZERO };
                let options = ReceiveOptions::new(1 + dice.below(4)).wait(wait).lease(h.unit());
                let Some(batch) = abandon(queue.receive(&options), polls).await else { continue };
                for received in batch.expect("the queue answers").deliveries {
                    let how = match dice.below(5) {
                        0 => Settlement::DeadLetter { reason: "no use".to_owned() },
                        1 => release(Duration::ZERO, true),
                        2 => release(h.unit(), false),
                        3 => continue, // the worker dies with it
                        _ => {
                            may_be_acked.insert(received.receipt.id());
                            Settlement::Ack
                        }
                    };
                    let batch = [(received.receipt, how)];
                    let polls = dice.below(6);
                    drop(abandon(queue.settle(&batch), polls).await);
                }
            }
        }
    }
    for message in retry {
        put(&queue, message.clone()).await; // a sender repeats until it knows
        sent.insert(message.envelope.id, true);
    }
    let mut found: HashSet<JobId> = dead(&queue).await.iter().map(|one| one.envelope.id).collect();
    for _ in 0..2 {
        h.pass_time(3 * h.unit()).await;
        let left = take_up_to(&queue, usize::MAX, LONG).await;
        found.extend(left.iter().map(|received| received.receipt.id()));
    }
    for (id, known) in &sent {
        assert!(*known, "the sender of {id} knows that it is stored");
        assert!(found.contains(id) || may_be_acked.contains(id), "{id} is lost");
    }
    for id in found {
        assert!(sent.contains_key(&id), "{id} was never sent");
    }
}

pub(crate) async fn workers_that_are_killed_lose_nothing(h: &dyn QueueHarness) {
    const MESSAGES: usize = 60;
    let setup = QueueSetup { max_crashes: u32::MAX, ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    let sent: Vec<_> = (0..MESSAGES).map(|number| message(&number.to_string())).collect();
    put_all(&queue, &sent).await;
    let acked: Arc<std::sync::Mutex<Vec<JobId>>> = Arc::default();
    for _ in 0..6 {
        let mut workers = Vec::new();
        for _ in 0..4 {
            let (queue, acked) = (h.another(&queue).await, Arc::clone(&acked));
            let lease = 2 * h.unit();
            workers.push(tokio::spawn(async move {
                loop {
                    for received in receive(&queue, 2, lease).await.deliveries {
                        tokio::task::yield_now().await;
                        let outcome = super::kit::settle(&queue, &received, Settlement::Ack).await;
                        if matches!(outcome, SettleOutcome::Settled) {
                            acked.lock().expect("no panic").push(received.receipt.id());
                        }
                    }
                    tokio::task::yield_now().await; // where a worker without work can be killed
                }
            }));
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        for worker in workers {
            worker.abort();
            drop(worker.await);
        }
    }
    h.pass_time(4 * h.unit()).await;
    let left: Vec<JobId> = take_up_to(&queue, usize::MAX, LONG)
        .await
        .iter()
        .map(|received| received.receipt.id())
        .collect();
    let acked = acked.lock().expect("no panic").clone();
    let both: HashSet<JobId> = acked.iter().chain(&left).copied().collect();
    // an ack whose answer died with its worker is neither in the ledger nor in the queue
    let unknown = MESSAGES - both.len();
    assert!(unknown <= 24, "at most one per worker that was killed, not {unknown}");
    if queue.capabilities().exclusive {
        assert_eq!(both.len(), acked.len() + left.len(), "no message is acked and queued");
    }
}
