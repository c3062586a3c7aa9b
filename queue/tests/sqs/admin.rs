//! Queues as they should be.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use standfast_core::JobId;
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Drift, Envelope, Queue, QueueExt, ReceiveOptions, Settlement,
    SqsQueue, SqsQueueSpec,
};

use crate::sqs_support::{Service, config};

fn spec() -> SqsQueueSpec {
    of("")
}

fn of(suffix: &str) -> SqsQueueSpec {
    SqsQueueSpec::new(format!("a{}{suffix}", JobId::random())).tag("team", "billing")
}

#[tokio::test]
async fn queues_are_made_once_however_many_ask() {
    let Some(service) = Service::find() else { return };
    for spec in [of(""), of(".fifo")] {
        let admin = service.admin();
        let all = futures_util::future::join_all((0..6).map(|_| admin.ensure(&spec))).await;
        let all: Vec<_> = all.into_iter().map(|one| one.expect("it is there")).collect();
        assert!(all.iter().any(|one| one.created), "somebody has made it");
        for one in &all {
            assert_eq!((&one.url, &one.dead_url), (&all[0].url, &all[0].dead_url));
            assert_eq!(one.drift, [], "it is as it should be");
        }
        let again = admin.ensure(&spec).await.expect("it is there");
        assert!(!again.created && again.drift.is_empty(), "{again:?}");

        let request = service.client().get_queue_attributes().queue_url(&again.url);
        let answer = request.attribute_names(Attribute::All).send().await.expect("it answers");
        let found = answer.attributes().expect("it has attributes");
        assert_eq!(found[&Attribute::MessageRetentionPeriod], "1209600", "14 days");
        assert_eq!(found[&Attribute::SqsManagedSseEnabled], "true");
        assert!(found[&Attribute::RedrivePolicy].contains(&spec.dead_name()));
        let queue = SqsQueue::connect(&service.client(), &spec.name, config()).await;
        assert_eq!(queue.expect("it opens").stats().await.expect("it counts").dead, 0);
    }
}

#[tokio::test]
async fn a_drift_is_told_and_left_alone() {
    let Some(service) = Service::find() else { return };
    let (admin, spec) = (service.admin(), spec());
    let queues = admin.ensure(&spec).await.expect("it is made");
    let days = "86400";
    let change = service.client().set_queue_attributes().queue_url(&queues.dead_url);
    let change = change.attributes(Attribute::MessageRetentionPeriod, days);
    change.send().await.expect("it is changed");
    let wanted = spec.clone().max_receives(7).tag("owner", "ops");
    for _ in 0..2 {
        let found = admin.ensure(&wanted).await.expect("it is there").drift;
        let whats: Vec<_> = found.iter().map(|one| (&*one.queue, &*one.what)).collect();
        let dead = spec.dead_name();
        let expected = [
            (&*spec.name, "RedrivePolicy"),
            (&*spec.name, "tag owner"),
            (&*dead, "MessageRetentionPeriod"),
            (&*dead, "tag owner"),
        ];
        assert_eq!(whats, expected, "{found:?}");
        let retention: &Drift = &found[2];
        assert_eq!((&*retention.expected, retention.found.as_deref()), ("1209600", Some(days)));
        assert!(retention.to_string().contains("86400"), "{retention}");
    }
}

#[tokio::test]
async fn the_service_moves_dead_letters_by_itself() {
    let Some(service) = Service::find() else { return };
    let spec = spec().max_message(256 * 1024);
    service.admin().ensure(&spec).await.expect("it is made");
    let queue = SqsQueue::connect(&service.client(), &spec.name, config()).await.expect("it opens");
    let queue = std::sync::Arc::new(queue);
    let sent = Envelope::new("case", "");
    queue.send_one(sent.clone()).await.expect("it is sent");
    let received = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers").deliveries;
    let bury = Settlement::DeadLetter { reason: "no use".to_owned() };
    queue.settle(&[(received[0].receipt.clone(), bury)]).await.expect("it answers");

    let admin = service.admin();
    let task = admin.start_move(&spec.name, None, Some(100)).await.expect("it begins");
    assert!(task.handle.is_some(), "{task:?}");
    let patient = ReceiveOptions::new(1).wait(Duration::from_secs(20));
    let batch = queue.receive(&patient).await.expect("it answers");
    let envelope = batch.deliveries[0].envelope();
    assert_eq!((envelope.id, envelope.run), (sent.id, 2), "a letter of ours begins its next run");
    let tasks = admin.moves(&spec.name).await.expect("it lists");
    assert_eq!(tasks[0].moved, 1, "{tasks:?}");
    let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 1).await;
    assert!(page.expect("it lists").letters.is_empty(), "it is not dead any more");
    let error = admin.cancel_move("no such handle").await.expect_err("there is none");
    assert!(!error.is_retryable(), "{error}");
}

#[cfg(feature = "sqs-url")]
#[tokio::test]
async fn a_url_opens_a_queue() {
    let Some(service) = Service::find() else { return };
    let key = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    if key.iter().any(|name| std::env::var_os(name).is_none()) {
        // which the opener reads, and a test cannot set for its threads
        let program = std::env::current_exe().expect("this test has a file");
        let again = std::process::Command::new(program)
            .args(["--exact", "admin::a_url_opens_a_queue"])
            .envs(key.map(|name| (name, "test")))
            .status();
        return assert!(again.expect("it starts").success(), "it opens");
    }
    let spec = spec();
    let url = format!("sqs://{}?endpoint={}", spec.name, service.endpoint);
    let admin = standfast_queue::SqsAdmin::open(&url).await.expect("the URL is one");
    admin.ensure(&spec).await.expect("it is made");
    let queue = SqsQueue::open(&url, config()).await.expect("it opens");
    let outcomes = queue.send(&[Envelope::new("case", "").into()]).await.expect("it answers");
    assert!(outcomes[0].is_sent(), "{outcomes:?}");
}
