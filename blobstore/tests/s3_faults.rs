//! What `S3BlobStore` makes of a service and a network that fail.
#![cfg(feature = "s3-url")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_blobstore::{
    Blobs, Body, CopyOptions, CopyOutcome, Crc64, DeleteOutcome, ErrorKind, ListOptions,
    Precondition, PutOutcome, Reason, S3BlobStore, S3Config, S3Features,
};
use standfast_core::{Clock, Id128, random};
use support::fault::{Fault, Faults};
use support::s3::Service;

const MIB: usize = 1 << 20;

struct Rig {
    service: Service,
    faults: Faults,
    store: S3BlobStore,
    blobs: Blobs,
    prefix: String,
}

/// A store whose requests can be made to fail; `None` without a service.
async fn rig(change: impl FnOnce(S3Config) -> S3Config) -> Option<Rig> {
    let service = Service::find()?;
    let faults = Faults::new();
    let client = service.client().await;
    let settings = client.config().to_builder().http_client(faults.clone());
    let client = aws_sdk_s3::Client::from_conf(settings.build());
    let place = service.place.strip_prefix("s3://").unwrap().to_owned();
    let (bucket, below) = place.split_once('/').unwrap_or((&place, ""));
    let prefix = format!("{below}/{}", Id128::random());
    let features = S3Features::preset(service.value("features").unwrap_or("aws")).unwrap();
    let config = S3Config::default().with_features(features).with_part_size(5 * MIB);
    let store = S3BlobStore::from_parts(&client, bucket, &prefix, change(config)).unwrap();
    let prefix = prefix.trim_start_matches('/').to_owned();
    Some(Rig { service, faults, blobs: Blobs::new(store.clone()), store, prefix })
}

impl Rig {
    async fn listed(&self) -> Vec<String> {
        self.blobs.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
    }

    /// How many uploads lie in the bucket, once aborts that are under way had their time.
    async fn left_over(&self) -> usize {
        let client = self.service.client().await;
        let mut left = 0;
        for _ in 0..100 {
            let listed = client.list_multipart_uploads().bucket(self.service.bucket());
            let listed = listed.prefix(&self.prefix).send().await.unwrap();
            left = listed.uploads().len();
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        left
    }
}

fn noise(len: usize) -> Bytes {
    let seed = u64::from_le_bytes(random::bytes());
    let words = (0..len as u64 / 8 + 1).flat_map(|at| {
        (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed)
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            .to_le_bytes()
    });
    words.take(len).collect()
}

fn below(most: u64) -> u64 {
    u64::from_le_bytes(random::bytes()) % most
}

fn pieces(all: &Bytes) -> Body {
    let pieces: Vec<_> = all.chunks(777_777).map(Bytes::copy_from_slice).collect();
    Body::stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)))
}

#[tokio::test]
async fn a_download_that_is_cut_at_any_offset_is_exact() {
    let Some(rig) = rig(|config| config).await else { return };
    let all = noise(64 * MIB);
    rig.blobs.put("a", all.clone()).await.unwrap();
    // each answer carries the rest, and breaks somewhere within its first part
    for _ in 0..20 {
        rig.faults.fail("GetObject", 1, Fault::Cut(below(3 * MIB as u64)));
    }
    let read = rig.blobs.get_bytes("a").await.unwrap();
    assert_eq!(rig.faults.asked("GetObject"), 21);
    assert!(read == all);
    for _ in 0..20 {
        let (start, len) = (below(60 * MIB as u64), 1 + below(MIB as u64));
        rig.faults.fail("GetObject", 1, Fault::Cut(below(len)));
        let read = rig.blobs.get_bytes("a").range(start..start + len).await.unwrap();
        assert!(read == all[start as usize..(start + len) as usize]);
    }
}

#[tokio::test]
async fn a_download_that_falls_silent_goes_on() {
    let quick = |config: S3Config| config.with_idle_timeout(Duration::from_millis(400));
    let Some(rig) = rig(quick).await else { return };
    let all = noise(2 * MIB);
    rig.blobs.put("a", all.clone()).await.unwrap();
    for at in [0, 1, MIB as u64] {
        rig.faults.fail("GetObject", 1, Fault::Stall(at));
        assert!(rig.blobs.get_bytes("a").await.unwrap() == all);
    }
    // for ever: an error, and no hanging
    rig.faults.fail("GetObject", 99, Fault::Stall(0));
    let error = rig.blobs.get_bytes("a").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_download_is_of_one_version() {
    let Some(rig) = rig(|config| config).await else { return };
    rig.blobs.put("a", noise(MIB)).await.unwrap();
    rig.faults.fail("GetObject", 1, Fault::Cut(1000));
    let mut stream = rig.blobs.get("a").await.unwrap().into_stream();
    rig.blobs.put("a", noise(MIB)).await.unwrap();
    let error = loop {
        match stream.next().await.expect("an error comes") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.reason()),
        (ErrorKind::Conflict, Some(Reason::ChangedDuringRead))
    );
}

