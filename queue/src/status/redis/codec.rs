//! Between statuses and the hashes that hold them.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use standfast_core::redis::{Reply, Request};
use standfast_core::{Error, ErrorKind, Reason, Result, random};

use super::fields::Fields;
use crate::handle::StatusHandle;
use crate::status::{
    Advance, CancelOutcome, DEEPEST, JobState, JobStatus, StatusUpdate, is_readable,
};

/// The version this library writes and the only one there has been.
pub(super) const LAYOUT: &str = "1";

/// Longer lives are shortened to this: the server adds them to its time in 64 bits.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Tells one step from every other, for whoever must know a repetition.
pub(super) struct StepName([u8; 8]);

impl StepName {
    pub(super) fn random() -> Self {
        Self(random::bytes())
    }

    /// The arguments that every step begins with.
    pub(super) fn push(&self, request: &mut Request, replicated: bool) {
        request.push(format!("{:016x}", u64::from_be_bytes(self.0)));
        request.push(if replicated { "1" } else { "0" });
    }
}

pub(super) fn push_millis(request: &mut Request, span: Duration) {
    let span = span.min(LONGEST_LIFE);
    // rounded up: what is to be kept for a microsecond is kept
    let millis = span.as_micros().div_ceil(1000);
    request.push(millis.to_string());
}

/// What is being done and to which status, for errors.
pub(super) struct Place {
    pub(super) operation: &'static str,
    handle: StatusHandle,
}

