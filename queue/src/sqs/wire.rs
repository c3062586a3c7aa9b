//! How a message is stored: its headers in the attribute `standfast`, as everywhere else, and its
//! body as the body. A second attribute, `standfast.sqs`, is there only when something more must be
//! known. A body that the service would refuse is in base64, and an empty one a single space.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::{Error, ErrorKind, Id128, JobId, Reason, Result};

use super::error::BACKEND;
use crate::envelope::Envelope;

const HEAD: &str = "standfast";
const NOTE: &str = "standfast.sqs";
const VERSION: u16 = 1;

/// What a message may need on top of its body: headers, and notes for later.
pub(super) const ROOM: usize = 16 * 1024;
/// The part of it that is kept free for the note of a dead letter.
pub(super) const NOTE_ROOM: usize = 4 * 1024;

/// How the body is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    #[default]
    Text,
    Base64,
    Empty,
}

/// What must be known besides the envelope.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Note {
    pub(super) v: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) body: Form,
    /// For how many seconds the service kept this copy back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) delay: u64,
    /// For how many milliseconds more it must wait after that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) left: u64,
    /// The attempts and deliveries of the copies before this one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) before: (u32, u32),
    /// When the run was first due, if that was before this copy was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) due_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dead: Option<Dead>,
}

/// What is known of the end of a dead letter.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Dead {
    pub(super) reason: String,
    pub(super) attempts: u32,
    pub(super) deliveries: u32,
    /// The group that it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A message as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    /// What the service takes it to measure.
    pub(super) size: usize,
}

/// A message as it was received.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) envelope: Arc<Envelope>,
    pub(super) note: Note,
    pub(super) meta: Meta,
}

/// What the service says of a message.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) handle: String,
    pub(super) message_id: String,
    pub(super) sent_at: DateTime<Utc>,
    pub(super) first_received: DateTime<Utc>,
    pub(super) count: u32,
    pub(super) group: Option<String>,
}

/// What the service takes: not every character.
fn is_taken(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..
    )
}

/// JSON with the characters that the service refuses written as escapes. They can only be in
/// strings, and JSON has no others below the space than it escapes itself.
fn sendable(json: String) -> String {
    if json.chars().all(is_taken) {
        return json;
    }
    json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
}

pub(super) fn encode(envelope: &Envelope, note: Note) -> Wire {
    let text = std::str::from_utf8(&envelope.body);
    let (form, body) = match text {
        Ok("") => (Form::Empty, " ".to_owned()),
        Ok(text) if text.chars().all(is_taken) => (Form::Text, text.to_owned()),
        _ => (Form::Base64, BASE64_STANDARD.encode(&envelope.body)),
    };
    // invariant: JSON is UTF-8, and a note has only strings as keys
    let head = String::from_utf8(envelope.encode_head()).expect("JSON is text");
    let mut attributes = HashMap::from([(HEAD.to_owned(), text_value(sendable(head)))]);
    let note = Note { v: 0, body: form, ..note };
    if note != Note::default() {
        let note = Note { v: VERSION, ..note };
        let note = serde_json::to_string(&note).expect("a note is JSON");
        attributes.insert(NOTE.to_owned(), text_value(sendable(note)));
    }
    let size =
        body.len() + attributes.iter().map(|(name, value)| measure(name, value)).sum::<usize>();
    Wire { body, attributes, size }
}

fn text_value(text: String) -> MessageAttributeValue {
    // invariant: the only required field is set
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(text)
        .build()
        .expect("a value has a type")
}

fn measure(name: &str, value: &MessageAttributeValue) -> usize {
    let text = value.string_value().map_or(0, str::len);
    let bytes = value.binary_value().map_or(0, |bytes| bytes.as_ref().len());
    name.len() + value.data_type().len() + text + bytes
}

/// What a message measures that was received.
pub(super) fn size(message: &Message) -> usize {
    let attributes = message.message_attributes().into_iter().flatten();
    message.body().map_or(0, str::len)
        + attributes.map(|(name, value)| measure(name, value)).sum::<usize>()
}

/// Reads what the service says of a message; what it does not say is made up as little as possible.
pub(super) fn meta(message: &Message) -> Meta {
    let system = |name: &System| message.attributes().and_then(|all| all.get(name));
    let time = |name: &System| {
        let millis = system(name).and_then(|text| text.parse().ok());
        millis.and_then(DateTime::from_timestamp_millis)
    };
    let sent_at = time(&System::SentTimestamp).unwrap_or_default();
    let count = system(&System::ApproximateReceiveCount).and_then(|text| text.parse().ok());
    Meta {
        handle: message.receipt_handle().unwrap_or_default().to_owned(),
        message_id: message.message_id().unwrap_or_default().to_owned(),
        sent_at,
        first_received: time(&System::ApproximateFirstReceiveTimestamp).unwrap_or(sent_at),
        count: count.unwrap_or(1).max(1),
        group: system(&System::MessageGroupId).cloned(),
    }
}

