//! Does the suite notice? Stores that break one promise each, and the case that must say so.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use standfast_blobstore::testkit::{self, BlobHarness, serve};
use standfast_blobstore::*;
use standfast_core::testkit::ManualClock;
use standfast_core::{Health, HealthCheck};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    AcceptsAnyMethod,
    AcceptsExpiredUrls,
    AcceptsForgedUrls,
    ChecksAbsenceThenWrites,
    ChecksVersionThenWrites,
    ClaimsNoConditionalDelete,
    ClaimsNoExpiry,
    CopyDropsAttributes,
    CopyIgnoresConditions,
    CopyKeepsExpiry,
    CutsLongStreams,
    DeleteIgnoresIfMatch,
    DeleteOfNothingFails,
    ForgetsMetadata,
    HidesEmptyBlobs,
    HttpIgnoresRange,
    IgnoresChecksums,
    IgnoresIfAbsent,
    IgnoresIfAbsentOfStreams,
    IgnoresIfMatch,
    IgnoresIfNoneMatch,
    IgnoresRange,
    KeepsOldAttributes,
    KeepsPartOfFailedUploads,
    ListDropsLastOfPage,
    ListIsUnordered,
    ListKnowsOneDelimiter,
    ListPrefixIsDirectory,
    ListShowsGhosts,
    ListSortsSegments,
    ListStartsAtStart,
    LowersCase,
    MakesPublic,
    Nothing,
    RefusesKeysBelowKeys,
    ReusesVersions,
    ServesExpired,
    ServesRangeBehindEnd,
    ShortensOutcomes,
    ShowsUploads,
    SignsBeyondTheBlob,
    SweepsTheLiving,
    TearsReads,
    TrimsKeys,
    UploadIgnoresGreatestLength,
    UploadIgnoresOnce,
    UploadIgnoresType,
}

#[derive(Debug)]
struct Broken {
    inner: MemoryBlobStore,
    signer: UrlSigner,
    fault: Fault,
}

impl Broken {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn key(&self, key: &BlobKey) -> Result<BlobKey> {
        match self.fault {
            Fault::LowersCase => BlobKey::new(key.as_str().to_lowercase()),
            Fault::TrimsKeys => BlobKey::new(key.as_str().trim()),
            _ => Ok(key.clone()),
        }
    }
}