impl Place {
    pub(super) fn new(operation: &'static str, handle: &StatusHandle) -> Self {
        Self { operation, handle: *handle }
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, "redis", self.operation)
    }

    fn corrupt(&self, what: &str) -> Error {
        let handle = self.handle;
        self.error(ErrorKind::Corrupt).with_detail(format!("status {handle:?}: {what}"))
    }

    pub(super) fn corrupt_field(&self, name: &str) -> Error {
        self.corrupt(&format!("the field `{name}` is missing or unreadable"))
    }

    pub(super) fn newer(&self, version: &str) -> Error {
        let handle = self.handle;
        self.error(ErrorKind::Unsupported).with_reason(Reason::NewerVersion).with_detail(format!(
            "status {handle:?} has layout {version}, this library reads up to {LAYOUT}"
        ))
    }

    /// The arguments of a step.
    pub(super) fn push(
        &self,
        request: &mut Request,
        update: &StatusUpdate,
        keep_for: Duration,
        unfinished: Duration,
    ) -> Result<()> {
        request.push(state_name(update.state));
        request.push(&update.kind);
        for number in [update.run, update.attempt, update.delivery] {
            request.push(number.to_string());
        }
        push_millis(request, keep_for);
        push_millis(request, unfinished);
        let retry_in = update.retry_in.filter(|delay| TimeDelta::from_std(*delay).is_ok());
        request.push(retry_in.map(|delay| delay.as_secs().to_string()).unwrap_or_default());
        request.push(retry_in.unwrap_or_default().subsec_micros().to_string());
        let mut field = |name: &str, value: &[u8]| {
            request.push(name);
            request.push(value);
        };
        if let Some(progress) = &update.progress {
            field("done", progress.done.to_string().as_bytes());
            if let Some(total) = progress.total {
                field("total", total.to_string().as_bytes());
            }
            if let Some(message) = &progress.message {
                field("message", message.as_bytes());
            }
        }
        if let Some(checkpoint) = &update.checkpoint {
            field("checkpoint", checkpoint);
        }
        if let Some(result) = &update.result {
            field("result", &self.result(result)?);
        }
        if let Some(error) = &update.error {
            field("error", error.message.as_bytes());
            if let Some(detail) = &error.detail {
                field("detail", detail.as_bytes());
            }
        }
        if let Some(owner) = update.owner {
            field("owner", owner.to_string().as_bytes());
        }
        Ok(())
    }

    /// A result as JSON that can be read again.
    fn result(&self, result: &Value) -> Result<Vec<u8>> {
        // invariant: the keys of a value are strings
        let json = serde_json::to_vec(result).expect("a value is JSON");
        if !is_readable(&json) {
            let detail = format!("a result is nested at most {DEEPEST} levels deep");
            return Err(self.error(ErrorKind::Invalid).with_detail(detail));
        }
        Ok(json)
    }

    /// The status in these names and values of fields; `None` where there are none.
    pub(super) fn status(&self, flat: Vec<Reply>) -> Result<Option<JobStatus>> {
        if flat.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields { place: self, fields: Vec::with_capacity(flat.len() / 2) };
        let mut flat = flat.into_iter();
        while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
            let (name, value) =
                (name.into_bytes(self.operation)?, value.into_bytes(self.operation)?);
            fields.fields.push((name, value));
        }
        fields.status().map(Some)
    }

    /// The status and how long it will be there.
    pub(super) fn look(&self, reply: Reply) -> Result<Option<(JobStatus, Option<Duration>)>> {
        let mut parts = reply.into_array(self.operation)?.into_iter();
        let (Some(life), Some(flat)) = (parts.next(), parts.next()) else {
            return Err(self.corrupt("no life or no fields"));
        };
        // one more, so that it is over then; without an end it is negative
        let life = u64::try_from(life.into_int(self.operation)?).ok();
        let life = life.map(|life| Duration::from_millis(life + 1));
        let status = self.status(flat.into_array(self.operation)?)?;
        Ok(status.map(|status| (status, life)))
    }

    pub(super) fn advance(&self, reply: Reply) -> Result<Advance> {
        let (outcome, rest) = self.outcome(reply)?;
        let status = self.status(rest)?.map(Arc::new);
        match (outcome.as_str(), status) {
            ("applied", Some(status)) => Ok(Advance::Applied(status)),
            ("refused", Some(status)) => Ok(Advance::Refused(status)),
            _ => Err(self.unexpected(&outcome)),
        }
    }

    pub(super) fn cancel(&self, reply: Reply) -> Result<CancelOutcome> {
        match self.outcome(reply)?.0.as_str() {
            "cancelled" => Ok(CancelOutcome::Cancelled),
            "finished" => Ok(CancelOutcome::Finished),
            "requested" => Ok(CancelOutcome::Requested),
            "unknown" => Ok(CancelOutcome::Unknown),
            outcome => Err(self.unexpected(outcome)),
        }
    }

    pub(super) fn remove(&self, reply: Reply) -> Result<bool> {
        match self.outcome(reply)?.0.as_str() {
            "removed" => Ok(true),
            "unknown" => Ok(false),
            outcome => Err(self.unexpected(outcome)),
        }
    }

    /// What a script said, and what it told with that.
    fn outcome(&self, reply: Reply) -> Result<(String, Vec<Reply>)> {
        let mut parts = reply.into_array(self.operation)?;
        if parts.is_empty() {
            return Err(self.unexpected("nothing"));
        }
        let outcome = text(parts.remove(0).into_bytes(self.operation)?);
        if !matches!(outcome.as_str(), "corrupt" | "newer") {
            return Ok((outcome, parts));
        }
        let what = match parts.pop() {
            Some(what) => text(what.into_bytes(self.operation)?),
            None => String::new(),
        };
        Err(if outcome == "newer" { self.newer(&what) } else { self.corrupt_field(&what) })
    }

    fn unexpected(&self, outcome: &str) -> Error {
        self.error(ErrorKind::Unexpected).with_detail(format!("the script said `{outcome}`"))
    }
}

/// For errors only.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).chars().take(40).collect()
}

pub(super) const STATES: [JobState; 5] = [
    JobState::Cancelled,
    JobState::Failed,
    JobState::Queued,
    JobState::Running,
    JobState::Succeeded,
];

pub(super) fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Cancelled => "cancelled",
        JobState::Failed => "failed",
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place() -> Place {
        Place::new("status.advance", &StatusHandle::derive(b"s", b"k"))
    }

    #[test]
    fn a_result_that_nobody_could_read_is_not_stored() {
        let mut nested = json!(0);
        for _ in 0..DEEPEST {
            nested = json!([nested]);
        }
        assert!(place().result(&nested).is_ok(), "as deep as can be read");
        let error = place().result(&json!([nested])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let wide = Value::Array(vec![json!([]); 1000]);
        assert!(place().result(&wide).is_ok(), "wide is not deep");
    }
}
