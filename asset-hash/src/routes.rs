//! A service that answers the addresses of a set of this machine.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tower_service::Service;

use crate::digest::Digest;
use crate::local::{LocalSet, Source};
use crate::media::media_type;

/// Serves a set that is embedded in the program or lies in a directory, at the addresses that it
/// would have in a store: so development needs no store, and pages look alike.
///
/// Mount it where the base URL of [`AssetUrls`](crate::AssetUrls) points: for `/assets/{id}/` that
/// is axum's `nest_service("/assets", routes)`, or [`strip_prefix`](Self::strip_prefix) where
/// nothing takes the prefix away.
///
/// | request | answer |
/// |---|---|
/// | `GET`, `HEAD` of `/<id>/<path>` | 200 with media type, length and entity tag |
/// | with `If-None-Match` of that tag | 304 |
/// | another id, another path | 404, not to be cached: another instance may have it |
/// | another method | 405 |
///
/// Embedded files are cached for a year, as from a store. Files of a directory are served as they
/// are now and not cached, so that an edit shows at once; the `integrity` that pages have from the
/// set is that of the files as they were read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use standfast_asset_hash::{AssetRoutes, AssetUrls, LocalSet};
/// use tower_service::Service;
///
/// let set = LocalSet::embedded(&[("css/app.css", b"body {}")])?;
/// let urls = AssetUrls::new("/assets/{id}/", set.manifest().clone())?;
/// let mut routes = AssetRoutes::new(set).strip_prefix("/assets");
///
/// let request = http::Request::get(urls.url("css/app.css")?).body(())?;
/// let response = routes.call(request).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["content-type"], "text/css; charset=utf-8");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AssetRoutes {
    set: Arc<LocalSet>,
    prefix: Arc<str>,
}

impl AssetRoutes {
    /// Serves this set.
    pub fn new(set: LocalSet) -> Self {
        Self { set: Arc::new(set), prefix: "".into() }
    }

    /// Takes this off the front of every path; a path without it is not found.
    #[must_use]
    pub fn strip_prefix(self, prefix: impl AsRef<str>) -> Self {
        Self { prefix: prefix.as_ref().trim_end_matches('/').into(), ..self }
    }

    /// Where the file is that the request asks for, and what type it has.
    fn find(&self, path: &str) -> Option<(Source, &'static str)> {
        let path = path.strip_prefix(&*self.prefix)?.strip_prefix('/')?;
        let (id, path) = path.split_once('/')?;
        if id.parse().ok() != Some(self.set.manifest().id()) {
            return None;
        }
        let path = decode(path)?;
        Some((self.set.source(&path)?, media_type(&path)))
    }

    async fn answer(self, method: Method, path: String, headers: HeaderMap) -> Response<AssetBody> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Some((source, media)) = self.find(&path) else { return refuse(StatusCode::NOT_FOUND) };
        let (bytes, cache) = match source {
            Source::Embedded(bytes) => (Bytes::from_static(bytes), FOREVER),
            Source::File(path) => {
                let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
                match read {
                    Ok(Ok(bytes)) => (Bytes::from(bytes), "no-cache"),
                    Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                        return refuse(StatusCode::NOT_FOUND);
                    }
                    _ => return refuse(StatusCode::INTERNAL_SERVER_ERROR),
                }
            }
        };
        let tag = format!("\"{}\"", Digest::of(&bytes).id());
        let mut response = Response::new(AssetBody(Bytes::new()));
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
        let head = response.headers_mut();
        // invariant: hexadecimal digits in quotes are a header value
        head.insert(ETAG, HeaderValue::from_str(&tag).expect("a tag is a header value"));
        head.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        head.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        head.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        if method == Method::GET {
            *response.body_mut() = AssetBody(bytes);
        }
        response
    }
}

const FOREVER: &str = "public, max-age=31536000, immutable";

fn refuse(status: StatusCode) -> Response<AssetBody> {
    let mut response = Response::new(AssetBody(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The path of a file from the path of a URL.
fn decode(path: &str) -> Option<String> {
    let digit = |at: usize| (*path.as_bytes().get(at)? as char).to_digit(16);
    let (mut bytes, mut at) = (Vec::with_capacity(path.len()), 0);
    while let Some(&byte) = path.as_bytes().get(at) {
        if byte == b'%' {
            // invariant: two digits make a byte
            bytes.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
            at += 3;
        } else {
            bytes.push(byte);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok()
}

impl<B> Service<Request<B>> for AssetRoutes {
    type Response = Response<AssetBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, _) = request.into_parts();
        let path = head.uri.path().to_owned();
        let answer = self.clone().answer(head.method, path, head.headers);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// The body of an answer: all bytes of a file, or none.
///
/// ```
/// use http_body::Body;
/// use standfast_asset_hash::AssetBody;
///
/// assert!(AssetBody::from(bytes::Bytes::new()).is_end_stream());
/// ```
pub struct AssetBody(Bytes);

impl From<Bytes> for AssetBody {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl http_body::Body for AssetBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl fmt::Debug for AssetBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AssetBody").field(&self.0.len()).finish()
    }
}
