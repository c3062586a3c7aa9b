use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::checksum::{Crc64, Sha256Digest};
use crate::key::BlobKey;

/// Names one content of one key. Opaque: a new put gives a new version even of equal bytes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore, PutOutcome};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let first = blobs.put("a", "1").await?.version;
/// assert!(matches!(blobs.put("a", "2").if_match(&first).await?, PutOutcome::Stored(_)));
/// assert!(matches!(blobs.put("a", "3").if_match(&first).await?, PutOutcome::Mismatch));
/// # Ok(()) }
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Version(Arc<str>);

impl Version {
    /// The version with this text, as a backend or an HTTP client gave it.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The text of the version, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who may read a blob without a signed URL.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore, Visibility};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// assert_eq!(blobs.put("secret", "s").await?.visibility, Visibility::Private);
/// assert_eq!(blobs.put("logo", "l").public().await?.visibility, Visibility::Public);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Visibility {
    /// Nobody; what a put without a word means.
    #[default]
    Private,
    /// Everybody who knows the address.
    Public,
}

/// What is kept beside the bytes of a blob and served with them.
///
/// Header values are up to 255 printable ASCII characters. Names of metadata are made of `a-z`,
/// `0-9`, `.`, `_` and `-`, begin with a letter or digit and not with `standfast`; their values
/// are printable ASCII without spaces at either end. There are up to 64 entries, because many HTTP
/// clients take no more than a hundred headers; names and values together take up to 1,536 bytes,
/// each entry counting four more. Upper case in names becomes lower case, as it does on S3.
///
/// ```
/// use standfast_blobstore::Attributes;
///
/// let attributes = Attributes::default().with_content_type("text/csv").with_metadata("Rows", "7");
/// assert_eq!(attributes.metadata["rows"], "7");
/// attributes.check()?;
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Attributes {
    /// How long caches may keep it.
    pub cache_control: Option<String>,
    /// Whether a browser shows or saves it, and under which name.
    pub content_disposition: Option<String>,
    /// How the stored bytes are compressed.
    pub content_encoding: Option<String>,
    /// The language of the text.
    pub content_language: Option<String>,
    /// The media type. Never guessed from the bytes.
    pub content_type: Option<String>,
    /// What the application adds.
    pub metadata: BTreeMap<String, String>,
}

impl Attributes {
    /// The most bytes that names and values of metadata may take together, each entry counting
    /// four more.
    pub const MAX_METADATA: usize = 1536;

    /// The most entries of metadata.
    pub const MAX_ENTRIES: usize = 64;

    /// The most bytes of each header value.
    pub const MAX_HEADER: usize = 255;

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, value: impl Into<String>) -> Self {
        self.content_type = Some(value.into());
        self
    }

    /// Sets how long caches may keep it.
    #[must_use]
    pub fn with_cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }

    /// Sets whether a browser shows or saves it.
    #[must_use]
    pub fn with_content_disposition(mut self, value: impl Into<String>) -> Self {
        self.content_disposition = Some(value.into());
        self
    }

    /// Sets how the bytes are compressed.
    #[must_use]
    pub fn with_content_encoding(mut self, value: impl Into<String>) -> Self {
        self.content_encoding = Some(value.into());
        self
    }

    /// Sets the language of the text.
    #[must_use]
    pub fn with_content_language(mut self, value: impl Into<String>) -> Self {
        self.content_language = Some(value.into());
        self
    }

    /// Adds an entry of the application's own; the name becomes lower case.
    #[must_use]
    pub fn with_metadata(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.as_ref().to_ascii_lowercase(), value.into());
        self
    }

    /// The headers that are set, by their HTTP names.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("cache-control", &self.cache_control),
            ("content-disposition", &self.content_disposition),
            ("content-encoding", &self.content_encoding),
            ("content-language", &self.content_language),
            ("content-type", &self.content_type),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Sets the header with this HTTP name; false if there is none of that name.
    pub(crate) fn set_header(&mut self, name: &str, value: String) -> bool {
        let field = match name {
            "cache-control" => &mut self.cache_control,
            "content-disposition" => &mut self.content_disposition,
            "content-encoding" => &mut self.content_encoding,
            "content-language" => &mut self.content_language,
            "content-type" => &mut self.content_type,
            _ => return false,
        };
        *field = Some(value);
        true
    }

    /// Refuses what not every backend can keep. Backends call it before any I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a value or name outside the rules above, `TooLarge` for too much of it.
    pub fn check(&self) -> Result<()> {
        let error =
            |kind, detail: String| Error::new(kind, "blobstore", "blob.put").with_detail(detail);
        for (name, value) in self.headers() {
            if value.len() > Self::MAX_HEADER {
                return Err(error(ErrorKind::TooLarge, format!("{name} is over 255 bytes")));
            }
            if !is_value(value) || value.is_empty() {
                return Err(error(ErrorKind::Invalid, format!("{name} is no header value")));
            }
        }
        let mut size = 0;
        for (name, value) in &self.metadata {
            size += name.len() + value.len() + 4;
            if !is_name(name) {
                return Err(error(ErrorKind::Invalid, format!("{name:?} cannot name metadata"))
                    .with_reason(Reason::InvalidName));
            }
            if !is_value(value) {
                return Err(error(ErrorKind::Invalid, format!("metadata {name} is no value")));
            }
        }
        let entries = self.metadata.len();
        if size > Self::MAX_METADATA || entries > Self::MAX_ENTRIES {
            let detail = format!("{size} bytes of metadata in {entries} entries");
            return Err(error(ErrorKind::TooLarge, detail));
        }
        Ok(())
    }
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim_matches(' ') == value
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    matches!(bytes.next(), Some(b'a'..=b'z' | b'0'..=b'9'))
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        && !name.starts_with("standfast")
}

