//! A step as it travels: an envelope of its own kind, with the job's handle and a JSON body.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use standfast_core::{Clock, Error, ErrorKind, Reason, Result, SessionRef};

use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::status::{DEEPEST, JobFailure, JobState, Progress, StatusUpdate, is_readable};

const KIND: &str = "standfast.status";

/// The version of the body that this library writes and the only one there has been.
const VERSION: u16 = 1;

/// A step of a job's status on its way to where it is waited for. The checkpoint stays behind.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) handle: StatusHandle,
    pub(super) update: StatusUpdate,
    pub(super) keep_for: Duration,
}

#[derive(Deserialize, Serialize)]
struct Body {
    state: JobState,
    kind: String,
    run: u32,
    attempt: u32,
    delivery: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    // a result of `null` is one
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<JobFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<SessionRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_in_us: Option<u64>,
    keep_for_us: u64,
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "reply", "status.advance")
}

impl Step {
    /// The message that tells of a step.
    pub(super) fn write(
        handle: StatusHandle,
        update: &StatusUpdate,
        keep_for: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Result<Envelope> {
        let body = Body {
            state: update.state,
            kind: update.kind.clone(),
            run: update.run,
            attempt: update.attempt,
            delivery: update.delivery,
            progress: update.progress.clone(),
            result: update.result.clone(),
            error: update.error.clone(),
            owner: update.owner,
            retry_in_us: update.retry_in.map(micros),
            keep_for_us: micros(keep_for),
        };
        // invariant: the keys of a value are strings
        let body = serde_json::to_vec(&body).expect("a step is JSON");
        if !is_readable(&body) {
            let detail = format!("a result is nested less than {DEEPEST} levels deep");
            return Err(error(ErrorKind::Invalid).with_detail(detail));
        }
        let envelope = Envelope::sent_at(clock.now(), KIND, body);
        Ok(envelope.with_version(VERSION).with_handle(handle))
    }

    /// The step that a message tells of.
    pub(super) fn read(envelope: &Envelope) -> Result<Self> {
        if envelope.kind != KIND {
            return Err(error(ErrorKind::Corrupt).with_detail("a message of another kind"));
        }
        if envelope.version > VERSION {
            return Err(error(ErrorKind::Unsupported)
                .with_reason(Reason::NewerVersion)
                .with_detail(format!(
                    "version {}, this library reads up to {VERSION}",
                    envelope.version
                )));
        }
        let unreadable = || error(ErrorKind::Corrupt).with_detail("no step of a status");
        let handle = envelope.handle.ok_or_else(unreadable)?;
        let body: Body = serde_json::from_slice(&envelope.body)
            .map_err(|source| unreadable().with_source(source))?;
        let mut update = StatusUpdate::new(body.kind, body.state);
        update = update.execution(body.run, body.attempt, body.delivery).owner(body.owner);
        update.progress = body.progress;
        update.result = body.result;
        update.error = body.error;
        update.retry_in = body.retry_in_us.map(Duration::from_micros);
        Ok(Self { handle, update, keep_for: Duration::from_micros(body.keep_for_us) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use standfast_core::SystemClock;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/reply-v1");

    fn write(update: &StatusUpdate) -> Result<Envelope> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Step::write(StatusHandle::random(), update, Duration::from_secs(60), &clock)
    }

    #[test]
    fn version_1_is_read_as_it_was_sent() {
        let envelope = Envelope::decode(bytes::Bytes::from_static(GOLDEN)).unwrap();
        let step = Step::read(&envelope).unwrap();
        let update = &step.update;
        assert_eq!(step.handle.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(step.keep_for, Duration::from_secs(3600));
        assert_eq!((update.state, update.kind.as_str()), (JobState::Queued, "report"));
        assert_eq!((update.run, update.attempt, update.delivery), (2, 3, 4));
        assert_eq!(update.progress, Some(Progress::new(3, 10).message("reading rows")));
        assert_eq!(update.result, Some(json!({"rows": 3})));
        assert_eq!(update.error, Some(JobFailure::new("no disk").detail("/dev/full")));
        assert_eq!(update.owner.unwrap().to_string(), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        assert_eq!(update.retry_in, Some(Duration::from_micros(1_500_000)));
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        for result in [None, Some(json!(null)), Some(json!([1, "zwei", null]))] {
            let mut update = StatusUpdate::new("report", JobState::Succeeded).execution(1, 2, 3);
            update.result = result;
            let step = Step::read(&write(&update).unwrap()).unwrap();
            assert_eq!(format!("{:?}", step.update), format!("{update:?}"));
        }
    }

    #[test]
    fn a_result_that_nobody_could_read_is_not_sent() {
        let mut deep = json!(0);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let error = write(&StatusUpdate::new("report", JobState::Succeeded).result(deep));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn what_is_no_step_is_told_apart() {
        let step = write(&StatusUpdate::new("report", JobState::Queued)).unwrap();
        let newer = Step::read(&step.clone().with_version(2)).unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        let mut other = step.clone();
        other.kind = "report".into();
        let mut truncated = step.clone();
        truncated.body.truncate(10);
        let mut nobodys = step;
        nobodys.handle = None;
        for envelope in [other, truncated, nobodys] {
            let error = Step::read(&envelope).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{envelope:?}");
        }
    }
}
