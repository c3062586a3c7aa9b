//! How a request is sent: given up when nothing moves, and sent again where that may help.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body::{Body, Frame, SizeHint};
use standfast_core::{Backoff, ErrorKind};

use super::Inner;
use super::error::Failure;

/// How often the body of a request moved.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const THROTTLED: Backoff = Backoff::new(Duration::from_millis(400), Duration::from_secs(20));
const FAILED: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

impl Inner {
    /// Sends what `request` makes until it succeeds, a retry is useless, or the attempts are used
    /// up. What the failure says of doubt is true of all attempts together.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: &'static str,
        what: &str,
        request: impl FnMut(Progress) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        self.call_within(self.config.idle_timeout, operation, what, request).await
    }

    /// The same for what the service works on silently, such as putting parts together.
    pub(super) async fn call_patiently<T, E, F>(
        &self,
        operation: &'static str,
        what: &str,
        request: impl FnMut(Progress) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        self.call_within(self.config.idle_timeout * 10, operation, what, request).await
    }

    async fn call_within<T, E, F>(
        &self,
        idle: Duration,
        operation: &'static str,
        what: &str,
        mut request: impl FnMut(Progress) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let mut doubtful = false;
        for attempt in 1.. {
            let progress = Progress::default();
            let sent = Box::pin(request(progress.clone()));
            let mut failure = match self.unless_idle(idle, &progress, sent).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => Failure::of(operation, what, error),
                None => Failure::idle(operation, what),
            };
            doubtful |= failure.doubtful;
            failure.doubtful = doubtful;
            if !failure.again || attempt >= self.config.attempts {
                return Err(failure);
            }
            let throttled = failure.error.kind() == ErrorKind::Throttled;
            let backoff = if throttled { THROTTLED } else { FAILED };
            let wait = failure.error.retry_after().unwrap_or_else(|| backoff.next(attempt));
            tracing::debug!(attempt, ?wait, error = %failure.error, "asking S3 again");
            self.clock.local().sleep(wait).await;
        }
        unreachable!("the attempts are counted")
    }

    /// What `work` gives, or `None` if nothing moved for so long.
    pub(super) async fn unless_idle<T>(
        &self,
        span: Duration,
        progress: &Progress,
        work: impl Future<Output = T> + Send + Unpin,
    ) -> Option<T> {
        let mut work = work;
        // What is there already needs no timer: most pieces of a large body are.
        let first = poll_fn(|context| Poll::Ready(Pin::new(&mut work).poll(context)));
        if let Poll::Ready(done) = first.await {
            return Some(done);
        }
        loop {
            let before = progress.steps();
            let idle = pin!(self.clock.local().sleep(span));
            match select(work, idle).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right(((), again)) if progress.steps() > before => work = again,
                Either::Right(_) => return None,
            }
        }
    }
}

/// Bytes in memory as the body of a request: nothing is copied, and every piece that goes is seen.
#[derive(Debug)]
struct Chunks {
    chunks: VecDeque<Bytes>,
    now: Bytes,
    left: u64,
    progress: Progress,
}

/// What is sent at once at most, so that progress shows.
const STEP: usize = 256 << 10;

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while self.now.is_empty() {
            match self.chunks.pop_front() {
                Some(next) => self.now = next,
                None => return Poll::Ready(None),
            }
        }
        let step = STEP.min(self.now.len());
        let piece = self.now.split_to(step);
        self.left -= step as u64;
        self.progress.step();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The chunks as a body.
pub(super) fn body(chunks: &[Bytes], progress: Progress) -> SdkBody {
    let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    if let ([], _) | (_, 0) = (chunks, left) {
        return SdkBody::empty();
    }
    let chunks = chunks.iter().cloned().collect();
    SdkBody::from_body_1_x(Chunks { chunks, now: Bytes::new(), left, progress })
}