/// What is known of a blob without its bytes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a.txt", "hello").content_type("text/plain").await?;
/// let meta = blobs.head("a.txt").await?.expect("it was just put");
/// assert_eq!((meta.size, meta.attributes.content_type.as_deref()), (5, Some("text/plain")));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlobMeta {
    /// Its key.
    pub key: BlobKey,
    /// How many bytes it has.
    pub size: u64,
    /// Which content this is.
    pub version: Version,
    /// When it was put, by the store's clock.
    pub modified_at: DateTime<Utc>,
    /// From when on it is gone.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who may read it without a signed URL.
    pub visibility: Visibility,
    /// The checksum of all its bytes, where the backend has it.
    pub crc64: Option<Crc64>,
    /// Its SHA-256, where the put gave it.
    pub sha256: Option<Sha256Digest>,
    /// What is kept beside the bytes.
    pub attributes: Attributes,
}

impl BlobMeta {
    /// What is known of a private blob that never expires and has no attributes.
    pub fn new(key: BlobKey, size: u64, version: Version, modified_at: DateTime<Utc>) -> Self {
        Self {
            key,
            size,
            version,
            modified_at,
            expires_at: None,
            visibility: Visibility::Private,
            crc64: None,
            sha256: None,
            attributes: Attributes::default(),
        }
    }

    /// Whether it is still there at `now`. Gone means gone at the very instant it expires.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_could_not_carry_is_refused() {
        let wrong = [
            Attributes::default().with_content_type("text/\nhtml"),
            Attributes::default().with_content_type(""),
            Attributes::default().with_content_type("täxt/html"),
            Attributes::default().with_cache_control("x".repeat(256)),
            Attributes::default().with_metadata("", "v"),
            Attributes::default().with_metadata("a b", "v"),
            Attributes::default().with_metadata("-a", "v"),
            Attributes::default().with_metadata("standfast-expires", "v"),
            Attributes::default().with_metadata("a", " v"),
            Attributes::default().with_metadata("a", "v\r\nx: y"),
            Attributes::default().with_metadata("a", "é"),
            Attributes::default().with_metadata("a", "v".repeat(1536)),
        ];
        for attributes in wrong {
            assert!(attributes.check().is_err(), "{attributes:?}");
        }
        let many =
            (0..65).fold(Attributes::default(), |all, at| all.with_metadata(at.to_string(), ""));
        assert_eq!(many.check().unwrap_err().kind(), ErrorKind::TooLarge);
        Attributes::default().with_metadata("A.b_c-9", "v".repeat(1525)).check().unwrap();
        Attributes::default().with_metadata("a", "").check().unwrap();
    }
}
