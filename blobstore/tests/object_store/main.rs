//! The integration tests that the crate `object_store` publishes, against `AsObjectStore` over each
//! backend, and what they do not ask; and our suite against `FromObjectStore`.
//!
//! Theirs take `NotImplemented` and `NotSupported` for success; `Strict` does not.
#![cfg(feature = "object-store")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod cases;
mod inward;
mod meddling;
mod strict;
#[path = "../support/mod.rs"]
mod support;

use object_store::memory::InMemory;
use standfast_blobstore::{AsObjectStore, FromObjectStore, FsBlobStore, MemoryBlobStore};
use support::TempDir;

/// A store with nothing in it, and the directory where it is.
struct Fresh {
    store: AsObjectStore,
    _dir: Option<TempDir>,
}

async fn memory() -> Option<Fresh> {
    Some(Fresh { store: AsObjectStore::new(MemoryBlobStore::new()), _dir: None })
}

async fn fs() -> Option<Fresh> {
    let dir = TempDir::new();
    let store = FsBlobStore::open(dir.path().join("blobs")).await.unwrap();
    Some(Fresh { store: AsObjectStore::new(store), _dir: Some(dir) })
}

#[cfg(feature = "s3-url")]
async fn s3() -> Option<Fresh> {
    let service = support::s3::Service::find()?;
    let (store, _) = service.store(standfast_blobstore::S3Config::default()).await;
    Some(Fresh { store: AsObjectStore::new(store), _dir: None })
}

/// There and back.
async fn both_ways() -> Option<Fresh> {
    let store = FromObjectStore::new(InMemory::new()).with_conditional(true);
    Some(Fresh { store: AsObjectStore::new(store), _dir: None })
}

/// Stamps a test for each function on a fresh store.
macro_rules! suite {
    ($module:ident, $backend:ident, $($name:ident: |$store:ident| $run:expr;)*) => {
        mod $module {
            #[allow(unused_imports, reason = "not each module has one of theirs")]
            use object_store::integration as theirs;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some(fresh) = crate::$backend().await else { return };
                    let $store = crate::strict::Strict(fresh.store.clone());
                    $run;
                }
            )*
        }
    };
}

macro_rules! backend {
    ($backend:ident) => {
        suite!($backend, $backend,
            put_get_delete_list: |store| theirs::put_get_delete_list(&store).await;
            put_get_attributes: |store| theirs::put_get_attributes(&store).await;
            get_opts: |store| theirs::get_opts(&store).await;
            put_opts: |store| theirs::put_opts(&store, true).await;
            stream_get: |store| theirs::stream_get(&store).await;
            list_uses_directories_correctly: |store|
                theirs::list_uses_directories_correctly(&store).await;
            list_with_delimiter: |store| theirs::list_with_delimiter(&store).await;
            list_with_offset_exclusivity: |store|
                theirs::list_with_offset_exclusivity(&store).await;
            list_paginated: |store| theirs::list_paginated(&store, &store.0).await;
            get_nonexistent_object: |store| {
                let missing = theirs::get_nonexistent_object(&store, None).await;
                assert!(matches!(missing, Err(object_store::Error::NotFound { .. })));
            };
            rename_and_copy: |store| theirs::rename_and_copy(&store).await;
            copy_if_not_exists: |store| theirs::copy_if_not_exists(&store).await;
            copy_rename_nonexistent_object: |store|
                theirs::copy_rename_nonexistent_object(&store).await;
            multipart_race_condition: |store|
                theirs::multipart_race_condition(&store, true).await;
            multipart_out_of_order: |store| theirs::multipart_out_of_order(&store).await;
            nothing_is_added_to_attributes: |store|
                crate::cases::nothing_is_added_to_attributes(&store).await;
            what_could_not_come_back_is_refused: |store|
                crate::cases::what_could_not_come_back_is_refused(&store.0).await;
            under_what_is_no_key_there_is_nothing: |store|
                crate::cases::under_what_is_no_key_there_is_nothing(&store).await;
            parts_are_stored_in_the_order_of_their_calls: |store|
                crate::cases::parts_are_stored_in_the_order_of_their_calls(&store).await;
            an_upload_that_is_given_up_leaves_nothing: |store|
                crate::cases::an_upload_that_is_given_up_leaves_nothing(&store).await;
            a_part_that_nobody_waited_for_spoils_the_upload: |store|
                crate::cases::a_part_that_nobody_waited_for_spoils_the_upload(&store).await;
            every_condition_of_a_read_is_held: |store|
                crate::cases::every_condition_of_a_read_is_held(&store).await;
            ranges_are_those_of_object_store: |store|
                crate::cases::ranges_are_those_of_object_store(&store).await;
            renames_lose_nothing: |store| crate::cases::renames_lose_nothing(&store).await;
            deletes_answer_in_order: |store| crate::cases::deletes_answer_in_order(&store).await;
        );
    };
}

macro_rules! expiring {
    ($module:ident, $backend:ident) => {
        suite!($module, $backend,
            extensions_carry_the_rest: |store|
                crate::cases::extensions_carry_the_rest(&store).await;
        );
    };
}

backend!(memory);
expiring!(expiring_memory, memory);
backend!(fs);
expiring!(expiring_fs, fs);
#[cfg(feature = "s3-url")]
backend!(s3);
#[cfg(feature = "s3-url")]
expiring!(expiring_s3, s3);
backend!(both_ways);
