//! Reading: one version from the first byte to the last, whatever happens to the connection.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::Inner;
use super::call::Progress;
use super::error::BACKEND;
use super::object::{Object, etag_of};
use super::request::Draft;
use crate::blob::Blob;
use crate::key::BlobKey;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::range::ByteRange;

impl Inner {
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &BlobKey,
        options: &GetOptions,
    ) -> Result<GetOutcome> {
        let now = self.clock.now();
        // A version that expired matches nothing, and a range of no bytes cannot be asked for.
        let wanted = options.if_match.as_ref().map(|version| etag_of(version, now));
        let known = options.if_none_match.as_ref().and_then(|version| etag_of(version, now));
        let range = match options.range.map(ByteRange::header) {
            Some(Some(range)) => Some(range),
            None => None,
            Some(None) => return self.get_nothing(key, options).await,
        };
        let path = self.path(key);
        let sent = self
            .call("blob.get", key.as_str(), |_| {
                let get = Draft::new("GET", &path)
                    .checksummed()
                    .header("if-match", wanted.clone().flatten())
                    .header("if-none-match", known.clone())
                    .header("range", range.clone());
                self.send(get)
            })
            .await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(failure) if failure.is_missing() => return Ok(GetOutcome::Missing),
            Err(failure) if failure.status == 304 => return Ok(GetOutcome::NotModified),
            // The one may be about a blob that expired, the other about one without bytes.
            Err(failure) if failure.status == 412 || failure.status == 416 => {
                return self.get_nothing(key, options).await;
            }
            Err(failure) => return Err(failure.error),
        };
        let Some((served, size)) = answer.range() else {
            return Err(confused(key, "a range that cannot be read"));
        };
        let object = Object::from_answer(key, self.is_public(key), &answer)?;
        if !object.meta.is_live(self.clock.now()) {
            return Ok(GetOutcome::Missing);
        }
        if wanted == Some(None) {
            return Ok(GetOutcome::Mismatch);
        }
        let expected = options.range.map_or(Ok(0..size), |range| range.within(size))?;
        if expected != served {
            return Err(confused(key, "another range than was asked for"));
        }
        let reader = Reader {
            store: Arc::clone(self),
            path,
            etag: object.etag,
            body: Some(answer.body),
            left: served.clone(),
            stalls: 0,
        };
        let stream = pieces(reader);
        Ok(GetOutcome::Found(Box::new(Blob::new(
            object.meta,
            served,
            !options.skip_verify,
            stream,
        ))))
    }

    /// What a read finds that gives no bytes.
    async fn get_nothing(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        let now = self.clock.now();
        let found = self.head_object(key).await?.filter(|object| object.meta.is_live(now));
        let Some(object) = found else { return Ok(GetOutcome::Missing) };
        if let Some(version) = &options.if_match
            && etag_of(version, now).as_deref() != Some(&object.etag)
        {
            return Ok(GetOutcome::Mismatch);
        }
        if let Some(version) = &options.if_none_match
            && etag_of(version, now).as_deref() == Some(&object.etag)
        {
            return Ok(GetOutcome::NotModified);
        }
        let size = object.meta.size;
        let range = options.range.map_or(Ok(0..size), |range| range.within(size))?;
        if !range.is_empty() {
            return Err(Error::new(ErrorKind::Conflict, BACKEND, "blob.get")
                .with_reason(Reason::ChangedDuringRead)
                .with_retryable(true)
                .with_detail(format!("{key:?} changed between two looks at it")));
        }
        Ok(GetOutcome::Found(Box::new(Blob::new(object.meta, range, false, stream::empty()))))
    }
}

fn confused(key: &BlobKey, detail: &str) -> Error {
    Error::new(ErrorKind::Unexpected, BACKEND, "blob.get")
        .with_detail(format!("{key:?}: the service gave {detail}"))
}

/// A body that goes on where its connection broke, if the object is still the same.
struct Reader {
    store: Arc<Inner>,
    path: String,
    etag: String,
    body: Option<ByteStream>,
    left: Range<u64>,
    /// How often it broke since the last byte.
    stalls: u32,
}

fn pieces(reader: Reader) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|piece| (piece, reader)))
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.reopen().await?,
            };
            let (idle, still) = (self.store.config.idle_timeout, Progress::default());
            let next = {
                let next = pin!(body.next());
                self.store.unless_idle(idle, &still, next).await
            };
            let why = match next {
                Some(Some(Ok(mut piece))) => {
                    piece.truncate(
                        usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX),
                    );
                    self.left.start += piece.len() as u64;
                    self.body = Some(body);
                    if piece.is_empty() {
                        continue;
                    }
                    self.stalls = 0;
                    return Ok(Some(piece));
                }
                Some(Some(Err(error))) => error.to_string(),
                Some(None) => "it ended early".into(),
                None => "it fell silent".into(),
            };
            self.stalls += 1;
            tracing::debug!(at = self.left.start, why, "a read from S3 broke");
            if self.stalls > self.store.config.attempts {
                return Err(Error::new(ErrorKind::Unavailable, BACKEND, "blob.get").with_detail(
                    format!("{:?} broke at byte {}: {why}", self.path, self.left.start),
                ));
            }
        }
        Ok(None)
    }

    /// The rest, of the same object.
    async fn reopen(&self) -> Result<ByteStream> {
        let store = &*self.store;
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let sent = store.call("blob.get", &self.path, |_| {
            let get = Draft::new("GET", &self.path);
            store.send(get.header("if-match", self.etag.clone()).header("range", range.clone()))
        });
        match sent.await {
            Ok(answer) => {
                if answer.range().is_some_and(|(served, _)| served == self.left) {
                    return Ok(answer.body);
                }
                Err(Error::new(ErrorKind::Unexpected, BACKEND, "blob.get")
                    .with_detail(format!("{:?}: the service ignored a range", self.path)))
            }
            Err(failure)
                if failure.status == 412 || failure.status == 416 || failure.is_missing() =>
            {
                Err(Error::new(ErrorKind::Conflict, BACKEND, "blob.get")
                    .with_reason(Reason::ChangedDuringRead)
                    .with_retryable(true)
                    .with_detail(format!("{:?} was replaced while it was read", self.path)))
            }
            Err(failure) => Err(failure.error),
        }
    }
}
