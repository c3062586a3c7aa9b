//! Workers that are killed at every step of their work, as processes of their own.

use std::time::Duration;

use standfast_queue::{
    DeadLetterFilter, DeadLetters as _, Envelope, Queue, ReceiveOptions, Settlement, SqsQueue,
};

use crate::sqs_support::{Service, config};
use crate::steps::{killed_at, reached};

/// The lease of the worker that is killed.
const LEASE: Duration = Duration::from_secs(2);

/// Where the worker stands when it is killed.
const STEPS: [&str; 6] = ["waiting", "received", "extended", "released", "acked", "buried"];

/// Not a test: what a killed worker runs. It comes to its step, says so, and hangs.
#[tokio::test]
#[ignore = "the process that other tests start and kill"]
async fn worker_process() {
    let read = |name: &str| std::env::var(name).expect("it is started by a test");
    let service = Service::find().expect("it is started by a test");
    let (url, dead_url) = (read("URL"), read("DEAD_URL"));
    let queue = SqsQueue::from_parts(&service.client(), url, dead_url, config()).expect("valid");
    let step = read("STEP");
    reached("waiting");
    let options = ReceiveOptions::new(1).lease(LEASE);
    let receipt = queue.receive(&options).await.expect("it answers").deliveries.remove(0).receipt;
    reached("received");
    queue.extend(std::slice::from_ref(&receipt), LEASE).await.expect("it answers");
    reached("extended");
    let how = match &*step {
        "released" => Settlement::release(),
        "buried" => Settlement::DeadLetter { reason: "no use".to_owned() },
        _ => Settlement::Ack,
    };
    queue.settle(&[(receipt, how)]).await.expect("it answers");
    reached(&step);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_step_loses_nothing() {
    let Some(service) = Service::find() else { return };
    for step in STEPS {
        let queues = service.make("", 50).await;
        let queue = service.open(&queues, config());
        let sent = Envelope::new("ledger", "some body");
        queue.send(&[sent.clone().into()]).await.expect("it answers");
        let variables = vec![("URL", queues.url), ("DEAD_URL", queues.dead_url)];
        let killed_at = killed_at(step, variables).await;

        let options = ReceiveOptions::new(1).wait(2 * LEASE);
        let batch = queue.receive(&options).await.expect("it answers");
        let took = killed_at.elapsed();
        let attempts: Vec<u32> = batch.deliveries.iter().map(|one| one.attempt).collect();
        println!("killed when {step}: back as attempt {attempts:?} after {took:?}");
        match step {
            "acked" | "buried" => assert!(attempts.is_empty(), "what is settled stays away"),
            "waiting" => assert_eq!(attempts, [1], "nobody has received it"),
            _ => assert_eq!(attempts, [2], "every receive counts"),
        }
        if !attempts.is_empty() {
            assert!(took <= LEASE + Duration::from_secs(1), "{step}: back after {took:?}");
            assert_eq!(batch.deliveries[0].receipt.id(), sent.id, "the same message");
        }
        let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 10).await;
        let dead = page.expect("it lists").letters.len();
        assert_eq!(dead, usize::from(step == "buried"), "{step}: dead letters");
    }
}