async fn pieces_of(body: Body) -> (Vec<Bytes>, Result<()>) {
    let mut all = Vec::new();
    let mut pieces = match body.into_pieces().await {
        Ok(pieces) => pieces,
        Err(error) => return (all, Err(error)),
    };
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => all.push(piece),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

#[async_trait]
impl HealthCheck for Broken {
    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[async_trait]
impl BlobStore for Broken {
    fn capabilities(&self) -> BlobCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.conditional_delete &= !self.has(Fault::ClaimsNoConditionalDelete);
        capabilities.expiry &= !self.has(Fault::ClaimsNoExpiry);
        capabilities
    }

    async fn put(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
        let (key, mut how, mut body) = (self.key(key)?, how.clone(), body);
        let streams = matches!(body, Body::Stream(_));
        match self.fault {
            Fault::IgnoresIfAbsent if how.precondition == Precondition::IfAbsent => {
                how.precondition = Precondition::Always;
            }
            Fault::IgnoresIfAbsentOfStreams if streams => how.precondition = Precondition::Always,
            Fault::IgnoresIfMatch => how.precondition = Precondition::Always,
            Fault::ChecksAbsenceThenWrites if how.precondition == Precondition::IfAbsent => {
                if self.inner.head(&key).await?.is_some() {
                    return Ok(PutOutcome::Exists);
                }
                tokio::task::yield_now().await;
                how.precondition = Precondition::Always;
            }
            Fault::ChecksVersionThenWrites => {
                if let Precondition::IfMatch(version) = &how.precondition {
                    let present = self.inner.head(&key).await?.map(|meta| meta.version);
                    if present.as_ref() != Some(version) {
                        return Ok(PutOutcome::Mismatch);
                    }
                    tokio::task::yield_now().await;
                    how.precondition = Precondition::Always;
                }
            }
            Fault::IgnoresChecksums => (how.crc64, how.sha256) = (None, None),
            Fault::ForgetsMetadata => how.attributes.metadata = BTreeMap::new(),
            Fault::KeepsOldAttributes if how.attributes == Attributes::default() => {
                let old = self.inner.head(&key).await?;
                how.attributes = old.map(|meta| meta.attributes).unwrap_or_default();
            }
            Fault::MakesPublic if how.expiry == Expiry::Never => {
                how.visibility = Visibility::Public;
            }
            Fault::KeepsPartOfFailedUploads => {
                let (all, ended) = pieces_of(body).await;
                let stored = self.inner.put(&key, Body::chunks(all), &how).await;
                return ended.and(stored);
            }
            Fault::CutsLongStreams => {
                let (all, ended) = pieces_of(body).await;
                ended?;
                body = Body::chunks(all.into_iter().take(100).collect());
            }
            Fault::ShowsUploads if streams => {
                let mut pieces = body.into_pieces().await?;
                let mut all = Vec::new();
                while let Some(piece) = pieces.next().await? {
                    all.push(piece);
                    let _partial = self.inner.put(&key, Body::chunks(all.clone()), &how).await?;
                }
                body = Body::chunks(all);
            }
            Fault::RefusesKeysBelowKeys => {
                if let Some((above, _)) = key.as_str().rsplit_once('/')
                    && self.inner.head(&BlobKey::new(above)?).await?.is_some()
                {
                    return Err(Error::new(ErrorKind::Conflict, "broken", "blob.put"));
                }
            }
            _ => {}
        }
        let outcome = self.inner.put(&key, body, &how).await?;
        Ok(match outcome {
            PutOutcome::Stored(mut meta) if self.has(Fault::ReusesVersions) => {
                meta.version = Version::new(meta.crc64.unwrap().to_string());
                PutOutcome::Stored(meta)
            }
            outcome => outcome,
        })
    }

    async fn get(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
        let (key, mut how) = (self.key(key)?, how.clone());
        match self.fault {
            Fault::IgnoresRange => how.range = None,
            Fault::IgnoresIfNoneMatch => how.if_none_match = None,
            Fault::ServesRangeBehindEnd => {
                return match self.inner.get(&key, &how).await {
                    Err(_) => self.inner.get(&key, &GetOptions::default()).await,
                    found => found,
                };
            }
            _ => {}
        }
        let outcome = self.inner.get(&key, &how).await?;
        let GetOutcome::Found(blob) = outcome else { return Ok(outcome) };
        let meta = blob.meta().clone();
        if self.has(Fault::HidesEmptyBlobs) && meta.size == 0 {
            return Ok(GetOutcome::Missing);
        }
        if self.has(Fault::TearsReads) && meta.size > 100 && how.range.is_none() {
            let (inner, half) = (self.inner.clone(), meta.size / 2);
            let parts = stream::iter([0..half, half..meta.size]).then(move |part| {
                let (inner, key) = (inner.clone(), key.clone());
                async move {
                    let found = inner.get(&key, &GetOptions::default().with_range(part)).await?;
                    match found.found() {
                        Some(blob) => blob.bytes(1 << 30).await,
                        None => Ok(Bytes::from(vec![0; 2_500_000])),
                    }
                }
            });
            let size = meta.size;
            return Ok(GetOutcome::Found(Box::new(Blob::new(meta, 0..size, false, parts))));
        }
        Ok(GetOutcome::Found(blob))
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        let found = self.inner.head(&self.key(key)?).await?;
        Ok(found.filter(|meta| !self.has(Fault::HidesEmptyBlobs) || meta.size > 0))
    }

    async fn list(&self, options: &ListOptions) -> Result<Page> {
        let mut options = options.clone();
        let start = options.start_after.clone();
        match self.fault {
            Fault::ListKnowsOneDelimiter if options.delimiter.is_some() => {
                options.delimiter = Some("/".into());
            }
            Fault::ListPrefixIsDirectory if !options.prefix.is_empty() => {
                options.prefix = format!("{}/", options.prefix.trim_end_matches('/'));
            }
            Fault::ListStartsAtStart => options.start_after = None,
            _ => {}
        }
        let mut page = self.inner.list(&options).await?;
        match self.fault {
            Fault::ListDropsLastOfPage if page.next.is_some() => drop(page.blobs.pop()),
            Fault::ListIsUnordered => page.blobs.sort_by_key(|e| e.key.as_str().to_lowercase()),
            Fault::ListSortsSegments => {
                page.blobs.sort_by(|one, other| one.key.segments().cmp(other.key.segments()))
            }
            Fault::ListShowsGhosts if options.delimiter.is_some() => {
                page.prefixes.push("ghost/".into());
            }
            Fault::ListStartsAtStart => {
                let start = start.unwrap_or_default();
                page.blobs.retain(|entry| entry.key.as_str() >= start.as_str());
            }
            _ => {}
        }
        Ok(page)
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey, how: &CopyOptions) -> Result<CopyOutcome> {
        let (from, to, mut how) = (self.key(from)?, self.key(to)?, how.clone());
        match self.fault {
            Fault::CopyDropsAttributes if how.attributes.is_none() => {
                how.attributes = Some(Attributes::default());
            }
            Fault::CopyIgnoresConditions => {
                how.precondition = Precondition::Always;
                how.source = None;
            }
            Fault::CopyKeepsExpiry => how.expiry = ExpiryChange::Keep,
            _ => {}
        }
        self.inner.copy(&from, &to, &how).await
    }

    async fn delete(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
        let (key, mut how) = (self.key(key)?, how.clone());
        if self.has(Fault::DeleteIgnoresIfMatch) {
            how.if_match = None;
        }
        match self.inner.delete(&key, &how).await? {
            DeleteOutcome::Missing if self.has(Fault::DeleteOfNothingFails) => {
                Err(Error::new(ErrorKind::NotFound, "broken", "blob.delete"))
            }
            outcome => Ok(outcome),
        }
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        let mut outcomes = self.inner.delete_many(keys).await?;
        if self.has(Fault::ShortensOutcomes) {
            outcomes.retain(|outcome| matches!(outcome, DeleteOutcome::Deleted));
        }
        Ok(outcomes)
    }

    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
        match self.fault {
            Fault::SignsBeyondTheBlob => self.signer.sign(request, None),
            _ => self.inner.sign(request).await,
        }
    }

    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
        self.inner.public_url(&self.key(key)?).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        if self.has(Fault::SweepsTheLiving) {
            for entry in self.inner.list(&ListOptions::all()).await?.blobs {
                let _gone = self.inner.delete(&entry.key, &DeleteOptions::default()).await?;
            }
        }
        self.inner.sweep(max).await
    }
}

