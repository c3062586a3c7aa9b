//! Storing through a signed URL.

use std::pin::Pin;

use bytes::Buf;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use http::{Response, StatusCode};
use standfast_core::{BoxError, Error, ErrorKind, Reason};

use super::Inner;
use super::body::{RouteBody, Upload};
use super::condition::{is_any, single};
use super::respond::{self, Refusal};
use crate::body::Body;
use crate::options::{Expiry, Precondition, PutOptions};
use crate::outcome::PutOutcome;
use crate::sign::{LenBound, SignRequest, SignedMethod};

impl Inner {
    pub(super) async fn upload<B>(
        &self,
        head: &http::request::Parts,
        body: Pin<Box<B>>,
    ) -> Result<Response<RouteBody>, Refusal>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        let key = self.key(head)?;
        let grant = self.grant(head, SignedMethod::Put, &key)?;
        let grant = grant.ok_or_else(|| Refusal::denied("AccessDenied"))?;
        let sent_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if grant.content_type.is_some() && grant.content_type.as_deref() != sent_type {
            return Err(Refusal::denied("SignatureDoesNotMatch"));
        }
        let announced = announced(&head.headers)?;
        let at_most = admitted(&grant, announced)?.min(self.max_upload);
        if announced.is_some_and(|len| len > at_most) {
            return Err(Refusal::bad("EntityTooLarge"));
        }
        let options = options(&grant, sent_type, &head.headers)?;
        let body = match announced {
            Some(len) => Body::sized_stream(len, bounded(Upload(body), at_most)),
            None => Body::stream(bounded(Upload(body), at_most)),
        };
        match self.store.put(&key, body, &options).await? {
            PutOutcome::Stored(meta) => {
                let mut response = respond::empty(StatusCode::OK);
                respond::put(response.headers_mut(), ETAG, &format!("\"{}\"", meta.version));
                Ok(response)
            }
            PutOutcome::Exists | PutOutcome::Mismatch => Err(Refusal::failed_precondition()),
        }
    }
}

fn announced(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let len = value.to_str().ok().and_then(|text| text.parse().ok());
    len.map(Some).ok_or_else(|| Refusal::bad("InvalidArgument"))
}

/// How many bytes may come at most.
fn admitted(grant: &SignRequest, announced: Option<u64>) -> Result<u64, Refusal> {
    match (grant.len, announced) {
        (None, _) => Ok(u64::MAX),
        (Some(LenBound::AtMost(len)), _) => Ok(len),
        (Some(LenBound::Exactly(len)), Some(sent)) if sent == len => Ok(len),
        // The length is part of what S3 signs, so another one is another signature.
        (Some(LenBound::Exactly(_)), Some(_)) => Err(Refusal::denied("SignatureDoesNotMatch")),
        (Some(LenBound::Exactly(_)), None) => {
            Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength"))
        }
    }
}

fn options(
    grant: &SignRequest,
    sent_type: Option<&str>,
    headers: &HeaderMap,
) -> Result<PutOptions, Refusal> {
    let mut attributes = grant.attributes.clone();
    attributes.content_type = sent_type.map(str::to_owned);
    let precondition = if grant.once || is_any(headers, IF_NONE_MATCH) {
        Precondition::IfAbsent
    } else if headers.contains_key(IF_MATCH) {
        let version = single(headers, IF_MATCH).ok_or_else(|| Refusal::bad("InvalidArgument"))?;
        Precondition::IfMatch(version)
    } else if headers.contains_key(IF_NONE_MATCH) {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
    } else {
        Precondition::Always
    };
    Ok(PutOptions {
        attributes,
        crc64: None,
        expiry: grant.blob_expires_in.map_or(Expiry::Never, Expiry::In),
        precondition,
        sha256: grant.sha256,
        visibility: grant.visibility,
    })
}

/// The stream, ending in an error as soon as it has given too much.
fn bounded<B>(
    upload: Upload<B>,
    at_most: u64,
) -> impl futures_core::Stream<Item = Result<bytes::Bytes, BoxError>> + Send
where
    B: http_body::Body + Send,
    B::Error: Into<BoxError>,
{
    let mut seen = 0_u64;
    upload.map(move |piece| {
        let piece = piece?;
        seen += piece.len() as u64;
        if seen <= at_most {
            return Ok(piece);
        }
        Err(Error::new(ErrorKind::TooLarge, "blobstore", "blob.upload")
            .with_reason(Reason::BodyTooLarge)
            .with_detail(format!("more than {at_most} bytes came"))
            .into())
    })
}
