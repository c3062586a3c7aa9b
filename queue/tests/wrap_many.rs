//! What `Prioritized` and `Sharded` promise beyond the contract of queues.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::testkit::ManualClock;
use standfast_core::{Error, ErrorKind, HealthCheck, JobId, Verdict};
use standfast_queue::testkit::{Fault, Faulty, Gate, QueueOperation};
use standfast_queue::wrap::{Prioritized, Sharded};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, MemoryQueue, MemoryQueueConfig, OutgoingMessage,
    Priority, Queue, QueueAdmin, QueueCapabilities, Receipt, ReceiveOptions, Received,
    RedriveOptions, SettleOutcome, Settlement,
};
use tokio::task::yield_now;

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(5);

fn mail() -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("mail", "hello"))
}

fn prioritized() -> Prioritized<MemoryQueue> {
    Prioritized::new([(); 4].map(|()| MemoryQueue::new()))
}

/// Queues on one clock that stands still.
fn on_a_clock<const N: usize>() -> ([MemoryQueue; N], ManualClock) {
    let clock = ManualClock::new();
    let mut config = MemoryQueueConfig::default();
    config.clock = Arc::new(clock.clone());
    ([(); N].map(|()| MemoryQueue::with_config(config.clone())), clock)
}

fn faulty<const N: usize>() -> [Faulty<MemoryQueue>; N] {
    [(); N].map(|()| Faulty::new(MemoryQueue::new()))
}

/// A message for each shard, in their order.
fn one_for_each<Q: Queue>(queue: &Sharded<Q>) -> Vec<OutgoingMessage> {
    let mut messages: HashMap<usize, OutgoingMessage> = HashMap::new();
    while messages.len() < queue.shards().len() {
        let message = mail();
        messages.insert(queue.shard_of(&message), message);
    }
    (0..messages.len()).map(|shard| messages.remove(&shard).unwrap()).collect()
}

async fn settle_down() {
    for _ in 0..200 {
        yield_now().await;
    }
}

async fn ack(queue: &impl Queue, receipt: Receipt) {
    let outcomes = queue.settle(&[(receipt, Settlement::Ack)]).await.unwrap();
    assert!(matches!(outcomes[..], [SettleOutcome::Settled]), "{outcomes:?}");
}

async fn receive(queue: &impl Queue, max: usize) -> Vec<Received> {
    queue.receive(&ReceiveOptions::new(max)).await.unwrap().deliveries
}

async fn fill(queue: &impl Queue, of_each: usize) {
    for priority in Priority::ALL {
        let batch: Vec<_> = (0..of_each)
            .map(|_| {
                OutgoingMessage::new(Envelope::new(format!("{priority:?}"), "")).priority(priority)
            })
            .collect();
        queue.send(&batch).await.unwrap();
    }
}

fn count(deliveries: &[Received]) -> [usize; 4] {
    Priority::ALL.map(|priority| {
        let kind = format!("{priority:?}");
        deliveries.iter().filter(|received| received.envelope().kind == kind).count()
    })
}

#[tokio::test]
async fn of_fifteen_deliveries_each_priority_gets_its_share() {
    let queue = prioritized();
    fill(&queue, 200).await;
    let mut one_by_one = Vec::new();
    for _ in 0..15 {
        one_by_one.extend(receive(&queue, 1).await);
    }
    assert_eq!(count(&one_by_one), [8, 4, 2, 1]);
    assert_eq!(count(&receive(&queue, 15).await), [8, 4, 2, 1]);
    assert_eq!(count(&receive(&queue, 31).await), [17, 8, 4, 2]);
    let mut tens = Vec::new();
    for _ in 0..15 {
        tens.extend(receive(&queue, 10).await);
    }
    assert_eq!(count(&tens), [80, 40, 20, 10]);
}

#[tokio::test]
async fn what_one_priority_does_not_have_comes_from_the_others() {
    let queue = prioritized();
    fill(&queue, 3).await;
    let mut kinds = Vec::new();
    while let Some(received) = receive(&queue, 1).await.pop() {
        kinds.push(received.envelope().kind.clone());
    }
    assert_eq!(kinds.len(), 12);
    fill(&queue, 3).await;
    assert_eq!(count(&receive(&queue, 14).await).iter().sum::<usize>(), 12);
    fill(&queue, 1).await;
    assert_eq!(count(&receive(&queue, 100).await), [1; 4]);
}

