//! What a signed URL may say, for every backend.

mod signer;
mod token;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result};

use crate::checksum::Sha256Digest;
use crate::key::BlobKey;
use crate::meta::{Attributes, Visibility};

#[cfg(any(feature = "tower", feature = "s3-url"))]
pub(crate) use signer::decode_path;
#[cfg(feature = "tower")]
pub(crate) use signer::token_in;
pub use signer::{SigningKey, UrlSigner};

/// What a signed URL lets its holder do.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// # use std::time::Duration;
/// # use standfast_blobstore::{Blobs, MemoryBlobStore, SignedMethod, SigningKey, UrlSigner};
/// # let signer = UrlSigner::new("https://app.example/blobs", SigningKey::random());
/// # let blobs = Blobs::new(MemoryBlobStore::new().with_signer(signer));
/// let url = blobs.signed_put("avatars/7.png", Duration::from_secs(900)).await?;
/// assert_eq!(url.method, SignedMethod::Put);
/// println!("curl -X {} -T 7.png '{url}'", url.method.as_str());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignedMethod {
    /// Delete the blob.
    Delete,
    /// Read the blob.
    Get,
    /// Ask what is known of the blob.
    Head,
    /// Store the blob by a form, as a browser sends it.
    Post,
    /// Store the blob.
    Put,
}

impl SignedMethod {
    /// The HTTP method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// How many bytes a signed upload may have.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_blobstore::{BlobKey, LenBound, SignRequest};
/// let (key, hour) = (BlobKey::new("avatars/7.png")?, Duration::from_secs(3600));
/// let upload = SignRequest::put(key.clone(), hour).with_len(LenBound::Exactly(4096));
/// assert!(upload.check().is_ok());
/// let read = SignRequest::get(key, hour).with_len(LenBound::AtMost(4096));
/// assert!(read.check().is_err(), "only an upload has a bound");
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LenBound {
    /// So many at most. S3 can sign this for a form, not for a PUT.
    AtMost(u64),
    /// So many and no others.
    Exactly(u64),
}

/// What to sign: one method on one key for a time, and under which conditions.
///
/// ```
/// use std::time::Duration;
/// use standfast_blobstore::{BlobKey, LenBound, SignRequest};
///
/// let request = SignRequest::put(BlobKey::new("avatars/7.png")?, Duration::from_secs(900))
///     .with_content_type("image/png")
///     .with_len(LenBound::AtMost(1 << 20))
///     .with_once();
/// assert!(request.check().is_ok());
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SignRequest {
    /// What its holder may do.
    pub method: SignedMethod,
    /// With which blob.
    pub key: BlobKey,
    /// For how long from now.
    pub expires_in: Duration,
    /// GET: the media type to serve instead of the stored one. PUT, POST: the one
    /// the client must send.
    pub content_type: Option<String>,
    /// GET: the `Content-Disposition` to serve instead of the stored one.
    pub disposition: Option<String>,
    /// PUT, POST: how many bytes; any number unless set.
    pub len: Option<LenBound>,
    /// PUT, POST: the SHA-256 the bytes must have.
    pub sha256: Option<Sha256Digest>,
    /// PUT: refused once there is a blob of that key.
    pub once: bool,
    /// PUT, POST: when the uploaded blob is gone.
    pub blob_expires_in: Option<Duration>,
    /// PUT, POST: what is kept beside the bytes.
    pub attributes: Attributes,
    /// PUT, POST: who may read the uploaded blob.
    pub visibility: Visibility,
}

impl SignRequest {
    /// One method on one key, for a time.
    pub fn new(method: SignedMethod, key: BlobKey, expires_in: Duration) -> Self {
        Self {
            method,
            key,
            expires_in,
            content_type: None,
            disposition: None,
            len: None,
            sha256: None,
            once: false,
            blob_expires_in: None,
            attributes: Attributes::default(),
            visibility: Visibility::Private,
        }
    }

    /// Lets its holder read the blob.
    pub fn get(key: BlobKey, expires_in: Duration) -> Self {
        Self::new(SignedMethod::Get, key, expires_in)
    }

    /// Lets its holder store the blob.
    pub fn put(key: BlobKey, expires_in: Duration) -> Self {
        Self::new(SignedMethod::Put, key, expires_in)
    }

    /// Lets its holder store the blob by a form: `multipart/form-data` with the
    /// [`fields`](SignedUrl::fields), and behind them the file in a field `file`.
    pub fn form(key: BlobKey, expires_in: Duration) -> Self {
        Self::new(SignedMethod::Post, key, expires_in)
    }

