//! An HTTP client for the SDK that fails as it is told, in front of a real service.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The service answers this instead of doing anything.
    Answer(u16, &'static str),
    /// The service answers 200, then an error in the body, and did nothing.
    ErrorIn200(&'static str),
    /// The service does it, and the answer never comes.
    LoseAnswer,
    /// The service does it and says that it failed inside.
    FailAfterwards,
    /// The body of the answer breaks after so many bytes.
    Cut(u64),
    /// The body of the answer stops after so many bytes, and the connection stays.
    Stall(u64),
    /// One byte of the answer is another one.
    Corrupt(u64),
    /// One byte of the request is another one.
    CorruptRequest,
    /// It takes so long until the request is sent.
    Late(Duration),
    /// A service that knows no conditions: it says that it did it.
    Pretend,
}

#[derive(Debug)]
struct Rule {
    on: &'static str,
    skip: usize,
    times: usize,
    fault: Fault,
}

/// The client. Clones share what is to fail and what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    state: Arc<Mutex<State>>,
    client: Client<Tcp, SdkBody>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    log: Vec<&'static str>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { state: Arc::default(), client }
    }

    /// Lets the next so many requests of an operation fail.
    pub(crate) fn fail(&self, on: &'static str, times: usize, fault: Fault) {
        self.fail_after(0, on, times, fault);
    }

    /// The same, but lets so many of them pass before.
    pub(crate) fn fail_after(&self, skip: usize, on: &'static str, times: usize, fault: Fault) {
        self.state.lock().unwrap().rules.push(Rule { on, skip, times, fault });
    }

    /// How often an operation was asked for.
    pub(crate) fn asked(&self, operation: &str) -> usize {
        self.state.lock().unwrap().log.iter().filter(|name| **name == operation).count()
    }

    /// Forgets what was asked and what is to fail.
    pub(crate) fn clear(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    fn next(&self, operation: &'static str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.log.push(operation);
        for rule in &mut state.rules {
            if rule.on != operation || rule.times == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        None
    }

    async fn run(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let lost = || ConnectorError::io(std::io::Error::other("the connection was cut").into());
        let fault = self.next(operation(&request));
        let mut request = request.try_into_http1x().expect("a request of HTTP 1");
        match &fault {
            Some(Fault::Answer(status, code)) => return Ok(answer(*status, &error_text(code))),
            Some(Fault::ErrorIn200(code)) => return Ok(answer(200, &error_text(code))),
            Some(Fault::Pretend) => return Ok(answer(200, PRETENDED)),
            Some(Fault::Late(span)) => tokio::time::sleep(*span).await,
            Some(Fault::CorruptRequest) => {
                let (head, body) = request.into_parts();
                let mut bytes = body.collect().await.expect("bytes").to_bytes().to_vec();
                bytes[0] ^= 1;
                request = http::Request::from_parts(head, SdkBody::from(bytes));
            }
            _ => {}
        }
        let response = self.client.request(request).await;
        let response = response.map_err(|error| ConnectorError::io(error.into()))?;
        match fault {
            Some(Fault::LoseAnswer) => {
                // it was done when it was answered in full
                let _read = response.into_body().collect().await;
                Err(lost())
            }
            Some(Fault::FailAfterwards) => {
                let _read = response.into_body().collect().await;
                Ok(answer(500, &error_text("InternalError")))
            }
            fault => {
                let broken = response.map(|body| {
                    let (at, how) = match fault {
                        Some(Fault::Cut(at)) => (at, How::Cut),
                        Some(Fault::Stall(at)) => (at, How::Stall),
                        Some(Fault::Corrupt(at)) => (at, How::Corrupt),
                        _ => (u64::MAX, How::Cut),
                    };
                    SdkBody::from_body_1_x(Broken { body: body.boxed(), left: at, how })
                });
                Ok(HttpResponse::try_from(broken).expect("an answer of HTTP 1"))
            }
        }
    }
}

/// The operation of S3 that a request is.
pub(crate) fn operation(request: &HttpRequest) -> &'static str {
    let uri = request.uri();
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let copies = request.headers().get("x-amz-copy-source").is_some();
    match request.method() {
        "PUT" if has("uploadId") && copies => "UploadPartCopy",
        "PUT" if has("uploadId") => "UploadPart",
        "PUT" if copies => "CopyObject",
        "PUT" if uri.contains(".standfast/expiry") => "Note",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" if has("uploadId") => "CompleteMultipartUpload",
        "POST" => "DeleteObjects",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        "HEAD" => "HeadObject",
        "GET" if has("list-type") => "ListObjectsV2",
        "GET" if has("uploads") => "ListMultipartUploads",
        _ => "GetObject",
    }
}

/// What every result of a change has in common.
const PRETENDED: &str =
    "<CopyObjectResult><ETag>\"00000000000000000000000000000001\"</ETag></CopyObjectResult>";

fn error_text(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a test</Message></Error>")
}

fn answer(status: u16, body: &str) -> HttpResponse {
    let response = http::Response::builder()
        .status(status)
        .header("etag", "\"00000000000000000000000000000001\"")
        .body(SdkBody::from(body));
    HttpResponse::try_from(response.expect("an answer")).expect("an answer of HTTP 1")
}

#[derive(Clone, Copy, Debug)]
enum How {
    Cut,
    Stall,
    Corrupt,
}

/// A body that breaks.
struct Broken {
    body: http_body_util::combinators::BoxBody<Bytes, hyper::Error>,
    left: u64,
    how: How,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            match self.how {
                How::Cut => return Poll::Ready(Some(Err("the connection was cut".into()))),
                How::Stall => return Poll::Pending,
                How::Corrupt => {}
            }
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            let Ok(data) = frame.into_data() else { return Ok(Frame::data(Bytes::new())) };
            let take = data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if let How::Corrupt = self.how {
                let mut bytes = data.to_vec();
                if take < bytes.len() && self.left != u64::MAX {
                    bytes[take] ^= 1;
                    self.left = u64::MAX;
                } else if self.left != u64::MAX {
                    self.left -= take as u64;
                }
                return Ok(Frame::data(bytes.into()));
            }
            if self.left != u64::MAX {
                self.left -= take as u64;
            }
            Ok(Frame::data(data.slice(..take)))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpConnector for Faults {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().run(request))
    }
}

impl HttpClient for Faults {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
