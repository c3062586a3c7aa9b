//! `FromObjectStore`: our suite on the store in memory of `object_store`, with the least and with
//! all that can be said of it, and what only a service does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions as TheirCopyOptions, Error, GetOptions, GetResult,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use standfast_blobstore::testkit::BlobHarness;
use standfast_blobstore::{
    BlobStore, Blobs, Body, ByteRange, CopyOptions, Crc64, ErrorKind, FromObjectStore, GetOutcome,
    ListOptions, PutOutcome, Version,
};

#[derive(Debug)]
pub(crate) struct Harness {
    knows_all: bool,
}

#[async_trait]
impl BlobHarness for Harness {
    async fn store(&self) -> Arc<dyn BlobStore> {
        let store = FromObjectStore::new(InMemory::new());
        if !self.knows_all {
            return Arc::new(store);
        }
        let store = store.with_conditional(true).with_ordered_listing(true);
        Arc::new(store.with_unique_versions(true).with_part_size(100_000))
    }

    fn moment(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn pass_time(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    async fn fetch(
        &self,
        _: &Arc<dyn BlobStore>,
        request: http::Request<Bytes>,
    ) -> http::Response<Bytes> {
        panic!("nobody signed {}", request.uri())
    }
}

standfast_blobstore::blob_conformance!(least, super::Harness { knows_all: false });
standfast_blobstore::blob_conformance!(most, super::Harness { knows_all: true });

/// What a service does to a put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// Stores, and its answer is lost; so the crate asks again.
    Repeats,
    /// Stores, and all answers are lost.
    StoresAndFails,
    Fails,
}

/// The store in memory, with faults for the next puts and a count of the uploads that were aborted.
#[derive(Clone, Debug, Default)]
struct Faulty {
    inner: Arc<InMemory>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    aborted: Arc<Mutex<u32>>,
    backwards: bool,
    /// What somebody puts after each of the next heads, if anything.
    news: Arc<Mutex<VecDeque<Option<&'static str>>>>,
}

impl Faulty {
    fn next(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn cut() -> Error {
    Error::Generic { store: "faulty", source: "the connection is cut".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, payload: PutPayload, how: PutOptions) -> Result<PutResult> {
        let fault = self.faults.lock().unwrap().pop_front();
        if fault == Some(Fault::Fails) {
            return Err(cut());
        }
        let first = self.inner.put_opts(at, payload.clone(), how.clone()).await;
        match fault {
            Some(Fault::Repeats) => self.inner.put_opts(at, payload, how).await,
            Some(_) => Err(cut()),
            None => first,
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(at, how).await?;
        Ok(Box::new(Counted { upload, aborted: Arc::clone(&self.aborted) }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let head = how.head;
        let found = self.inner.get_opts(at, how).await;
        let news = if head { self.news.lock().unwrap().pop_front() } else { None };
        if let Some(Some(news)) = news {
            self.inner.put(at, news.into()).await?;
        }
        found
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        if !self.backwards {
            return listed;
        }
        let turned = async move {
            let mut all: Vec<_> = listed.collect().await;
            all.reverse();
            stream::iter(all)
        };
        stream::once(turned).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: TheirCopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

#[derive(Debug)]
struct Counted {
    upload: Box<dyn MultipartUpload>,
    aborted: Arc<Mutex<u32>>,
}

#[async_trait]
impl MultipartUpload for Counted {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        *self.aborted.lock().unwrap() += 1;
        self.upload.abort().await
    }
}

fn faulty() -> (Faulty, Blobs) {
    let faulty = Faulty::default();
    let store = FromObjectStore::new(faulty.clone()).with_conditional(true);
    (faulty, Blobs::new(store.with_part_size(1000).with_conditional_len(5000)))
}

/// Under a condition, the object that refuses may be one's own.
#[tokio::test]
async fn a_lost_answer_becomes_no_wrong_outcome() {
    let (faulty, blobs) = faulty();
    for fault in [Fault::Repeats, Fault::StoresAndFails] {
        faulty.next(fault);
        let put = blobs.put("a", "1").if_absent().await.unwrap();
        let PutOutcome::Stored(meta) = put else { panic!("{fault:?}: {put:?}") };
        assert_eq!(blobs.head("a").await.unwrap(), Some(*meta.clone()));
        faulty.next(fault);
        let put = blobs.put("a", "2").if_match(&meta.version).await.unwrap();
        assert!(matches!(put, PutOutcome::Stored(_)), "{fault:?}: {put:?}");
        assert_eq!(blobs.get_bytes("a").await.unwrap(), "2");
        blobs.delete("a").await.unwrap();
    }
    faulty.next(Fault::Fails);
    let unknown = blobs.put("a", "1").if_absent().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown);
    faulty.next(Fault::Fails);
    let failed = blobs.put("a", "1").await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    blobs.put("a", "3").await.unwrap();
    faulty.next(Fault::StoresAndFails);
    let unknown = blobs.put("a", "4").if_absent().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown, "it may still arrive");
    assert_eq!(blobs.get_bytes("a").await.unwrap(), "3");
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_aborted() {
    let (faulty, blobs) = faulty();
    let count = || *faulty.aborted.lock().unwrap();
    let pieces = || stream::iter((0..7).map(|_| Ok(Bytes::from(vec![7; 900]))));
    let cut = stream::once(async { Err(std::io::Error::other("cut")) });
    let failed = blobs.put("a", Body::stream(pieces().chain(cut))).await.unwrap_err();
    assert_eq!((failed.kind(), count()), (ErrorKind::Cancelled, 1));
    let body = Body::stream(pieces().map_err(|error: std::io::Error| error));
    let failed = blobs.put("a", body).crc64(Crc64::of(b"other")).await.unwrap_err();
    assert_eq!((failed.kind(), count()), (ErrorKind::Checksum, 2));
    let endless = Body::stream(pieces().chain(stream::pending()));
    let dropped =
        tokio::time::timeout(Duration::from_millis(50), async { blobs.put("a", endless).await });
    assert!(dropped.await.is_err());
    while count() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!blobs.exists("a").await.unwrap());
    let stored = blobs.put("a", Body::stream(pieces())).await.unwrap();
    assert_eq!((stored.size, count()), (6300, 3));
    assert_eq!(blobs.head("a").await.unwrap().unwrap().crc64, None, "it was not known in time");
    assert_eq!(blobs.get_bytes("a").await.unwrap(), vec![7; 6300]);
}

/// The crate has no conditional upload in parts.
#[tokio::test]
async fn a_condition_on_what_does_not_fit_in_memory_is_refused() {
    let (_, blobs) = faulty();
    let pieces = || stream::iter([Ok::<_, std::io::Error>(vec![7; 5001])]);
    // Where its length is known, nothing of it is taken.
    let never = stream::pending::<std::result::Result<Bytes, std::io::Error>>();
    for body in [Body::stream(pieces()), Body::sized_stream(5001, never)] {
        let put = async { blobs.put("a", body).if_absent().await };
        let refused = tokio::time::timeout(Duration::from_secs(60), put).await;
        let refused = refused.expect("nothing is waited for").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
    assert!(!blobs.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_listing_that_should_ascend_is_held_to_it() {
    let backwards = Faulty { backwards: true, ..Faulty::default() };
    let store = FromObjectStore::new(backwards);
    let blobs = Blobs::new(store.clone());
    for key in ["a", "b", "c"] {
        blobs.put(key, "").await.unwrap();
    }
    let keys: Vec<_> =
        blobs.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
    assert_eq!(keys, ["a", "b", "c"]);
    let trusting = Blobs::new(store.with_ordered_listing(true));
    let refused = trusting.list_page(Default::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unexpected);
}

/// Although it takes two requests to find out which bytes they are.
#[tokio::test]
async fn the_last_bytes_are_those_of_one_version() {
    let (faulty, blobs) = faulty();
    blobs.put("a", "0123456789").await.unwrap();
    faulty.news.lock().unwrap().extend([Some("first"), Some("last")]);
    let end = blobs.get("a").range(ByteRange::last(2)).await.unwrap();
    assert_eq!((end.range(), end.meta().size), (2..4, 4));
    assert_eq!(end.bytes(9).await.unwrap(), "st");
    faulty.news.lock().unwrap().extend([Some("news"); 100]);
    let changing = blobs.get("a").range(ByteRange::last(2)).await.unwrap_err();
    assert_eq!(changing.kind(), ErrorKind::Conflict);
}

/// Between the read and the put of one.
#[tokio::test]
async fn a_copy_onto_itself_brings_nothing_back() {
    let (faulty, blobs) = faulty();
    blobs.put("a", "old").await.unwrap();
    faulty.news.lock().unwrap().extend([None, Some("new")]);
    let html = standfast_blobstore::Attributes::default().with_content_type("text/html");
    let options = CopyOptions::default().with_attributes(html.clone());
    let copied = blobs.copy_with("a", "a", &options).await.unwrap().stored().unwrap();
    assert_eq!((copied.size, &copied.attributes), (3, &html));
    assert_eq!(blobs.head("a").await.unwrap().unwrap(), copied);
    assert_eq!(blobs.get_bytes("a").await.unwrap(), "new");
}

/// And what all of its keys are before the start is not shown.
#[tokio::test]
async fn a_listing_starts_within_what_keys_have_in_common() {
    let (_, blobs) = faulty();
    for key in ["a/b", "a/c", "d"] {
        blobs.put(key, "").await.unwrap();
    }
    let mut shown = Vec::new();
    for start in ["a/", "a/b", "a/bb", "a/c", "d"] {
        let options = ListOptions::all().with_delimiter("/").with_start_after(start);
        let page = blobs.list_page(options).await.unwrap();
        shown.push((page.prefixes.len(), page.blobs.len()));
    }
    assert_eq!(shown, [(1, 1), (1, 1), (1, 1), (0, 1), (0, 0)]);
}

/// Which would be a list, in a header.
#[tokio::test]
async fn a_version_is_one_etag() {
    let (_, blobs) = faulty();
    let meta = blobs.put("a", "1").await.unwrap();
    let several = Version::new(format!("other\",\"{}", meta.version));
    let outcome = blobs.get("a").if_match(&several).await.unwrap();
    assert!(matches!(outcome, GetOutcome::Mismatch), "{outcome:?}");
    let outcome = blobs.get("a").if_none_match(&several).await.unwrap();
    assert!(matches!(outcome, GetOutcome::Found(_)), "{outcome:?}");
    let outcome = blobs.get("b").if_match(&several).await.unwrap();
    assert!(matches!(outcome, GetOutcome::Missing), "{outcome:?}");
}

/// Read as they are, and passed over where they have no name here.
#[tokio::test]
async fn objects_of_others_are_read() {
    let inner = Arc::new(InMemory::new());
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/csv"),
        (Attribute::Metadata("Rows".into()), "1"),
    ]);
    inner.put_opts(&Path::from("t/a.csv"), "a,1".into(), attributes.into()).await.unwrap();
    for nameless in [format!("t/{}", "k".repeat(256)), ".standfast/a".to_owned()] {
        inner.put(&Path::from(nameless), "1".into()).await.unwrap();
    }
    let blobs = Blobs::new(FromObjectStore::from(inner as Arc<dyn ObjectStore>));
    let meta = blobs.head("t/a.csv").await.unwrap().unwrap();
    assert_eq!(meta.attributes.content_type.as_deref(), Some("text/csv"));
    assert_eq!((meta.attributes.metadata["rows"].as_str(), meta.crc64), ("1", None));
    assert_eq!(blobs.get_bytes("t/a.csv").await.unwrap(), "a,1");
    let copy = blobs.copy("t/a.csv", "b").await.unwrap();
    assert_eq!(copy.attributes, meta.attributes);
    for options in [ListOptions::all(), ListOptions::all().with_delimiter("/")] {
        let page = blobs.list_page(options).await.unwrap();
        let listed = page.blobs.iter().map(|entry| entry.key.as_str());
        let listed: Vec<_> = listed.chain(page.prefixes.iter().map(String::as_str)).collect();
        assert!(listed == ["b", "t/a.csv"] || listed == ["b", "t/"], "{listed:?}");
    }
    assert!(blobs.health().await.is_usable());
}
