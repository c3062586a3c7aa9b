//! Protocol v1: the messages a job process writes to its standard output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// What a running job process tells.
///
/// ```
/// use standfast_queue::subprocess::Event;
///
/// let mut state = None;
/// let mut follow = |event: Event| match event {
///     Event::Progress { done, total, .. } => println!("{done} of {total:?}"),
///     Event::Checkpoint(bytes) => state = Some(bytes),
///     _ => {}
/// };
/// follow(Event::Checkpoint("page 7".into()));
/// assert_eq!(state.unwrap(), "page 7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// How far the job is.
    #[non_exhaustive]
    Progress {
        /// Units done so far.
        done: u64,
        /// Units in all, if known.
        total: Option<u64>,
        /// A text for people.
        message: Option<String>,
    },
    /// State to hand to the next attempt: the decoded bytes of a base64 string, or the JSON text of
    /// any other value.
    Checkpoint(Bytes),
}

/// A failure that a job process describes itself.
///
/// ```
/// use standfast_queue::subprocess::{FailureKind, JobFailureWire};
///
/// let failure = JobFailureWire::new(FailureKind::Snooze, "closed").with_delay_ms(60_000);
/// let json = r#"{"kind":"snooze","message":"closed","delay_ms":60000}"#;
/// assert_eq!(serde_json::to_string(&failure)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobFailureWire {
    /// What is to be done about it.
    pub kind: FailureKind,
    /// A text for people.
    #[serde(default)]
    pub message: String,
    /// How long to wait before the next attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl JobFailureWire {
    /// A failure of a kind, with a text for people.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), delay_ms: None }
    }

    /// The same failure with a delay before the next attempt.
    pub fn with_delay_ms(mut self, delay: u64) -> Self {
        self.delay_ms = Some(delay);
        self
    }
}

/// What is to be done about a job that failed.
///
/// ```
/// use std::io;
/// use standfast_queue::subprocess::{FailureKind, JobFailureWire};
///
/// fn failure(error: &io::Error) -> JobFailureWire {
///     let kind = match error.kind() {
///         io::ErrorKind::InvalidData => FailureKind::Dead,
///         _ => FailureKind::Retry,
///     };
///     JobFailureWire::new(kind, error.to_string())
/// }
/// assert_eq!(failure(&io::ErrorKind::TimedOut.into()).kind, FailureKind::Retry);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FailureKind {
    /// Try again, as the retry policy says.
    Retry,
    /// Do not try again.
    Dead,
    /// The job noticed that it is cancelled.
    Cancelled,
    /// Not now: run again after the delay, which is no failed attempt.
    Snooze,
}

