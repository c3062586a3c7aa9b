//! Requests, attributes and refusals, in moto's words.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use standfast_core::{ErrorKind, JobId, Reason};
use standfast_queue::{
    DeadLetter, DeadLetterFilter, DeadLetters, Envelope, OutgoingMessage, Queue, QueueAdmin,
    QueueExt, ReceiveOptions, RedriveOptions, SendOutcome, SettleOutcome, Settlement, SqsQueue,
    SqsQueueSpec,
};

use crate::sqs_support::Service;

fn messages(bodies: &[usize]) -> Vec<OutgoingMessage> {
    bodies.iter().map(|len| Envelope::new("case", vec![b'x'; *len]).into()).collect()
}

pub(crate) async fn batches(service: Service) {
    let queue = service.queue().await;
    let outcomes = queue.send(&messages(&[7; 10])).await.expect("it answers");
    assert!(outcomes.iter().all(SendOutcome::is_sent), "{outcomes:?}");
    let received = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers").deliveries;
    assert_eq!(received.len(), 10);
    let acks: Vec<_> =
        received.into_iter().map(|received| (received.receipt, Settlement::Ack)).collect();
    let outcomes = queue.settle(&acks).await.expect("it answers");
    let settled = |outcome: &SettleOutcome| matches!(outcome, SettleOutcome::Settled);
    assert!(outcomes.iter().all(settled), "{outcomes:?}");
    for request in ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"] {
        assert_eq!(service.http.asked(request), 1, "{request}");
    }
    let error = queue.send(&messages(&[7; 11])).await.expect_err("eleven are too many");
    let found = (error.kind(), error.reason());
    assert_eq!(found, (ErrorKind::Invalid, Some(Reason::BatchTooLarge)), "{error}");
}

pub(crate) async fn attributes(service: Service) {
    for suffix in ["", ".fifo"] {
        let spec = SqsQueueSpec::new(format!("a{}{suffix}", JobId::random()));
        let spec = spec.tag("team", "billing").max_receives(7);
        let admin = service.admin();
        let made = admin.ensure(&spec).await.expect("it is made");
        assert!(made.created, "{made:?}");
        let again = admin.ensure(&spec).await.expect("it is there");
        assert!(!again.created && again.drift.is_empty(), "{again:?}");
        assert_eq!((&made.url, &made.dead_url), (&again.url, &again.dead_url));

        let request = service.client().get_queue_attributes().queue_url(&made.url);
        let answer = request.attribute_names(Attribute::All).send().await.expect("it answers");
        let found = answer.attributes().expect("it has attributes");
        assert_eq!(found[&Attribute::MessageRetentionPeriod], "1209600", "14 days");
        assert_eq!(found[&Attribute::MaximumMessageSize], "1048576", "1 MiB");
        assert_eq!(found[&Attribute::SqsManagedSseEnabled], "true");
        assert!(found[&Attribute::RedrivePolicy].contains(&spec.dead_name()));

        let change = service.client().set_queue_attributes().queue_url(&made.dead_url);
        let change = change.attributes(Attribute::MessageRetentionPeriod, "86400");
        change.send().await.expect("it is changed");
        let drift = admin.ensure(&spec.tag("owner", "ops")).await.expect("it is there").drift;
        let whats: Vec<_> = drift.iter().map(|one| &*one.what).collect();
        assert_eq!(whats, ["tag owner", "MessageRetentionPeriod", "tag owner"], "{drift:?}");
    }
}

pub(crate) async fn missing(service: Service) {
    let connected = SqsQueue::connect(&service.client(), "no-such-queue", service.config()).await;
    let error = connected.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let url = format!("{}/123456789012/no-such-queue", service.endpoint);
    let dead = format!("{url}-dead");
    let queue = SqsQueue::from_parts(&service.client(), url, dead, service.config());
    let queue = Arc::new(queue.expect("it fits"));
    let sent = queue.send_one(Envelope::new("case", "")).await.expect_err("there is none");
    let received = queue.receive(&ReceiveOptions::new(1)).await.expect_err("there is none");
    let counted = queue.stats().await.expect_err("there is none");
    let purged = queue.purge().await.expect_err("there is none");
    for error in [sent, received, counted, purged] {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false), "{error}");
    }
}

/// The minute between two purges, which the stand-in does not know.
pub(crate) async fn purges(service: Service) {
    let queue = service.queue().await;
    queue.send(&messages(&[7; 3])).await.expect("it answers");
    queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
    queue.purge().await.expect("it purges");
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.delayed), (0, 0, 0), "nothing is left");
    let error = queue.purge().await.expect_err("too soon");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Throttled, true), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)), "{error}");
    queue.send(&messages(&[7])).await.expect("it answers");
    let batch = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers");
    assert_eq!(batch.deliveries.len(), 1, "it goes on");
}

/// The limits of the service where the configuration believes in larger ones.
pub(crate) async fn sizes(service: Service) {
    let mut config = service.config();
    config.max_message = 4 * 1024 * 1024;
    let spec = SqsQueueSpec::new(format!("q{}", JobId::random())).max_message(2048);
    let small = service.admin().ensure(&spec).await.expect("it is made");
    let small = service.open(&small, config.clone());
    let whole = service.open(&service.make("", 50).await, config);
    // one message over the limit of the queue; two that fit, but not into one request
    let cases = [(small, vec![4000], Some(Reason::BodyTooLarge)), (whole, vec![600_000; 2], None)];
    for (queue, bodies, reason) in cases {
        let outcomes = queue.send(&messages(&bodies)).await.expect("it answers");
        assert_eq!(outcomes.len(), bodies.len());
        for outcome in outcomes {
            let SendOutcome::Failed(error) = outcome else { panic!("too large, not {outcome:?}") };
            assert_eq!((error.kind(), error.reason()), (ErrorKind::TooLarge, reason), "{error}");
        }
    }
    // as it believes in the right ones
    let queue = service.queue().await;
    let outcomes = queue.send(&messages(&[600_000; 2])).await.expect("it answers");
    assert!(outcomes.iter().all(SendOutcome::is_sent), "in two requests: {outcomes:?}");
}

/// The redrive policy, the last resort.
pub(crate) async fn redrive(service: Service) {
    for suffix in ["", ".fifo"] {
        let queue = Arc::new(service.open(&service.make(suffix, 2).await, service.config()));
        let sent = Envelope::new("case", "");
        queue.send_one(sent.clone()).await.expect("it is sent");
        for attempt in 1..=2 {
            let batch = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
            let received = &batch.deliveries[0];
            assert_eq!((received.receipt.id(), received.attempt), (sent.id, attempt));
            let release = [(received.receipt.clone(), Settlement::release())];
            queue.settle(&release).await.expect("it answers");
        }
        let batch = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
        assert!(batch.is_empty(), "the service moves it, and tells nobody: {batch:?}");
        let stats = queue.stats().await.expect("it counts");
        assert_eq!((stats.ready, stats.leased, stats.dead), (0, 0, 1), "it is only there");
        let all = DeadLetterFilter::default();
        let page = queue.list_dead_letters(&all, None, 10).await;
        let letter = page.expect("it lists").letters.remove(0);
        assert_eq!((letter.envelope.id, &*letter.reason), (sent.id, DeadLetter::CRASHED));
        let redriven = queue.redrive(&all, &RedriveOptions::default()).await.expect("it is sent");
        assert_eq!((redriven.sent, redriven.kept), (1, 0));
        let batch = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
        let received = &batch.deliveries[0];
        let found = (received.receipt.id(), received.envelope().run, received.attempt);
        assert_eq!(found, (sent.id, 2, 1), "its next run");
    }
}
