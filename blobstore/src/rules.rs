//! What the backends of this crate decide alike.

use std::ops::Range;

use chrono::{DateTime, Utc};
use standfast_core::{Error, ErrorKind, Id128, Reason, Result};

use crate::checksum::Checksums;
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version};
use crate::options::{CopyOptions, ExpiryChange, GetOptions, PutOptions, check_public};
use crate::outcome::GetOutcome;

/// Refuses a body that does not have the checksums its put gave.
pub(crate) fn check_sums(
    backend: &'static str,
    sums: &Checksums,
    options: &PutOptions,
) -> Result<()> {
    let crc64 = options.crc64.is_none_or(|crc64| crc64 == sums.crc64());
    let sha256 = options.sha256.is_none_or(|sha256| Some(sha256) == sums.sha256());
    if crc64 && sha256 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Checksum, backend, "blob.put")
        .with_detail("the bytes do not have the checksum that was given"))
}

/// What is known of a blob put at `now` with these checksums.
pub(crate) fn new_meta(
    key: &BlobKey,
    sums: &Checksums,
    options: &PutOptions,
    now: DateTime<Utc>,
) -> Result<BlobMeta> {
    let version = Version::new(Id128::random().to_string());
    let mut meta = BlobMeta::new(key.clone(), sums.len(), version, now);
    meta.expires_at = options.expiry.resolve(now)?;
    meta.visibility = options.visibility;
    meta.crc64 = Some(sums.crc64());
    meta.sha256 = options.sha256;
    meta.attributes = options.attributes.clone();
    Ok(meta)
}

/// What is known of a copy of `source` to `to` at `now`.
pub(crate) fn copied_meta(
    source: &BlobMeta,
    to: &BlobKey,
    options: &CopyOptions,
    now: DateTime<Utc>,
) -> Result<BlobMeta> {
    let mut meta = source.clone();
    meta.key = to.clone();
    meta.version = Version::new(Id128::random().to_string());
    meta.modified_at = now;
    if let Some(attributes) = &options.attributes {
        meta.attributes = attributes.clone();
    }
    if let ExpiryChange::Set(expiry) = options.expiry {
        meta.expires_at = expiry.resolve(now)?;
    }
    meta.visibility = options.visibility.unwrap_or(meta.visibility);
    check_public(meta.visibility, meta.expires_at.is_some())?;
    Ok(meta)
}

/// Which bytes of the blob to give, or the outcome that says none.
pub(crate) fn admit_read(
    meta: &BlobMeta,
    options: &GetOptions,
) -> Result<Range<u64>, Result<GetOutcome>> {
    if options.if_match.as_ref().is_some_and(|version| *version != meta.version) {
        return Err(Ok(GetOutcome::Mismatch));
    }
    if options.if_none_match.as_ref() == Some(&meta.version) {
        return Err(Ok(GetOutcome::NotModified));
    }
    options.range.map_or(Ok(0..meta.size), |range| range.within(meta.size)).map_err(Err)
}

/// Refuses a batch over the limit.
pub(crate) fn check_batch(backend: &'static str, keys: usize, max: usize) -> Result<()> {
    if keys <= max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, backend, "blob.delete_many")
        .with_reason(Reason::BatchTooLarge)
        .with_detail(format!("{keys} keys, over {max}")))
}
