use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Response, StatusCode};

use super::body::RouteBody;
use super::respond;

/// Which pages of other origins may use the URLs.
///
/// ```
/// use standfast_blobstore::Cors;
///
/// let cors = Cors::origins(["https://app.example"]).with_methods(["GET", "PUT"]);
/// assert!(format!("{cors:?}").contains("app.example"));
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// `None` for all.
    origins: Option<Vec<String>>,
    methods: Vec<String>,
    max_age: Duration,
}

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, content-disposition, content-length, content-range, etag, last-modified",
);

impl Cors {
    /// Pages of every origin. A URL grants what it grants to whoever has it, so this is safe; no
    /// cookies are ever involved.
    pub fn any_origin() -> Self {
        Self {
            origins: None,
            methods: ["GET", "HEAD", "PUT", "DELETE"].map(String::from).to_vec(),
            max_age: Duration::from_secs(3600),
        }
    }

    /// Pages of these origins, such as `https://app.example`.
    pub fn origins<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        let origins = origins.into_iter().map(Into::into).collect();
        Self { origins: Some(origins), ..Self::any_origin() }
    }

    /// Sets the methods; GET, HEAD, PUT and DELETE unless set.
    #[must_use]
    pub fn with_methods<S: Into<String>>(mut self, methods: impl IntoIterator<Item = S>) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long browsers may keep the answer; an hour unless set.
    #[must_use]
    pub fn with_max_age(mut self, span: Duration) -> Self {
        self.max_age = span;
        self
    }

    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(origins) => {
                origins.iter().any(|allowed| allowed.as_bytes() == origin).then(|| origin.clone())
            }
        }
    }

    /// Marks an answer as one that the asking page may see.
    pub(super) fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.origins.is_some() {
            response.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = self.allowed(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The answer to a browser that asks first; `None` if it may not.
    pub(super) fn preflight(&self, request: &HeaderMap) -> Option<Response<RouteBody>> {
        self.allowed(request)?;
        let method = request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let method = self.methods.iter().find(|allowed| allowed.as_bytes() == method)?;
        let mut response = respond::empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_str(method).ok()?);
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs().into());
        if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        Some(response)
    }
}
