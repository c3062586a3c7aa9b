//! The service or the network fails under load.

use std::time::{Duration, Instant};

use standfast_queue::{Envelope, OutgoingMessage, Queue, ReceiveOptions, Settlement};

use crate::ledger::{Sums, under_load};
use crate::server::Server;
use crate::sqs_support::fault::Fault;
use crate::sqs_support::{Service, config};

/// The lease of the workers: what they hold when they die is back after it.
const LEASE: Duration = Duration::from_secs(3);

fn nothing_is_lost(what: &str, sums: &Sums) {
    assert_eq!(sums.lost, 0, "{what}: {sums}");
    assert!(sums.errors > 0, "{what} was noticed: {sums}");
}

/// Errors, throttling, lost answers, cuts and slowness by turns, on one of eight requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_every_kind_loses_nothing() {
    let Some(service) = Service::find() else { return };
    for suffix in ["", ".fifo"] {
        let queues = service.make(suffix, 1000).await;
        let mut config = config();
        config.max_receives = u32::MAX;
        let http = service.http.clone();
        let open = || service.open(&queues, config.clone());
        let trouble = async {
            http.trouble(8);
            tokio::time::sleep(Duration::from_secs(5)).await;
            http.trouble(0);
            Instant::now()
        };
        let what = format!("trouble{suffix}");
        let sums = under_load(&what, LEASE, open, trouble).await;
        nothing_is_lost(&what, &sums);
        assert!(sums.errors > 5, "there was trouble: {sums}");
        if !suffix.is_empty() {
            assert_eq!(sums.after_ack, 0, "a FIFO queue stores no send twice: {sums}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_and_comes_back_loses_nothing() {
    let Some(mut server) = Server::start().await else { return };
    let service = server.service();
    let queues = service.make("", 1000).await;
    let mut config = config();
    config.max_receives = u32::MAX;
    let open = || service.open(&queues, config.clone());
    let fault = async {
        for _ in 0..2 {
            server.kill();
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.restart().await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        Instant::now()
    };
    let what = "killed and restarted";
    nothing_is_lost(what, &under_load(what, LEASE, open, fault).await);
}

/// Every request takes longer than its queue waits for answers, then they are in time again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_service_loses_nothing() {
    let Some(service) = Service::find() else { return };
    let queues = service.make("", 1000).await;
    let mut config = config();
    config.max_receives = u32::MAX;
    config.call_timeout = Duration::from_secs(1);
    let open = || service.open(&queues, config.clone());
    let http = service.http.clone();
    let fault = async {
        let slow = Duration::from_millis(1500);
        for on in ["SendMessageBatch", "DeleteMessageBatch"] {
            http.fail(on, 4, Fault::LateAnswer(slow));
            http.fail(on, 4, Fault::Late(slow));
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        Instant::now()
    };
    nothing_is_lost("slow", &under_load("slow", LEASE, open, fault).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_whose_answer_is_lost_is_one_message_on_a_fifo_queue() {
    let Some(service) = Service::find() else { return };
    for (suffix, most) in [(".fifo", 3), ("", 6)] {
        let queue = service.open(&service.make(suffix, 50).await, config());
        let batch: Vec<OutgoingMessage> =
            (0..3).map(|_| Envelope::new("case", "").into()).collect();
        service.http.fail("SendMessageBatch", 1, Fault::LoseAnswer);
        let error = queue.send(&batch).await.expect_err("nobody knows");
        assert_eq!(error.kind(), standfast_core::ErrorKind::OutcomeUnknown, "{error}");
        let outcomes = queue.send(&batch).await.expect("it answers");
        assert!(outcomes.iter().all(|outcome| outcome.is_sent()), "{outcomes:?}");
        let mut found = Vec::new();
        loop {
            let batch = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers");
            if batch.is_empty() {
                break;
            }
            for received in batch.deliveries {
                found.push(received.receipt.id());
                let ack = [(received.receipt, Settlement::Ack)];
                queue.settle(&ack).await.expect("it answers");
            }
        }
        assert_eq!(found.len(), most, "as often as the queue promises{suffix}");
        assert!(batch.iter().all(|message| found.contains(&message.envelope.id)), "none is lost");
    }
}