    /// Sets the media type to serve, or the one the client must send.
    #[must_use]
    pub fn with_content_type(mut self, value: impl Into<String>) -> Self {
        self.content_type = Some(value.into());
        self
    }

    /// Sets the `Content-Disposition` to serve.
    #[must_use]
    pub fn with_disposition(mut self, value: impl Into<String>) -> Self {
        self.disposition = Some(value.into());
        self
    }

    /// Sets how many bytes an upload may have.
    #[must_use]
    pub fn with_len(mut self, len: LenBound) -> Self {
        self.len = Some(len);
        self
    }

    /// Sets the SHA-256 an upload must have.
    #[must_use]
    pub fn with_sha256(mut self, sha256: Sha256Digest) -> Self {
        self.sha256 = Some(sha256);
        self
    }

    /// Lets only one upload succeed.
    #[must_use]
    pub fn with_once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Sets when the uploaded blob is gone.
    #[must_use]
    pub fn with_blob_expires_in(mut self, span: Duration) -> Self {
        self.blob_expires_in = Some(span);
        self
    }

    /// Sets what is kept beside the uploaded bytes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Sets who may read the uploaded blob.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Refuses what no store may sign. Backends call it first.
    ///
    /// # Errors
    ///
    /// `Invalid` for less than a second or more than seven days, for a condition that does not
    /// belong to the method, for header values that are none, and for public with an expiry.
    pub fn check(&self) -> Result<()> {
        let invalid = |detail: &str| {
            Err(Error::new(ErrorKind::Invalid, "blobstore", "blob.sign").with_detail(detail))
        };
        if !(Duration::from_secs(1)..=MAX_SIGN_FOR).contains(&self.expires_in) {
            return invalid("a URL holds for one second to seven days");
        }
        let plain = Self::new(self.method, self.key.clone(), self.expires_in);
        let allowed = match self.method {
            SignedMethod::Put => Self { disposition: None, ..self.clone() },
            SignedMethod::Post => Self { disposition: None, once: false, ..self.clone() },
            SignedMethod::Get | SignedMethod::Head => Self {
                content_type: self.content_type.clone(),
                disposition: self.disposition.clone(),
                ..plain
            },
            SignedMethod::Delete => plain,
        };
        if allowed != *self {
            return invalid("a condition that does not belong to the method");
        }
        if self.attributes.content_type.is_some() {
            return invalid("the media type belongs into `content_type`");
        }
        let headers = Attributes {
            content_type: self.content_type.clone(),
            content_disposition: self.disposition.clone(),
            ..Attributes::default()
        };
        headers.check()?;
        self.attributes.check()?;
        crate::options::check_public(self.visibility, self.blob_expires_in.is_some())
    }
}

/// The longest time a signed URL can hold: what S3 allows.
pub(crate) const MAX_SIGN_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A URL that grants something to whoever has it. `Debug` does not show it; [`Display`] does.
///
/// [`Display`]: fmt::Display
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::time::Duration;
/// use standfast_blobstore::{Blobs, MemoryBlobStore, SigningKey, UrlSigner};
///
/// let signer = UrlSigner::new("https://app.example/blobs", SigningKey::random());
/// let blobs = Blobs::new(MemoryBlobStore::new().with_signer(signer));
/// let url = blobs.signed_url("a.txt", Duration::from_secs(60)).await?;
/// assert!(url.as_str().starts_with("https://app.example/blobs/a.txt?"));
/// assert!(!format!("{url:?}").contains('?'));
/// # Ok(()) }
/// ```
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct SignedUrl {
    /// The method to use.
    pub method: SignedMethod,
    /// Headers the client must send as they are.
    pub headers: Vec<(String, String)>,
    /// Fields that a form must have as they are, before the file.
    pub fields: Vec<(String, String)>,
    /// Until when it really works: the blob or the credentials may end before the time asked for.
    pub effective_expires_at: DateTime<Utc>,
    url: String,
}

impl SignedUrl {
    /// A signed URL for a backend to hand out.
    pub fn new(
        method: SignedMethod,
        url: String,
        headers: Vec<(String, String)>,
        effective_expires_at: DateTime<Utc>,
    ) -> Self {
        Self { method, headers, fields: Vec::new(), effective_expires_at, url }
    }

    /// Sets the fields of a form.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<(String, String)>) -> Self {
        self.fields = fields;
        self
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The URL.
    pub fn into_string(self) -> String {
        self.url
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedUrl")
            .field("method", &self.method)
            .field("effective_expires_at", &self.effective_expires_at)
            .finish_non_exhaustive()
    }
}
