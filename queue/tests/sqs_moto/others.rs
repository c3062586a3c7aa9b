//! Messages of others: as they go over the wire from boto3, and from SDKs of before 2023.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, Queue, QueueExt, ReceiveOptions, Received,
    RedriveOptions, Settlement, SqsQueue,
};

use crate::sqs_support::Service;

/// It names region and account; the signature is not looked at.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/sqs/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=0";

async fn post(request: http::request::Builder, body: String) -> Bytes {
    let request = request.header("authorization", SIGNED).header("x-amz-date", "20260102T030405Z");
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.expect("it answers").into_parts();
    let body = body.collect().await.expect("all of it").to_bytes();
    assert!(head.status.is_success(), "{}: {}", head.status, String::from_utf8_lossy(&body));
    body
}

async fn json(service: &Service, operation: &str, body: Value) -> Value {
    let request = http::Request::post(&service.endpoint)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("AmazonSQS.{operation}"))
        .header("user-agent", "Boto3/1.44.5");
    serde_json::from_slice(&post(request, body.to_string()).await).expect("JSON")
}

async fn take(queue: &SqsQueue) -> Received {
    let options = ReceiveOptions::new(10).lease(Duration::from_secs(60));
    let mut batch = queue.receive(&options).await.expect("it answers");
    assert_eq!(batch.deliveries.len(), 1, "one message comes");
    batch.deliveries.remove(0)
}

pub(crate) async fn boto(service: Service) {
    let queues = service.make("", 50).await;
    let mut config = service.config();
    config.foreign_kind = "upload".into();
    let queue = service.open(&queues, config);
    let sent = json!({
        "QueueUrl": queues.url,
        "MessageBody": "<xml>ü</xml>",
        "MessageAttributes": {
            "origin": {"DataType": "String", "StringValue": "a"},
            "size": {"DataType": "Number", "StringValue": "12"},
            "hash": {"DataType": "Binary", "BinaryValue": "AP+A"},
        },
    });
    let sent = json(&service, "SendMessage", sent).await;

    let first = take(&queue).await;
    let envelope = first.envelope();
    assert_eq!((&*envelope.kind, &envelope.body[..]), ("upload", "<xml>ü</xml>".as_bytes()));
    let headers = ["origin", "size", "hash"].map(|name| envelope.headers[name].clone());
    assert_eq!(headers, ["a", "12", "AP+A"]);
    let id = sent["MessageId"].as_str().expect("it has an id").replace('-', "");
    assert_eq!(envelope.id.to_string(), id, "its id is the service's");
    let again = Settlement::release();
    queue.settle(&[(first.receipt.clone(), again)]).await.expect("it answers");
    let second = take(&queue).await;
    assert_eq!((second.receipt.id(), second.attempt), (envelope.id, 2), "and stays the same");

    let bury = Settlement::DeadLetter { reason: "no such upload".to_owned() };
    queue.settle(&[(second.receipt, bury)]).await.expect("it answers");
    let all = DeadLetterFilter::default();
    let page = queue.list_dead_letters(&all, None, 10).await;
    let letter = page.expect("it lists").letters.remove(0);
    assert_eq!((letter.envelope.id, &*letter.reason), (envelope.id, "no such upload"));
    queue.redrive(&all, &RedriveOptions::default()).await.expect("it is sent");
    let third = take(&queue).await;
    assert_eq!((third.receipt.id(), third.envelope().run), (envelope.id, 2), "as its next run");
    assert_eq!(third.envelope().body, envelope.body);
}

pub(crate) async fn query(service: Service) {
    let queues = service.make("", 50).await;
    let queue = service.open(&queues, service.config());
    let request = http::Request::post(&queues.url)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let form = "Action=SendMessage&Version=2012-11-05&MessageBody=a%20b%26c\
                &MessageAttribute.1.Name=origin&MessageAttribute.1.Value.DataType=String\
                &MessageAttribute.1.Value.StringValue=old";
    let answer = post(request, form.to_owned()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let received = take(&queue).await;
    let envelope = received.envelope();
    assert_eq!((&*envelope.kind, &envelope.body[..]), ("foreign", &b"a b&c"[..]));
    assert_eq!(envelope.headers["origin"], "old");
    let id = envelope.id.to_string();
    assert!(answer.replace('-', "").contains(&id), "{id} is the service's: {answer}");
}

pub(crate) async fn reads(service: Service) {
    let queues = service.make("", 50).await;
    let queue = std::sync::Arc::new(service.open(&queues, service.config()));
    queue.send_one(Envelope::new("report", "{\"rows\":3}")).await.expect("it is sent");
    let asked = json!({
        "QueueUrl": queues.url,
        "MaxNumberOfMessages": 10,
        "MessageAttributeNames": ["All"],
        "VisibilityTimeout": 30,
    });
    let answer = json(&service, "ReceiveMessage", asked).await;
    let message = &answer["Messages"][0];
    assert_eq!(message["Body"], "{\"rows\":3}", "the body is the body");
    let attributes = message["MessageAttributes"].as_object().expect("there are headers");
    assert_eq!(attributes.len(), 1, "one attribute: {attributes:?}");
    let head = attributes["standfast"]["StringValue"].as_str().expect("text");
    let head: Value = serde_json::from_str(head).expect("JSON");
    assert_eq!(head["kind"], "report", "{head}");
    let handle = json!({"QueueUrl": queues.url, "ReceiptHandle": message["ReceiptHandle"]});
    json(&service, "DeleteMessage", handle).await;
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased), (0, 0), "they may also delete it");
}
