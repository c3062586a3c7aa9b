//! An S3 service in memory, as much of it as a probe needs, that holds some conditions and takes
//! the others without a word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use standfast_blobstore::{Crc64, S3Features};

use super::fault::operation;

/// The service. Clones share the objects.
#[derive(Clone, Debug)]
pub(crate) struct Careless {
    holds: S3Features,
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    metadata: Vec<(String, String)>,
}

impl Object {
    fn etag(&self) -> String {
        format!("\"{}\"", Crc64::of(&self.bytes))
    }
}

impl Careless {
    /// A service that does what `holds` says, and no more.
    pub(crate) fn new(holds: S3Features) -> Self {
        Self { holds, objects: Arc::default() }
    }

    async fn run(self, request: HttpRequest) -> HttpResponse {
        let operation = operation(&request);
        let request = request.try_into_http1x().expect("a request of HTTP 1");
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let (_, key) = head.uri.path()[1..].split_once('/').unwrap_or_default();
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let mut objects = self.objects.lock().unwrap();
        let found = objects.get(key).cloned();
        let held = match operation {
            "PutObject" => self.holds.conditional_put,
            "CompleteMultipartUpload" => self.holds.conditional_complete,
            "CopyObject" => self.holds.conditional_copy,
            "DeleteObject" => self.holds.conditional_delete,
            _ => false,
        };
        let taken = found.is_some() && header("if-none-match").is_some();
        let other = header("if-match")
            .is_some_and(|wanted| found.as_ref().is_none_or(|object| object.etag() != wanted));
        if held && (taken || other) {
            return answer(412, "<Error><Code>PreconditionFailed</Code></Error>", None);
        }
        let metadata = head.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-amz-meta-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        });
        let object = Object { bytes: body, metadata: metadata.collect() };
        match operation {
            "PutObject" | "Note" | "CopyObject" => {
                let etag = object.etag();
                objects.insert(key.to_owned(), object);
                let result = format!("<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>");
                answer(200, if operation == "CopyObject" { &result } else { "" }, Some(&etag))
            }
            "CreateMultipartUpload" => result("InitiateMultipartUpload", "UploadId", "1"),
            "UploadPart" => answer(200, "", Some(&object.etag())),
            "CompleteMultipartUpload" => {
                objects.insert(key.to_owned(), object);
                result("CompleteMultipartUpload", "ETag", "\"1-1\"")
            }
            "AbortMultipartUpload" => answer(204, "", None),
            "DeleteObject" => {
                objects.remove(key);
                answer(204, "", None)
            }
            "ListObjectsV2" => {
                let query = head.uri.query().unwrap_or_default();
                let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
                let prefix = prefix.unwrap_or_default().replace("%2F", "/");
                let keys = objects.keys().filter(|key| key.starts_with(&prefix));
                let keys = keys.map(|key| format!("<Contents><Key>{key}</Key></Contents>"));
                let all: String = keys.collect();
                answer(200, &format!("<ListBucketResult>{all}</ListBucketResult>"), None)
            }
            "HeadObject" | "GetObject" => match found {
                Some(object) => {
                    let mut response = http::Response::builder()
                        .header("etag", object.etag())
                        .header("last-modified", "Sun, 22 Nov 2026 00:00:00 GMT")
                        .header("content-length", object.bytes.len());
                    for (name, value) in &object.metadata {
                        response = response.header(format!("x-amz-meta-{name}"), value);
                    }
                    let body = match operation {
                        "GetObject" => SdkBody::from(object.bytes),
                        _ => SdkBody::empty(),
                    };
                    HttpResponse::try_from(response.body(body).unwrap()).unwrap()
                }
                None => answer(404, "<Error><Code>NoSuchKey</Code></Error>", None),
            },
            other => panic!("a probe does not ask for {other}"),
        }
    }
}

fn answer(status: u16, body: &str, etag: Option<&str>) -> HttpResponse {
    let mut response = http::Response::builder().status(status);
    if let Some(etag) = etag {
        response = response.header("etag", etag);
    }
    let body = SdkBody::from(body.to_owned());
    HttpResponse::try_from(response.body(body).unwrap()).unwrap()
}

fn result(operation: &str, name: &str, value: &str) -> HttpResponse {
    let body = format!("<{operation}Result><{name}>{value}</{name}></{operation}Result>");
    answer(200, &body, None)
}

impl HttpConnector for Careless {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.clone();
        HttpConnectorFuture::new(async move { Ok(service.run(request).await) })
    }
}

impl HttpClient for Careless {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
