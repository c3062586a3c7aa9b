use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use standfast_core::{HealthCheck, Result};

use crate::body::Body;
use crate::key::BlobKey;
use crate::list::{ListOptions, Page};
use crate::meta::BlobMeta;
use crate::options::{CopyOptions, DeleteOptions, GetOptions, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::sign::{SignRequest, SignedUrl};

/// A store of blobs, for those who write a backend; callers use [`Blobs`](crate::Blobs).
///
/// # Contract
///
/// 1. A put is atomic: readers and listings see the old blob or the whole new one with all its
///    attributes, whenever the writer fails, is dropped or dies. An upload in progress is nowhere.
/// 2. A put that announced another length, or a checksum that the bytes do not have, changes
///    nothing.
/// 3. A precondition is checked in the same step as the change, for bodies of every form, against
///    all processes that use the store. Of many puts `IfAbsent` on one key exactly one is stored.
/// 4. A put replaces everything: bytes, attributes, visibility and expiry. A put of other bytes
///    gives a new version; whether one of equal bytes does, too, is a capability.
/// 5. A blob is private unless the put says otherwise. What cannot be honoured is refused with
///    `Unsupported`, never ignored; public and expiring together are refused.
/// 6. Expiry is exact for `get`, `head`, `copy`, preconditions and signed URLs: from that instant
///    on, by the store's clock, the blob is missing. Whether listings are as exact is a capability.
/// 7. A read is of one version from its first to its last byte. A full read gives an error instead
///    of its last piece if the bytes do not have their checksum.
/// 8. Listings ascend by the bytes of the keys, without repetition, with every completed write
///    in them. Blobs that are there during a whole listing appear exactly once, whatever is
///    inserted or deleted meanwhile.
/// 9. A delete of what is not there succeeds.
/// 10. Memory stays bounded whatever the length of a body.
///
/// The suite behind the feature `testkit` checks each line.
///
/// # Cancellation
///
/// A future that is dropped leaves everything as it was or has done everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use std::sync::Arc;
/// use standfast_blobstore::{BlobKey, BlobStore, Body, MemoryBlobStore, PutOptions};
///
/// let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new());
/// let key = BlobKey::new("a")?;
/// let outcome = store.put(&key, Body::from("hello"), &PutOptions::default()).await?;
/// assert_eq!(outcome.stored().unwrap().size, 5);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait BlobStore: HealthCheck + Debug + Send + Sync + 'static {
    /// What this store can do, and how much of it.
    fn capabilities(&self) -> BlobCapabilities;

    /// Stores `body` under `key`.
    ///
    /// # Errors
    ///
    /// `Invalid` (with `LengthMismatch` where too few or too many bytes came), `TooLarge`,
    /// `Checksum`, `Unsupported`, `Cancelled` where the body failed, `Unavailable` (with `NoSpace`),
    /// `OutcomeUnknown` where nobody can tell whether it was stored.
    async fn put(&self, key: &BlobKey, body: Body, options: &PutOptions) -> Result<PutOutcome>;

    /// Reads the blob under `key`.
    ///
    /// # Errors
    ///
    /// `Range` for a range behind the end, `Corrupt` for a blob that cannot be read.
    async fn get(&self, key: &BlobKey, options: &GetOptions) -> Result<GetOutcome>;

    /// What is known of the blob under `key`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a blob that cannot be read.
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>>;

    /// One page of keys.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty delimiter, a limit of zero or a token that is none.
    async fn list(&self, options: &ListOptions) -> Result<Page>;

    /// Copies the blob under `from` to `to` inside the store. Onto itself it changes what is kept
    /// beside the bytes.
    ///
    /// # Errors
    ///
    /// As for a put.
    async fn copy(
        &self,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome>;

    /// Deletes the blob under `key`. Never answers [`DeleteOutcome::Failed`].
    ///
    /// # Errors
    ///
    /// `Unavailable` and the like.
    async fn delete(&self, key: &BlobKey, options: &DeleteOptions) -> Result<DeleteOutcome>;

    /// Deletes the blobs under `keys`; one outcome for each, in order.
    ///
    /// # Errors
    ///
    /// `Invalid` with `BatchTooLarge` for more keys than the capabilities say. What goes wrong
    /// with one key is its outcome.
    async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>>;

    /// A URL that grants what `request` says to whoever has it.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the store cannot sign or not under these conditions; `Invalid` for an
    /// expiry outside one second to the capability's longest.
    async fn sign(&self, request: &SignRequest) -> Result<SignedUrl>;

    /// The lasting address of the blob under `key`, if it is there and public.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the store has no addresses.
    async fn public_url(&self, key: &BlobKey) -> Result<Option<String>>;

    /// Frees what expired blobs occupy, up to `max` of them. They were gone already: this changes
    /// nothing that anybody can see. A store that the service cleans answers that it is complete.
    ///
    /// # Errors
    ///
    /// `Unavailable` and the like.
    async fn sweep(&self, max: usize) -> Result<Swept>;
}

/// What a store can do, and how much of it.
///
/// ```
/// use standfast_blobstore::{BlobStore, MemoryBlobStore};
///
/// assert!(MemoryBlobStore::new().capabilities().exact_listing);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlobCapabilities {
    /// Whether keys can have backslashes; where the service would change them, they are refused.
    pub backslash: bool,
    /// Whether preconditions are held; where a service would ignore them, they are refused.
    pub conditional: bool,
    /// Whether a delete can be held to a version; where not, such a delete is refused.
    pub conditional_delete: bool,
    /// The most bytes of one blob.
    pub max_len: u64,
    /// The most entries of a page.
    pub max_page: usize,
    /// The most keys of one `delete_many`.
    pub max_delete_batch: usize,
    /// The longest time a signed URL can hold; `None` where the store cannot sign.
    pub max_sign_for: Option<Duration>,
    /// Whether forms can be signed, with which a browser uploads straight to the service.
    pub sign_form: bool,
    /// Whether a signed put can be held to at most so many bytes, not only to exactly so many.
    pub sign_at_most: bool,
    /// Whether a blob can be public.
    pub public: bool,
    /// Where public blobs are, if not anywhere: all below this prefix, and nothing else.
    pub public_prefix: Option<String>,
    /// Whether listings are as exact as heads: expired blobs are out of them at once, and times
    /// are the same.
    pub exact_listing: bool,
    /// Whether every put gives a version unlike all others. Where not, versions name contents, and
    /// a put of equal bytes may give an equal one.
    pub unique_versions: bool,
    /// Whether a delete knows whether there was a blob.
    pub reports_missing: bool,
    /// Whether the blobs outlive the process.
    pub durable: bool,
    /// Whether blobs can expire; where not, an expiry is refused.
    pub expiry: bool,
}

impl Default for BlobCapabilities {
    fn default() -> Self {
        Self {
            backslash: true,
            conditional: true,
            conditional_delete: true,
            max_len: u64::MAX,
            max_page: 1000,
            max_delete_batch: 1000,
            max_sign_for: None,
            sign_form: false,
            sign_at_most: false,
            public: false,
            public_prefix: None,
            exact_listing: false,
            unique_versions: false,
            reports_missing: false,
            durable: false,
            expiry: true,
        }
    }
}
