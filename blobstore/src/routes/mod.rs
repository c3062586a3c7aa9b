//! A service that answers the URLs a [`UrlSigner`] signed, with the status codes of S3.

mod body;
mod condition;
mod cors;
mod respond;
mod upload;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Method, Request, Response};
use standfast_core::BoxError;
use tower_service::Service;

use crate::key::BlobKey;
use crate::meta::{BlobMeta, Visibility};
use crate::options::DeleteOptions;
use crate::outcome::DeleteOutcome;
use crate::sign::{SignRequest, SignedMethod, UrlSigner, decode_path, token_in};
use crate::store::BlobStore;

pub use body::RouteBody;
pub use cors::Cors;
use respond::Refusal;

/// Serves the blobs of a store to browsers: signed URLs, and the addresses of public blobs.
///
/// Mount it where the signer's base URL points, with the path below that prefix left to it, such
/// as axum's `nest_service("/blobs", routes)` does; where nothing strips the prefix, name it with
/// [`strip_prefix`](Self::strip_prefix).
///
/// | request | answer |
/// |---|---|
/// | token forged, expired, or for another method, key or store; private blob without one | 403 |
/// | blob missing or expired | 404 |
/// | method that no token can name | 405 |
/// | `Range` | 206, or 416 behind the end; several ranges are answered with the whole blob |
/// | `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` | 304, 412 |
/// | upload: stored; not signed for this type or length; a blob is there already | 200; 403, 400; 412 |
///
/// Every answer carries `X-Content-Type-Options: nosniff` and a `Content-Security-Policy` of
/// `sandbox`, so that what users uploaded runs no scripts in the application's name. What a
/// browser could run or render as a page is served as an attachment, unless its signed URL or its
/// own `Content-Disposition` says otherwise. A signed URL's answer is not for shared caches.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{BlobRoutes, Blobs, MemoryBlobStore, RouteBody, SigningKey, UrlSigner};
/// use tower_service::Service;
///
/// let signer = UrlSigner::new("/blobs", SigningKey::random());
/// let store = MemoryBlobStore::new().with_signer(signer.clone());
/// let mut routes = BlobRoutes::new(store.clone(), signer).strip_prefix("/blobs");
///
/// let blobs = Blobs::new(store);
/// blobs.put("r/7.html", "<h1>7</h1>").content_type("text/html").await?;
/// let url = blobs.signed_url("r/7.html", Duration::from_secs(60)).inline().await?;
/// let request = http::Request::get(url.as_str()).body(RouteBody::empty()).unwrap();
/// let response = routes.call(request).await.unwrap();
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["content-security-policy"], "sandbox");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BlobRoutes {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    store: Arc<dyn BlobStore>,
    signer: UrlSigner,
    prefix: String,
    cors: Option<Cors>,
    policy: http::HeaderValue,
    max_upload: u64,
}

impl BlobRoutes {
    /// Serves what is in `store` to those who have a URL that `signer` signed.
    pub fn new(store: impl BlobStore, signer: UrlSigner) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: Arc::new(store),
                signer,
                prefix: String::new(),
                cors: None,
                policy: http::HeaderValue::from_static("sandbox"),
                max_upload: 5 << 30,
            }),
        }
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Takes this off the front of every path; a path without it is not found.
    #[must_use]
    pub fn strip_prefix(self, prefix: impl Into<String>) -> Self {
        let mut prefix = prefix.into();
        prefix.truncate(prefix.trim_end_matches('/').len());
        self.map(|inner| inner.prefix = prefix)
    }

    /// Lets pages of other origins use the URLs.
    #[must_use]
    pub fn cors(self, cors: Cors) -> Self {
        self.map(|inner| inner.cors = Some(cors))
    }

    /// Sends another `Content-Security-Policy` than `sandbox`.
    #[must_use]
    pub fn content_security_policy(self, policy: http::HeaderValue) -> Self {
        self.map(|inner| inner.policy = policy)
    }

    /// Refuses uploads of more bytes than this, whatever was signed; 5 GiB unless set, as on S3.
    #[must_use]
    pub fn max_upload(self, bytes: u64) -> Self {
        self.map(|inner| inner.max_upload = bytes)
    }
}

impl fmt::Debug for BlobRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobRoutes")
            .field("store", &self.inner.store)
            .field("signer", &self.inner.signer)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for BlobRoutes
where
    B: http_body::Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<RouteBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        // Boxed here, so that a future of ours is `Send` without asking more of `B`.
        let (head, body) = request.into_parts();
        let body = Box::pin(body);
        Box::pin(async move { Ok(inner.answer(&head, body).await) })
    }
}

impl Inner {
    async fn answer<B>(&self, head: &http::request::Parts, body: Pin<Box<B>>) -> Response<RouteBody>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        let answered = match head.method {
            Method::OPTIONS => self.preflight(head),
            Method::GET => self.read(head, SignedMethod::Get).await,
            Method::HEAD => self.read(head, SignedMethod::Head).await,
            Method::PUT => self.upload(head, body).await,
            Method::DELETE => self.delete(head).await,
            _ => Err(Refusal::method_not_allowed()),
        };
        let mut response =
            answered.unwrap_or_else(|refusal| refusal.into_response(head.method == Method::HEAD));
        let headers = response.headers_mut();
        headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
        headers.insert("content-security-policy", self.policy.clone());
        if let Some(cors) = &self.cors {
            cors.allow(&head.headers, headers);
        }
        response
    }

    fn preflight(&self, head: &http::request::Parts) -> Result<Response<RouteBody>, Refusal> {
        let cors = self.cors.as_ref().ok_or_else(|| Refusal::denied("CORSNotEnabled"))?;
        cors.preflight(&head.headers).ok_or_else(|| Refusal::denied("CORSForbidden"))
    }

    fn key(&self, head: &http::request::Parts) -> Result<BlobKey, Refusal> {
        let path = head.uri.path().strip_prefix(self.prefix.as_str());
        let path = path.and_then(|path| path.strip_prefix('/')).and_then(decode_path);
        path.and_then(|key| BlobKey::new(key).ok()).ok_or_else(Refusal::missing)
    }

    /// What the request's token grants; `None` for a request without one.
    fn grant(
        &self,
        head: &http::request::Parts,
        method: SignedMethod,
        key: &BlobKey,
    ) -> Result<Option<SignRequest>, Refusal> {
        let query = head.uri.query().unwrap_or_default();
        let Some(token) = token_in(query) else { return Ok(None) };
        self.signer.verify(method, key, token).map(Some).map_err(Refusal::from)
    }

    async fn delete(&self, head: &http::request::Parts) -> Result<Response<RouteBody>, Refusal> {
        let key = self.key(head)?;
        let grant = self.grant(head, SignedMethod::Delete, &key)?;
        grant.ok_or_else(|| Refusal::denied("AccessDenied"))?;
        match self.store.delete(&key, &DeleteOptions::default()).await? {
            DeleteOutcome::Failed(error) => Err(error.into()),
            _ => Ok(respond::empty(http::StatusCode::NO_CONTENT)),
        }
    }
}

/// Whether somebody without a token may read the blob.
fn is_public(meta: &BlobMeta) -> bool {
    meta.visibility == Visibility::Public
}
