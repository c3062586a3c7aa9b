//! Requests for single objects, written and signed here: these are what many small blobs cost.
//!
//! The SDK takes two to three times the processor for the same request. Everything else goes through
//! it, and so does the question where the bucket is and who may ask (see `route`).

use std::borrow::Cow;
use std::ops::Range;

use aws_sdk_s3::error::{ErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::{Headers, HttpError};

use super::Inner;
use super::copy::encode;
use super::route::Route;
use super::sigv4::{EMPTY, Scope, UNSIGNED};

const AGENT: &str = concat!("standfast/", env!("CARGO_PKG_VERSION"));
/// An error is a few lines of XML.
const MAX_ERROR: usize = 64 << 10;

/// A request for the object at a path.
#[derive(Debug)]
pub(super) struct Draft {
    method: &'static str,
    path: String,
    headers: Vec<(Cow<'static, str>, String)>,
    body: SdkBody,
}

impl Draft {
    pub(super) fn new(method: &'static str, path: &str) -> Self {
        let headers = Vec::with_capacity(16);
        Self { method, path: encode(path), headers, body: SdkBody::empty() }
    }

    /// Sets a header, whose name is in lower case, if there is a value.
    #[must_use]
    pub(super) fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Option<String>>,
    ) -> Self {
        if let Some(value) = value.into() {
            self.headers.push((name.into(), value));
        }
        self
    }

    /// Asks for the checksum that the service keeps.
    #[must_use]
    pub(super) fn checksummed(self) -> Self {
        self.header("x-amz-checksum-mode", "ENABLED".to_owned())
    }

    #[must_use]
    pub(super) fn body(self, body: SdkBody) -> Self {
        let len = body.content_length().map(|len| len.to_string());
        Self { body, ..self }.header("content-length", len)
    }

    /// The request as it is sent.
    fn sign(self, route: &Route, scope: &Scope<'_>) -> Result<HttpRequest, HttpError> {
        let digest = if self.method == "PUT" { UNSIGNED } else { EMPTY };
        let path = format!("{}/{}", route.path(), self.path);
        let url = format!("{}/{}", route.url, self.path);
        let (method, body) = (self.method, self.body);
        let mut headers = self.headers;
        headers.push(("host".into(), route.host.clone()));
        if let Some(credentials) = &route.credentials {
            headers.push(("x-amz-content-sha256".into(), digest.to_owned()));
            headers.push(("x-amz-date".into(), scope.time.clone()));
            if let Some(token) = credentials.session_token() {
                headers.push(("x-amz-security-token".into(), token.to_owned()));
            }
            headers.sort_unstable();
            let keys = (credentials.access_key_id(), credentials.secret_access_key());
            let says = scope.authorization(keys, method, &path, &headers, digest);
            headers.push(("authorization".into(), says));
        }
        headers.push(("user-agent".into(), AGENT.to_owned()));
        let mut request = HttpRequest::new(body);
        request.set_method(method)?;
        request.set_uri(url)?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name, value)?;
        }
        Ok(request)
    }
}

/// What is kept beside the bytes, set as on a request of the SDK.
impl Draft {
    pub(super) fn set_cache_control(self, value: Option<String>) -> Self {
        self.header("cache-control", value)
    }

    pub(super) fn set_content_disposition(self, value: Option<String>) -> Self {
        self.header("content-disposition", value)
    }

    pub(super) fn set_content_encoding(self, value: Option<String>) -> Self {
        self.header("content-encoding", value)
    }

    pub(super) fn set_content_language(self, value: Option<String>) -> Self {
        self.header("content-language", value)
    }

    pub(super) fn content_type(self, value: &str) -> Self {
        self.header("content-type", value.to_owned())
    }

    pub(super) fn metadata(self, name: &str, value: impl Into<String>) -> Self {
        self.header(format!("x-amz-meta-{name}"), value.into())
    }
}

/// What the service said of success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: Headers,
    pub(super) body: ByteStream,
}

impl Answer {
    pub(super) fn etag(&self) -> String {
        self.headers.get("etag").unwrap_or_default().to_owned()
    }

    /// Which bytes of the object these are, and how many it has; `None` if that cannot be read.
    pub(super) fn range(&self) -> Option<(Range<u64>, u64)> {
        match self.headers.get("content-range") {
            Some(text) => parse_range(text),
            None => {
                let len = self.headers.get("content-length").and_then(|len| len.parse().ok());
                let len = len.unwrap_or(0);
                Some((0..len, len))
            }
        }
    }

    /// The names and values that the application gave.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let named = self
            .headers
            .iter()
            .filter_map(|(name, value)| name.strip_prefix("x-amz-meta-").map(|name| (name, value)));
        named.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

/// The range and the whole size in `bytes 0-4/10`.
fn parse_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, size.parse().ok()?))
}

impl Inner {
    /// Sends a request once. An error is told as the SDK would tell it.
    pub(super) async fn send(&self, draft: Draft) -> Result<Answer, SdkError<GetObjectError>> {
        let route = self.route().await?;
        let request = draft.sign(&route, &Scope::new(self.clock.now(), &route.region));
        let request = request.map_err(SdkError::construction_failure)?;
        let sent = self.clock.local().now();
        let mut response =
            route.connector.call(request).await.map_err(SdkError::dispatch_failure)?;
        self.clock.learn_from(response.headers(), sent);
        if response.status().is_success() {
            let headers = std::mem::take(response.headers_mut());
            return Ok(Answer { headers, body: ByteStream::new(response.into_body()) });
        }
        if matches!(response.status().as_u16(), 300..=303 | 307 | 308 | 400 | 401 | 403) {
            self.known.forget();
        }
        Err(refused(response).await)
    }
}

async fn refused(mut response: HttpResponse) -> SdkError<GetObjectError> {
    let mut body = ByteStream::new(response.take_body());
    let mut text = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) if text.len() + piece.len() <= MAX_ERROR => text.extend_from_slice(&piece),
            Ok(_) => break,
            Err(error) => return SdkError::response_error(error, response),
        }
    }
    let text = String::from_utf8_lossy(&text);
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = element(&text, "Code") {
        meta = meta.code(code);
    }
    if let Some(message) = element(&text, "Message") {
        meta = meta.message(message);
    }
    if let Some(id) = response.headers().get("x-amz-request-id") {
        meta = meta.custom("aws_request_id", id.to_owned());
    }
    SdkError::service_error(GetObjectError::generic(meta.build()), response)
}

/// What the first element of this name holds.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_range_is_read() {
        assert_eq!(parse_range("bytes 2-4/10"), Some((2..5, 10)));
        for odd in ["", "bytes */10", "bytes 2-/10", "2-4/10", "bytes 2-4"] {
            assert_eq!(parse_range(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_words_of_an_error_are_found() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message/></Error>";
        assert_eq!(element(xml, "Code"), Some("NoSuchKey"));
        assert_eq!(element(xml, "Message"), None);
        assert_eq!(element("<html>502</html>", "Code"), None);
    }
}
