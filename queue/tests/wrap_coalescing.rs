//! What `Coalescing` promises beyond the contract of queues.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{Error, ErrorKind, Result};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::wrap::{Coalescing, CoalescingConfig};
use standfast_queue::{
    Envelope, MemoryQueue, OutgoingMessage, Queue, ReceiveOptions, SendOutcome, SettleOutcome,
    Settlement,
};
use tokio::task::{JoinHandle, yield_now};

type Double = Faulty<MemoryQueue>;

fn mail() -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("mail", "hello"))
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "memory", "queue.send")
}

/// A queue of which one call may be under way at a time, and what is inside.
fn one_at_a_time() -> (Coalescing<Double>, Double) {
    let inner = Faulty::new(MemoryQueue::new());
    let mut config = CoalescingConfig::default();
    config.max_flights = 1;
    (Coalescing::with_config(inner.clone(), config), inner)
}

/// Holds back the next call of `operation`.
fn hold(inner: &Double, operation: QueueOperation) -> Gate {
    let gate = Gate::new();
    inner.script(operation, [Fault::HoldBefore(gate.clone())]);
    gate
}

/// Starts a send and lets it come as far as it gets.
async fn start_send(
    queue: &Coalescing<Double>,
    batch: Vec<OutgoingMessage>,
) -> JoinHandle<Result<Vec<SendOutcome>>> {
    let queue = queue.clone();
    let task = tokio::spawn(async move { queue.send(&batch).await });
    settle_down().await;
    task
}

/// Lets every task that can run do so. The runtime of a test has one thread.
async fn settle_down() {
    for _ in 0..200 {
        yield_now().await;
    }
}

#[tokio::test]
async fn sends_of_64_tasks_go_out_in_a_few_calls() {
    let inner = Faulty::new(MemoryQueue::new());
    let queue = Coalescing::new(inner.clone());
    let gates = [(); 4].map(|()| hold(&inner, QueueOperation::Send));
    let mut tasks = Vec::new();
    for _ in 0..64 {
        tasks.push(start_send(&queue, vec![mail()]).await);
    }
    assert_eq!(inner.calls(QueueOperation::Send), 4, "four flights, the others gather");
    gates.iter().for_each(Gate::open);
    for task in tasks {
        assert!(task.await.unwrap().unwrap()[0].is_sent());
    }
    assert_eq!(inner.calls(QueueOperation::Send), 5);
    assert_eq!(queue.stats().await.unwrap().ready, 64);
}

#[tokio::test]
async fn settles_of_64_tasks_go_out_in_a_few_calls() {
    let (queue, inner) = one_at_a_time();
    queue.send(&(0..64).map(|_| mail()).collect::<Vec<_>>()).await.unwrap();
    let batch = queue.receive(&ReceiveOptions::new(64)).await.unwrap();
    let gate = hold(&inner, QueueOperation::Settle);
    let tasks: Vec<_> = batch
        .deliveries
        .into_iter()
        .map(|received| {
            let queue = queue.clone();
            tokio::spawn(async move {
                queue.settle(&[(received.receipt, Settlement::Ack)]).await.unwrap().remove(0)
            })
        })
        .collect();
    settle_down().await;
    gate.open();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), SettleOutcome::Settled));
    }
    assert_eq!(inner.calls(QueueOperation::Settle), 2);
    assert_eq!(queue.stats().await.unwrap().leased, 0);
}

#[tokio::test]
async fn a_call_that_finds_nothing_under_way_goes_out_at_once() {
    let queue = Coalescing::new(MemoryQueue::new());
    for _ in 0..10 {
        let batch = [mail()];
        let mut send = std::pin::pin!(queue.send(&batch));
        let first = poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx))).await;
        assert!(first.is_ready(), "no task in between");
    }
}

#[tokio::test]
async fn what_was_handed_over_is_sent_even_if_every_caller_leaves() {
    let (queue, inner) = one_at_a_time();
    let gate = hold(&inner, QueueOperation::Send);
    let leaving =
        [start_send(&queue, vec![mail()]).await, start_send(&queue, vec![mail(), mail()]).await];
    let staying = start_send(&queue, vec![mail()]).await;
    for task in leaving {
        task.abort();
    }
    settle_down().await;
    gate.open();
    assert!(staying.await.unwrap().unwrap()[0].is_sent());
    queue.flush().await;
    assert_eq!(queue.stats().await.unwrap().ready, 4);
    assert_eq!(inner.calls(QueueOperation::Send), 2);
}

