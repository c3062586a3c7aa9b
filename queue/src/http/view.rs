//! What a status looks like from outside, and when to ask again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use standfast_core::{Clock, Error, ErrorKind, Result};

use crate::status::{JobState, JobStatus, Progress};

/// What the application makes of a status that is ready.
pub(super) type ReadyHook =
    Arc<dyn Fn(Arc<JobStatus>) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// What is shown of a status. Checkpoint, owner, kind and the detail of a failure stay inside.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum View<'a> {
    Cancelled {
        version: u64,
    },
    Failed {
        error: &'a str,
        version: u64,
    },
    Ready {
        #[serde(flatten)]
        content: Map<String, Value>,
        version: u64,
    },
    Wait {
        state: JobState,
        attempt: u32,
        progress: &'a Progress,
        error: Option<&'a str>,
        retry_at: Option<DateTime<Utc>>,
        cancel_requested: bool,
        version: u64,
    },
}

/// `status` as JSON; `ready` is asked for the content of one that has succeeded.
pub(super) async fn render(
    status: &Arc<JobStatus>,
    ready: Option<&ReadyHook>,
    within: Duration,
    clock: &dyn Clock,
) -> Result<Bytes> {
    let version = status.version;
    let error = status.error.as_ref().map(|error| error.message.as_str());
    let view = match status.state {
        JobState::Cancelled => View::Cancelled { version },
        JobState::Failed => View::Failed { error: error.unwrap_or("the job failed"), version },
        JobState::Succeeded => {
            let content = match ready {
                None => status.result.clone().unwrap_or_default(),
                Some(hook) => content(hook, status, within, clock).await?,
            };
            View::Ready { content: fields(content, ready.is_some()), version }
        }
        JobState::Queued | JobState::Running => View::Wait {
            state: status.state,
            attempt: status.attempt,
            progress: &status.progress,
            error,
            retry_at: status.retry_at,
            cancel_requested: status.cancel_requested,
            version,
        },
    };
    serde_json::to_vec(&view).map(Bytes::from).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "http", "status.render").with_source(error)
    })
}

/// What `hook` says, in time. A hook that panics has failed, and takes no connection with it.
async fn content(
    hook: &ReadyHook,
    status: &Arc<JobStatus>,
    within: Duration,
    clock: &dyn Clock,
) -> Result<Value> {
    let failed = |kind| Error::new(kind, "http", "status.on_ready");
    let content = AssertUnwindSafe(async { hook(Arc::clone(status)).await }).catch_unwind();
    tokio::select! {
        content = content => {
            content.unwrap_or_else(|_| Err(failed(ErrorKind::Unexpected).with_detail("panicked")))
        }
        () = clock.sleep(within) => {
            Err(failed(ErrorKind::Timeout))
        }
    }
}

/// The fields that a hook gave, less those that are not its to give; anything else is the result.
fn fields(content: Value, hooked: bool) -> Map<String, Value> {
    match content {
        Value::Object(mut fields) if hooked => {
            fields.remove("status");
            fields.remove("version");
            fields
        }
        content => Map::from_iter([("result".to_owned(), content)]),
    }
}

/// In how many seconds to ask again; `None` when there is nothing more to come.
///
/// Until a scheduled retry is due, what is left until then. Else half of how long it has been
/// queued or running, so that nobody hears of the end later than after half as much time again:
/// 1, 1, 1, 1, 2, 3, 4, 6, 9, 10, 10… by default.
pub(super) fn retry_after(
    status: &JobStatus,
    now: DateTime<Utc>,
    at_most: Duration,
    scheduled_at_most: Duration,
) -> Option<u64> {
    let since = match status.state {
        JobState::Queued => status.retry_at.unwrap_or(status.updated_at),
        JobState::Running => status.started_at.unwrap_or(status.created_at),
        JobState::Cancelled | JobState::Failed | JobState::Succeeded => return None,
    };
    let age = now - since;
    let seconds = match age.to_std() {
        Ok(age) => (age / 2).min(at_most).as_secs(),
        Err(_) if status.retry_at == Some(since) => {
            whole_seconds(age.abs().to_std().unwrap_or_default().min(scheduled_at_most))
        }
        // the store's clock is ahead of this one
        Err(_) => 1,
    };
    Some(seconds.max(1))
}

/// `span` in seconds, rounded up.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::status::StatusUpdate;

    const MAX: Duration = Duration::from_secs(10);
    const SCHEDULED_MAX: Duration = Duration::from_secs(300);

    fn after(status: &JobStatus, now: DateTime<Utc>) -> Option<u64> {
        retry_after(status, now, MAX, SCHEDULED_MAX)
    }

    #[test]
    fn a_client_that_obeys_asks_ever_more_rarely_and_no_more_once_it_has_ended() {
        let start = Utc::now();
        let mut status = JobStatus::first(&StatusUpdate::new("report", JobState::Running), start);
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..10 {
            let wait = after(&status, now).unwrap();
            waits.push(wait);
            now += TimeDelta::seconds(wait as i64);
        }
        assert_eq!(waits, [1, 1, 1, 1, 2, 3, 4, 6, 9, 10]);
        assert_eq!(after(&status, start - TimeDelta::days(1)), Some(1), "a clock that is behind");
        status.apply(&StatusUpdate::new("report", JobState::Succeeded), now);
        assert_eq!(after(&status, now), None);
    }

    #[test]
    fn a_scheduled_retry_is_asked_for_when_it_is_due() {
        let start = Utc::now();
        for (due_ms, passed_ms, expected) in [
            (90_000, 0, 90),
            (90_000, 500, 90),
            (90_000, 89_999, 1),
            (90_000, 90_000, 1),
            (90_000, 96_000, 3),
            (90_000, 1_000_000, 10),
            (86_400_000, 0, 300),
        ] {
            let update = StatusUpdate::new("report", JobState::Queued)
                .retry_in(Duration::from_millis(due_ms));
            let status = JobStatus::first(&update, start);
            let now = start + TimeDelta::milliseconds(passed_ms);
            assert_eq!(after(&status, now), Some(expected), "{due_ms} {passed_ms}");
        }
    }

    #[test]
    fn only_a_hook_gives_fields_and_never_those_of_the_contract() {
        let content = json!({"url": "/r", "status": "wait", "version": 9});
        assert_eq!(Value::from(fields(content.clone(), true)), json!({"url": "/r"}));
        assert_eq!(Value::from(fields(content.clone(), false)), json!({"result": content}));
        assert_eq!(Value::from(fields(json!([1]), true)), json!({"result": [1]}));
    }
}
