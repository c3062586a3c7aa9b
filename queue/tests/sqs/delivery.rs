//! What is delivered, and when not.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;
use standfast_queue::{
    DeadLetter, DeadLetterFilter, DeadLetters, Envelope, Queue, QueueExt, ReceiveOptions, Received,
    RedriveOptions, SettleOutcome, Settlement, SqsQueue,
};

use crate::sqs_support::{Service, config};

const LEASE: Duration = Duration::from_secs(60);

async fn take(queue: &SqsQueue, wait: u64) -> Received {
    let options = ReceiveOptions::new(10).lease(LEASE).wait(Duration::from_secs(wait));
    let mut batch = queue.receive(&options).await.expect("it answers");
    assert_eq!(batch.deliveries.len(), 1, "one message comes");
    batch.deliveries.remove(0)
}

async fn nothing(queue: &SqsQueue) {
    let batch = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers");
    assert!(batch.is_empty(), "nothing comes yet: {batch:?}");
}

fn text(text: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(text).build().expect("a text")
}

#[tokio::test]
async fn what_somebody_else_sends_is_a_delivery_like_any_other() {
    let Some(service) = Service::find() else { return };
    let queues = service.make("", 50).await;
    let mut config = config();
    config.foreign_kind = "upload".into();
    let queue = service.open(&queues, config);
    let request = service.client().send_message().queue_url(&queues.url);
    let request = request.message_body("<xml>ü</xml>").message_attributes("origin", text("a"));
    let sent = request.send().await.expect("it is sent");

    let first = take(&queue, 0).await;
    let envelope = first.envelope();
    assert_eq!((&*envelope.kind, &envelope.body[..]), ("upload", "<xml>ü</xml>".as_bytes()));
    assert_eq!(envelope.headers["origin"], "a");
    let id = sent.message_id().expect("it has an id").replace('-', "");
    assert_eq!(envelope.id.to_string(), id, "its id is the service's");
    let again = Settlement::release();
    queue.settle(&[(first.receipt.clone(), again)]).await.expect("it answers");
    let second = take(&queue, 0).await;
    assert_eq!((second.receipt.id(), second.attempt), (envelope.id, 2), "and stays the same");

    let bury = Settlement::DeadLetter { reason: "no such upload".to_owned() };
    queue.settle(&[(second.receipt, bury)]).await.expect("it answers");
    let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 10).await;
    let letter = page.expect("it lists").letters.remove(0);
    assert_eq!((letter.envelope.id, &*letter.reason), (envelope.id, "no such upload"));
    assert_eq!(letter.envelope.body, envelope.body);
    queue.redrive(&DeadLetterFilter::default(), &RedriveOptions::default()).await.expect("sent");
    let third = take(&queue, 0).await;
    assert_eq!((third.receipt.id(), third.envelope().run), (envelope.id, 2), "as its next run");
}

#[tokio::test]
async fn what_we_send_can_be_read_by_somebody_else() {
    let Some(service) = Service::find() else { return };
    let queues = service.make("", 50).await;
    let queue = Arc::new(service.open(&queues, config()));
    queue.send_one(Envelope::new("report", "{\"rows\":3}")).await.expect("it is sent");
    let request = service.client().receive_message().queue_url(&queues.url);
    let answer = request.message_attribute_names("All").send().await.expect("it answers");
    let message = &answer.messages()[0];
    assert_eq!(message.body(), Some("{\"rows\":3}"), "the body is the body");
    let attributes = message.message_attributes().expect("there are headers");
    assert_eq!(attributes.len(), 1, "one attribute: {attributes:?}");
    let head = attributes["standfast"].string_value().expect("text");
    assert!(head.contains("\"kind\":\"report\""), "{head}");
}

/// A delay that is longer than one request can ask for: the message as an earlier hop has left it.
#[tokio::test]
async fn a_hop_is_no_attempt_and_never_early() {
    let Some(service) = Service::find() else { return };
    let queues = service.make("", 50).await;
    let queue = service.open(&queues, config());
    let head = Envelope::new("report", "march").encode_head();
    let head = String::from_utf8(head).expect("JSON is text");
    let note = r#"{"v":1,"left":4000,"before":[3,4],"due_at":"2026-01-02T03:04:05Z"}"#;
    let request = service.client().send_message().queue_url(&queues.url).message_body("march");
    let request = request.message_attributes("standfast", text(&head));
    let request = request.message_attributes("standfast.sqs", text(note));
    request.send().await.expect("it is sent");
    let began = std::time::Instant::now();

    nothing(&queue).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.delayed), (0, 0, 1), "it waits as a fresh copy");
    nothing(&queue).await;
    let received = take(&queue, 10).await;
    assert!(began.elapsed() >= Duration::from_secs(4), "after {:?}", began.elapsed());
    assert_eq!((received.attempt, received.delivery), (4, 5), "what was before goes on");
    assert_eq!(received.due_at.to_rfc3339(), "2026-01-02T03:04:05+00:00");
    let ack = [(received.receipt, Settlement::Ack)];
    queue.settle(&ack).await.expect("it answers");
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.delayed), (0, 0, 0), "there is only one of it");
}