/// Reads a message of ours, or makes one of what somebody else has sent.
///
/// # Errors
///
/// `Unsupported` with [`Reason::NewerVersion`], `Corrupt`.
pub(super) fn decode(message: &Message, meta: Meta, foreign_kind: &str) -> Result<Incoming> {
    let text = |name: &str| {
        message
            .message_attributes()
            .and_then(|all| all.get(name))
            .and_then(|one| one.string_value())
    };
    let body = message.body().unwrap_or_default();
    let Some(head) = text(HEAD) else {
        let envelope = Arc::new(foreign(message, &meta, body, foreign_kind));
        return Ok(Incoming { envelope, note: Note::default(), meta });
    };
    let note = match text(NOTE) {
        None => Note::default(),
        Some(note) => read_note(note)?,
    };
    let body = match note.body {
        Form::Text => Bytes::copy_from_slice(body.as_bytes()),
        Form::Empty => Bytes::new(),
        Form::Base64 => BASE64_STANDARD
            .decode(body)
            .map_err(|error| corrupt("a body that is not in base64").with_source(error))?
            .into(),
    };
    let envelope = Arc::new(Envelope::from_parts(head.as_bytes(), body)?);
    Ok(Incoming { envelope, note, meta })
}

fn read_note(text: &str) -> Result<Note> {
    #[derive(Deserialize)]
    struct Version {
        v: u16,
    }
    let unreadable = |error| corrupt("unreadable notes").with_source(error);
    let Version { v } = serde_json::from_str(text).map_err(unreadable)?;
    if v > VERSION {
        return Err(Error::new(ErrorKind::Unsupported, BACKEND, "queue.receive")
            .with_reason(Reason::NewerVersion)
            .with_detail(format!("notes of version {v}, this library reads up to {VERSION}")));
    }
    serde_json::from_str(text).map_err(unreadable)
}

fn corrupt(detail: &str) -> Error {
    Error::new(ErrorKind::Corrupt, BACKEND, "queue.receive").with_detail(detail)
}

fn foreign(message: &Message, meta: &Meta, body: &str, kind: &str) -> Envelope {
    let digits = meta.message_id.replace('-', "").to_ascii_lowercase();
    let id = digits.parse().unwrap_or_else(|_| {
        JobId::from(Id128::derive("standfast:sqs:foreign:1", &[meta.message_id.as_bytes()]))
    });
    let attributes = message.message_attributes().into_iter().flatten();
    let headers: BTreeMap<String, Value> = attributes
        .map(|(name, value)| {
            let text = match (value.string_value(), value.binary_value()) {
                (Some(text), _) => text.to_owned(),
                (None, Some(bytes)) => BASE64_STANDARD.encode(bytes.as_ref()),
                (None, None) => String::new(),
            };
            (name.clone(), Value::String(text))
        })
        .collect();
    let mut envelope =
        Envelope::sent_at(meta.sent_at, kind.to_owned(), body.to_owned()).with_id(id);
    envelope.headers = headers;
    envelope
}

impl Incoming {
    /// A dead letter that the service itself moved back into its queue begins its next run there.
    pub(super) fn raised(self) -> Self {
        if self.note.dead.is_none() {
            return self;
        }
        let envelope = Arc::new(self.envelope.next_run());
        Self { envelope, note: Note::default(), meta: self.meta }
    }

    /// When it may be delivered, by the service's clock.
    pub(super) fn ready_at(&self) -> DateTime<Utc> {
        let span = Duration::from_secs(self.note.delay)
            .saturating_add(Duration::from_millis(self.note.left));
        let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        self.meta.sent_at.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// When this run was first due, by the service's clock.
    pub(super) fn due_at(&self) -> DateTime<Utc> {
        self.note.due_at.unwrap_or_else(|| self.ready_at())
    }
}

/// What the service takes as a group or a deduplication id: 1 to 128 letters, digits and
/// punctuation marks. Any other name is replaced by its hash, which begins with a mark of its own.
pub(super) fn name(prefix: &str, name: &str) -> String {
    let plain = name.len() + prefix.len() <= 128
        && !name.starts_with('~')
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if plain {
        return format!("{prefix}{name}");
    }
    let hash = Id128::derive("standfast:sqs:name:1", &[name.as_bytes()]);
    format!("{prefix}~{hash}")
}

/// The group that a name stands for, if it is one: messages without a group have names, too.
pub(super) fn group_of(name: &str) -> Option<&str> {
    if name.starts_with("i.") { None } else { Some(name.strip_prefix("g.").unwrap_or(name)) }
}

/// Whole seconds, no fewer than `span` has.
pub(super) fn seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message as the service would hand it over.
    fn received(wire: &Wire) -> Message {
        let mut message = Message::builder()
            .message_id("0f0e0d0c-0b0a-0908-0706-050403020100")
            .receipt_handle("handle")
            .body(&wire.body)
            .attributes(System::SentTimestamp, "1770000000123")
            .attributes(System::ApproximateReceiveCount, "3");
        for (name, value) in &wire.attributes {
            message = message.message_attributes(name, value.clone());
        }
        message.build()
    }

    fn read(message: &Message) -> Result<Incoming> {
        decode(message, meta(message), "foreign")
    }