#[tokio::test]
async fn a_busy_priority_does_not_pay_for_the_empty_ones() {
    let inner = faulty();
    let queue = Prioritized::new(inner.clone());
    queue.send(&(0..1000).map(|_| mail()).collect::<Vec<_>>()).await.unwrap();
    for _ in 0..100 {
        assert_eq!(receive(&queue, 10).await.len(), 10);
    }
    let calls: usize = inner.iter().map(|one| one.calls(QueueOperation::Receive)).sum();
    // in a second of tests each empty queue is asked 20 times at most
    assert!(calls < 160, "{calls} calls for 100 batches");
}

#[tokio::test]
async fn a_receive_that_waits_is_woken_by_any_queue() {
    let queue = prioritized();
    for priority in Priority::ALL {
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.receive(&ReceiveOptions::new(7).wait(LONG)).await.unwrap() }
        });
        settle_down().await;
        queue.send(&[mail().priority(priority), mail().priority(priority)]).await.unwrap();
        let batch = tokio::time::timeout(SOON, waiting).await.expect("it is woken").unwrap();
        let mut deliveries = batch.deliveries;
        deliveries.extend(receive(&queue, 2 - deliveries.len()).await);
        assert_eq!(deliveries.len(), 2);
        for received in deliveries {
            ack(&queue, received.receipt).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_waiting_receivers_get_each_message_once() {
    let queue = Sharded::new((0..5).map(|_| MemoryQueue::new())).unwrap();
    let receivers: Vec<_> = (1..6)
        .map(|max| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let (mut ids, options) = (Vec::new(), ReceiveOptions::new(max).wait(SOON / 5));
                loop {
                    let batch = queue.receive(&options).await.unwrap();
                    if batch.deliveries.is_empty() {
                        return ids;
                    }
                    assert!(batch.deliveries.len() <= max);
                    for received in batch.deliveries {
                        ids.push(received.receipt.id());
                        ack(&queue, received.receipt).await;
                    }
                }
            })
        })
        .collect();
    for _ in 0..200 {
        queue.send(&[mail(), mail(), mail()]).await.unwrap();
        yield_now().await;
    }
    let mut ids = Vec::new();
    for receiver in receivers {
        ids.extend(receiver.await.unwrap());
    }
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (600, 600));
}

#[tokio::test]
async fn a_receive_that_waits_ends_with_its_time() {
    let (queues, clock) = on_a_clock::<4>();
    let queue = Prioritized::with_clock(queues, Arc::new(clock.clone()));
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(1).wait(SOON)).await.unwrap() }
    });
    settle_down().await;
    clock.advance(SOON / 2);
    settle_down().await;
    assert!(!waiting.is_finished());
    clock.advance(SOON / 2);
    assert!(waiting.await.unwrap().is_empty());
    queue.drain().await;
}

#[tokio::test]
async fn what_comes_from_a_second_queue_is_kept_for_the_next_receive() {
    let (queues, clock) = on_a_clock::<4>();
    let queue = Prioritized::with_clock(queues, Arc::new(clock.clone()));
    let options = ReceiveOptions::new(1).wait(LONG);
    let waiting = tokio::spawn({
        let (queue, options) = (queue.clone(), options.clone());
        async move { queue.receive(&options).await.unwrap() }
    });
    settle_down().await;
    queue.send(&[mail(), mail().priority(Priority::Low)]).await.unwrap();
    assert_eq!(waiting.await.unwrap().deliveries.len(), 1, "never more than asked for");
    settle_down().await;
    assert_eq!(queue.stats().await.unwrap().leased, 2);
    let next = queue.receive(&options).await.unwrap().deliveries.remove(0);
    assert_eq!((next.attempt, next.delivery), (1, 1));
    ack(&queue, next.receipt).await;
}

#[tokio::test]
async fn what_nobody_takes_is_released_uncounted() {
    let (queues, clock) = on_a_clock::<4>();
    let queue = Prioritized::with_clock(queues, Arc::new(clock.clone()));
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(1).wait(LONG)).await.unwrap() }
    });
    settle_down().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    queue.send(&[mail()]).await.unwrap();
    settle_down().await;
    assert_eq!(queue.stats().await.unwrap().leased, 1, "the wait goes on without its receiver");
    clock.advance(Duration::from_millis(200));
    settle_down().await;
    assert_eq!(queue.stats().await.unwrap().ready, 1);
    let again = receive(&queue, 1).await.remove(0);
    assert_eq!((again.attempt, again.delivery), (1, 2));
}

#[tokio::test]
async fn a_dropped_receive_leaves_what_it_had_to_the_next() {
    let inner = faulty::<2>();
    let queue = Sharded::new(inner.clone()).unwrap();
    queue.send(&one_for_each(&queue)).await.unwrap();
    let gate = Gate::new();
    inner[1].script(QueueOperation::Receive, [Fault::HoldBefore(gate)]);
    let dropped = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(2)).await }
    });
    settle_down().await;
    assert_eq!(inner[0].stats().await.unwrap().leased, 1);
    dropped.abort();
    drop(dropped.await);
    assert_eq!(receive(&queue, 2).await.len(), 2);
}

