use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{HeaderValue, Request, Response, header};
use standfast_core::{Context, Id128, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::config::{OnServerError, SessionLayerConfig};
use super::cookie::Cookie;
use super::error::SessionError;
use super::session::{Session, Shared};
use crate::handler::SessionHandler;

/// Gives each request its [`Session`] and commits it before the first byte of the response. See the
/// [module](super) for the rules.
///
/// The request's [`Context`] is in its extensions too: the one that a layer above put there, or one
/// with the request id of the header `x-request-id`, or a random one, and the `traceparent`.
///
/// ```
/// use axum::{Router, routing::get};
/// use standfast_session::http::{Session, SessionError, SessionLayer};
/// use standfast_session::{Key, MemorySessionHandler};
///
/// const VIEWS: Key<i64> = Key::counter("views");
///
/// async fn page(session: Session) -> Result<String, SessionError> {
///     session.add(&VIEWS, 1);
///     Ok(format!("view {}", session.get(&VIEWS).await?.unwrap_or_default()))
/// }
///
/// let layer = SessionLayer::new(MemorySessionHandler::new(), "https://shop.example")?;
/// let app: Router = Router::new().route("/", get(page)).layer(layer);
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionLayer(Arc<Shared>);

impl SessionLayer {
    /// Sessions in `handler`, for an application that browsers see under `public_url`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that does not begin with `https://` or `http://`.
    pub fn new(handler: impl SessionHandler, public_url: &str) -> Result<Self> {
        Self::with_config(handler, public_url, SessionLayerConfig::default())
    }

    /// The same, as `config` says.
    ///
    /// # Errors
    ///
    /// `Invalid` for a URL that does not begin with `https://` or `http://`, and for a
    /// configuration that cannot work.
    pub fn with_config(
        handler: impl SessionHandler,
        public_url: &str,
        config: SessionLayerConfig,
    ) -> Result<Self> {
        let (cookie, is_secure) = Cookie::new(public_url, &config)?;
        if !is_secure {
            tracing::warn!(
                public_url,
                "the public URL is http: session cookies go over the wire as plain text"
            );
        }
        Ok(Self(Arc::new(Shared { handler: Arc::new(handler), config, cookie })))
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, shared: Arc::clone(&self.0) }
    }
}

/// What [`SessionLayer`] makes of a service.
///
/// ```
/// use standfast_session::http::{SessionLayer, SessionService};
/// use standfast_session::MemorySessionHandler;
/// use tower_layer::Layer;
///
/// let layer = SessionLayer::new(MemorySessionHandler::new(), "https://shop.example")?;
/// let service: SessionService<axum::Router> = layer.layer(axum::Router::new());
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // the one that is ready goes, a fresh one takes its place
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let context = context(&request);
        let presented = self.shared.cookie.read(request.headers());
        let session = Session::begin(&self.shared, presented, context.clone());
        let extensions = request.extensions_mut();
        extensions.insert(session.clone());
        extensions.insert(context);
        let Shared { config, .. } = &*self.shared;
        let (is_eager, on_server_error) = (config.is_eager, config.on_server_error);
        Box::pin(async move {
            if is_eager {
                match session.context().await {
                    Ok(context) => {
                        if let Some(session) = context.session {
                            request.extensions_mut().insert(session);
                        }
                        request.extensions_mut().insert(context);
                    }
                    Err(error) => return Ok(failed(&error)),
                }
            }
            let mut response = inner.call(request).await?;
            if response.status().is_server_error() && on_server_error == OnServerError::Discard {
                session.discard();
            }
            if let Err(error) = session.commit().await {
                // what the handler has answered is not true
                session.discard();
                response = failed(&error);
            }
            finish(&session, &mut response);
            Ok(response)
        })
    }
}

fn finish<R>(session: &Session, response: &mut Response<R>) {
    let (cookie, was_used) = session.finish();
    let headers = response.headers_mut();
    if was_used {
        headers.append(header::VARY, HeaderValue::from_static("cookie"));
    }
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
        // a cache must not hand somebody's secret to somebody else
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    }
    session.touch_later();
}

fn failed<R: Default>(error: &SessionError) -> Response<R> {
    tracing::error!(%error, "the session of a request failed");
    let mut response = Response::new(R::default());
    *response.status_mut() = error.status();
    response
}

fn context<B>(request: &Request<B>) -> Context {
    if let Some(context) = request.extensions().get::<Context>()
        && context.request_id.is_some()
    {
        return context.clone();
    }
    let text = |name, most| {
        let value = request.headers().get(name)?.to_str().ok()?;
        ((1..=most).contains(&value.len())).then(|| value.to_owned())
    };
    let mut context = request.extensions().get::<Context>().cloned().unwrap_or_default();
    context.request_id = text("x-request-id", 128).or_else(|| Some(Id128::random().to_string()));
    context.traceparent = context.traceparent.or_else(|| text("traceparent", 128));
    context
}