    #[test]
    fn every_body_comes_as_it_went() {
        let bodies: [(&[u8], Form); 8] = [
            (b"", Form::Empty),
            (b" ", Form::Text),
            (b"{\"rows\":3}\r\n", Form::Text),
            ("ünï \u{1F600} \u{7f}".as_bytes(), Form::Text),
            (b"\0", Form::Base64),
            (b"\x1b", Form::Base64),
            ("\u{FFFF}".as_bytes(), Form::Base64),
            (b"\xff\xfe", Form::Base64),
        ];
        for (body, form) in bodies {
            let envelope = Envelope::new("case", body.to_vec());
            let wire = encode(&envelope, Note::default());
            assert!(wire.body.chars().all(is_taken) && !wire.body.is_empty(), "{body:?}");
            assert_eq!(wire.attributes.contains_key(NOTE), form != Form::Text, "{body:?}");
            let message = received(&wire);
            assert_eq!(size(&message), wire.size, "{body:?}");
            let read = read(&message).unwrap();
            assert_eq!((&*read.envelope, read.note.body), (&envelope, form));
        }
    }

    #[test]
    fn headers_hold_what_the_service_refuses() {
        let mut envelope = Envelope::new("case", "text");
        let nasty = "a\0b\u{1f}c\u{FFFE}d\u{FFFF}e\u{7f}";
        envelope.headers.insert(nasty.to_owned(), Value::String(nasty.to_owned()));
        let wire = encode(&envelope, Note::default());
        for value in wire.attributes.values() {
            assert!(value.string_value().unwrap().chars().all(is_taken));
        }
        assert_eq!(*read(&received(&wire)).unwrap().envelope, envelope);
    }

    #[test]
    fn version_1_is_read_and_written_as_it_was_stored() {
        let golden = include_str!("../../tests/golden/sqs-message-v1.json");
        let stored: Value = serde_json::from_str(golden).unwrap();
        let text = |name: &str| stored[name].as_str().unwrap().to_owned();
        let message = received(&Wire {
            body: text("body"),
            attributes: [HEAD, NOTE].map(|name| (name.to_owned(), text_value(text(name)))).into(),
            size: 0,
        });
        let read = read(&message).unwrap();
        assert_eq!(read.envelope.body, b"\x00\xff\nany bytes"[..]);
        assert_eq!((read.envelope.run, read.note.before), (2, (3, 4)));
        assert_eq!((read.note.delay, read.note.left), (900, 5_400_000));
        let wire = encode(&read.envelope, read.note);
        assert_eq!(wire.body, text("body"));
        for name in [HEAD, NOTE] {
            assert_eq!(wire.attributes[name].string_value(), Some(&*text(name)));
        }
    }

    #[test]
    fn what_somebody_else_sent_is_a_message_like_any_other() {
        let kind = MessageAttributeValue::builder().data_type("String").string_value("a").build();
        let wire = Wire {
            body: "<xml/>".to_owned(),
            attributes: HashMap::from([("origin".to_owned(), kind.unwrap())]),
            size: 0,
        };
        let (first, second) = (read(&received(&wire)).unwrap(), read(&received(&wire)).unwrap());
        assert_eq!(first.envelope, second.envelope, "its id is the same in every delivery");
        let envelope = first.envelope;
        assert_eq!(envelope.id.to_string(), "0f0e0d0c0b0a09080706050403020100");
        assert_eq!((&*envelope.kind, &envelope.body[..]), ("foreign", &b"<xml/>"[..]));
        assert_eq!(envelope.headers["origin"], "a");
        assert_eq!(envelope.sent_at.timestamp_millis(), 1_770_000_000_123);
    }

    #[test]
    fn a_newer_version_is_left_to_others() {
        let newer = [(r#"{"v":2}"#, None), (r#"{"v":1}"#, Some(r#"{"v":2,"body":"zstd"}"#))];
        for (head, note) in newer {
            let mut wire = encode(&Envelope::new("case", "text"), Note::default());
            wire.attributes.insert(HEAD.to_owned(), text_value(head.to_owned()));
            if let Some(note) = note {
                wire.attributes.insert(NOTE.to_owned(), text_value(note.to_owned()));
            }
            let error = read(&received(&wire)).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::NewerVersion), "{error}");
        }
        let mut wire = encode(&Envelope::new("case", "text"), Note::default());
        wire.attributes.insert(HEAD.to_owned(), text_value("no JSON".to_owned()));
        assert_eq!(read(&received(&wire)).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn names_that_look_alike_do_not_meet() {
        let long = "g".repeat(256);
        let names = ["a", "A", "a ", "ä", "a\u{308}", "a\n1", "~a", "{a}", &long];
        let mut seen: Vec<_> = names.iter().map(|one| name("g.", one)).collect();
        for name in &seen {
            assert!(
                name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic()),
                "{name}"
            );
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), names.len());
        assert_eq!(name("", "tenant-7"), "tenant-7");
        let groups = ["g.tenant-7", "i.0f0e", "foreign"].map(group_of);
        assert_eq!(groups, [Some("tenant-7"), None, Some("foreign")]);
    }

    #[test]
    fn part_of_a_second_is_a_second() {
        let spans = [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)];
        for (millis, expected) in spans {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }
}
