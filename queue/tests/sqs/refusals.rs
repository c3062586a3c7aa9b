//! What is refused, and as which error.

use std::sync::Arc;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use standfast_core::{ErrorKind, HealthCheck as _, Reason};
use standfast_queue::{
    Envelope, OutgoingMessage, Queue, QueueExt, ReceiveOptions, SendOutcome, SqsQueue,
};

use crate::sqs_support::fault::Fault;
use crate::sqs_support::{Service, config};

fn nowhere(service: &Service) -> Arc<SqsQueue> {
    let url = format!("{}/000000000000/no-such-queue", service.endpoint);
    let dead = format!("{url}-dead");
    Arc::new(SqsQueue::from_parts(&service.client(), url, dead, config()).expect("it fits"))
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_not_found() {
    let Some(service) = Service::find() else { return };
    let error = SqsQueue::connect(&service.client(), "no-such-queue", config()).await;
    let error = error.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("no-such-queue"), "{error}");
    let queue = nowhere(&service);
    let sent = queue.send_one(Envelope::new("case", "")).await.expect_err("there is none");
    let received = queue.receive(&ReceiveOptions::new(1)).await.expect_err("there is none");
    let counted = queue.stats().await.expect_err("there is none");
    for error in [sent, received, counted] {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false), "{error}");
    }
    assert!(!queue.health().await.is_usable());
}

#[tokio::test]
async fn a_queue_without_a_redrive_queue_is_not_opened() {
    let Some(service) = Service::find() else { return };
    let dead = service.make("", 50).await.dead_url;
    let name = dead.rsplit('/').next().expect("an address ends in a name");
    let error = SqsQueue::connect(&service.client(), name, config()).await;
    let error = error.expect_err("what would become of a message that kills its workers?");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn what_the_service_refuses_has_its_kind() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let table = [
        (403, "AccessDeniedException", ErrorKind::Denied, None, false),
        (403, "InvalidClientTokenId", ErrorKind::Denied, None, false),
        (403, "ExpiredToken", ErrorKind::Denied, Some(Reason::Expired), false),
        (400, "RequestThrottled", ErrorKind::Throttled, None, true),
        (400, "KmsAccessDenied", ErrorKind::Denied, None, false),
        (500, "InternalError", ErrorKind::OutcomeUnknown, None, true),
    ];
    for (status, code, kind, reason, again) in table {
        service.http.fail("SendMessageBatch", 1, Fault::Answer(status, code));
        let error = queue.send_one(Envelope::new("case", "")).await.expect_err(code);
        let found = (error.kind(), error.reason(), error.is_retryable());
        assert_eq!(found, (kind, reason, again), "{code}: {error}");
        service.http.fail("ReceiveMessage", 1, Fault::Answer(status, code));
        let error = queue.receive(&ReceiveOptions::new(1)).await.expect_err(code);
        let kind = if status == 500 { ErrorKind::Unavailable } else { kind };
        assert_eq!(error.kind(), kind, "{code}: {error}");
    }
}

#[tokio::test]
async fn a_client_without_region_or_credentials_is_told_so() {
    let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest());
    let key = Credentials::new("id", "secret-key", None, None, "tests");
    let clients = [
        (config.clone().credentials_provider(key).build(), ErrorKind::Invalid),
        (config.region(Region::new("eu-north-1")).build(), ErrorKind::Denied),
    ];
    for (config, kind) in clients {
        let client = aws_sdk_sqs::Client::from_conf(config);
        let error = SqsQueue::connect(&client, "reports", Default::default()).await;
        let error = error.expect_err("nothing can be asked");
        assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret-key"), "{error}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_any_request() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let limit = queue.capabilities().max_body;
    let before = service.http.all();
    let mut heavy = Envelope::new("case", vec![b'x'; limit]);
    heavy.headers.insert("trail".to_owned(), "y".repeat(20_000).into());
    let batch: Vec<OutgoingMessage> = vec![
        Envelope::new("text", vec![b'x'; limit + 1]).into(),
        // a third more as the service takes it
        Envelope::new("bytes", vec![0xff; limit]).into(),
        heavy.into(),
    ];
    let outcomes = queue.send(&batch).await.expect("it answers");
    for outcome in outcomes {
        let SendOutcome::Failed(error) = outcome else { panic!("too large, not {outcome:?}") };
        let found = (error.kind(), error.reason());
        assert_eq!(found, (ErrorKind::TooLarge, Some(Reason::BodyTooLarge)), "{error}");
    }
    assert_eq!(service.http.all(), before, "nothing was asked");
    let most = Envelope::new("bytes", vec![0xff; limit / 4 * 3]);
    assert!(queue.send_one(most).await.expect("it fits").is_sent());
}

#[tokio::test]
async fn a_reason_as_long_as_a_novel_does_not_keep_a_letter_alive() {
    let Some(service) = Service::find() else { return };
    let queue = service.queue().await;
    let body = vec![b'x'; queue.capabilities().max_body];
    queue.send_one(Envelope::new("case", body)).await.expect("it fits");
    let batch = queue.receive(&ReceiveOptions::new(1)).await.expect("it answers");
    let reason = "\u{1F480}\u{1}".repeat(200_000);
    let bury = standfast_queue::Settlement::DeadLetter { reason: reason.clone() };
    let batch = [(batch.deliveries[0].receipt.clone(), bury)];
    let outcomes = queue.settle(&batch).await.expect("it answers");
    assert!(matches!(outcomes[..], [standfast_queue::SettleOutcome::Settled]), "{outcomes:?}");
    let all = standfast_queue::DeadLetterFilter::default();
    let page = standfast_queue::DeadLetters::list_dead_letters(&*queue, &all, None, 1).await;
    let letter = page.expect("it lists").letters.remove(0);
    assert!(!letter.reason.is_empty() && reason.starts_with(&letter.reason), "its beginning");
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    let service = Service::at("http://127.0.0.1:9");
    let client = service.client();
    for (url, dead) in [("a.fifo", "a-dead"), ("a", "a-dead.fifo"), ("a", "a")] {
        let error = SqsQueue::from_parts(&client, url, dead, config()).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let mut wrong = config();
    wrong.max_message = 1000;
    assert!(SqsQueue::from_parts(&client, "a", "a-dead", wrong).is_err());
    let mut wrong = config();
    wrong.receivers = 0;
    assert!(SqsQueue::from_parts(&client, "a", "a-dead", wrong).is_err());
}
