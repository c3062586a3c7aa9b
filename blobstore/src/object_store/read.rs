//! Reads, and the conditions that they can have.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ::object_store::{
    Error as TheirError, GetOptions as TheirGetOptions, GetRange, GetResult, GetResultPayload,
    OBJECT_STORE_COALESCE_DEFAULT, Result as TheirResult, coalesce_ranges, path::Path,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_core::{Error, ErrorKind, Reason};

use super::convert::{
    attributes_to, extensions, failure, generic, key_of_old, meta, mismatch, not_found,
    unsupported, version,
};
use crate::blob::Blob;
use crate::list::BlobEntry;
use crate::options::GetOptions;
use crate::outcome::GetOutcome;
use crate::range::ByteRange;
use crate::store::BlobStore;

/// What the store checks, in the step of the read, and what is left to check on what it found:
/// dates, and lists of ETags.
struct Conditions {
    store: GetOptions,
    rest: Option<TheirGetOptions>,
}

impl Conditions {
    fn new(theirs: &TheirGetOptions) -> Self {
        let mut store = GetOptions::default();
        let mut rest = theirs.clone();
        if let Some(tag) = theirs.if_match.as_deref().filter(|tag| is_one(tag)) {
            store.if_match = Some(version(tag));
            // As with any match, the date does not count.
            rest.if_match = Some("*".into());
        }
        if let Some(tag) = theirs.if_none_match.as_deref().filter(|tag| is_one(tag)) {
            store.if_none_match = Some(version(tag));
            (rest.if_none_match, rest.if_modified_since) = (None, None);
        }
        let listed = rest.if_match.as_deref().is_some_and(|tags| tags != "*");
        let dated = rest.if_unmodified_since.is_some() && rest.if_match.is_none();
        let news = rest.if_none_match.is_some() || rest.if_modified_since.is_some();
        Self { store, rest: (listed || dated || news).then_some(rest) }
    }

    fn check(&self, location: &Path, blob: &Blob) -> TheirResult<()> {
        let Some(rest) = &self.rest else { return Ok(()) };
        rest.check_preconditions(&meta(location.clone(), BlobEntry::from(blob.meta().clone())))
    }
}

/// One ETag that is compared as a whole.
fn is_one(tags: &str) -> bool {
    tags != "*" && !tags.contains(',') && !tags.trim_start().starts_with("W/")
}

pub(super) async fn get(
    store: &dyn BlobStore,
    location: &Path,
    options: TheirGetOptions,
) -> TheirResult<GetResult> {
    if options.version.is_some() {
        return Err(unsupported("versions beside the present one"));
    }
    let range = options.range.as_ref().map(byte_range).transpose()?;
    let conditions = Conditions::new(&options);
    // What may turn out not to be wanted is not sent for first: no bytes are a head.
    if options.head || conditions.rest.is_some() {
        let none = conditions.store.clone().with_range(0..0);
        let blob = find(store, location, &none).await?;
        conditions.check(location, &blob)?;
        if options.head {
            let size = blob.meta().size;
            let range = range.map_or(Ok(0..size), |range| range.within(size)).map_err(generic)?;
            let nothing = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult { range, ..result(location, blob, |_| nothing) });
        }
    }
    let wanted = GetOptions { range, ..conditions.store.clone() };
    let blob = find(store, location, &wanted).await?;
    conditions.check(location, &blob)?;
    let path = location.clone();
    Ok(result(location, blob, |blob| {
        let pieces = blob.into_stream().map_err(move |error| failure(&path, error));
        GetResultPayload::Stream(pieces.boxed())
    }))
}

/// Several ranges, those that are close in one read, all of one version.
pub(super) async fn get_ranges(
    store: &dyn BlobStore,
    location: &Path,
    ranges: &[Range<u64>],
) -> TheirResult<Vec<Bytes>> {
    for range in ranges {
        byte_range(&GetRange::Bounded(range.clone()))?;
    }
    // Each round after the first means that the blob was replaced meanwhile.
    for _ in 0..8 {
        let (seen, changed) = (OnceLock::new(), AtomicBool::new(false));
        let (seen, changed) = (&seen, &changed);
        let fetch = |range: Range<u64>| async move {
            let wanted = GetOptions::default().with_range(range.clone());
            let blob = find(store, location, &wanted).await?;
            let known = blob.meta();
            if seen.get_or_init(|| known.version.clone()) != &known.version {
                changed.store(true, Ordering::Relaxed);
                return Err(ever_changing(location));
            }
            // What was put together may begin within the blob where one of its ranges does not.
            for asked in ranges.iter().filter(|asked| range.contains(&asked.start)) {
                ByteRange::from(asked.clone()).within(known.size).map_err(generic)?;
            }
            blob.bytes(u64::MAX).await.map_err(|error| failure(location, error))
        };
        let read = coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await;
        if !changed.load(Ordering::Relaxed) {
            return read;
        }
    }
    Err(ever_changing(location))
}

fn ever_changing(location: &Path) -> TheirError {
    generic(
        Error::new(ErrorKind::Conflict, "blobstore", "blob.get")
            .with_reason(Reason::ChangedDuringRead)
            .with_detail(format!("{location} kept changing"))
            .with_retryable(true),
    )
}

async fn find(store: &dyn BlobStore, location: &Path, options: &GetOptions) -> TheirResult<Blob> {
    let key = key_of_old(location)?;
    let outcome = store.get(&key, options).await.map_err(|error| failure(location, error))?;
    match outcome {
        GetOutcome::Found(blob) => Ok(*blob),
        GetOutcome::Mismatch => Err(mismatch(location)),
        GetOutcome::Missing => Err(not_found(location)),
        GetOutcome::NotModified => Err(TheirError::NotModified {
            path: location.to_string(),
            source: "the blob is of that version".into(),
        }),
    }
}

fn result(
    location: &Path,
    blob: Blob,
    payload: impl FnOnce(Blob) -> GetResultPayload,
) -> GetResult {
    let known = blob.meta().clone();
    GetResult {
        meta: meta(location.clone(), BlobEntry::from(known.clone())),
        range: blob.range(),
        attributes: attributes_to(&known.attributes),
        extensions: extensions(known),
        payload: payload(blob),
    }
}

/// A range of no bytes is an error there.
fn byte_range(range: &GetRange) -> TheirResult<ByteRange> {
    range.is_valid().map_err(generic)?;
    Ok(match range {
        GetRange::Bounded(range) => range.clone().into(),
        GetRange::Offset(start) => (*start..).into(),
        GetRange::Suffix(count) => ByteRange::last(*count),
    })
}