#[derive(Debug)]
struct Harness {
    fault: Fault,
    clock: ManualClock,
    signer: UrlSigner,
}

impl Harness {
    fn new(fault: Fault) -> Self {
        let clock = ManualClock::new();
        let signer = UrlSigner::new("/blobs", SigningKey::random());
        Self { fault, signer: signer.with_clock(Arc::new(clock.clone())), clock }
    }

    fn frozen(&self) -> Arc<ManualClock> {
        Arc::new(ManualClock::new())
    }
}

#[async_trait]
impl BlobHarness for Harness {
    async fn store(&self) -> Arc<dyn BlobStore> {
        let clock = match self.fault {
            Fault::ServesExpired => self.frozen(),
            _ => Arc::new(self.clock.clone()),
        };
        let inner = MemoryBlobStore::new().with_clock(clock).with_signer(self.signer.clone());
        Arc::new(Broken { inner, signer: self.signer.clone(), fault: self.fault })
    }

    fn moment(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn pass_time(&self, span: Duration) {
        self.clock.advance(span);
    }

    async fn fetch(
        &self,
        store: &Arc<dyn BlobStore>,
        mut request: http::Request<Bytes>,
    ) -> http::Response<Bytes> {
        if self.fault == Fault::HttpIgnoresRange {
            request.headers_mut().remove("range");
        }
        let signer = match self.fault {
            Fault::AcceptsExpiredUrls => self.signer.clone().with_clock(self.frozen()),
            _ => self.signer.clone(),
        };
        let is_put = request.method() == http::Method::PUT;
        let is_get = request.method() == http::Method::GET;
        let routes = BlobRoutes::new(Arc::clone(store), signer).strip_prefix("/blobs");
        let mut response = serve(routes, request).await;
        let forgiven = match (self.fault, response.status().as_u16()) {
            (Fault::AcceptsForgedUrls, 403) => true,
            (Fault::AcceptsAnyMethod, 403) => !is_get,
            (Fault::UploadIgnoresGreatestLength, 400) => is_put,
            (Fault::UploadIgnoresOnce, 412) => is_put,
            (Fault::UploadIgnoresType, 403) => is_put,
            _ => false,
        };
        if forgiven {
            *response.status_mut() = http::StatusCode::OK;
        }
        response
    }
}

type Case = for<'a> fn(&'a dyn BlobHarness) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A row for each fault: the fault, and the case that must fail.
macro_rules! table {
    ($($fault:ident => $topic:ident::$case:ident,)*) => {
        &[$((Fault::$fault, stringify!($case), |h| Box::pin(testkit::$topic::$case(h)))),*]
    };
}