#[tokio::test]
async fn a_release_for_longer_than_a_lease_may_last_is_kept() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    queue.send_one(Envelope::new("report", "march")).await.expect("it is sent");
    let received = take(&queue, 0).await;
    let day = Duration::from_secs(24 * 60 * 60);
    let release = Settlement::Release { delay: day, counted: true, error: None };
    let outcomes = queue.settle(&[(received.receipt, release)]).await.expect("it answers");
    assert!(matches!(outcomes[..], [SettleOutcome::Settled]), "{outcomes:?}");
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.delayed), (0, 0, 1), "it hops from now on");
}

/// The service would take some of these: this process does not even ask.
#[tokio::test]
async fn a_receipt_is_refused_by_what_this_process_knows() {
    let Some(service) = Service::find() else { return };
    for fifo in [false, true] {
        let queue = if fifo { service.fifo().await } else { service.queue().await };
        let second = Duration::from_secs(1);
        let short = ReceiveOptions::new(1).lease(second);
        let mut stale = Vec::new();
        for body in ["run out", "settled", "purged"] {
            queue.send_one(Envelope::new("case", body)).await.expect("it is sent");
            let options = if body == "run out" { &short } else { &ReceiveOptions::new(1) };
            let received = queue.receive(options).await.expect("it answers").deliveries.remove(0);
            match body {
                "run out" => tokio::time::sleep(second + second / 10).await,
                "settled" => {
                    let ack = [(received.receipt.clone(), Settlement::Ack)];
                    queue.settle(&ack).await.expect("it answers");
                }
                _ => drop(standfast_queue::QueueAdmin::purge(&*queue).await.expect("it purges")),
            }
            stale.push(received.receipt);
        }
        let before = service.http.all();
        for receipt in stale {
            let acks = [(receipt.clone(), Settlement::Ack), (receipt.clone(), Settlement::Ack)];
            let outcomes = queue.settle(&acks).await.expect("it answers");
            assert!(matches!(outcomes[..], [SettleOutcome::Stale, SettleOutcome::Stale]));
            let outcomes = queue.extend(&[receipt], second).await.expect("it answers");
            assert!(matches!(outcomes[..], [standfast_queue::ExtendOutcome::Stale]));
        }
        assert_eq!(service.http.all(), before, "nothing was asked");
    }
}

#[tokio::test]
async fn a_message_that_takes_its_workers_down_is_buried_and_told() {
    let Some(service) = Service::find() else { return };
    for suffix in ["", ".fifo"] {
        let mut config = config();
        config.max_receives = 2;
        let queue = Arc::new(service.open(&service.make(suffix, 50).await, config));
        let sent = Envelope::new("poison", "");
        queue.send_one(sent.clone()).await.expect("it is sent");
        let options = ReceiveOptions::new(1).lease(Duration::from_secs(1));
        let patient = options.clone().wait(Duration::from_secs(5));
        for attempt in 1..=2 {
            let batch = queue.receive(&patient).await.expect("it answers");
            assert_eq!(batch.deliveries[0].attempt, attempt, "its worker dies");
        }
        let batch = queue.receive(&patient).await.expect("it answers");
        assert!(batch.deliveries.is_empty(), "no third worker dies: {batch:?}");
        let told = &batch.dead[0];
        assert_eq!((told.envelope.id, told.attempts), (sent.id, 2), "whoever receives is told");
        let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 10).await;
        let letter = page.expect("it lists").letters.remove(0);
        assert_eq!((letter.envelope.id, &*letter.reason), (sent.id, DeadLetter::CRASHED));
        assert_eq!((letter.attempts, letter.deliveries), (2, 2));
        let stats = queue.stats().await.expect("it counts");
        assert_eq!((stats.ready, stats.leased, stats.dead), (0, 0, 1), "it is only there");
    }
}

#[tokio::test]
async fn what_a_dropped_receive_still_gets_is_given_back_at_once() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let task = tokio::spawn({
        let queue = Arc::clone(&queue);
        let options = ReceiveOptions::new(1).lease(LEASE).wait(Duration::from_secs(20));
        async move { queue.receive(&options).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    task.abort();
    drop(task.await);
    queue.send_one(Envelope::new("case", "")).await.expect("it is sent");
    let began = std::time::Instant::now();
    take(&queue, 10).await;
    assert!(began.elapsed() < Duration::from_secs(8), "not after its lease: {:?}", began.elapsed());
}

/// A walk that its caller drops gives the letters back: the next one sees them.
#[tokio::test]
async fn a_dropped_redrive_holds_no_letters() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    for _ in 0..3 {
        queue.send_one(Envelope::new("case", "")).await.expect("it is sent");
        let bury = Settlement::DeadLetter { reason: "no use".to_owned() };
        let receipt = take(&queue, 0).await.receipt;
        queue.settle(&[(receipt, bury)]).await.expect("it answers");
    }
    let (all, slowly) = (DeadLetterFilter::default(), RedriveOptions::default().rate(0.01));
    let dropped = tokio::time::timeout(Duration::from_secs(1), queue.redrive(&all, &slowly)).await;
    assert!(dropped.is_err(), "it takes minutes");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = queue.list_dead_letters(&all, None, 10).await.expect("it lists");
    assert_eq!(page.letters.len(), 2, "one is sent, the rest is there: {page:?}");
}
