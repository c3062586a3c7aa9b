use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Result, checked_add, to_micros};

use crate::checksum::{Crc64, Sha256Digest};
use crate::meta::{Attributes, Version, Visibility};
use crate::range::ByteRange;

/// What must hold of the present blob for a change to happen, checked in the same step.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, CopyOptions, CopyOutcome, MemoryBlobStore, Precondition};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let draft = blobs.put("draft", "1").await?;
/// blobs.put("final", "0").await?;
/// let new = CopyOptions::default().with_precondition(Precondition::IfAbsent);
/// assert_eq!(blobs.copy_with("draft", "final", &new).await?, CopyOutcome::Exists);
/// let other = CopyOptions::default().with_precondition(Precondition::IfMatch(draft.version));
/// assert_eq!(blobs.copy_with("draft", "final", &other).await?, CopyOutcome::Mismatch);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Precondition {
    /// Nothing.
    #[default]
    Always,
    /// There is no blob of that key.
    IfAbsent,
    /// The blob is of this version.
    IfMatch(Version),
}

/// When a blob is gone.
///
/// ```
/// use std::time::Duration;
/// use chrono::{TimeDelta, Utc};
/// use standfast_blobstore::Expiry;
///
/// let now = Utc::now();
/// let hour = Expiry::In(Duration::from_secs(3600)).resolve(now)?;
/// assert!(hour > Some(now + TimeDelta::minutes(59)));
/// assert!(Expiry::At(now).resolve(now).is_err(), "not ahead");
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expiry {
    /// At this instant.
    At(DateTime<Utc>),
    /// This long after the store took it, by the store's clock.
    In(Duration),
    /// Never by itself.
    #[default]
    Never,
}

impl Expiry {
    /// The instant, for a blob taken at `now`.
    ///
    /// # Errors
    ///
    /// `Invalid` for an instant that is not ahead, or further ahead than the calendar goes.
    pub fn resolve(self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let at = match self {
            Self::Never => return Ok(None),
            Self::At(at) => Some(to_micros(at)),
            Self::In(span) => checked_add(now, span),
        };
        match at {
            Some(at) if at > now => Ok(Some(at)),
            Some(at) => Err(invalid(format!("expires at {at}, which is not ahead"))),
            None => Err(invalid("expires beyond the end of the calendar".into())),
        }
    }
}

/// How a blob is put.
///
/// ```
/// use standfast_blobstore::{Expiry, Precondition, PutOptions, Visibility};
/// use std::time::Duration;
///
/// let options = PutOptions::default().with_precondition(Precondition::IfAbsent);
/// assert!(options.check().is_ok());
/// let public = options.with_visibility(Visibility::Public);
/// assert!(public.with_expiry(Expiry::In(Duration::from_secs(60))).check().is_err());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PutOptions {
    /// What is kept beside the bytes.
    pub attributes: Attributes,
    /// The checksum the bytes must have.
    pub crc64: Option<Crc64>,
    /// When it is gone.
    pub expiry: Expiry,
    /// What must hold of the present blob.
    pub precondition: Precondition,
    /// The SHA-256 the bytes must have.
    pub sha256: Option<Sha256Digest>,
    /// Who may read it. A put that does not say so makes a public blob private.
    pub visibility: Visibility,
}

impl PutOptions {
    /// Sets what is kept beside the bytes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Sets the checksum the bytes must have.
    #[must_use]
    pub fn with_crc64(mut self, crc64: Crc64) -> Self {
        self.crc64 = Some(crc64);
        self
    }

    /// Sets when it is gone.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets what must hold of the present blob.
    #[must_use]
    pub fn with_precondition(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }

    /// Sets the SHA-256 the bytes must have.
    #[must_use]
    pub fn with_sha256(mut self, sha256: Sha256Digest) -> Self {
        self.sha256 = Some(sha256);
        self
    }

    /// Sets who may read it.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Refuses what no store may take. Backends call it before any I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` for a public blob that expires: caches would serve it after its end.
    pub fn check(&self) -> Result<()> {
        self.attributes.check()?;
        check_public(self.visibility, self.expiry != Expiry::Never)
    }
}

pub(crate) fn check_public(visibility: Visibility, expires: bool) -> Result<()> {
    if visibility == Visibility::Public && expires {
        return Err(invalid("a public blob cannot expire: caches would outlive it".into()));
    }
    Ok(())
}

fn invalid(detail: String) -> Error {
    Error::new(ErrorKind::Invalid, "blobstore", "blob.put").with_detail(detail)
}

