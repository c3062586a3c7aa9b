use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use standfast_core::{BoxError, Error};

use crate::blob::BlobStream;

/// The body of an answer: nothing, bytes, or a blob as it is read.
///
/// ```
/// use http_body::Body;
/// use standfast_blobstore::RouteBody;
///
/// assert!(RouteBody::empty().is_end_stream());
/// assert_eq!(RouteBody::from("hello").size_hint().exact(), Some(5));
/// ```
pub struct RouteBody(Inner);

enum Inner {
    Blob(Box<BlobStream>, u64),
    Bytes(Bytes),
}

impl RouteBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Inner::Bytes(Bytes::new()))
    }

    pub(super) fn blob(stream: BlobStream, len: u64) -> Self {
        Self(Inner::Blob(Box::new(stream), len))
    }
}

impl From<Bytes> for RouteBody {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl From<&'static str> for RouteBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for RouteBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Blob(stream, left) => {
                let piece = ready!(Pin::new(&mut **stream).poll_next(cx));
                if let Some(Ok(piece)) = &piece {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Inner::Blob(_, left) => *left,
            Inner::Bytes(bytes) => bytes.len() as u64,
        })
    }
}

impl fmt::Debug for RouteBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteBody").field(&http_body::Body::size_hint(self).exact()).finish()
    }
}

/// The data of a request's body as a stream of bytes.
pub(super) struct Upload<B>(pub(super) Pin<Box<B>>);

impl<B> Stream for Upload<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match ready!(self.0.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame,
            };
            // Trailers end the body and say nothing that matters here.
            if let Ok(mut data) = frame.into_data() {
                let len = data.remaining();
                return Poll::Ready(Some(Ok(data.copy_to_bytes(len))));
            }
        }
    }
}
