//! The service, its contenders, and the bare SDK.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use opendal::Operator;
use opendal::services::S3;
use standfast_benches::{Bench, Table};
use standfast_blobstore::{Blobs, S3BlobStore, S3Config};
use tokio::runtime::Runtime;

use crate::large;
use crate::small::{COLUMNS, Work, row};
use crate::store::{Dal, Large, Objects, PART, PARTS, Standfast, Store, THERE, pieces};

const OURS: &str = "standfast";
const PEERS: [&str; 3] = ["object_store", "OpenDAL", "bare aws-sdk-s3"];
const AT_ONCE: usize = 16;

/// The bucket, and what of it is this run's own.
pub(crate) struct Service {
    bucket: String,
    endpoint: String,
    query: String,
    prefix: String,
    id: String,
    secret: String,
}

impl Service {
    /// The service that `STANDFAST_TEST_S3` names.
    pub(crate) async fn find() -> Option<Self> {
        let url = std::env::var("STANDFAST_TEST_S3").ok()?;
        let (place, query) = url.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, endpoint) = pairs.find(|(name, _)| *name == "endpoint")?;
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Some(Self {
            bucket: place.strip_prefix("s3://")?.to_owned(),
            endpoint: endpoint.to_owned(),
            query: query.to_owned(),
            prefix: format!("bench-{}", std::process::id()),
            id: variable("AWS_ACCESS_KEY_ID"),
            secret: variable("AWS_SECRET_ACCESS_KEY"),
        })
    }

    /// Everybody with settings of their own for the same bucket, each below a prefix of its own.
    pub(crate) async fn contenders(&self) -> (Standfast, Objects, Dal, Sdk) {
        let Self { bucket, endpoint, query, prefix, id, secret } = self;
        let url = format!("s3://{bucket}/{prefix}/standfast?{query}");
        let ours = S3BlobStore::open(&url, S3Config::default()).await.expect(THERE);
        let objects = AmazonS3Builder::new()
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .build()
            .expect(THERE);
        let objects = PrefixStore::new(objects, format!("{prefix}/object_store"));
        let dal = S3::default()
            .root(&format!("/{prefix}/opendal/"))
            .bucket(bucket)
            .endpoint(endpoint)
            .region("us-east-1")
            .access_key_id(id)
            .secret_access_key(secret)
            .disable_config_load()
            .disable_ec2_metadata();
        let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let settings = aws_sdk_s3::config::Builder::from(&shared)
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .force_path_style(true);
        let sdk = Sdk {
            client: Client::from_conf(settings.build()),
            bucket: bucket.as_str().into(),
            prefix: format!("{prefix}/sdk").into(),
        };
        let dal = Dal(Operator::new(dal).expect(THERE));
        (Standfast(Blobs::new(ours)), Objects(Arc::new(objects)), dal, sdk)
    }
}

pub(crate) fn measure(bench: &mut Bench, runtime: &Runtime, service: &Service) {
    if bench.wants("small") {
        let (ours, objects, dal, sdk) = runtime.block_on(service.contenders());
        let much = (bench.count(1000), AT_ONCE);
        for work in [Work::Put, Work::Get] {
            let title =
                format!("small: {work:?} {} objects of 10 KiB, {AT_ONCE} at a time", much.0);
            let table = Table::new(title, COLUMNS).in_turns(2);
            let table = row(table, OURS, runtime, &ours, work, much);
            let table = row(table, PEERS[0], runtime, &objects, work, much);
            let table = row(table, PEERS[1], runtime, &dal, work, much);
            let results = row(table, PEERS[2], runtime, &sdk, work, much).run(bench);
            for peer in PEERS {
                let times = results.speed(OURS, peer);
                let what = format!("{work:?} of small objects: 1.0 x {peer} ({times:.2})");
                bench.target(&what, times >= 1.0);
            }
        }
    }
    if bench.wants("large") {
        large::measure(bench, runtime, service);
    }
}

/// The SDK as its documentation shows it, with its own checksums.
#[derive(Clone)]
pub(crate) struct Sdk {
    client: Client,
    bucket: Arc<str>,
    prefix: Arc<str>,
}

impl Sdk {
    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }
}

impl Store for Sdk {
    async fn put(&self, key: String, body: Bytes) {
        let put = self.client.put_object().bucket(&*self.bucket).key(self.path(&key));
        put.body(body.into()).send().await.expect(THERE);
    }

    async fn get(&self, key: String) -> usize {
        let get = self.client.get_object().bucket(&*self.bucket).key(self.path(&key));
        let answer = get.send().await.expect(THERE);
        answer.body.collect().await.expect(THERE).into_bytes().len()
    }
}

impl Large for Sdk {
    async fn upload(&self, key: String, len: usize) {
        let (client, path) = (&self.client, self.path(&key));
        let begin = client.create_multipart_upload().bucket(&*self.bucket).key(&path);
        let upload = begin.send().await.expect(THERE).upload_id;
        let (mut source, mut number) = (pieces(len), 0);
        let parts = std::iter::from_fn(|| {
            let mut part = BytesMut::with_capacity(PART);
            while part.len() < PART {
                let Some(piece) = source.next() else { break };
                part.extend_from_slice(&piece);
            }
            number += 1;
            (!part.is_empty()).then(|| (number, part.freeze()))
        });
        let sent = parts.map(|(number, part)| {
            let send = client.upload_part().bucket(&*self.bucket).key(&path).part_number(number);
            let send = send.set_upload_id(upload.clone()).body(part.into()).send();
            tokio::spawn(async move {
                let sent = send.await.expect(THERE);
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag)
                    .set_checksum_crc32(sent.checksum_crc32)
                    .build()
            })
        });
        let parts = stream::iter(sent).buffered(PARTS).map(|part| part.expect("a task"));
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect().await));
        let end = client.complete_multipart_upload().bucket(&*self.bucket).key(&path);
        let end = end.set_upload_id(upload).multipart_upload(parts.build());
        end.send().await.expect(THERE);
    }

    async fn stream(&self, key: String) -> usize {
        let get = self.client.get_object().bucket(&*self.bucket).key(self.path(&key));
        let (mut body, mut len) = (get.send().await.expect(THERE).body, 0);
        while let Some(piece) = body.next().await {
            len += piece.expect(THERE).len();
        }
        len
    }

    async fn range(&self, key: String, range: Range<u64>) -> Bytes {
        let get = self.client.get_object().bucket(&*self.bucket).key(self.path(&key));
        let get = get.range(format!("bytes={}-{}", range.start, range.end - 1));
        let answer = get.send().await.expect(THERE);
        answer.body.collect().await.expect(THERE).into_bytes()
    }
}
