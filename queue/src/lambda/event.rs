//! What AWS Lambda hands over: an event of records, each a message as a receive would bring it.

use std::collections::HashMap;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use standfast_core::{Error, ErrorKind, Result};

use super::BACKEND;

/// One record of an event.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) group: Option<String>,
    /// `None` when it cannot be read.
    pub(super) message: Option<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    receipt_handle: String,
    body: String,
    attributes: HashMap<String, String>,
    #[serde(default)]
    message_attributes: HashMap<String, Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribute {
    data_type: String,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// The records of an event of `queue`. One that is not in the form of a message is a record all the
/// same, if it says which message it is: only then can the answer keep it in the queue.
pub(super) fn records(event: Value, queue: &str) -> Result<Vec<Record>> {
    let Value::Object(mut event) = event else { return Err(unknown("it is no object")) };
    let Some(Value::Array(records)) = event.remove("Records") else {
        let keys: Vec<_> = event.keys().take(5).collect();
        return Err(unknown(format!("it has no list `Records` but {keys:?}")));
    };
    records.into_iter().map(|record| self::record(record, queue)).collect()
}

fn record(record: Value, queue: &str) -> Result<Record> {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let source = text("eventSource");
    if source != "aws:sqs" {
        return Err(unknown(format!("a record is of {source:?}, not of \"aws:sqs\"")));
    }
    let from = text("eventSourceARN").rsplit(':').next().unwrap_or_default();
    if from != queue {
        return Err(unknown(format!("it is of the queue {from:?}, not of {queue:?}")));
    }
    let id = text("messageId").to_owned();
    if id.is_empty() {
        return Err(unknown("a record has no `messageId`"));
    }
    // what is wrong with it may be anything, and the words for it may hold what it says
    let message = serde_json::from_value(record).ok().and_then(|contents| read(&id, contents));
    let group = message.as_ref().and_then(|message| message.attributes());
    let group = group.and_then(|all| all.get(&System::MessageGroupId)).cloned();
    Ok(Record { id, group, message })
}

fn read(id: &str, contents: Contents) -> Option<Message> {
    let mut message = Message::builder()
        .message_id(id)
        .receipt_handle(contents.receipt_handle)
        .body(contents.body);
    for (name, value) in contents.attributes {
        message = message.attributes(System::from(name.as_str()), value);
    }
    for (name, attribute) in contents.message_attributes {
        let Attribute { data_type, string_value, binary_value } = attribute;
        let bytes = binary_value.map(|text| BASE64_STANDARD.decode(text)).transpose().ok()?;
        let value = MessageAttributeValue::builder()
            .data_type(data_type)
            .set_string_value(string_value)
            .set_binary_value(bytes.map(Blob::new));
        message = message.message_attributes(name, value.build().ok()?);
    }
    Some(message.build())
}

fn unknown(why: impl Into<String>) -> Error {
    let why = why.into();
    Error::new(ErrorKind::Invalid, BACKEND, "lambda.respond")
        .with_detail(format!("this is no event of the queue that is served: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": "text",
            "attributes": {
                "ApproximateReceiveCount": "2",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
                "MessageGroupId": "g.tenant",
            },
            "messageAttributes": {
                "text": {
                    "stringValue": "100",
                    "binaryValue": null,
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": "Number",
                },
                "bytes": {"binaryValue": "AP8=", "dataType": "Binary"},
            },
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:mail",
            "awsRegion": "us-east-2",
        })
    }

    #[test]
    fn a_record_is_the_message_that_a_receive_brings() {
        let records = records(json!({"Records": [sample()]}), "mail").unwrap();
        let [record] = &records[..] else { panic!("one record") };
        assert_eq!(record.group.as_deref(), Some("g.tenant"));
        let message = record.message.as_ref().unwrap();
        assert_eq!(message.message_id(), Some(record.id.as_str()));
        assert_eq!(message.body(), Some("text"));
        assert_eq!(message.attributes().unwrap()[&System::ApproximateReceiveCount], "2");
        let attributes = message.message_attributes().unwrap();
        assert_eq!(attributes["text"].string_value(), Some("100"));
        assert_eq!(attributes["bytes"].binary_value().unwrap().as_ref(), b"\0\xff");
    }

    #[test]
    fn a_record_in_another_form_is_one_that_cannot_be_read() {
        for (at, other) in [
            ("/body", json!(7)),
            ("/receiptHandle", Value::Null),
            ("/attributes", json!([])),
            ("/messageAttributes/text/dataType", Value::Null),
            ("/messageAttributes/bytes/binaryValue", json!("no base64")),
        ] {
            let mut odd = sample();
            *odd.pointer_mut(at).unwrap() = other;
            let records = records(json!({"Records": [odd, sample()]}), "mail").unwrap();
            assert!(records[0].message.is_none() && records[1].message.is_some(), "{at}");
            assert_eq!(records[0].id, records[1].id);
        }
    }

    #[test]
    fn an_event_of_something_else_says_what_it_is() {
        let with = |at: &str, other: Value| {
            let mut odd = sample();
            *odd.pointer_mut(at).unwrap() = other;
            json!({"Records": [sample(), odd]})
        };
        for (event, said) in [
            (json!([]), "no object"),
            (json!({"source": "aws.events"}), "[\"source\"]"),
            (json!({"Records": {}}), "Records"),
            (json!({"Records": [7]}), "not of \"aws:sqs\""),
            (with("/eventSource", json!("aws:s3")), "\"aws:s3\""),
            (with("/eventSourceARN", json!("arn:aws:sqs:us-east-2:1:other")), "\"other\""),
            (with("/messageId", json!("")), "messageId"),
        ] {
            let error = records(event, "mail").err().expect("it is of something else");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
