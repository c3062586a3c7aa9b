//! Blobs in a bucket of Amazon S3 or of a service that speaks its protocol.

mod call;
mod clock;
mod config;
mod copy;
mod credentials;
mod delete;
mod error;
mod expiry;
mod features;
mod form;
mod lifecycle;
mod list;
mod multipart;
mod object;
mod part;
mod probe;
mod put;
mod read;
mod request;
mod route;
mod sign;
mod sigv4;
#[cfg(feature = "s3-url")]
mod url;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use chrono::DateTime;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Reason, Result, Verdict};
use tokio::sync::Semaphore;

pub use self::config::S3Config;
pub use self::features::S3Features;
pub use self::lifecycle::{LifecyclePlan, S3Lifecycle};

use self::clock::ServiceClock;
use self::credentials::{CONNECT, Watched};
use self::error::BACKEND;
use self::list::Ask;
use self::part::UNIT;
use crate::body::Body;
use crate::key::BlobKey;
use crate::list::{ListOptions, Page};
use crate::meta::{BlobMeta, Visibility};
use crate::options::{CopyOptions, DeleteOptions, GetOptions, Precondition, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::sign::{MAX_SIGN_FOR, SignRequest, SignedUrl};
use crate::store::{BlobCapabilities, BlobStore};

/// Blobs in a bucket, for all instances of an application. Clones share the client and the memory
/// for uploads.
///
/// - [x] atomic puts of any length and preconditions, decided by the service in one step
/// - [x] an answer that was lost never turns into a wrong outcome
/// - [x] bounded memory for uploads; a read goes on where its connection broke
/// - [x] exact expiry in reads, by the clock of the service; [`sweep`](BlobStore::sweep) collects
/// - [x] signed URLs; public blobs below a prefix that a bucket policy opens
/// - [ ] expired blobs are in listings until they are swept; times there are those of the service
/// - [ ] versions name contents: a put of equal bytes may give an equal version (the ETag)
/// - [ ] no directory buckets (S3 Express One Zone) and no multi-region access points: they take
///   other signatures, and the former list keys in no order
///
/// Services differ: give [`S3Features`] for others than Amazon's, or [`probe`](Self::probe) them.
///
/// ```
/// use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
/// use standfast_blobstore::{BlobStore, S3BlobStore, S3Config};
///
/// let config = aws_sdk_s3::Config::builder()
///     .behavior_version(BehaviorVersion::latest())
///     .region(Region::new("eu-north-1"))
///     .credentials_provider(Credentials::new("id", "secret", None, None, "docs"))
///     .build();
/// let client = aws_sdk_s3::Client::from_conf(config);
/// let store = S3BlobStore::from_parts(&client, "reports", "prod", S3Config::default())?;
/// assert!(store.capabilities().durable);
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone)]
pub struct S3BlobStore {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    client: Client,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    config: S3Config,
    clock: ServiceClock,
    /// The way to the bucket.
    known: Arc<route::Known>,
    /// What uploads may still take, in units.
    budget: Arc<Semaphore>,
    /// Whether the bucket was seen, so that a missing object is just that.
    seen: Arc<AtomicBool>,
}

