use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, Response};
use http_body::Body as _;
use standfast_core::{Error, Result};
use tower_service::Service as _;

use crate::{BlobKey, BlobMeta, BlobRoutes, BlobStore, Blobs, Body, ListOptions, RouteBody};

/// What the suite needs of a backend.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use bytes::Bytes;
/// use standfast_blobstore::testkit::{BlobHarness, serve};
/// use standfast_blobstore::{BlobRoutes, BlobStore, MemoryBlobStore, SigningKey, UrlSigner};
/// use standfast_core::testkit::ManualClock;
///
/// #[derive(Debug)]
/// struct Harness { clock: ManualClock, signer: UrlSigner }
///
/// #[async_trait::async_trait]
/// impl BlobHarness for Harness {
///     async fn store(&self) -> Arc<dyn BlobStore> {
///         let store = MemoryBlobStore::new().with_clock(Arc::new(self.clock.clone()));
///         Arc::new(store.with_signer(self.signer.clone()))
///     }
///     fn moment(&self) -> Duration { Duration::from_secs(60) }
///     async fn pass_time(&self, span: Duration) { self.clock.advance(span) }
///     async fn fetch(&self, store: &Arc<dyn BlobStore>, request: http::Request<Bytes>)
///         -> http::Response<Bytes>
///     {
///         serve(BlobRoutes::new(store.clone(), self.signer.clone()), request).await
///     }
/// }
/// ```
#[async_trait]
pub trait BlobHarness: Debug + Send + Sync {
    /// A store with nothing in it, of this harness's clock.
    async fn store(&self) -> Arc<dyn BlobStore>;

    /// A span of at least a second, in which a few dozen operations surely end.
    fn moment(&self) -> Duration;

    /// Lets time pass for the store: by moving its clock, or by waiting.
    async fn pass_time(&self, span: Duration);

    /// Answers a request that a client sends to a URL that `store` gave.
    async fn fetch(&self, store: &Arc<dyn BlobStore>, request: Request<Bytes>) -> Response<Bytes>;
}

/// Has `routes` answer `request`, and reads the answer to its end.
///
/// # Panics
///
/// When the body of the answer ends in an error.
pub async fn serve(mut routes: BlobRoutes, request: Request<Bytes>) -> Response<Bytes> {
    let answered = routes.call(request.map(RouteBody::from)).await;
    let (head, mut body) = answered.unwrap_or_else(|never| match never {}).into_parts();
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.unwrap_or_else(|error| panic!("the body ends in {error}"));
        if let Ok(data) = frame.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Response::from_parts(head, all.freeze())
}

pub(crate) fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A handle on a fresh store, with a blob of the given content for each key.
pub(crate) async fn seed(harness: &dyn BlobHarness, blobs: &[(&str, &str)]) -> Blobs {
    let store = Blobs::from(harness.store().await);
    for (key, content) in blobs {
        let stored = store.put(*key, (*content).to_owned()).await;
        stored.unwrap_or_else(|error| panic!("put {key:?}: {error}"));
    }
    store
}

/// The content of a blob, or `None` if there is none.
pub(crate) async fn read(blobs: &Blobs, key: &str) -> Option<String> {
    let meta: Option<BlobMeta> = blobs.head(key).await.unwrap_or_else(|error| panic!("{error}"));
    let content = blobs.get_bytes(key).await;
    assert_eq!(meta.is_some(), content.is_ok(), "head and get disagree on {key:?}: {content:?}");
    content.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// All keys that a listing shows.
pub(crate) async fn keys_of(blobs: &Blobs, options: ListOptions) -> Vec<String> {
    let mut listed = Vec::new();
    let mut options = options;
    loop {
        let page = blobs.list_page(options.clone()).await.unwrap_or_else(|e| panic!("{e}"));
        listed.extend(page.blobs.iter().map(|entry| entry.key.to_string()));
        let Some(token) = page.next else { break };
        options = options.with_token(token);
    }
    if options == ListOptions::all() {
        let streamed: Result<Vec<_>> =
            blobs.list("").map_ok(|entry| entry.key.to_string()).try_collect().await;
        assert_eq!(streamed.unwrap_or_else(|e| panic!("{e}")), listed);
    }
    listed
}

/// The error of a result that must be one.
pub(crate) fn error<T: Debug>(result: Result<T>) -> Error {
    match result {
        Ok(value) => panic!("expected an error, got {value:?}"),
        Err(error) => error,
    }
}

/// A body that gives `first` and then never goes on.
pub(crate) fn slow(first: impl Into<Bytes>) -> Body {
    let first = stream::iter([Ok::<_, Error>(first.into())]);
    Body::stream(first.chain(stream::pending()))
}
