//! The suite against `MemoryBlobStore`, with a clock that is moved by hand and in real time.

mod support;

standfast_blobstore::blob_conformance!(memory, super::support::memory());
standfast_blobstore::blob_conformance!(in_real_time, super::support::memory_in_real_time());