/// How a blob is read.
///
/// ```
/// use standfast_blobstore::{GetOptions, Version};
///
/// let options = GetOptions::default().with_range(0..16).with_if_none_match(Version::new("7"));
/// assert!(!options.skip_verify);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct GetOptions {
    /// Answers `Mismatch` unless the blob is of this version.
    pub if_match: Option<Version>,
    /// Answers `NotModified` if the blob is of this version.
    pub if_none_match: Option<Version>,
    /// Which bytes; all of them unless set.
    pub range: Option<ByteRange>,
    /// Leaves the checksum of a full read unchecked.
    pub skip_verify: bool,
}

impl GetOptions {
    /// Wants the blob only if it is of this version.
    #[must_use]
    pub fn with_if_match(mut self, version: Version) -> Self {
        self.if_match = Some(version);
        self
    }

    /// Wants the blob only if it is of another version.
    #[must_use]
    pub fn with_if_none_match(mut self, version: Version) -> Self {
        self.if_none_match = Some(version);
        self
    }

    /// Wants only these bytes.
    #[must_use]
    pub fn with_range(mut self, range: impl Into<ByteRange>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// Leaves the checksum unchecked.
    #[must_use]
    pub fn with_skip_verify(mut self) -> Self {
        self.skip_verify = true;
        self
    }
}

/// What becomes of the expiry of a copied blob.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// # use std::time::Duration;
/// # use standfast_blobstore::{Blobs, CopyOptions, Expiry, ExpiryChange, MemoryBlobStore};
/// # let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("tmp/7", "7").expires_in(Duration::from_secs(3600)).await?;
/// let kept = blobs.copy_with("tmp/7", "tmp/8", &CopyOptions::default()).await?;
/// assert!(kept.stored().unwrap().expires_at.is_some());
///
/// let stays = CopyOptions::default().with_expiry(ExpiryChange::Set(Expiry::Never));
/// let lasting = blobs.copy_with("tmp/7", "r/7", &stays).await?;
/// assert_eq!(lasting.stored().unwrap().expires_at, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExpiryChange {
    /// The copy is gone when the original is.
    #[default]
    Keep,
    /// The copy has an expiry of its own, which may be never.
    Set(Expiry),
}

/// How a blob is copied.
///
/// ```
/// use standfast_blobstore::{CopyOptions, Expiry, ExpiryChange};
///
/// // what promotes a temporary blob to one that stays
/// let options = CopyOptions::default().with_expiry(ExpiryChange::Set(Expiry::Never));
/// assert_eq!(options.attributes, None);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Replaces all that is kept beside the bytes; the copy keeps it unless set.
    pub attributes: Option<Attributes>,
    /// What becomes of the expiry.
    pub expiry: ExpiryChange,
    /// What must hold of the blob that is replaced.
    pub precondition: Precondition,
    /// The version the original must be of.
    pub source: Option<Version>,
    /// Who may read the copy; as with the original unless set.
    pub visibility: Option<Visibility>,
}

impl CopyOptions {
    /// Replaces all that is kept beside the bytes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// Sets what becomes of the expiry.
    #[must_use]
    pub fn with_expiry(mut self, expiry: ExpiryChange) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets what must hold of the blob that is replaced.
    #[must_use]
    pub fn with_precondition(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }

    /// Sets the version the original must be of.
    #[must_use]
    pub fn with_source(mut self, version: Version) -> Self {
        self.source = Some(version);
        self
    }

    /// Sets who may read the copy.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// Refuses what no store may take. Backends call it before any I/O.
    ///
    /// # Errors
    ///
    /// `Invalid` and `TooLarge` as for a put.
    pub fn check(&self) -> Result<()> {
        self.attributes.as_ref().map_or(Ok(()), Attributes::check)
    }
}

/// How a blob is deleted.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{BlobKey, BlobStore, Body, DeleteOptions, DeleteOutcome};
/// use standfast_blobstore::{MemoryBlobStore, PutOptions, Version};
///
/// let (store, key) = (MemoryBlobStore::new(), BlobKey::new("a")?);
/// store.put(&key, Body::from("1"), &PutOptions::default()).await?.stored().unwrap();
/// let seen = DeleteOptions::default().with_if_match(Version::new("an older one"));
/// assert!(matches!(store.delete(&key, &seen).await?, DeleteOutcome::Mismatch));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Deletes it only if it is of this version.
    pub if_match: Option<Version>,
}

impl DeleteOptions {
    /// Deletes it only if it is of this version.
    #[must_use]
    pub fn with_if_match(mut self, version: Version) -> Self {
        self.if_match = Some(version);
        self
    }
}
