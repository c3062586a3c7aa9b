//! A status and its changes as server-sent events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use standfast_core::{Backoff, Error, Result, SessionRef, saturating_add};
use tokio::sync::OwnedSemaphorePermit;

use super::StatusBody;
use super::poll::may_see;
use super::query::{StatusQuery, version};
use super::respond::{Refusal, bare, with};
use super::routes::Shared;
use crate::handle::StatusHandle;
use crate::status::JobStatus;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Between two looks at a store, or a hook, that fails while a client listens.
const AFTER_FAILURE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Begins to tell a client about a status.
pub(super) async fn stream(
    shared: Arc<Shared>,
    parts: &Parts,
) -> Result<Response<StatusBody>, Refusal> {
    let query = StatusQuery::parse(parts.uri.query())?;
    let viewer = (shared.session)(parts);
    let status = shared.visible(&query.handle, viewer).await?;
    // browsers send it back by themselves; one that is not ours says nothing
    let last = parts.headers.get(LAST_EVENT_ID).and_then(|id| version(id.to_str().ok()?));
    let sent = last.or(query.seen);
    if status.state.is_terminal() && sent == Some(status.version) {
        // the client knows how it ended, and 204 is how a browser learns not to come back
        return Ok(bare(StatusCode::NO_CONTENT, StatusBody::empty()));
    }
    let waiting = Arc::clone(&shared.waiting).try_acquire_owned().map_err(|_| {
        metrics::counter!("standfast_status_waits_refused_total").increment(1);
        Refusal::Busy
    })?;
    let now = shared.config.clock.instant();
    let prelude = format!("retry: {}\n\n", shared.config.reconnect_after.as_millis());
    let events = Events {
        handle: query.handle,
        viewer,
        sent,
        news: Some(status),
        prelude: Some(prelude.into()),
        over: false,
        failures: 0,
        quiet_until: now,
        beat_at: saturating_add(now, shared.config.heartbeat_every),
        ends_at: saturating_add(now, shared.config.events_for),
        shared,
        _waiting: waiting,
    };
    let body = StatusBody::events(stream::unfold(events, Events::next));
    let response = bare(StatusCode::OK, body);
    let response = with(response, CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // proxies of the nginx family hold answers back unless told not to
    let buffering = HeaderName::from_static("x-accel-buffering");
    Ok(with(response, buffering, HeaderValue::from_static("no")))
}

struct Events {
    shared: Arc<Shared>,
    handle: StatusHandle,
    viewer: Option<SessionRef>,
    /// The version that the client has.
    sent: Option<u64>,
    /// What the store said last and the client may not have.
    news: Option<Arc<JobStatus>>,
    prelude: Option<Bytes>,
    over: bool,
    failures: u32,
    /// Nothing is asked of the store before.
    quiet_until: Instant,
    beat_at: Instant,
    ends_at: Instant,
    _waiting: OwnedSemaphorePermit,
}

enum Step {
    Changed(Result<Option<Arc<JobStatus>>>),
    Stopped,
    Waited,
}

impl Events {
    /// The next bytes of the stream.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(prelude) = self.prelude.take() {
            return Some((prelude, self));
        }
        while !self.over {
            if let Some(status) = self.news.take()
                && self.sent != Some(status.version)
            {
                match self.shared.render(&status).await {
                    Ok(json) => return Some((self.event(&status, &json), self)),
                    Err(error) => self.failed(&error),
                }
            }
            match self.step().await {
                Step::Changed(Ok(status)) => {
                    // gone, or somebody else's: the client learns it when it comes back
                    self.news = Some(status.filter(|status| may_see(status, self.viewer))?);
                }
                Step::Changed(Err(error)) => self.failed(&error),
                Step::Stopped => return None,
                Step::Waited => {
                    let now = self.shared.config.clock.instant();
                    if now >= self.ends_at {
                        return None;
                    }
                    self.beat_at = saturating_add(now, self.beat());
                    return Some((Bytes::from_static(b":\n\n"), self));
                }
            }
        }
        None
    }

    /// Waits until there may be something to say.
    async fn step(&self) -> Step {
        let Self { shared, handle, .. } = self;
        let clock = &shared.config.clock;
        let change = async {
            clock.sleep_until(self.quiet_until).await;
            match self.sent {
                Some(sent) => shared.store.wait(handle, sent, 2 * self.beat()).await,
                None => shared.store.get(handle).await,
            }
        };
        tokio::select! {
            biased;
            () = shared.until.cancelled() => Step::Stopped,
            status = change => Step::Changed(status),
            () = clock.sleep_until(self.beat_at.min(self.ends_at)) => Step::Waited,
        }
    }

    fn event(&mut self, status: &JobStatus, json: &[u8]) -> Bytes {
        let config = &self.shared.config;
        let now = config.clock.instant();
        self.sent = Some(status.version);
        self.failures = 0;
        self.quiet_until = saturating_add(now, config.event_every);
        self.beat_at = saturating_add(now, self.beat());
        self.over = status.state.is_terminal() || self.shared.until.is_cancelled();
        // JSON without white space has no line ends, so it is one line of data
        let id = format!("id: {}\ndata: ", status.version);
        [id.as_bytes(), json, b"\n\n"].concat().into()
    }

    /// Keeps the client, which hears heartbeats, until the store or the hook is back.
    fn failed(&mut self, error: &Error) {
        self.failures += 1;
        if self.failures == 1 {
            tracing::warn!(%error, handle = ?self.handle, "no events until this is over");
        }
        let pause = error.retry_after().unwrap_or_else(|| AFTER_FAILURE.next(self.failures));
        self.quiet_until = saturating_add(self.shared.config.clock.instant(), pause);
    }

    fn beat(&self) -> Duration {
        self.shared.config.heartbeat_every.max(Duration::from_millis(10))
    }
}