/// One message, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outgoing<'a, T: ?Sized> {
    Progress { done: u64, total: Option<u64>, message: Option<&'a str> },
    Checkpoint(&'a T),
    Result(&'a T),
    Error(&'a JobFailureWire),
}

/// One message, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Incoming<'a> {
    Progress {
        done: u64,
        #[serde(default)]
        total: Option<u64>,
        #[serde(default)]
        message: Option<String>,
    },
    #[serde(borrow)]
    Checkpoint(&'a RawValue),
    Result(Value),
    Error(JobFailureWire),
}

/// One complete line of a job's standard output.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Event(Event),
    Result(Value),
    Failure(JobFailureWire),
    /// Not a message of the protocol.
    Other,
}

/// Understands one line; whatever is not a well-formed message is log output.
pub(super) fn parse(line: &[u8]) -> Line {
    if line.first() != Some(&b'{') {
        return Line::Other;
    }
    match serde_json::from_slice(line) {
        Ok(Incoming::Progress { done, total, message }) => {
            Line::Event(Event::Progress { done, total, message })
        }
        Ok(Incoming::Checkpoint(value)) => checkpoint(value.get())
            .map_or(Line::Other, |bytes| Line::Event(Event::Checkpoint(bytes))),
        Ok(Incoming::Result(value)) => Line::Result(value),
        Ok(Incoming::Error(failure)) => Line::Failure(failure),
        Err(_) => Line::Other,
    }
}

fn checkpoint(json: &str) -> Option<Bytes> {
    if !json.starts_with('"') {
        return Some(Bytes::copy_from_slice(json.as_bytes()));
    }
    let text: String = serde_json::from_str(json).ok()?;
    BASE64.decode(text).ok().map(Bytes::from)
}

/// The base64 text of a checkpoint.
pub(super) fn encode_checkpoint(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The length of the line that carries a checkpoint of so many bytes.
pub(super) const fn checkpoint_line(bytes: usize) -> usize {
    const AROUND: usize = 32;
    bytes.div_ceil(3) * 4 + AROUND
}

/// Which message the beginning of a line announces; only these may be longer than a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Result,
    Checkpoint,
    Other,
}

/// Looks at the beginning of a line that is too long to be held as a log line.
pub(super) fn announced(head: &[u8]) -> Announced {
    let Some(rest) = head.trim_ascii_start().strip_prefix(b"{") else { return Announced::Other };
    let rest = rest.trim_ascii_start();
    if rest.starts_with(b"\"result\"") {
        Announced::Result
    } else if rest.starts_with(b"\"checkpoint\"") {
        Announced::Checkpoint
    } else {
        Announced::Other
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_understood() {
        assert_eq!(
            parse(br#"{"progress":{"done":1,"total":null,"message":"x"}}"#),
            Line::Event(Event::Progress { done: 1, total: None, message: Some("x".into()) })
        );
        assert_eq!(
            parse(br#"{"progress":{"done":1}}"#),
            Line::Event(Event::Progress { done: 1, total: None, message: None })
        );
        assert_eq!(parse(br#"{ "result" : null }"#), Line::Result(Value::Null));
        assert_eq!(parse(br#"{"result":{"a":[1]}}"#), Line::Result(json!({"a": [1]})));
        assert_eq!(
            parse(br#"{"error":{"kind":"snooze","delay_ms":5}}"#),
            Line::Failure(JobFailureWire::new(FailureKind::Snooze, "").with_delay_ms(5))
        );
    }

    #[test]
    fn a_checkpoint_is_bytes_or_json() {
        let expect = |bytes: &'static [u8]| Line::Event(Event::Checkpoint(Bytes::from(bytes)));
        assert_eq!(parse(br#"{"checkpoint":"AAEC"}"#), expect(&[0, 1, 2]));
        assert_eq!(parse(br#"{"checkpoint":{"offset": 5}}"#), expect(br#"{"offset": 5}"#));
        assert_eq!(parse(br#"{"checkpoint":"not base64!"}"#), Line::Other);
    }

    #[test]
    fn anything_else_is_log_output() {
        for line in [
            "",
            "hello",
            "{}",
            "{\"result\":1,\"progress\":2}",
            "{\"progress\":{\"done\":-1}}",
            "{\"error\":{\"kind\":\"bogus\"}}",
            "[1]",
            "{\"result\":",
        ] {
            assert_eq!(parse(line.as_bytes()), Line::Other, "{line}");
        }
        assert_eq!(parse(b"{\"result\":\"\xff\"}"), Line::Other);
    }

    #[test]
    fn what_is_written_is_understood() {
        let text = encode_checkpoint(b"\0state");
        let line = serde_json::to_vec(&Outgoing::Checkpoint(text.as_str())).unwrap();
        assert!(line.len() <= checkpoint_line(6));
        assert_eq!(parse(&line), Line::Event(Event::Checkpoint(Bytes::from_static(b"\0state"))));
        let failure = JobFailureWire::new(FailureKind::Dead, "no");
        let line = serde_json::to_vec(&Outgoing::<'_, ()>::Error(&failure)).unwrap();
        assert_eq!(parse(&line), Line::Failure(failure));
    }

    #[test]
    fn long_lines_announce_themselves() {
        assert_eq!(announced(b" { \"result\": \""), Announced::Result);
        assert_eq!(announced(b"{\"checkpoint\":\"A"), Announced::Checkpoint);
        assert_eq!(announced(b"{\"results\":"), Announced::Other);
        assert_eq!(announced(b"noise"), Announced::Other);
    }
}