#[tokio::test]
async fn a_corrupt_download_ends_in_an_error() {
    let Some(rig) = rig(|config| config).await else { return };
    for (key, body) in [("one", noise(MIB)), ("parts", noise(11 * MIB))] {
        let len = body.len() as u64;
        rig.blobs.put(key, pieces(&body)).await.unwrap();
        for at in [0, len / 2, len - 1] {
            rig.faults.fail("GetObject", 1, Fault::Corrupt(at));
            let error = rig.blobs.get_bytes(key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checksum, "{key} at {at}");
        }
    }
}

#[tokio::test]
async fn a_corrupt_upload_is_noticed_and_sent_again() {
    let Some(rig) = rig(|config| config).await else { return };
    for (key, body, operation) in
        [("one", noise(MIB), "PutObject"), ("parts", noise(11 * MIB), "UploadPart")]
    {
        rig.faults.fail(operation, 1, Fault::CorruptRequest);
        rig.blobs.put(key, pieces(&body)).await.unwrap();
        assert!(rig.blobs.get_bytes(key).await.unwrap() == body);
        rig.faults.fail(operation, 5, Fault::CorruptRequest);
        let error = rig
            .blobs
            .put(key, pieces(&noise(11 * MIB)))
            .await
            .map(drop)
            .or_else(|error| if operation == "UploadPart" { Err(error) } else { Ok(()) });
        if let Err(error) = error {
            assert_eq!(error.kind(), ErrorKind::Checksum);
        }
        rig.faults.clear();
    }
    assert_eq!(rig.left_over().await, 0);
}

