//! The event source of Lambda: it receives messages, makes events of them, and deletes what the
//! answer does not keep.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use serde_json::{Map, Value, json};
use standfast_queue::{
    DeadLetter, DeadLetterFilter, DeadLetters as _, Envelope, OutgoingMessage, Queue as _,
    QueueStats, SqsQueue, SqsQueues,
};

use crate::function::{Act, Then};
use crate::sqs_support::{Service, config};

/// How long what was received is hidden.
pub(crate) const HIDDEN: Duration = Duration::from_secs(30);

pub(crate) struct Source {
    client: Client,
    pub(crate) queues: SqsQueues,
    pub(crate) sqs: SqsQueue,
}

impl Source {
    pub(crate) async fn new(service: &Service, suffix: &str) -> Self {
        // the faults of a test are the function's
        let service = Service::at(service.endpoint.clone());
        let queues = service.make(suffix, 50).await;
        let sqs = service.open(&queues, config());
        Self { client: service.client(), queues, sqs }
    }

    pub(crate) async fn send(&self, name: &str, then: Then) {
        self.send_message(message(name, then)).await;
    }

    pub(crate) async fn send_to(&self, group: &str, name: &str, then: Then) {
        self.send_message(message(name, then).group(group)).await;
    }

    pub(crate) async fn send_message(&self, message: OutgoingMessage) {
        let sent = self.sqs.send(&[message]).await.unwrap();
        assert!(sent[0].is_sent(), "{sent:?}");
    }

    /// Sends what this library does not: a body, and one attribute.
    pub(crate) async fn send_raw(&self, body: &str, attribute: (&str, &str)) {
        let (name, value) = attribute;
        let value = MessageAttributeValue::builder().data_type("String").string_value(value);
        let value = value.build().unwrap();
        let request = self.client.send_message().queue_url(&self.queues.url).message_body(body);
        request.message_attributes(name, value).send().await.unwrap();
    }

    /// Receives so many messages.
    pub(crate) async fn poll(&self, count: usize) -> Polled {
        let began = Instant::now();
        let mut messages = Vec::new();
        while messages.len() < count {
            assert!(began.elapsed() < HIDDEN * 2, "{} of {count} messages", messages.len());
            let some = i32::try_from((count - messages.len()).min(10)).unwrap();
            let received = self
                .client
                .receive_message()
                .queue_url(&self.queues.url)
                .max_number_of_messages(some)
                .visibility_timeout(i32::try_from(HIDDEN.as_secs()).unwrap())
                .wait_time_seconds(2)
                .message_attribute_names("All")
                .message_system_attribute_names(System::All)
                .send();
            messages.extend(received.await.unwrap().messages.unwrap_or_default());
        }
        Polled { messages, queue: self.queues.url.rsplit('/').next().unwrap().to_owned() }
    }

    /// Deletes what is not among the failures, as Lambda does with an answer.
    pub(crate) async fn delete(&self, polled: &Polled, failures: &[String]) {
        let done =
            |message: &&Message| !failures.iter().any(|id| Some(&**id) == message.message_id());
        for message in polled.messages.iter().filter(done) {
            let request = self.client.delete_message().queue_url(&self.queues.url);
            request.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
        }
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let all = DeadLetterFilter::default();
        self.sqs.list_dead_letters(&all, None, 10).await.unwrap().letters
    }

    pub(crate) async fn stats(&self) -> QueueStats {
        self.sqs.stats().await.unwrap()
    }
}

pub(crate) fn message(name: &str, then: Then) -> OutgoingMessage {
    let act = Act { name: name.into(), then };
    OutgoingMessage::new(Envelope::new("act", serde_json::to_vec(&act).unwrap()))
}

/// What one receive brought.
pub(crate) struct Polled {
    messages: Vec<Message>,
    queue: String,
}

impl Polled {
    fn name(message: &Message) -> String {
        let body: Value = serde_json::from_str(message.body().unwrap()).unwrap_or_default();
        body["name"].as_str().unwrap_or_default().to_owned()
    }

    /// The ids of messages, by the names in their bodies.
    pub(crate) fn ids(&self, names: &[&str]) -> Vec<String> {
        let id = |name: &&str| {
            let find = self.messages.iter().find(|message| Self::name(message) == *name);
            find.unwrap().message_id().unwrap().to_owned()
        };
        names.iter().map(id).collect()
    }

    /// The event, in the order of the names, or else of the receive.
    pub(crate) fn event(&self, order: &[&str]) -> Value {
        let mut messages: Vec<_> = self.messages.iter().collect();
        let place = |message: &&Message| {
            let name = Self::name(message);
            order.iter().position(|one| *one == name)
        };
        messages.sort_by_key(place);
        let records: Vec<_> = messages.into_iter().map(|one| self.record(one)).collect();
        json!({"Records": records})
    }

    fn record(&self, message: &Message) -> Value {
        let attributes: BTreeMap<_, _> = message
            .attributes()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let own = message.message_attributes().into_iter().flatten().map(|(name, value)| {
            let value = json!({
                "dataType": value.data_type(),
                "stringValue": value.string_value(),
                "stringListValues": [],
                "binaryListValues": [],
            });
            (name.clone(), value)
        });
        json!({
            "messageId": message.message_id(),
            "receiptHandle": message.receipt_handle(),
            "body": message.body(),
            "attributes": attributes,
            "messageAttributes": own.collect::<Map<_, _>>(),
            "md5OfBody": message.md5_of_body(),
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}", self.queue),
            "awsRegion": "us-east-1",
        })
    }
}

/// The ids, whatever their order.
pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
