//! Workers that are killed at every step of their work, as processes of their own.

use std::time::{Duration, Instant};

use standfast_core::JobId;
use standfast_core::testkit::redis;
use standfast_queue::{Envelope, Queue, ReceiveOptions, RedisQueue, RedisQueueConfig, Settlement};

use crate::steps::{killed_at, reached};

/// The lease of the worker that is killed.
const LEASE: Duration = Duration::from_secs(1);

/// Where the worker stands when it is killed.
const STEPS: [&str; 5] = ["waiting", "received", "extended", "released", "acked"];

/// Not a test: what a killed worker runs. It comes to its step, says so, and hangs.
#[tokio::test]
#[ignore = "the process that other tests start and kill"]
async fn worker_process() {
    let read = |name: &str| std::env::var(name).expect("it is started by a test");
    let queue = RedisQueue::from_url(&read("URL"), &read("QUEUE")).expect("they are valid");
    let step = read("STEP");
    reached("waiting");
    let options = ReceiveOptions::new(1).lease(LEASE).wait(Duration::from_secs(10));
    let receipt = queue.receive(&options).await.expect("it answers").deliveries.remove(0).receipt;
    reached("received");
    queue.extend(std::slice::from_ref(&receipt), LEASE).await.expect("it answers");
    reached("extended");
    if step == "released" {
        queue.settle(&[(receipt.clone(), Settlement::release())]).await.expect("it answers");
        reached("released");
    }
    queue.settle(&[(receipt, Settlement::Ack)]).await.expect("it answers");
    reached("acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_step_loses_nothing() {
    let Some(server) = redis::single() else { return };
    for step in STEPS {
        let name = JobId::random().to_string();
        let queue = RedisQueue::from_url(&server.url(), &name).expect("the URL is one");
        let sent = Envelope::new("ledger", "some body");
        queue.send(&[sent.clone().into()]).await.expect("it answers");
        let killed_at = killed_at(step, vec![("URL", server.url()), ("QUEUE", name)]).await;

        let options = ReceiveOptions::new(1).wait(3 * LEASE);
        let batch = queue.receive(&options).await.expect("it answers");
        let took = killed_at.elapsed();
        let attempts: Vec<u32> = batch.deliveries.iter().map(|one| one.attempt).collect();
        println!("killed when {step}: back as attempt {attempts:?} after {took:?}");
        match step {
            "acked" => assert!(attempts.is_empty(), "what is acked does not come back"),
            "waiting" | "released" => assert_eq!(attempts, [1], "no attempt is counted"),
            _ => assert_eq!(attempts, [2], "the attempt of the dead worker is counted"),
        }
        if step != "acked" {
            assert!(took <= LEASE + Duration::from_secs(1), "{step}: back after {took:?}");
            assert_eq!(batch.deliveries[0].receipt.id(), sent.id, "the same message");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kills_its_workers_is_dead_in_time() {
    const CRASHES: u32 = 3;
    let Some(server) = redis::single() else { return };
    let name = JobId::random().to_string();
    let redis = standfast_core::redis::Redis::from_url(&server.url()).expect("the URL is one");
    let mut config = RedisQueueConfig::default();
    config.max_crashes = CRASHES;
    let queue = RedisQueue::from_parts(redis, &name, config).expect("the name is one");
    queue.send(&[Envelope::new("poison", "").into()]).await.expect("it answers");
    let began = Instant::now();
    for _ in 0..CRASHES {
        killed_at("received", vec![("URL", server.url()), ("QUEUE", name.clone())]).await;
    }
    let options = ReceiveOptions::new(1).wait(3 * LEASE);
    let batch = queue.receive(&options).await.expect("it answers");
    let (took, bound) = (began.elapsed(), CRASHES * (LEASE + Duration::from_secs(1)));
    println!("dead after {took:?}");
    assert_eq!(batch.dead.len(), 1, "whoever receives next is told");
    assert_eq!((batch.dead[0].crashes, batch.dead[0].attempts), (CRASHES, CRASHES));
    assert!(took <= bound, "dead after {took:?}, at most {bound:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_clock_is_off_is_like_any_other() {
    // every time that is stored or compared is the server's: nothing of the client's goes there
    // but the time of sending, which nobody decides by
    let Some(server) = redis::single() else { return };
    let queue = RedisQueue::from_url(&server.url(), &JobId::random().to_string()).expect("valid");
    for hours in [-1, 1] {
        let mut envelope = Envelope::new("ledger", "");
        envelope.sent_at += chrono::TimeDelta::hours(hours);
        queue.send(&[envelope.into()]).await.expect("it answers");
        let received = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
        let received = &received.deliveries[0];
        let off =
            (received.due_at - standfast_core::Clock::now(&standfast_core::SystemClock)).abs();
        assert!(off < chrono::TimeDelta::minutes(1), "due by the server's clock: {off}");
        queue.settle(&[(received.receipt.clone(), Settlement::Ack)]).await.expect("it answers");
    }
}
