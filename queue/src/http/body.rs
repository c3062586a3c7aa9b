use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

/// The body of an answer: bytes, or events for as long as somebody reads them.
///
/// Nothing runs behind it: a stream of events goes on while it is polled and ends when the
/// connection, and the body with it, is dropped.
///
/// ```
/// use http_body::Body;
/// use standfast_queue::StatusHandle;
/// use standfast_queue::http::Accepted;
///
/// let response = Accepted::new(StatusHandle::random(), "/is_ready").into_response();
/// assert_eq!(response.body().size_hint().exact(), Some(60));
/// ```
pub struct StatusBody(Inner);

enum Inner {
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    Full(Bytes),
}

impl StatusBody {
    pub(super) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self(Inner::Full(bytes))
    }

    pub(super) fn events(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Inner::Events(Box::pin(stream)))
    }
}

impl Body for StatusBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.get_mut().0 {
            Inner::Events(stream) => std::task::ready!(stream.as_mut().poll_next(cx)),
            Inner::Full(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Events(_) => SizeHint::default(),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl fmt::Debug for StatusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Events(_) => "StatusBody(events)",
            Inner::Full(_) => "StatusBody(bytes)",
        })
    }
}
