use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use standfast_core::{Error, ErrorKind};

use super::change::ChangeOp;
use super::event::{BusinessEvent, EventKind};

/// The SHA-256 of an event and of the hash of the one before it: whoever knows the last one knows
/// whether anything before it was changed.
///
/// ```
/// use standfast_session::business::EventHash;
///
/// let text = EventHash::FIRST.to_string();
/// assert_eq!(text.len(), 64);
/// assert_eq!(text.parse::<EventHash>().unwrap(), EventHash::FIRST);
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// What comes before the first event.
    pub const FIRST: Self = Self([0; 32]);

    /// The hash that `event` must have.
    pub fn of(event: &BusinessEvent) -> Self {
        let mut hash = Framed(Sha256::new());
        hash.bytes(b"standfast:business:1");
        hash.bytes(&event.previous.0);
        hash.text(event.business.as_str());
        hash.number(event.seq);
        hash.number(event.at.timestamp_micros().cast_unsigned());
        hash.text(&event.actor.to_string());
        hash.text(&event.origin);
        hash.text(&event.step);
        hash.optional(event.request_id.as_deref());
        hash.optional(event.session.map(|session| session.to_string()).as_deref());
        hash.optional(event.fence.map(|fence| fence.get().to_string()).as_deref());
        hash.optional(event.cause.as_deref());
        match &event.kind {
            EventKind::Changed => hash.text("changed"),
            EventKind::Closed { reason } => {
                hash.text("closed");
                hash.text(reason);
            }
        }
        hash.number(event.changes.len() as u64);
        for change in &event.changes {
            hash.text(&change.field);
            match &change.op {
                ChangeOp::Add(by) => {
                    hash.text("add");
                    hash.number(by.cast_unsigned());
                }
                ChangeOp::Remove => hash.text("remove"),
                ChangeOp::Set(value) => {
                    hash.text("set");
                    hash.value(value);
                }
            }
            for value in [&change.before, &change.after] {
                hash.number(value.is_some().into());
                if let Some(value) = value {
                    hash.value(value);
                }
            }
        }
        Self(hash.0.finalize().into())
    }
}

/// Every part after its length or its kind, so that no two events meet.
struct Framed(Sha256);

impl Framed {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    /// Objects by their sorted names: which order a map keeps depends on the features of serde_json.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.text("null"),
            Value::Bool(is) => self.text(if *is { "true" } else { "false" }),
            Value::Number(number) => {
                self.text("number");
                self.text(&number.to_string());
            }
            Value::String(text) => {
                self.text("string");
                self.text(text);
            }
            Value::Array(values) => {
                self.text("array");
                self.number(values.len() as u64);
                for value in values {
                    self.value(value);
                }
            }
            Value::Object(map) => {
                self.text("object");
                self.number(map.len() as u64);
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in entries {
                    self.text(name);
                    self.value(value);
                }
            }
        }
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::new(ErrorKind::Invalid, "business", "hash.parse")
                .with_detail("not 64 lower-case hexadecimal digits")
        };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = digit(pair[0]).zip(digit(pair[1])).ok_or_else(malformed)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for EventHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