#[tokio::test]
async fn a_caller_that_stops_polling_holds_up_nobody() {
    let (queue, inner) = one_at_a_time();
    let gate = hold(&inner, QueueOperation::Send);
    let batch = [mail()];
    let mut stuck = std::pin::pin!(queue.send(&batch));
    assert!(poll_fn(|cx| Poll::Ready(stuck.as_mut().poll(cx))).await.is_pending());
    gate.open();
    queue.send(&[mail()]).await.unwrap();
    stuck.await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_whole_call_goes_to_every_caller_in_it() {
    let (queue, inner) = one_at_a_time();
    let gate = hold(&inner, QueueOperation::Send);
    inner.script(QueueOperation::Send, [Fault::ErrorBefore(down())]);
    let first = start_send(&queue, vec![mail()]).await;
    let others =
        [start_send(&queue, vec![mail()]).await, start_send(&queue, vec![mail(), mail()]).await];
    gate.open();
    assert!(first.await.unwrap().unwrap()[0].is_sent());
    for other in others {
        assert_eq!(other.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(queue.send(&[mail()]).await.unwrap()[0].is_sent());
}

#[tokio::test]
async fn each_caller_gets_the_outcomes_of_its_own_entries() {
    let (queue, inner) = one_at_a_time();
    let gate = hold(&inner, QueueOperation::Send);
    inner.script(QueueOperation::Send, [Fault::Entries(vec![(0, down()), (3, down())])]);
    let first = start_send(&queue, vec![mail()]).await;
    let mut others = Vec::new();
    for entries in 1..4 {
        others.push(start_send(&queue, (0..entries).map(|_| mail()).collect()).await);
    }
    gate.open();
    first.await.unwrap().unwrap();
    let mut sent = Vec::new();
    for other in others {
        let outcomes = other.await.unwrap().unwrap();
        sent.push(outcomes.iter().map(SendOutcome::is_sent).collect::<Vec<_>>());
    }
    assert_eq!(sent, [vec![false], vec![true, true], vec![false, true, true]]);
}

#[tokio::test]
async fn a_panic_of_the_queue_is_an_error_and_ends_nothing() {
    let (queue, inner) = one_at_a_time();
    inner.script(QueueOperation::Send, [Fault::Panic]);
    assert_eq!(queue.send(&[mail()]).await.unwrap_err().kind(), ErrorKind::Unexpected);
    let gate = hold(&inner, QueueOperation::Send);
    inner.script(QueueOperation::Send, [Fault::Panic]);
    let first = start_send(&queue, vec![mail()]).await;
    let second = start_send(&queue, vec![mail()]).await;
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
    queue.send(&[mail()]).await.unwrap();
    queue.flush().await;
}

#[tokio::test]
async fn a_call_ends_when_it_is_full_by_count_or_by_bytes() {
    let inner = Faulty::new(MemoryQueue::new());
    let mut config = CoalescingConfig::default();
    (config.max_flights, config.max_batch, config.max_bytes) = (1, 4, 100);
    let queue = Coalescing::with_config(inner.clone(), config);
    let sized = |size: usize| vec![OutgoingMessage::new(Envelope::new("mail", vec![0; size]))];
    for (sizes, calls) in [(vec![1; 8], 3), (vec![40; 4], 3), (vec![99, 99, 1], 3)] {
        let before = inner.calls(QueueOperation::Send);
        let gate = hold(&inner, QueueOperation::Send);
        let mut tasks = vec![start_send(&queue, sized(1)).await];
        for size in &sizes {
            tasks.push(start_send(&queue, sized(*size)).await);
        }
        gate.open();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(inner.calls(QueueOperation::Send) - before, calls, "{sizes:?}");
    }
    assert_eq!(queue.send(&[]).await.unwrap().len(), 0);
    queue.send(&(0..9).map(|_| mail()).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(inner.entries(QueueOperation::Send), 8 + 4 + 3 + 3 + 9);
}

#[tokio::test]
async fn lingering_ends_with_its_time_with_a_full_batch_and_with_a_flush() {
    let clock = ManualClock::new();
    let inner = Faulty::new(MemoryQueue::new());
    let mut config = CoalescingConfig::default();
    (config.linger, config.max_batch) = (Duration::from_millis(5), 3);
    config.clock = Arc::new(clock.clone());
    let queue = Coalescing::with_config(inner.clone(), config);
    let calls = || inner.calls(QueueOperation::Send);

    let pair = [start_send(&queue, vec![mail()]).await, start_send(&queue, vec![mail()]).await];
    assert_eq!(calls(), 0);
    clock.advance(Duration::from_millis(5));
    for task in pair {
        task.await.unwrap().unwrap();
    }
    assert_eq!(calls(), 1);

    for task in [
        start_send(&queue, vec![mail()]).await,
        start_send(&queue, vec![mail()]).await,
        start_send(&queue, vec![mail()]).await,
    ] {
        task.await.unwrap().unwrap();
    }
    assert_eq!(calls(), 2);

    let alone = start_send(&queue, vec![mail()]).await;
    assert_eq!(calls(), 2);
    queue.flush().await;
    alone.await.unwrap().unwrap();
    assert_eq!(calls(), 3);
}

#[test]
fn a_runtime_that_ends_strands_nobody() {
    let (queue, inner) = one_at_a_time();
    let _closed = hold(&inner, QueueOperation::Send);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (ending, lasting) = (runtime(), runtime());
    let first = ending.block_on(start_send(&queue, vec![mail()]));
    let second = lasting.block_on(start_send(&queue, vec![mail()]));
    drop(ending);
    lasting.block_on(async {
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(queue.send(&[mail()]).await.unwrap()[0].is_sent());
        queue.flush().await;
    });
}
