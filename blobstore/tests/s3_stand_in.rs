//! The suite against `S3BlobStore` on the stand-in of Amazon S3 that `STANDFAST_TEST_S3_STAND_IN`
//! names: with everything private, and with a public prefix.
#![cfg(feature = "s3-url")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod support;

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use standfast_blobstore::{S3Config, S3Features};
use support::s3::Service;

macro_rules! harness {
    ($public:expr) => {
        match crate::support::s3::Harness::find_stand_in($public) {
            Some(harness) => harness,
            None => return,
        }
    };
}

/// Stamps a case, or what the stand-in does instead: that has to fail as long as it is listed here.
macro_rules! stamp {
    (change, a_copy_holds_its_conditions, $harness:expr) => {
        stamp!(@fails change, a_copy_holds_its_conditions, $harness,
            "a copy ignores conditions on what it replaces");
    };
    (expiry, of_many_puts_over_an_expired_blob_one_is_stored, $harness:expr) => {
        stamp!(@fails expiry, of_many_puts_over_an_expired_blob_one_is_stored, $harness,
            "the end of an upload in parts ignores If-Match");
    };
    (list, a_delimiter_shows_what_keys_have_in_common, $harness:expr) => {
        stamp!(@fails list, a_delimiter_shows_what_keys_have_in_common, $harness,
            "a page that begins behind a key takes its last letters for the delimiter");
    };
    (@fails $topic:ident, $case:ident, $harness:expr, $why:expr) => {
        #[tokio::test]
        async fn $case() {
            let harness = $harness;
            let case = standfast_blobstore::testkit::$topic::$case(&harness);
            crate::fails(case, $why).await;
        }
    };
    ($topic:ident, $case:ident, $harness:expr) => {
        standfast_blobstore::blob_test!($topic, $case, $harness);
    };
}

mod private {
    standfast_blobstore::blob_cases!(stamp, harness!(false));
}
mod public {
    standfast_blobstore::blob_cases!(stamp, harness!(true));
}

async fn fails(case: impl Future<Output = ()>, why: &str) {
    let ended = AssertUnwindSafe(case).catch_unwind().await;
    assert!(ended.is_err(), "it passes, so this is over: {why}");
}

/// As they are: that copies, and ends of uploads in parts, ignore conditions.
#[tokio::test]
async fn a_probe_finds_what_the_stand_in_does_otherwise() {
    let Some(service) = Service::find_stand_in() else { return };
    let (store, _) = service.store(S3Config::default()).await;
    let mut expected = S3Features::AWS;
    expected.conditional_complete = false;
    expected.conditional_copy = false;
    assert_eq!(store.probe().await.unwrap(), expected);
}