const TABLE: &[(Fault, &str, Case)] = table! {
    AcceptsAnyMethod => signed::a_signed_url_is_good_for_one_method_and_key,
    AcceptsExpiredUrls => signed::a_signed_url_ends_with_its_time,
    AcceptsForgedUrls => signed::a_forged_url_is_refused,
    ChecksAbsenceThenWrites => conditional::of_many_puts_if_absent_one_is_stored,
    ChecksVersionThenWrites => conditional::a_counter_by_if_match_loses_no_increment,
    ClaimsNoConditionalDelete => change::a_delete_if_match_spares_other_versions,
    ClaimsNoExpiry => expiry::a_blob_is_gone_at_its_instant_and_not_before,
    CopyDropsAttributes => change::a_copy_keeps_everything_but_key_and_version,
    CopyIgnoresConditions => change::a_copy_holds_its_conditions,
    CopyKeepsExpiry => expiry::a_promoted_blob_stays,
    CutsLongStreams => put::a_long_stream_of_unknown_length_is_stored_whole,
    DeleteIgnoresIfMatch => change::a_delete_if_match_spares_other_versions,
    DeleteOfNothingFails => change::a_deleted_blob_is_gone_and_deleting_again_succeeds,
    ForgetsMetadata => put::what_was_put_is_read_back_with_its_attributes,
    HidesEmptyBlobs => put::an_empty_blob_is_a_blob,
    HttpIgnoresRange => signed::ranges_and_conditions_are_answered_as_http_says,
    IgnoresChecksums => put::a_wrong_checksum_changes_nothing,
    IgnoresIfAbsent => conditional::if_absent_stores_once,
    IgnoresIfAbsentOfStreams => conditional::if_absent_holds_for_bodies_of_every_form,
    IgnoresIfMatch => conditional::if_match_replaces_that_version_only,
    IgnoresIfNoneMatch => read::the_version_one_has_is_not_modified,
    IgnoresRange => read::a_range_gives_exactly_its_bytes,
    KeepsOldAttributes => put::a_put_replaces_everything,
    KeepsPartOfFailedUploads => put::a_body_that_fails_changes_nothing,
    KeepsPartOfFailedUploads => put::a_body_of_the_wrong_length_changes_nothing,
    ListDropsLastOfPage => list::pages_of_every_size_make_the_same_listing,
    ListIsUnordered => list::keys_come_in_the_order_of_their_bytes,
    ListKnowsOneDelimiter => list::a_delimiter_shows_what_keys_have_in_common,
    ListPrefixIsDirectory => list::a_prefix_is_text_and_no_directory,
    ListSortsSegments => list::keys_come_in_the_order_of_their_bytes,
    ListShowsGhosts => list::a_prefix_without_blobs_is_not_shown,
    ListStartsAtStart => list::a_listing_starts_behind_a_key_that_need_not_exist,
    LowersCase => keys::keys_that_look_alike_are_different,
    MakesPublic => visibility::a_blob_is_private_unless_said_otherwise,
    RefusesKeysBelowKeys => keys::a_key_and_the_keys_below_it_live_together,
    ReusesVersions => put::every_put_gives_a_new_version,
    ServesExpired => expiry::a_blob_is_gone_at_its_instant_and_not_before,
    ServesExpired => expiry::an_expired_blob_is_absent_for_preconditions,
    ServesRangeBehindEnd => read::a_range_behind_the_end_is_refused,
    ShortensOutcomes => change::each_key_of_a_batch_has_its_outcome,
    ShowsUploads => put::an_upload_in_progress_is_nowhere,
    ShowsUploads => put::a_dropped_upload_changes_nothing,
    SignsBeyondTheBlob => signed::a_signed_url_ends_with_its_blob,
    SweepsTheLiving => expiry::a_sweep_removes_what_expired_and_nothing_else,
    TearsReads => read::a_reader_keeps_its_version_while_the_blob_is_replaced,
    TrimsKeys => keys::strange_keys_are_kept_byte_for_byte,
    UploadIgnoresGreatestLength => signed::an_upload_is_held_to_its_greatest_length,
    UploadIgnoresOnce => signed::a_one_time_upload_works_once,
    UploadIgnoresType => signed::an_upload_is_held_to_what_was_signed,
};

#[tokio::test]
async fn each_broken_store_fails_the_case_that_names_its_fault() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut unnoticed = Vec::new();
    let mut unfounded = Vec::new();
    for (fault, name, case) in TABLE {
        let harness = Harness::new(*fault);
        if AssertUnwindSafe(case(&harness)).catch_unwind().await.is_ok() {
            unnoticed.push((fault, name));
        }
        let sound = Harness::new(Fault::Nothing);
        if AssertUnwindSafe(case(&sound)).catch_unwind().await.is_err() {
            unfounded.push(name);
        }
    }
    drop(std::panic::take_hook());
    assert!(unnoticed.is_empty(), "no case noticed: {unnoticed:?}");
    assert!(unfounded.is_empty(), "a sound store fails: {unfounded:?}");
}
