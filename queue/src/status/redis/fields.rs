//! A status as the fields of a hash.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use standfast_core::Result;

use super::codec::{LAYOUT, Place, STATES, state_name};
use crate::status::{JobFailure, JobState, JobStatus, Progress};

/// A hash, each field of which is taken once.
pub(super) struct Fields<'a> {
    pub(super) place: &'a Place,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fields<'_> {
    pub(super) fn status(mut self) -> Result<JobStatus> {
        match self.text("v")?.as_deref() {
            Some(LAYOUT) => {}
            Some(version) if version.parse::<u64>().is_ok_and(|version| version > 1) => {
                return Err(self.place.newer(version));
            }
            _ => return Err(self.place.corrupt_field("v")),
        }
        let error = match self.text("error")? {
            Some(message) => Some(JobFailure { message, detail: self.text("detail")? }),
            None => None,
        };
        let result = match self.take("result") {
            Some(json) => Some(self.read("result", serde_json::from_slice(&json).ok())?),
            None => None,
        };
        let owner = match self.text("owner")? {
            Some(owner) => Some(self.read("owner", owner.parse().ok())?),
            None => None,
        };
        Ok(JobStatus {
            state: self.state()?,
            kind: self.needed("kind")?,
            run: self.number("run")?,
            attempt: self.number("attempt")?,
            delivery: self.number("delivery")?,
            progress: Progress {
                done: self.number("done")?,
                total: self.maybe_number("total")?,
                message: self.text("message")?,
            },
            checkpoint: self.take("checkpoint").map(Bytes::from),
            result,
            error,
            owner,
            cancel_requested: self.take("cancel").is_some(),
            created_at: self.time("created")?,
            started_at: self.maybe_time("started")?,
            finished_at: self.maybe_time("finished")?,
            retry_at: self.maybe_time("retry")?,
            updated_at: self.time("updated")?,
            version: self.number("version")?,
        })
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.fields.iter().position(|(field, _)| field == name.as_bytes())?;
        Some(self.fields.swap_remove(at).1)
    }

    fn read<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.place.corrupt_field(name))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            Some(bytes) => self.read(name, String::from_utf8(bytes).ok()).map(Some),
            None => Ok(None),
        }
    }

    fn needed(&mut self, name: &str) -> Result<String> {
        let text = self.text(name)?;
        self.read(name, text)
    }

    fn state(&mut self) -> Result<JobState> {
        let name = self.needed("state")?;
        let state = STATES.into_iter().find(|state| state_name(*state) == name);
        self.read("state", state)
    }

    fn maybe_number<N: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<N>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits).and_then(|it: u64| N::try_from(it).ok());
        self.read(name, number).map(Some)
    }

    fn number<N: TryFrom<u64>>(&mut self, name: &str) -> Result<N> {
        let number = self.maybe_number(name)?;
        self.read(name, number)
    }

    fn maybe_time(&mut self, name: &str) -> Result<Option<DateTime<Utc>>> {
        match self.maybe_number(name)? {
            Some(micros) => self.read(name, DateTime::from_timestamp_micros(micros)).map(Some),
            None => Ok(None),
        }
    }

    fn time(&mut self, name: &str) -> Result<DateTime<Utc>> {
        let time = self.maybe_time(name)?;
        self.read(name, time)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use standfast_core::redis::Reply;
    use standfast_core::{ErrorKind, Reason};

    use super::*;
    use crate::handle::StatusHandle;

    /// The command that stored a status of version 1, as it was sent.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/redis-status-v1.resp");

    /// The arguments of one command.
    fn arguments(mut wire: &[u8]) -> Vec<Vec<u8>> {
        let number = |mark: u8, wire: &mut &[u8]| -> usize {
            let end = wire.windows(2).position(|two| two == b"\r\n").unwrap();
            let line = std::str::from_utf8(&wire[..end]).unwrap();
            *wire = &wire[end + 2..];
            line.strip_prefix(char::from(mark)).unwrap().parse().unwrap()
        };
        let count = number(b'*', &mut wire);
        let mut arguments = Vec::new();
        for _ in 0..count {
            let size = number(b'$', &mut wire);
            arguments.push(wire[..size].to_vec());
            wire = &wire[size + 2..];
        }
        arguments
    }

    fn golden() -> Vec<Vec<u8>> {
        arguments(GOLDEN).split_off(2)
    }

    fn place() -> Place {
        Place::new("status.get", &StatusHandle::derive(b"s", b"k"))
    }

    fn read(fields: Vec<Vec<u8>>) -> Result<Option<JobStatus>> {
        place().status(fields.into_iter().map(Reply::Bytes).collect())
    }

    /// The golden status with another value, or without the field.
    fn with(name: &str, value: Option<&str>) -> Vec<Vec<u8>> {
        let mut changed = Vec::new();
        for pair in golden().chunks(2) {
            match value {
                _ if pair[0] != name.as_bytes() => changed.extend_from_slice(pair),
                Some(value) => changed.extend([pair[0].clone(), value.into()]),
                None => {}
            }
        }
        changed
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn version_1_is_read_as_it_was_stored() {
        let status = read(golden()).unwrap().unwrap();
        assert_eq!((status.state, status.kind.as_str()), (JobState::Failed, "report"));
        assert_eq!((status.run, status.attempt, status.delivery), (2, 3, 4));
        let progress = Progress::new(u64::MAX, u64::MAX).message("neunundneunzig Zeilen, 1 €");
        assert_eq!(status.progress, progress);
        assert_eq!(status.checkpoint.as_deref(), Some(&b"\x00\xff\r\nany bytes"[..]));
        assert_eq!(status.result, Some(json!({"rows": [1, null, "drei"]})));
        assert_eq!(status.error, Some(JobFailure::new("no disk").detail("/dev/full")));
        assert_eq!(status.owner.unwrap().to_string(), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        assert!(status.cancel_requested);
        assert_eq!(status.created_at, time("2026-03-01T02:30:00Z"));
        assert_eq!(status.started_at, Some(time("2026-03-01T02:30:00.000001Z")));
        assert_eq!(status.finished_at, Some(time("2026-03-01T02:30:01.5Z")));
        assert_eq!(status.retry_at, Some(time("+262142-12-31T23:59:59.999999Z")));
        assert_eq!(status.updated_at, time("2026-03-01T02:30:01.5Z"));
        assert_eq!(status.version, 1_772_332_200_000_007);
    }

    #[test]
    fn what_may_be_missing_is_none() {
        let optional = [
            "total",
            "message",
            "checkpoint",
            "result",
            "error",
            "detail",
            "owner",
            "cancel",
            "started",
            "finished",
            "retry",
            "step",
        ];
        for name in optional {
            let status = read(with(name, None)).unwrap().unwrap();
            assert_eq!(status.kind, "report", "without {name}");
        }
        assert_eq!(read(Vec::new()).unwrap(), None, "no fields are no status");
        let more = [golden(), vec![b"new".to_vec(), b"field".to_vec()]].concat();
        assert!(read(more).unwrap().is_some(), "a field that is not known here is left alone");
    }

    #[test]
    fn what_is_truncated_or_foreign_is_corrupt() {
        let broken = [
            ("v", &[None, Some(""), Some("0"), Some("one"), Some("1.0")][..]),
            ("state", &[None, Some(""), Some("asleep"), Some("Failed")]),
            ("kind", &[None]),
            ("run", &[None, Some(""), Some("-1"), Some("+1"), Some("4294967296"), Some("1e3")]),
            ("attempt", &[None, Some("x")]),
            ("delivery", &[None, Some(" 1")]),
            ("done", &[None, Some("18446744073709551616")]),
            ("total", &[Some("many")]),
            ("result", &[Some(""), Some("{")]),
            ("owner", &[Some("ada"), Some("")]),
            ("created", &[None, Some("2026-03-01T02:30:00Z"), Some("9223372036854775807")]),
            ("started", &[Some("")]),
            ("finished", &[Some("soon")]),
            ("retry", &[Some("never")]),
            ("updated", &[None]),
            ("version", &[None, Some("-1")]),
        ];
        for (name, values) in broken {
            for value in values {
                let error = read(with(name, *value)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {value:?}");
                assert!(error.detail().contains(&format!("`{name}`")), "{error}");
            }
        }
        let error = read(vec![b"colour".to_vec(), b"red".to_vec()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "a hash of somebody else");
        let mut text = with("message", None);
        text.extend([b"message".to_vec(), vec![0xff]]);
        assert_eq!(read(text).unwrap_err().kind(), ErrorKind::Corrupt, "text is UTF-8");
    }

    #[test]
    fn a_newer_layout_is_told_apart() {
        for version in ["2", "10"] {
            let error = read(with("v", Some(version))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(error.reason(), Some(Reason::NewerVersion));
        }
    }

    #[test]
    fn errors_do_not_give_the_handle_away() {
        let handle = StatusHandle::random();
        let error = Place::new("status.get", &handle).corrupt_field("run");
        assert!(!error.to_string().contains(&handle.to_string()), "{error}");
    }
}
