use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Clock, Error, ErrorKind, Result, SystemClock};

use super::error::BACKEND;
use super::features::S3Features;

const MIB: usize = 1 << 20;

/// How an [`S3BlobStore`](crate::S3BlobStore) works.
///
/// ```
/// use standfast_blobstore::{S3Config, S3Features};
///
/// let config = S3Config::default()
///     .with_features(S3Features::SEAWEEDFS)
///     .with_part_size(16 << 20)
///     .with_upload_memory(128 << 20)
///     .with_public_prefix("public/", "https://cdn.example");
/// assert!(config.check().is_ok());
/// assert!(config.with_upload_memory(1 << 20).check().is_err(), "less than one part");
/// ```
#[derive(Clone, Debug)]
pub struct S3Config {
    pub(super) attempts: u32,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) features: S3Features,
    pub(super) idle_timeout: Duration,
    pub(super) part_size: usize,
    pub(super) public: Option<Public>,
    pub(super) upload_memory: usize,
}

/// Where public blobs are, and under which address the world sees them.
#[derive(Clone, Debug)]
pub(super) struct Public {
    pub(super) prefix: String,
    pub(super) base: String,
}

impl S3Config {
    /// Tries a request so many times in all before its error is passed on; 5 unless set.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Takes the time from `clock`, which is corrected by what the service says the time is.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what the service can do; all that Amazon's can unless set.
    #[must_use]
    pub fn with_features(mut self, features: S3Features) -> Self {
        self.features = features;
        self
    }

    /// Gives a request up when for this long not a byte went or came; 30 seconds unless set.
    #[must_use]
    pub fn with_idle_timeout(mut self, span: Duration) -> Self {
        self.idle_timeout = span;
        self
    }

    /// Uploads bodies longer than this in parts of this size; 8 MiB unless set, and larger for
    /// bodies that would have more than 10,000 parts.
    #[must_use]
    pub fn with_part_size(mut self, bytes: usize) -> Self {
        self.part_size = bytes;
        self
    }

    /// Makes public the blobs below `prefix`, which a policy of the bucket opens to everybody, and
    /// gives their addresses below `base`. Other blobs cannot be public, and these not private.
    ///
    /// `base` is where the world sees the store's own prefix: a bucket's URL or a CDN.
    #[must_use]
    pub fn with_public_prefix(
        mut self,
        prefix: impl Into<String>,
        base: impl Into<String>,
    ) -> Self {
        let mut base = base.into();
        base.truncate(base.trim_end_matches('/').len());
        self.public = Some(Public { prefix: prefix.into(), base });
        self
    }

    /// Lets all uploads of the store together hold so many bytes; 64 MiB unless set. Who would need
    /// more waits, and its producer with it.
    #[must_use]
    pub fn with_upload_memory(mut self, bytes: usize) -> Self {
        self.upload_memory = bytes;
        self
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// `Invalid` for parts under 5 MiB or over 5 GiB, less memory than one part, or a public prefix
    /// that does not end in a slash.
    pub fn check(&self) -> Result<()> {
        let invalid = |detail: &str| {
            Err(Error::new(ErrorKind::Invalid, BACKEND, "blob.open").with_detail(detail))
        };
        if !(5 * MIB..=5 << 30).contains(&self.part_size) {
            return invalid("parts have 5 MiB to 5 GiB");
        }
        if self.upload_memory < self.part_size || self.upload_memory > 1 << 40 {
            return invalid("the upload memory holds one part at least and 1 TiB at most");
        }
        if self.public.as_ref().is_some_and(|public| !public.prefix.ends_with('/')) {
            return invalid("a public prefix ends in a slash");
        }
        Ok(())
    }
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            attempts: 5,
            clock: Arc::new(SystemClock),
            features: S3Features::AWS,
            idle_timeout: Duration::from_secs(30),
            part_size: 8 * MIB,
            public: None,
            upload_memory: 64 * MIB,
        }
    }
}
