use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::{Clock, Context, Error, ErrorKind, JobId, Reason, Result, SystemClock};

use crate::handle::StatusHandle;

/// The version this library writes. It reads this one and the one before.
const VERSION: u16 = 1;

/// A job as it is stored and sent, the same bytes on every backend: one line of JSON headers,
/// then the body as it is.
///
/// ```text
/// {"v":1,"id":"5f…","kind":"report","ver":1,"run":1,"sent_at":"2026-03-01T02:30:00Z", …}\n<body>
/// ```
///
/// Headers that this version does not know are kept and passed on.
///
/// ```
/// use standfast_queue::Envelope;
///
/// let envelope = Envelope::new("report", r#"{"rows":3}"#);
/// let wire = envelope.encode();
/// assert_eq!(Envelope::decode(wire).unwrap(), envelope);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// Names the message; chosen by the sender.
    pub id: JobId,
    /// Names the status of the job, if somebody waits for it.
    pub handle: Option<StatusHandle>,
    /// Which run of the job this is, from 1; redrive and replay start a new one.
    pub run: u32,
    /// What kind of job the body is.
    pub kind: Cow<'static, str>,
    /// Which version of that kind the body is.
    pub version: u16,
    /// Where the job was sent from.
    pub context: Context,
    /// When it was sent, by the sender's clock.
    pub sent_at: DateTime<Utc>,
    /// Headers beyond those above.
    pub headers: BTreeMap<String, Value>,
    /// The body: any bytes.
    pub body: Bytes,
}

#[derive(Deserialize, Serialize)]
struct Head<'a> {
    v: u16,
    id: JobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<StatusHandle>,
    #[serde(default = "first_run")]
    run: u32,
    kind: Cow<'a, str>,
    #[serde(rename = "ver")]
    version: u16,
    #[serde(rename = "ctx", default, skip_serializing_if = "is_empty")]
    context: Cow<'a, Context>,
    sent_at: DateTime<Utc>,
    #[serde(flatten)]
    headers: Cow<'a, BTreeMap<String, Value>>,
}

fn first_run() -> u32 {
    1
}

fn is_empty(context: &Context) -> bool {
    context.is_empty()
}

impl Envelope {
    /// The first run of a job of version 1 of `kind`, with a fresh id, sent now, without a handle.
    pub fn new(kind: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Self::sent_at(SystemClock.now(), kind, body)
    }

    pub(crate) fn sent_at(
        sent_at: DateTime<Utc>,
        kind: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: JobId::random(),
            handle: None,
            run: 1,
            kind: kind.into(),
            version: 1,
            context: Context::default(),
            sent_at,
            headers: BTreeMap::new(),
            body: body.into(),
        }
    }

    /// Names the message.
    #[must_use]
    pub fn with_id(self, id: JobId) -> Self {
        Self { id, ..self }
    }

    /// Names the status of the job.
    #[must_use]
    pub fn with_handle(self, handle: StatusHandle) -> Self {
        Self { handle: Some(handle), ..self }
    }

    /// The version of the kind.
    #[must_use]
    pub fn with_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// Where the job was sent from.
    #[must_use]
    pub fn with_context(self, context: Context) -> Self {
        Self { context, ..self }
    }

    /// The same job, run once more.
    #[must_use]
    pub fn next_run(&self) -> Self {
        Self { run: self.run.saturating_add(1), ..self.clone() }
    }

    /// The headers: one line of JSON without its line end.
    pub fn encode_head(&self) -> Vec<u8> {
        let head = Head {
            v: VERSION,
            id: self.id,
            handle: self.handle,
            run: self.run,
            kind: Cow::Borrowed(&self.kind),
            version: self.version,
            context: Cow::Borrowed(&self.context),
            sent_at: self.sent_at,
            headers: Cow::Borrowed(&self.headers),
        };
        // invariant: every key is a string and every value is JSON already
        serde_json::to_vec(&head).expect("headers are JSON")
    }

    /// The wire form.
    pub fn encode(&self) -> Bytes {
        let head = self.encode_head();
        let mut wire = BytesMut::with_capacity(head.len() + 1 + self.body.len());
        wire.put_slice(&head);
        wire.put_u8(b'\n');
        wire.put_slice(&self.body);
        wire.freeze()
    }

    /// Reads the wire form; the body shares its memory.
    ///
    /// # Errors
    ///
    /// `Unsupported` with [`Reason::NewerVersion`] when a newer library wrote it: leave it to
    /// whoever can read it. `Corrupt` when it is no envelope.
    pub fn decode(mut wire: Bytes) -> Result<Self> {
        let end = wire.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| corrupt("no end of the headers"))?;
        let head = wire.split_to(end);
        Self::from_parts(&head, wire.split_off(1))
    }

    /// Reads headers and body that were stored apart.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn from_parts(head: &[u8], body: Bytes) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            v: u16,
        }
        let Version { v } = serde_json::from_slice(head).map_err(unreadable)?;
        if v > VERSION {
            return Err(Error::new(ErrorKind::Unsupported, "envelope", "decode")
                .with_reason(Reason::NewerVersion)
                .with_detail(format!("version {v}, this library reads up to {VERSION}")));
        }
        let head: Head<'_> = serde_json::from_slice(head).map_err(unreadable)?;
        Ok(Self {
            id: head.id,
            handle: head.handle,
            run: head.run,
            kind: Cow::Owned(head.kind.into_owned()),
            version: head.version,
            context: head.context.into_owned(),
            sent_at: head.sent_at,
            headers: head.headers.into_owned(),
            body,
        })
    }
}

fn corrupt(detail: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "envelope", "decode").with_detail(detail)
}

fn unreadable(error: serde_json::Error) -> Error {
    corrupt("unreadable headers").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../tests/golden/envelope-v1");

    #[test]
    fn version_1_is_read_and_written_as_it_was_stored() {
        let envelope = Envelope::decode(Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(envelope.kind, "report");
        assert_eq!(envelope.run, 2);
        assert_eq!(envelope.context.request_id.as_deref(), Some("req-1"));
        assert_eq!(envelope.headers["replayed_from"], "2026-01-01");
        assert_eq!(envelope.body, b"\x00\xff\nany bytes"[..]);
        assert_eq!(envelope.encode(), GOLDEN);
    }

    #[test]
    fn a_newer_version_is_left_to_others() {
        let wire = Bytes::from_static(b"{\"v\":2,\"whatever\":[]}\nbody");
        let error = Envelope::decode(wire).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.reason(), Some(Reason::NewerVersion));
    }

    #[test]
    fn what_is_no_envelope_is_corrupt() {
        for wire in ["", "{}", "{}\n", "null\n", "{\"v\":1}\n", "hello\nworld"] {
            let error = Envelope::decode(Bytes::from_static(wire.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{wire:?}");
        }
    }
}
