//! The suite against `FsBlobStore`, with a clock that is moved by hand and in real time.

mod support;

standfast_blobstore::blob_conformance!(fs, super::support::fs());
standfast_blobstore::blob_conformance!(in_real_time, super::support::fs_in_real_time());