#[tokio::test]
async fn a_paused_queue_gives_back_what_is_kept_and_delivers_nothing() {
    let (queues, clock) = on_a_clock::<4>();
    let queue = Prioritized::with_clock(queues, Arc::new(clock));
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(1).wait(LONG)).await.unwrap() }
    });
    settle_down().await;
    queue.send(&[mail(), mail().priority(Priority::Low)]).await.unwrap();
    waiting.await.unwrap();
    settle_down().await;
    queue.pause().await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.leased, stats.ready, stats.paused), (1, 1, true));
    assert_eq!(receive(&queue, 1).await.len(), 0);
    queue.resume().await.unwrap();
    assert_eq!(receive(&queue, 1).await.len(), 1);
    assert_eq!(queue.purge().await.unwrap(), 2);
}

#[tokio::test]
async fn one_shard_that_fails_does_not_stop_the_others() {
    let (inner, down) = (faulty::<3>(), || {
        Fault::ErrorBefore(Error::new(ErrorKind::Unavailable, "memory", "queue.receive"))
    });
    let queue = Sharded::new(inner.clone()).unwrap();
    let messages = one_for_each(&queue);
    queue.send(&messages).await.unwrap();
    for operation in [QueueOperation::Receive, QueueOperation::Settle, QueueOperation::Health] {
        inner[1].always(operation, down());
    }
    let mut others = Vec::new();
    for _ in 0..4 {
        others.extend(receive(&queue, 1).await);
    }
    assert_eq!(others.len(), 2);
    assert!(matches!(queue.health().await.verdict, Verdict::Degraded(_)));

    inner.iter().for_each(|one| one.always(QueueOperation::Receive, down()));
    let asks = |wait| {
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(1).wait(wait)).await }
    };
    assert_eq!(asks(Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let error = tokio::time::timeout(SOON, asks(LONG)).await.expect("it does not wait in vain");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);

    inner.iter().for_each(Faulty::heal);
    assert_eq!(asks(LONG).await.unwrap().deliveries.len(), 1, "it is asked again at once");
}

#[tokio::test]
async fn a_shard_that_failed_is_tried_again_while_others_are_waited_on() {
    let (queues, clock) = on_a_clock::<2>();
    let inner = queues.map(Faulty::new);
    let queue = Sharded::with_clock(inner.clone(), Arc::new(clock.clone())).unwrap();
    queue.send(&one_for_each(&queue)[1..]).await.unwrap();
    let error = Error::new(ErrorKind::Unavailable, "memory", "queue.receive");
    inner[1].script(QueueOperation::Receive, [Fault::ErrorBefore(error), Fault::Panic]);
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(&ReceiveOptions::new(1).wait(LONG)).await.unwrap() }
    });
    for calls in 1..3 {
        settle_down().await;
        assert_eq!(inner[1].calls(QueueOperation::Receive), calls);
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(waiting.await.unwrap().deliveries.len(), 1);
}

#[tokio::test]
async fn outcomes_come_back_in_order_from_several_shards() {
    let inner = faulty::<4>();
    let queue = Sharded::new(inner.clone()).unwrap();
    let messages: Vec<_> = (0..40).map(|_| mail()).collect();
    queue.send(&messages).await.unwrap();
    let down = Error::new(ErrorKind::Unavailable, "memory", "queue.settle");
    inner[2].always(QueueOperation::Settle, Fault::ErrorBefore(down));
    let stray = Receipt::new(7, Arc::new(Envelope::new("mail", "")));
    let mut batch: Vec<_> = receive(&queue, 40)
        .await
        .into_iter()
        .map(|received| (received.receipt, Settlement::Ack))
        .collect();
    batch.sort_by_key(|(receipt, _)| receipt.id());
    batch.insert(5, (stray, Settlement::Ack));
    let outcomes = queue.settle(&batch).await.unwrap();
    assert_eq!(outcomes.len(), 41);
    let home: HashMap<JobId, usize> =
        messages.iter().map(|one| (one.envelope.id, queue.shard_of(one))).collect();
    for ((receipt, _), outcome) in batch.iter().zip(&outcomes) {
        let is_right = match home.get(&receipt.id()) {
            None => matches!(outcome, SettleOutcome::Stale),
            Some(2) => matches!(outcome, SettleOutcome::Failed(_)),
            Some(_) => matches!(outcome, SettleOutcome::Settled),
        };
        assert!(is_right, "{outcome:?}");
    }
}