#[tokio::test]
async fn an_upload_that_fails_at_any_part_leaves_nothing() {
    let Some(rig) = rig(|config| config).await else { return };
    let body = noise(26 * MIB);
    for part in 0..6 {
        rig.faults.fail_after(part, "UploadPart", 1, Fault::Answer(403, "AccessDenied"));
        let error = rig.blobs.put("a", pieces(&body)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!rig.blobs.exists("a").await.unwrap());
        rig.faults.clear();
    }
    for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
        rig.faults.fail(operation, 1, Fault::Answer(403, "AccessDenied"));
        assert_eq!(rig.blobs.put("a", pieces(&body)).await.unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!(rig.listed().await, [""; 0]);
    assert_eq!(rig.left_over().await, 0);
}

#[tokio::test]
async fn an_upload_that_is_dropped_at_any_part_leaves_nothing() {
    let Some(rig) = rig(|config| config).await else { return };
    let body = noise(26 * MIB);
    for part in 0..6 {
        rig.faults.fail_after(part, "UploadPart", 99, Fault::Late(Duration::from_secs(600)));
        let put = tokio::spawn(rig.blobs.put("a", pieces(&body)).into_future());
        while rig.faults.asked("UploadPart") <= part {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        put.abort();
        assert!(put.await.unwrap_err().is_cancelled());
        rig.faults.clear();
        assert!(!rig.blobs.exists("a").await.unwrap());
    }
    assert_eq!(rig.left_over().await, 0);
}

#[tokio::test]
async fn uploads_whose_process_died_are_found() {
    let Some(rig) = rig(|config| config).await else { return };
    rig.faults.fail("AbortMultipartUpload", 1, Fault::Answer(403, "AccessDenied"));
    rig.faults.fail("UploadPart", 1, Fault::Answer(403, "AccessDenied"));
    assert!(rig.blobs.put("a", pieces(&noise(11 * MIB))).await.is_err());
    assert_eq!(rig.store.abort_stale_uploads(Duration::from_secs(3600)).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(rig.store.abort_stale_uploads(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(rig.left_over().await, 0);
}

/// Everything that the store does, once.
async fn everything(rig: &Rig, name: &str) {
    let blobs = &rig.blobs;
    let small = blobs.put(format!("{name}/small"), "small").if_absent().await.unwrap();
    let small = small.stored().expect("it is new");
    let large = noise(11 * MIB);
    blobs
        .put(format!("{name}/large"), pieces(&large))
        .expires_in(Duration::from_secs(600))
        .await
        .unwrap();
    assert_eq!(blobs.get_bytes(format!("{name}/small")).await.unwrap(), "small");
    assert!(blobs.get_bytes(format!("{name}/large")).await.unwrap() == large);
    assert!(blobs.exists(format!("{name}/small")).await.unwrap());
    blobs.copy(format!("{name}/small"), format!("{name}/copy")).await.unwrap();
    assert_eq!(
        blobs.list_page(ListOptions::prefix(format!("{name}/"))).await.unwrap().blobs.len(),
        3
    );
    let gone = blobs.delete_if(format!("{name}/small"), &small.version).await.unwrap();
    assert!(matches!(gone, DeleteOutcome::Deleted), "{gone:?}");
    assert_eq!(blobs.delete_prefix(&format!("{name}/")).await.unwrap(), 2);
}

const OPERATIONS: &[&str] = &[
    "PutObject",
    "Note",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "GetObject",
    "HeadObject",
    "CopyObject",
    "ListObjectsV2",
    "DeleteObject",
    "DeleteObjects",
];

#[tokio::test]
async fn a_service_that_is_overloaded_is_asked_again() {
    let Some(rig) = rig(|config| config).await else { return };
    for operation in OPERATIONS {
        for fault in [
            Fault::Answer(503, "SlowDown"),
            Fault::Answer(500, "InternalError"),
            Fault::Answer(503, "ServiceUnavailable"),
            Fault::Answer(400, "RequestTimeout"),
        ] {
            rig.faults.fail(operation, 1, fault);
        }
        everything(&rig, "t").await;
        assert!(rig.faults.asked(operation) > 4, "{operation}");
        rig.faults.clear();
    }
    rig.faults.fail("PutObject", 99, Fault::Answer(503, "SlowDown"));
    let error = rig.blobs.put("a", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled, "certainly not stored");
}

#[tokio::test]
async fn an_error_behind_a_good_beginning_is_an_error() {
    let Some(rig) = rig(|config| config).await else { return };
    for operation in ["CompleteMultipartUpload", "CopyObject"] {
        rig.faults.fail(operation, 2, Fault::ErrorIn200("InternalError"));
        everything(&rig, "t").await;
        assert_eq!(rig.faults.asked(operation), 3, "{operation}");
        rig.faults.clear();
        rig.faults.fail(operation, 99, Fault::ErrorIn200("InternalError"));
        let failed = match operation {
            "CopyObject" => {
                rig.blobs.put("from", "1").await.unwrap();
                rig.blobs.copy("from", "new").await
            }
            _ => rig.blobs.put("new", pieces(&noise(11 * MIB))).await,
        };
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{operation}");
        rig.faults.clear();
        assert!(!rig.blobs.exists("new").await.unwrap());
    }
}

#[tokio::test]
async fn a_lost_answer_never_becomes_a_wrong_outcome() {
    let Some(rig) = rig(|config| config).await else { return };
    for fault in [Fault::LoseAnswer, Fault::FailAfterwards] {
        for operation in OPERATIONS {
            rig.faults.fail(operation, 2, fault.clone());
            everything(&rig, "t").await;
            rig.faults.clear();
        }
    }
}

#[tokio::test]
async fn conditions_hold_although_every_answer_is_lost() {
    let Some(rig) = rig(|config| config.with_attempts(2)).await else { return };
    let blobs = &rig.blobs;
    for (key, large) in [("small", false), ("large", true)] {
        let body = || if large { pieces(&noise(11 * MIB)) } else { Body::from("1") };
        let operation = if large { "CompleteMultipartUpload" } else { "PutObject" };
        let lose = || rig.faults.fail(operation, 2, Fault::LoseAnswer);
        lose();
        let first = blobs.put(key, body()).if_absent().await.unwrap().stored().expect("ours");
        // what is there stood in the way all the time
        tokio::time::sleep(Duration::from_millis(3300)).await;
        lose();
        assert_eq!(blobs.put(key, body()).if_absent().await.unwrap(), PutOutcome::Exists, "{key}");
        rig.faults.clear();
        lose();
        let second = blobs.put(key, noise(20)).if_match(&first.version).await;
        if large {
            assert!(second.unwrap().stored().is_some());
        } else {
            let second = second.unwrap().stored().expect("ours");
            assert_ne!(second.version, first.version);
        }
        rig.faults.clear();
    }
    rig.faults.fail("CopyObject", 2, Fault::LoseAnswer);
    let new = CopyOptions::default().with_precondition(Precondition::IfAbsent);
    let copied = blobs.copy_with("small", "copy", &new).await.unwrap();
    assert!(matches!(copied, CopyOutcome::Stored(_)), "{copied:?}");
    rig.faults.clear();
    let version = blobs.head("copy").await.unwrap().unwrap().version;
    rig.faults.fail("DeleteObject", 1, Fault::LoseAnswer);
    let deleted = blobs.delete_if("copy", &version).await.unwrap();
    assert!(matches!(deleted, DeleteOutcome::Deleted), "{deleted:?}");
}

#[tokio::test]
async fn what_nobody_can_tell_is_said_to_be_unknown() {
    let Some(rig) = rig(|config| config.with_attempts(1)).await else { return };
    rig.faults.fail("PutObject", 1, Fault::Answer(500, "InternalError"));
    let error = rig.blobs.put("a", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    // ours was stored, its answer lost, and somebody else replaced it before the next attempt
    rig.faults.clear();
    let other = rig.blobs.clone();
    rig.faults.fail("PutObject", 1, Fault::LoseAnswer);
    rig.faults.fail("HeadObject", 1, Fault::Late(Duration::from_millis(700)));
    let put = tokio::spawn(rig.blobs.put("b", "ours").if_absent().into_future());
    while rig.faults.asked("HeadObject") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.put("b", "theirs").await.unwrap();
    assert_eq!(put.await.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn a_service_that_ignores_conditions_is_found_out() {
    let Some(rig) = rig(|config| config).await else { return };
    let preset = S3Features::preset(rig.service.value("features").unwrap()).unwrap();
    let mut found = rig.store.probe().await.unwrap();
    // Uploads race to show this, and on a busy machine a race may show nothing.
    assert!(found.conditional_complete >= preset.conditional_complete);
    found.conditional_complete = preset.conditional_complete;
    assert_eq!(found, preset);
    assert_eq!(rig.listed().await, [""; 0]);
    rig.faults.fail_after(1, "PutObject", 99, Fault::Pretend);
    rig.faults.fail("CopyObject", 99, Fault::Pretend);
    rig.faults.fail("CompleteMultipartUpload", 99, Fault::Answer(501, "NotImplemented"));
    rig.faults.fail("DeleteObject", 99, Fault::Pretend);
    let found = rig.store.probe().await;
    rig.faults.clear();
    let found = found.unwrap();
    assert!(!found.conditional_put && !found.conditional_complete);
    assert!(!found.conditional_copy && !found.conditional_delete && !found.crc64nvme);
    let blobs = Blobs::new(rig.store.with_features(found));
    assert!(!blobs.capabilities().conditional);
    let version = blobs.put("a", "1").await.unwrap().version;
    let refused = [
        blobs.put("a", "2").if_absent().await.map(drop),
        blobs.put("a", "2").if_match(&version).await.map(drop),
        blobs.delete_if("a", &version).await.map(drop),
        blobs.signed_put("b", Duration::from_secs(9)).once().await.map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(rig.faults.asked("PutObject"), 1, "and nothing was sent");
}

/// A clock that is wrong by an hour.
#[derive(Debug)]
struct Wrong;

#[async_trait::async_trait]
impl Clock for Wrong {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        standfast_core::SystemClock.now() + chrono::TimeDelta::hours(1)
    }
    fn instant(&self) -> std::time::Instant {
        standfast_core::SystemClock.instant()
    }
    async fn sleep_until(&self, deadline: std::time::Instant) {
        standfast_core::SystemClock.sleep_until(deadline).await;
    }
}

#[tokio::test]
async fn a_wrong_clock_is_put_right_by_the_service() {
    let Some(rig) = rig(|config| config.with_clock(Arc::new(Wrong))).await else { return };
    let put = rig.blobs.put("a", "1").expires_in(Duration::from_secs(5)).await.unwrap();
    let put = match put.modified_at - chrono::Utc::now() > chrono::TimeDelta::minutes(1) {
        // the first one was dated before the service had said a word
        true => rig.blobs.put("a", "1").expires_in(Duration::from_secs(5)).await.unwrap(),
        false => put,
    };
    let off = (put.modified_at - chrono::Utc::now()).abs();
    assert!(off < chrono::TimeDelta::seconds(2), "{off}");
    assert_eq!(rig.blobs.get_bytes("a").await.unwrap(), "1");
    rig.blobs.put("lasting", "1").await.unwrap();
    let url = rig.blobs.signed_url("lasting", Duration::from_secs(60)).await.unwrap();
    let request = http::Request::get(url.as_str()).body(Bytes::new()).unwrap();
    assert_eq!(support::s3::fetch(request).await.status(), 200);
    // give or take a second: the answers are dated no finer
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!rig.blobs.exists("a").await.unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_bucket_key_or_network_is_told() {
    let Some(rig) = rig(|config| config.with_attempts(2)).await else { return };
    let client = rig.service.client().await;
    let none =
        S3BlobStore::from_parts(&client, "no-such-bucket-of-standfast", "", S3Config::default())
            .unwrap();
    let none = Blobs::new(none);
    let errors = [
        none.head("a").await.map(drop),
        none.get("a").await.map(drop),
        none.list_page(ListOptions::all()).await.map(drop),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("ucket"), "{error}");
    }
    let credentials = aws_sdk_s3::config::Credentials::new(
        "stranger",
        "a-secret-of-a-stranger",
        None,
        None,
        "test",
    );
    let settings = client.config().to_builder().credentials_provider(credentials);
    let stranger = aws_sdk_s3::Client::from_conf(settings.build());
    let stranger =
        S3BlobStore::from_parts(&stranger, rig.service.bucket(), "", S3Config::default()).unwrap();
    let error = Blobs::new(stranger).put("a", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!format!("{error:?}").contains("a-secret"));
    let nowhere = client.config().to_builder().endpoint_url("http://127.0.0.1:9");
    let nowhere = aws_sdk_s3::Client::from_conf(nowhere.build());
    let config = S3Config::default().with_attempts(2);
    let nowhere = S3BlobStore::from_parts(&nowhere, "b", "", config).unwrap();
    let error = Blobs::new(nowhere.clone()).put("a", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");
    assert!(!Blobs::new(nowhere).health().await.is_usable());
    assert!(rig.blobs.health().await.is_usable());
}

#[tokio::test]
async fn ordered_pages_of_the_service_are_passed_on() {
    let Some(rig) = rig(|config| config.with_features(S3Features::AWS)).await else { return };
    // keys that no service lists in another order
    let mut keys: Vec<_> = (0..30).map(|at| format!("d/{at:02}")).collect();
    keys.extend((0..30).map(|at| format!("e/{}/{at:02}", at / 10)));
    keys.push("f +ä%".into());
    for key in &keys {
        rig.blobs.put(key, "").await.unwrap();
    }
    rig.blobs.put("tmp", "").expires_in(Duration::from_secs(600)).await.unwrap();
    keys.push("tmp".into());
    for limit in [1, 7, 30, 62, 1000] {
        let mut options = ListOptions::all().with_limit(limit);
        let mut listed = Vec::new();
        loop {
            let page = rig.blobs.list_page(options.clone()).await.unwrap();
            assert!(page.blobs.len() <= limit);
            listed.extend(page.blobs.into_iter().map(|blob| blob.key.to_string()));
            let Some(next) = page.next else { break };
            options = options.with_token(next);
        }
        assert_eq!(listed, keys, "pages of {limit}");
        let mut options = ListOptions::prefix("e/").with_delimiter("/").with_limit(limit);
        let mut commons = Vec::new();
        loop {
            let page = rig.blobs.list_page(options.clone()).await.unwrap();
            commons.extend(page.prefixes);
            let Some(next) = page.next else { break };
            options = options.with_token(next);
        }
        assert_eq!(commons, ["e/0/", "e/1/", "e/2/"], "pages of {limit}");
    }
    let after = ListOptions::all().with_start_after("e/1/15");
    let page = rig.blobs.list_page(after).await.unwrap();
    assert_eq!(page.blobs[0].key.as_str(), "e/1/16");
}

#[tokio::test]
async fn checksums_are_whole_for_parts_and_copies() {
    let Some(rig) = rig(|config| config).await else { return };
    let body = noise(11 * MIB);
    rig.blobs.put("a", pieces(&body)).await.unwrap();
    rig.blobs.copy("a", "b").await.unwrap();
    for key in ["a", "b"] {
        assert_eq!(rig.blobs.head(key).await.unwrap().unwrap().crc64, Some(Crc64::of(&body)));
    }
}