impl S3BlobStore {
    /// A store in `bucket` below `prefix`, which is empty or made of segments as a key is, on a
    /// client of the application's own. Does no I/O.
    ///
    /// Of the client, region, endpoint, credentials and HTTP client are used. Retries, timeouts and
    /// checksums are the store's own, and so are requests for single objects, which its interceptors
    /// do not see.
    ///
    /// # Errors
    ///
    /// `Invalid` for a configuration that cannot work or a prefix over 127 bytes.
    pub fn from_parts(
        client: &Client,
        bucket: impl Into<String>,
        prefix: &str,
        config: S3Config,
    ) -> Result<Self> {
        config.check()?;
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix if prefix.len() > 126 => {
                return Err(Error::new(ErrorKind::Invalid, BACKEND, "blob.open")
                    .with_reason(Reason::InvalidName)
                    .with_detail("the prefix is over 127 bytes"));
            }
            prefix => format!("{}/", BlobKey::new(prefix)?),
        };
        let clock = ServiceClock::new(Arc::clone(&config.clock));
        let settings = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .push_auth_scheme(Watched::of(client.config()))
            .time_source(clock.clone())
            .interceptor(clock.clone());
        let inner = Inner {
            client: Client::from_conf(settings.build()),
            bucket: bucket.into(),
            prefix,
            budget: Arc::new(Semaphore::new(config.upload_memory / UNIT)),
            config,
            clock,
            known: Arc::default(),
            seen: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same store, that believes this of its service; for what a [`probe`](Self::probe) found.
    #[must_use]
    pub fn with_features(&self, features: S3Features) -> Self {
        let mut inner = (*self.inner).clone();
        inner.config.features = features;
        Self { inner: Arc::new(inner) }
    }

    /// Frees what uploads of processes that died have left: those below the store's prefix that
    /// were begun more than `span` ago and never ended. How many there were.
    ///
    /// # Errors
    ///
    /// `Unavailable` and the like.
    pub async fn abort_stale_uploads(&self, span: Duration) -> Result<u64> {
        self.inner.abort_stale_uploads(span).await
    }
}

impl Inner {
    /// The name of the object of a key.
    fn path(&self, key: &BlobKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn is_public(&self, key: &BlobKey) -> bool {
        self.config.public.as_ref().is_some_and(|public| key.as_str().starts_with(&public.prefix))
    }

    /// Refuses a visibility that the place of the key does not have.
    fn check_visibility(&self, key: &BlobKey, wanted: Visibility) -> Result<()> {
        match (wanted, self.is_public(key)) {
            (Visibility::Private, false) | (Visibility::Public, true) => Ok(()),
            (Visibility::Private, true) => Err(self
                .unsupported("blob.put", "private blobs below the public prefix")
                .with_detail(format!("{key:?} is where everybody can read"))),
            (Visibility::Public, false) => {
                Err(self.unsupported("blob.put", "public blobs outside a public prefix"))
            }
        }
    }

    /// Refuses a condition that the service would ignore.
    fn check_condition(&self, operation: &'static str, condition: &Precondition) -> Result<()> {
        if *condition == Precondition::Always || self.config.features.holds_conditions() {
            return Ok(());
        }
        Err(self.unsupported(operation, "conditional puts"))
    }

    /// Refuses a key that the service would change.
    fn check_key(&self, operation: &'static str, key: &BlobKey) -> Result<()> {
        if self.config.features.backslash || !key.as_str().contains('\\') {
            return Ok(());
        }
        Err(self.unsupported(operation, "keys with backslashes"))
    }

    fn unsupported(&self, operation: &'static str, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, BACKEND, operation)
            .with_detail(format!("the store in {:?} has no {what}", self.bucket))
    }

    /// Tells a missing object from a missing bucket, which look alike to a HEAD.
    async fn bucket_is_there(&self) -> Result<()> {
        if self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let sent = self.call("blob.head", &self.bucket, |_| {
            self.client.head_bucket().bucket(&self.bucket).send()
        });
        match sent.await {
            Ok(_) => {}
            Err(failure) if failure.status == 404 => {
                return Err(failure.error.with_detail(format!("no bucket {:?}", self.bucket)));
            }
            // Who may read objects need not be allowed to look at the bucket.
            Err(failure) if failure.status == 403 => {}
            Err(failure) => return Err(failure.error),
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn abort_stale_uploads(&self, span: Duration) -> Result<u64> {
        let now = self.clock.now();
        let (mut key_marker, mut id_marker, mut aborted) = (None, None, 0);
        loop {
            let sent = self.call("blob.abort", &self.prefix, |_| {
                self.client
                    .list_multipart_uploads()
                    .bucket(&self.bucket)
                    .prefix(&self.prefix)
                    .set_key_marker(key_marker.clone())
                    .set_upload_id_marker(id_marker.clone())
                    .send()
            });
            let answer = sent.await.map_err(|failure| failure.error)?;
            for upload in answer.uploads() {
                let begun =
                    upload.initiated().and_then(|at| DateTime::from_timestamp(at.secs(), 0));
                let age = begun.and_then(|begun| (now - begun).to_std().ok());
                if let (Some(path), Some(id), Some(age)) = (upload.key(), upload.upload_id(), age)
                    && age > span
                {
                    self.abort_upload(path, id, false).await;
                    aborted += 1;
                }
            }
            if !answer.is_truncated().unwrap_or(false) {
                break;
            }
            key_marker = answer.next_key_marker;
            id_marker = answer.next_upload_id_marker;
        }
        let mut token = None;
        loop {
            let ask =
                Ask { prefix: multipart::STAGED, token, limit: list::MAX_PAGE, ..Ask::default() };
            let answer = self.ask("blob.abort", &ask).await?;
            for staged in answer.contents() {
                let at =
                    staged.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), 0));
                let age = at.and_then(|at| (now - at).to_std().ok());
                let path = staged.key().and_then(|key| self.relative(key));
                if let (Some(path), Some(age)) = (path, age)
                    && age > span
                {
                    let gone = self.delete_object(&format!("{}{path}", self.prefix), None).await;
                    gone.map_err(|failure| failure.error)?;
                    aborted += 1;
                }
            }
            token = answer.next_continuation_token;
            if token.is_none() {
                return Ok(aborted);
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl fmt::Debug for S3BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3BlobStore")
            .field("bucket", &self.inner.bucket)
            .field("prefix", &self.inner.prefix)
            .field("features", &self.inner.config.features)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HealthCheck for S3BlobStore {
    async fn health(&self) -> Health {
        let inner = &self.inner;
        let (asked, began) = (format!("S3 bucket {:?}", inner.bucket), Instant::now());
        // Once and not for long: the question is whether it answers now.
        let config = S3Config {
            attempts: 1,
            idle_timeout: Duration::from_secs(3).min(inner.config.idle_timeout),
            ..inner.config.clone()
        };
        let once = Inner { config, ..(**inner).clone() };
        let sent = once.call("blob.health", &inner.bucket, |_| {
            inner.client.head_bucket().bucket(&inner.bucket).send()
        });
        let verdict = match sent.await {
            Ok(_) => Verdict::Healthy,
            Err(failure) => Verdict::Failing(failure.error.to_string()),
        };
        Health::since(asked, began, verdict)
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    fn capabilities(&self) -> BlobCapabilities {
        let config = &self.inner.config;
        BlobCapabilities {
            backslash: config.features.backslash,
            conditional: config.features.holds_conditions(),
            conditional_delete: config.features.conditional_delete,
            max_len: (config.upload_memory as u64 * multipart::MAX_PARTS).min(5 << 40),
            max_page: list::MAX_PAGE,
            max_delete_batch: delete::MAX_BATCH,
            max_sign_for: Some(MAX_SIGN_FOR),
            public: config.public.is_some(),
            sign_form: config.features.post_policy,
            public_prefix: config.public.as_ref().map(|public| public.prefix.clone()),
            durable: true,
            ..BlobCapabilities::default()
        }
    }

    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome> {
        self.inner.check_key("blob.put", key)?;
        self.inner.put(key, body, options).await
    }

    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        self.inner.check_key("blob.get", key)?;
        self.inner.get(key, options).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        self.inner.check_key("blob.head", key)?;
        let found = self.inner.head_object(key).await?.map(|object| object.meta);
        let now = self.inner.clock.now();
        Ok(found.filter(|meta| meta.is_live(now)))
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        self.inner.list(options).await
    }

    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        self.inner.check_key("blob.copy", from)?;
        self.inner.check_key("blob.copy", to)?;
        self.inner.copy(from, to, options).await
    }

    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome> {
        self.inner.check_key("blob.delete", key)?;
        self.inner.delete(key, options).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        self.inner.delete_many(keys).await
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        self.inner.check_key("blob.sign", &request.key)?;
        self.inner.sign(request).await
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        self.inner.check_key("blob.url", key)?;
        self.inner.public_url(key).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.inner.sweep(max).await
    }
}
