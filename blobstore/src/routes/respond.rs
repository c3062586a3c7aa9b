//! Reading, and what every answer is made of.

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED,
    RANGE,
};
use http::{Response, StatusCode};
use standfast_core::{Error, ErrorKind, Reason};

use super::body::RouteBody;
use super::condition::{self, Verdict};
use super::{Inner, is_public};
use crate::blob::Blob;
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::range::ByteRange;
use crate::sign::{SignRequest, SignedMethod};

/// An answer that is not what the client hoped for: a status and S3's name for it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    headers: HeaderMap,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, headers: HeaderMap::new() }
    }

    pub(super) fn denied(code: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code)
    }

    pub(super) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey")
    }

    pub(super) fn bad(code: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code)
    }

    pub(super) fn failed_precondition() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
    }

    pub(super) fn method_not_allowed() -> Self {
        let mut refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
        refusal.headers.insert(ALLOW, HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PUT"));
        refusal
    }

    fn unsatisfiable(size: u64) -> Self {
        let mut refusal = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        put(&mut refusal.headers, CONTENT_RANGE, &format!("bytes */{size}"));
        refusal
    }

    pub(super) fn into_response(self, is_head: bool) -> Response<RouteBody> {
        let body = if is_head { RouteBody::empty() } else { self.code.into() };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What an error of the store or the signer means to the client: the one table of the routes.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let of = |status, code| Self::new(status, code);
        match (error.kind(), error.reason()) {
            (ErrorKind::Denied, Some(Reason::Expired)) => Self::denied("AccessDenied"),
            (ErrorKind::Denied, Some(Reason::Signature)) => Self::denied("SignatureDoesNotMatch"),
            (ErrorKind::Checksum, _) => Self::bad("BadDigest"),
            (ErrorKind::TooLarge, _) => Self::bad("EntityTooLarge"),
            (ErrorKind::Invalid | ErrorKind::Cancelled, Some(Reason::LengthMismatch)) => {
                Self::bad("IncompleteBody")
            }
            (ErrorKind::Cancelled, _) => Self::bad("IncompleteBody"),
            (ErrorKind::Invalid, _) => Self::bad("InvalidArgument"),
            (ErrorKind::NotFound, _) => Self::missing(),
            (ErrorKind::Conflict, _) => of(StatusCode::CONFLICT, "OperationAborted"),
            (ErrorKind::Unsupported, _) => of(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
            (ErrorKind::Throttled | ErrorKind::Timeout | ErrorKind::Unavailable, _) => {
                tracing::warn!(%error, "a blob could not be served");
                of(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
            }
            _ => {
                tracing::error!(%error, "a blob could not be served");
                of(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
        }
    }
}

pub(super) fn empty(status: StatusCode) -> Response<RouteBody> {
    let mut response = Response::new(RouteBody::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header to a value that was checked when it was stored; one that is none is left out.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Inner {
    pub(super) async fn read(
        &self,
        head: &http::request::Parts,
        method: SignedMethod,
    ) -> Result<Response<RouteBody>, Refusal> {
        let key = self.key(head)?;
        let grant = self.grant(head, method, &key)?;
        let found = match method {
            SignedMethod::Head => self.store.head(&key).await?.map(|meta| (meta, None)),
            _ => self.find(&key, head, grant.is_some()).await?,
        };
        let Some((meta, blob)) = found else {
            // Without a token, what is not there looks like what may not be seen.
            return Err(
                grant.map_or_else(|| Refusal::denied("AccessDenied"), |_| Refusal::missing())
            );
        };
        if grant.is_none() && !is_public(&meta) {
            return Err(Refusal::denied("AccessDenied"));
        }
        match condition::judge(&head.headers, &meta) {
            Verdict::Failed => return Err(Refusal::failed_precondition()),
            Verdict::NotModified => {
                let mut response = empty(StatusCode::NOT_MODIFIED);
                describe(response.headers_mut(), &meta, grant.as_ref());
                response.headers_mut().remove(CONTENT_TYPE);
                return Ok(response);
            }
            Verdict::Fulfilled => {}
        }
        let range = condition::range(&head.headers, &meta);
        let within = match range.map(|range| range.within(meta.size)) {
            None => None,
            Some(Ok(within)) if !within.is_empty() => Some(within),
            Some(_) => return Err(Refusal::unsatisfiable(meta.size)),
        };
        let mut response = empty(match within {
            Some(_) => StatusCode::PARTIAL_CONTENT,
            None => StatusCode::OK,
        });
        let headers = response.headers_mut();
        describe(headers, &meta, grant.as_ref());
        if let Some(within) = &within {
            let last = within.end.saturating_sub(1);
            let text = format!("bytes {}-{last}/{}", within.start, meta.size);
            put(headers, CONTENT_RANGE, &text);
        }
        let wanted = within.clone().unwrap_or(0..meta.size);
        headers.insert(CONTENT_LENGTH, (wanted.end - wanted.start).into());
        if let Some(blob) = blob {
            let blob = self.narrowed(blob, &wanted).await?;
            *response.body_mut() = RouteBody::blob(blob.into_stream(), wanted.end - wanted.start);
        }
        Ok(response)
    }

    /// The blob with its stream: of the range asked for, where there is one to be read.
    async fn find(
        &self,
        key: &BlobKey,
        head: &http::request::Parts,
        granted: bool,
    ) -> Result<Option<(BlobMeta, Option<Blob>)>, Refusal> {
        let headers = &head.headers;
        let mut options = GetOptions::default();
        let conditional = [IF_MATCH, IF_NONE_MATCH].iter().any(|name| headers.contains_key(name));
        if headers.contains_key(RANGE) || conditional || !granted {
            // Look first: what may not be seen, is not modified or behind the end need not be read.
            let Some(meta) = self.store.head(key).await? else { return Ok(None) };
            let range = condition::range(headers, &meta);
            if !(granted || is_public(&meta))
                || condition::judge(headers, &meta) != Verdict::Fulfilled
                || range.is_some_and(|range| range.within(meta.size).is_err())
            {
                return Ok(Some((meta, None)));
            }
            options.range = range;
            options.if_match = Some(meta.version);
        }
        match self.store.get(key, &options).await? {
            GetOutcome::Found(blob) => Ok(Some((blob.meta().clone(), Some(*blob)))),
            // Somebody replaced it since the look: the client asked for either, so try the new one
            // in full rather than mix two versions.
            GetOutcome::Mismatch => match self.store.get(key, &GetOptions::default()).await? {
                GetOutcome::Found(blob) => Ok(Some((blob.meta().clone(), Some(*blob)))),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// `blob`, or the part of it that was decided on, where another version was found in between.
    async fn narrowed(&self, blob: Blob, wanted: &std::ops::Range<u64>) -> Result<Blob, Refusal> {
        if blob.range() == *wanted {
            return Ok(blob);
        }
        let options = GetOptions::default()
            .with_if_match(blob.meta().version.clone())
            .with_range(ByteRange::from(wanted.clone()));
        match self.store.get(&blob.meta().key, &options).await? {
            GetOutcome::Found(blob) => Ok(*blob),
            _ => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        }
    }
}

/// The headers that say what the blob is.
fn describe(headers: &mut HeaderMap, meta: &BlobMeta, grant: Option<&SignRequest>) {
    for (name, value) in meta.attributes.headers() {
        // invariant: the names of attributes are header names
        put(headers, HeaderName::from_static(name), value);
    }
    let named = grant.and_then(|grant| grant.content_type.as_deref());
    if let Some(content_type) = named {
        put(headers, CONTENT_TYPE, content_type);
    } else if meta.attributes.content_type.is_none() {
        put(headers, CONTENT_TYPE, "application/octet-stream");
    }
    match grant.and_then(|grant| grant.disposition.as_deref()) {
        Some(disposition) => put(headers, CONTENT_DISPOSITION, disposition),
        None if meta.attributes.content_disposition.is_some() => {}
        None => {
            let shown = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if !shown.is_some_and(is_harmless) {
                put(headers, CONTENT_DISPOSITION, "attachment");
            }
        }
    }
    for (name, value) in &meta.attributes.metadata {
        if let Ok(name) = HeaderName::try_from(format!("x-amz-meta-{name}")) {
            put(headers, name, value);
        }
    }
    if grant.is_some() && meta.attributes.cache_control.is_none() {
        put(headers, CACHE_CONTROL, "private, no-cache");
    }
    put(headers, ETAG, &format!("\"{}\"", meta.version));
    put(headers, LAST_MODIFIED, &condition::http_date(meta.modified_at));
    put(headers, ACCEPT_RANGES, "bytes");
}

/// Whether a browser shows this without running or rendering anything as a page.
fn is_harmless(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", kind)) => kind != "svg+xml",
        Some(("audio" | "video" | "font", _)) => true,
        Some(("text", kind)) => matches!(kind, "plain" | "csv"),
        Some(("application", kind)) => kind == "json",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_harmless;

    #[test]
    fn what_could_run_is_not_harmless() {
        for shown in ["image/png", "Text/Plain; charset=utf-8", "video/mp4", "application/json"] {
            assert!(is_harmless(shown), "{shown}");
        }
        for saved in ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "", "x"] {
            assert!(!is_harmless(saved), "{saved}");
        }
    }
}
