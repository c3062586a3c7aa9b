//! Reads.

use std::ops::Range;

use ::object_store::{
    Error as TheirError, GetOptions as TheirGetOptions, GetRange, GetResult, ObjectMeta,
    ObjectStore as _, Result as TheirResult,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt as _, stream};
use standfast_core::{Error, ErrorKind, Result};

use super::super::convert::{e_tag, version};
use super::entry::Entry;
use super::{BACKEND, FromObjectStore, changed, failure, path};
use crate::blob::Blob;
use crate::key::BlobKey;
use crate::meta::{BlobMeta, Version};
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::range::ByteRange;

impl FromObjectStore {
    /// What is there without its bytes, and our entry.
    pub(super) async fn look(
        &self,
        key: &BlobKey,
        operation: &'static str,
    ) -> Result<Option<Seen>> {
        let found = self.store.get_opts(&path(key)?, TheirGetOptions::new().with_head(true)).await;
        match found {
            Ok(found) => Seen::new(key, &found).map(Some),
            Err(TheirError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(operation, error)),
        }
    }

    pub(super) async fn get_blob(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        // Each round after the first means that the blob was replaced after a look at its size.
        for _ in 0..8 {
            match self.get_once(key, options).await? {
                GetOutcome::Mismatch if options.if_match.is_none() => {}
                outcome => return Ok(outcome),
            }
        }
        Err(changed("blob.get", key))
    }

    async fn get_once(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome> {
        let wanted = options.if_match.as_ref().map(one_tag);
        if wanted == Some(None) {
            let found = self.look(key, "blob.get").await?;
            return Ok(found.map_or(GetOutcome::Missing, |_| GetOutcome::Mismatch));
        }
        let mut ask = TheirGetOptions::new()
            .with_if_match(wanted.flatten())
            .with_if_none_match(options.if_none_match.as_ref().and_then(one_tag));
        ask.range = options.range.and_then(ByteRange::fixed).map(|(start, end)| match end {
            Some(end) => GetRange::Bounded(start..end),
            None => GetRange::Offset(start),
        });
        if options.range.is_some() && ask.range.is_none() {
            // Its bytes are known when the size is.
            let found = self.store.get_opts(&path(key)?, ask.clone().with_head(true)).await;
            let found = match answered(found) {
                Ok(found) => found,
                Err(outcome) => return outcome,
            };
            let seen = Seen::new(key, &found)?;
            let range = served(options, &seen)?;
            if range.is_empty() {
                return Ok(found_blob(seen.meta, range, options, stream::empty()));
            }
            ask.if_match = seen.object.e_tag;
            ask.range = Some(GetRange::Bounded(range));
        }
        let asked = ask.range.is_some();
        let found = match answered(self.store.get_opts(&path(key)?, ask).await) {
            Ok(found) => found,
            // A range behind the end has no error of its own.
            Err(Err(error)) if asked => {
                let size = self.look(key, "blob.get").await?.map(|seen| seen.meta.size);
                let within = size.and_then(|size| Some(options.range?.within(size)));
                return Err(within.and_then(Result::err).unwrap_or(error));
            }
            Err(outcome) => return outcome,
        };
        let seen = Seen::new(key, &found)?;
        let range = found.range.clone();
        let expected = served(options, &seen)?;
        if range != expected {
            return Err(Error::new(ErrorKind::Unexpected, BACKEND, "blob.get").with_detail(
                format!("bytes {range:?} of {key:?}, and {expected:?} were asked for"),
            ));
        }
        let pieces = found.into_stream().map_err(|error| failure("blob.get", error));
        Ok(found_blob(seen.meta, range, options, pieces))
    }
}

/// An object, as a read of it says.
pub(super) struct Seen {
    pub(super) meta: BlobMeta,
    pub(super) entry: Entry,
    /// As the store has it, for conditions.
    pub(super) object: ObjectMeta,
}

impl Seen {
    fn new(key: &BlobKey, found: &GetResult) -> Result<Self> {
        let object = found.meta.clone();
        let seen = seen_version(&object)?;
        let mut meta = BlobMeta::new(key.clone(), object.size, seen, object.last_modified);
        let entry = Entry::read(&found.attributes, &mut meta);
        Ok(Self { meta, entry, object })
    }
}

pub(super) fn seen_version(object: &ObjectMeta) -> Result<Version> {
    let tag = object.e_tag.as_deref().map(version);
    tag.ok_or_else(|| FromObjectStore::refuse("blob.get", "objects without an ETag"))
}

/// The ETag of a version, unless it could be read as several, so that no object has it.
fn one_tag(version: &Version) -> Option<String> {
    let sendable = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',');
    version.as_str().bytes().all(sendable).then(|| e_tag(version))
}

/// Which bytes the reader gets.
fn served(options: &GetOptions, seen: &Seen) -> Result<Range<u64>> {
    let size = seen.meta.size;
    options.range.map_or(Ok(0..size), |range| range.within(size))
}

fn found_blob<S>(meta: BlobMeta, range: Range<u64>, options: &GetOptions, pieces: S) -> GetOutcome
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    GetOutcome::Found(Box::new(Blob::new(meta, range, !options.skip_verify, pieces)))
}

/// What was found, or the outcome that says that nothing is given.
fn answered(answer: TheirResult<GetResult>) -> Result<GetResult, Result<GetOutcome>> {
    answer.map_err(|error| match error {
        TheirError::NotFound { .. } => Ok(GetOutcome::Missing),
        TheirError::NotModified { .. } => Ok(GetOutcome::NotModified),
        TheirError::Precondition { .. } => Ok(GetOutcome::Mismatch),
        error => Err(failure("blob.get", error)),
    })
}
