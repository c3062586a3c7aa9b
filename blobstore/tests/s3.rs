//! The suite against `S3BlobStore` on the service that `STANDFAST_TEST_S3` names: with everything
//! private, and with a public prefix.
#![cfg(feature = "s3-url")]

mod support;

macro_rules! harness {
    ($public:expr) => {
        match crate::support::s3::Harness::find($public) {
            Some(harness) => harness,
            None => return,
        }
    };
}

standfast_blobstore::blob_conformance!(private, harness!(false));
standfast_blobstore::blob_conformance!(public, harness!(true));