#[tokio::test]
async fn groups_keep_their_order_across_shards_and_priorities() {
    let queue = Sharded::new((0..3).map(|_| prioritized())).unwrap();
    for number in 0..100_usize {
        let message = OutgoingMessage::new(Envelope::new("mail", number.to_string()))
            .group(format!("tenant-{}", number % 10))
            .priority(Priority::ALL[number / 10 % 4]);
        queue.send(&[message]).await.unwrap();
    }
    let mut last: HashMap<usize, usize> = HashMap::new();
    loop {
        let deliveries = receive(&queue, 4).await;
        if deliveries.is_empty() {
            break;
        }
        for received in deliveries {
            let number: usize =
                std::str::from_utf8(&received.envelope().body).unwrap().parse().unwrap();
            let before = last.insert(number % 10, number);
            assert_eq!(before.map_or(number % 10, |before| before + 10), number);
            ack(&queue, received.receipt).await;
        }
    }
    assert_eq!(last.values().copied().collect::<HashSet<_>>(), (90..100).collect());
}

#[tokio::test]
async fn receipts_nest() {
    let queue = Sharded::new((0..3).map(|_| prioritized())).unwrap();
    fill(&queue, 25).await;
    let deliveries = receive(&queue, 200).await;
    assert_eq!(deliveries.len(), 100);
    let receipts: Vec<_> = deliveries.into_iter().map(|received| received.receipt).collect();
    let extended = queue.extend(&receipts, LONG).await.unwrap();
    assert!(extended.iter().all(|one| matches!(one, standfast_queue::ExtendOutcome::Extended)));
    let batch: Vec<_> = receipts.into_iter().map(|receipt| (receipt, Settlement::Ack)).collect();
    queue.settle(&batch).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().leased, 0);
    let again = queue.settle(&batch).await.unwrap();
    assert!(again.iter().all(|outcome| matches!(outcome, SettleOutcome::Stale)));
}

#[tokio::test]
async fn dead_letters_of_all_queues_are_one_list_the_oldest_first() {
    let (queues, clock) = on_a_clock::<3>();
    let queue = Sharded::with_clock(queues, Arc::new(clock.clone())).unwrap();
    let mut died = Vec::new();
    for _ in 0..20 {
        let message = mail();
        queue.send(std::slice::from_ref(&message)).await.unwrap();
        let receipt = receive(&queue, 1).await.remove(0).receipt;
        let reason = Settlement::DeadLetter { reason: "no".into() };
        queue.settle(&[(receipt, reason)]).await.unwrap();
        died.push(message.envelope.id);
        clock.advance(Duration::from_secs(1));
    }
    for limit in [1, 3, 7, 50] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = queue
                .list_dead_letters(&DeadLetterFilter::default(), after.as_ref(), limit)
                .await
                .unwrap();
            assert!(page.letters.len() <= limit);
            listed.extend(page.letters.into_iter().map(|letter| letter.envelope.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, died, "pages of {limit}");
    }
    let other = standfast_queue::PageToken::new("17");
    let error =
        queue.list_dead_letters(&DeadLetterFilter::default(), Some(&other), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);

    let filter = DeadLetterFilter::default().id(died[4]).id(died[5]).id(died[6]);
    let redriven = queue.redrive(&filter, &RedriveOptions::default().limit(2)).await.unwrap();
    assert_eq!((redriven.sent, queue.stats().await.unwrap().dead), (2, 18));
    let again = receive(&queue, 3).await;
    let ids: HashSet<_> = again.iter().map(|received| received.receipt.id()).collect();
    assert_eq!(ids, HashSet::from([died[4], died[5]]), "the oldest");
    assert_eq!(again[0].envelope().run, 2);
    assert_eq!(queue.purge_dead_letters(&DeadLetterFilter::default()).await.unwrap(), 18);
}

#[tokio::test]
async fn capabilities_are_what_all_queues_have_in_common() {
    let queue = prioritized();
    let QueueCapabilities { priorities, bounded, dedupe, max_batch, .. } = queue.capabilities();
    assert_eq!((priorities, bounded, dedupe, max_batch), (true, true, true, usize::MAX));
    let is_bounded = |shards: usize| {
        Sharded::new((0..shards).map(|_| MemoryQueue::new())).unwrap().capabilities().bounded
    };
    assert!(is_bounded(1) && !is_bounded(2));
    assert_eq!(Sharded::<MemoryQueue>::new([]).unwrap_err().kind(), ErrorKind::Invalid);
}
