//! The suite that every backend runs, and what it takes to run it.
//!
//! A backend's test file names a harness and stamps one test for each case:
//!
//! ```text
//! standfast_blobstore::blob_conformance!(memory, super::support::memory());
//! ```
//!
//! A case never skips: where backends differ, the store's capabilities say how, and the case
//! asserts that form.

#![allow(clippy::unwrap_used, reason = "a case is a test: it fails by panicking")]

mod harness;

pub mod change;
pub mod conditional;
pub mod expiry;
pub mod form;
pub mod keys;
pub mod list;
pub mod put;
pub mod read;
pub mod signed;
pub mod visibility;

pub use harness::{BlobHarness, serve};
pub(crate) use harness::{error, key, keys_of, read, seed, slow};

/// Stamps one test for each case of the suite, in a module of the given name. The expression makes
/// a [`BlobHarness`]; it is evaluated for each case.
#[macro_export]
macro_rules! blob_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            $crate::blob_cases!($crate::blob_test, $harness);
        }
    };
}

/// Stamps one case as a test.
#[doc(hidden)]
#[macro_export]
macro_rules! blob_test {
    ($topic:ident, $case:ident, $harness:expr) => {
        #[tokio::test]
        async fn $case() {
            let harness = $harness;
            $crate::testkit::$topic::$case(&harness).await;
        }
    };
}

/// The list of all cases: calls the macro named first once for each.
#[doc(hidden)]
#[macro_export]
macro_rules! blob_cases {
    ($($stamp:ident)::+, $harness:expr) => { $crate::blob_cases!(($($stamp)::+) $harness;
        put::what_was_put_is_read_back_with_its_attributes
        put::a_put_replaces_everything
        put::every_put_gives_a_new_version
        put::an_empty_blob_is_a_blob
        put::bodies_of_every_form_are_stored_alike
        put::a_long_stream_of_unknown_length_is_stored_whole
        put::a_body_of_the_wrong_length_changes_nothing
        put::a_body_that_fails_changes_nothing
        put::an_upload_in_progress_is_nowhere
        put::a_dropped_upload_changes_nothing
        put::a_wrong_checksum_changes_nothing
        put::checksums_are_kept
        put::attributes_that_no_header_carries_are_refused
        put::the_longest_attributes_are_kept
        put::of_concurrent_puts_one_is_there_whole
        conditional::if_absent_stores_once
        conditional::if_absent_holds_for_bodies_of_every_form
        conditional::of_many_puts_if_absent_one_is_stored
        conditional::if_match_replaces_that_version_only
        conditional::if_match_of_nothing_is_a_mismatch
        conditional::a_counter_by_if_match_loses_no_increment
        conditional::a_version_never_comes_back
        read::a_range_gives_exactly_its_bytes
        read::a_range_behind_the_end_is_refused
        read::what_is_not_there_is_missing
        read::the_version_one_has_is_not_modified
        read::another_version_is_a_mismatch
        read::a_reader_keeps_its_version_while_the_blob_is_replaced
        read::a_blob_is_saved_as_a_file_whole_or_not_at_all
        list::keys_come_in_the_order_of_their_bytes
        list::pages_of_every_size_make_the_same_listing
        list::a_prefix_is_text_and_no_directory
        list::a_delimiter_shows_what_keys_have_in_common
        list::a_listing_starts_behind_a_key_that_need_not_exist
        list::a_listing_is_not_disturbed_by_changes_behind_its_cursor
        list::a_prefix_without_blobs_is_not_shown
        list::an_impossible_listing_is_refused
        list::entries_say_what_is_there
        list::listings_agree_with_a_model
        change::a_deleted_blob_is_gone_and_deleting_again_succeeds
        change::a_delete_if_match_spares_other_versions
        change::each_key_of_a_batch_has_its_outcome
        change::a_copy_keeps_everything_but_key_and_version
        change::a_copy_takes_new_attributes_whole
        change::a_copy_lives_apart_from_its_original
        change::a_copy_holds_its_conditions
        change::a_copy_onto_itself_changes_its_attributes
        expiry::a_blob_is_gone_at_its_instant_and_not_before
        expiry::an_expired_blob_is_absent_for_preconditions
        expiry::of_many_puts_over_an_expired_blob_one_is_stored
        expiry::a_new_blob_does_not_inherit_an_expiry
        expiry::an_expiry_that_is_not_ahead_is_refused
        expiry::a_sweep_removes_what_expired_and_nothing_else
        expiry::a_promoted_blob_stays
        keys::strange_keys_are_kept_byte_for_byte
        keys::keys_that_look_alike_are_different
        keys::a_key_and_the_keys_below_it_live_together
        keys::long_segments_do_not_collide
        signed::a_signed_url_reads_a_private_blob
        signed::a_forged_url_is_refused
        signed::a_signed_url_is_good_for_one_method_and_key
        signed::a_signed_url_ends_with_its_time
        signed::a_signed_url_ends_with_its_blob
        signed::a_signed_url_of_nothing_is_not_found
        signed::ranges_and_conditions_are_answered_as_http_says
        signed::a_signed_url_names_type_and_file
        signed::a_signed_upload_is_stored_as_signed
        signed::an_upload_is_held_to_what_was_signed
        signed::an_upload_is_held_to_its_greatest_length
        signed::a_one_time_upload_works_once
        signed::a_signed_delete_deletes
        signed::strange_keys_can_be_signed
        signed::what_cannot_be_signed_is_refused
        form::a_form_stores_a_file_as_signed
        form::a_form_is_held_to_what_was_signed
        form::a_form_ends_with_its_time
        visibility::a_blob_is_private_unless_said_otherwise
        visibility::a_public_blob_is_read_without_a_token
        visibility::a_public_blob_does_not_expire
    );};
    (($($stamp:ident)::+) $harness:expr; $($topic:ident :: $case:ident)*) => {
        $crate::blob_cases!(@each [$($stamp)::+] $harness; $($topic :: $case)*);
    };
    (@each [$($stamp:ident)::+] $harness:expr; ) => {};
    (@each [$($stamp:ident)::+] $harness:expr; $topic:ident :: $case:ident $($rest:tt)*) => {
        $($stamp)::+!($topic, $case, $harness);
        $crate::blob_cases!(@each [$($stamp)::+] $harness; $($rest)*);
    };
}
