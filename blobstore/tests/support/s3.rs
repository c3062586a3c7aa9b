//! The service that the tests of S3 use, and the harness of the suite on it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use standfast_blobstore::testkit::BlobHarness;
use standfast_blobstore::{BlobStore, S3BlobStore, S3Config};
use standfast_core::Id128;
use standfast_core::testkit::service;

/// The service: the URL of a bucket that the tests may fill, up to its query, and the query.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) place: String,
    pub(crate) query: String,
}

impl Service {
    pub(crate) fn find() -> Option<Self> {
        Some(Self::at(&service("s3", "STANDFAST_TEST_S3")?))
    }

    /// The stand-in of Amazon S3.
    pub(crate) fn find_stand_in() -> Option<Self> {
        Some(Self::at(&service("s3-stand-in", "STANDFAST_TEST_S3_STAND_IN")?))
    }

    fn at(url: &str) -> Self {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let place = place.trim_end_matches('/').to_owned();
        Self { place, query: query.to_owned() }
    }

    /// A store with nothing in it, and its prefix.
    pub(crate) async fn store(&self, config: S3Config) -> (S3BlobStore, String) {
        let prefix = Id128::random().to_string();
        let url = format!("{}/{prefix}?{}", self.place, self.query);
        (S3BlobStore::open(&url, config).await.unwrap(), prefix)
    }

    /// A client of the service.
    pub(crate) async fn client(&self) -> aws_sdk_s3::Client {
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let settings = aws_sdk_s3::config::Builder::from(&shared)
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(self.value("endpoint").expect("the service has an endpoint"))
            .force_path_style(self.value("path_style") == Some("true"));
        aws_sdk_s3::Client::from_conf(settings.build())
    }

    /// Lets everybody read what is below `open/*/public/`, by a policy of the bucket.
    async fn open_to_everybody(&self) {
        static OPEN: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        let open = async || {
            let place = self.place.strip_prefix("s3://").unwrap();
            let policy = format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*",
                "Action":["s3:GetObject"],"Resource":["arn:aws:s3:::{place}/open/*/public/*"]}}]}}"#
            );
            let client = self.client().await;
            client.put_bucket_policy().bucket(self.bucket()).policy(policy).send().await.unwrap();
        };
        OPEN.get_or_init(open).await;
    }

    /// A value of the query.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn bucket(&self) -> &str {
        let place = self.place.strip_prefix("s3://").unwrap();
        place.split_once('/').map_or(place, |(bucket, _)| bucket)
    }
}

#[derive(Debug)]
pub(crate) struct Harness {
    service: Service,
    public: bool,
    /// How much later than said it ends what is signed.
    late: Duration,
}

impl Harness {
    /// The harness, if there is a service.
    pub(crate) fn find(public: bool) -> Option<Self> {
        Some(Self { service: Service::find()?, public, late: Duration::ZERO })
    }

    /// The harness on the stand-in, if there is one. It counts seconds that are over.
    pub(crate) fn find_stand_in(public: bool) -> Option<Self> {
        let late = Duration::from_secs(1);
        Some(Self { service: Service::find_stand_in()?, public, late })
    }
}

#[async_trait]
impl BlobHarness for Harness {
    async fn store(&self) -> Arc<dyn BlobStore> {
        let config = S3Config::default();
        if !self.public {
            return Arc::new(self.service.store(config).await.0);
        }
        self.service.open_to_everybody().await;
        let open =
            Service { place: format!("{}/open", self.service.place), ..self.service.clone() };
        let (_, prefix) = open.store(config.clone()).await;
        let endpoint = open.value("endpoint").expect("the service has an endpoint");
        let base = format!("{endpoint}/{}/{prefix}", open.place.strip_prefix("s3://").unwrap());
        let url = format!("{}/{prefix}?{}", open.place, open.query);
        let config = config.with_public_prefix("public/", base);
        Arc::new(S3BlobStore::open(&url, config).await.unwrap())
    }

    fn moment(&self) -> Duration {
        Duration::from_secs(4)
    }

    async fn pass_time(&self, span: Duration) {
        tokio::time::sleep(span + self.late).await;
    }

    async fn fetch(
        &self,
        _: &Arc<dyn BlobStore>,
        request: http::Request<Bytes>,
    ) -> http::Response<Bytes> {
        fetch(request).await
    }
}

/// Sends a request over the network.
pub(crate) async fn fetch(request: http::Request<Bytes>) -> http::Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.map(Full::new)).await.unwrap();
    let (head, body) = answer.into_parts();
    http::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}
