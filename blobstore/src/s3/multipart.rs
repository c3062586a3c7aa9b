//! An upload in parts: visible only when it is completed, aborted when it is given up.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::types::{ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::Inner;
use super::call;
use super::copy::encode;
use super::error::{BACKEND, Failure};
use super::object::{Entry, crc64_text};
use super::part::{Filler, Part};
use super::put::described;
use super::request::Draft;
use super::write::Guard;
use crate::checksum::Crc64;
use crate::key::BlobKey;
use crate::meta::Attributes;

/// The most parts of one object.
pub(super) const MAX_PARTS: u64 = 10_000;

/// An upload that was begun. Whoever drops it without an outcome leaves a task that aborts it; if
/// the process dies, its parts lie in the bucket, invisible, until a lifecycle rule or
/// [`S3BlobStore::abort_stale_uploads`](crate::S3BlobStore::abort_stale_uploads) removes them.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<Inner>,
    key: BlobKey,
    /// The object that it will be; a reserved one where the end cannot be conditional.
    path: String,
    /// Whether the end is a conditional copy from there.
    staged: bool,
    /// Whether the parts have been put together there.
    assembled: AtomicBool,
    /// `None` once it is over.
    id: Option<String>,
}

/// Where uploads end that are then copied to where they belong.
pub(super) const STAGED: &str = ".standfast/staged/";

impl Upload {
    /// Begins an upload. If its answer is lost, another one is begun in its stead, and the first
    /// is one of those whose process died. `conditional` says that its end will be.
    pub(super) async fn begin(
        store: &Arc<Inner>,
        key: &BlobKey,
        attributes: &Attributes,
        entry: &Entry,
        conditional: bool,
    ) -> Result<Self, Failure> {
        let features = store.config.features;
        let staged = conditional && !features.conditional_complete && features.conditional_copy;
        let path = match staged {
            true => format!("{}{STAGED}{}", store.prefix, entry.write),
            false => store.path(key),
        };
        let mut begun = Self::begin_at(store, key, path, attributes, entry).await?;
        begun.staged = staged;
        Ok(begun)
    }

    pub(super) async fn begin_at(
        store: &Arc<Inner>,
        key: &BlobKey,
        path: String,
        attributes: &Attributes,
        entry: &Entry,
    ) -> Result<Self, Failure> {
        let begun = store.call("blob.put", key.as_str(), |_| {
            let algorithm = store.parts_algorithm();
            let request = store
                .client
                .create_multipart_upload()
                .bucket(&store.bucket)
                .key(&path)
                .set_checksum_type(algorithm.as_ref().map(|_| ChecksumType::FullObject))
                .set_checksum_algorithm(algorithm);
            described!(request, attributes, entry).send()
        });
        let id = begun.await?.upload_id;
        let assembled = AtomicBool::new(false);
        Ok(Self { store: Arc::clone(store), key: key.clone(), path, staged: false, assembled, id })
    }

    /// Sends `first` and what `filler` gives after it, each part as soon as it is full.
    pub(super) async fn send_all(
        &self,
        first: Part,
        filler: &mut Filler,
        size: usize,
    ) -> Result<Vec<CompletedPart>> {
        let mut sent = Vec::new();
        let mut flying = FuturesUnordered::new();
        let mut next = Some(first);
        let mut number = 0;
        while let Some(part) = next.take() {
            number += 1;
            if number > MAX_PARTS {
                return Err(Error::new(ErrorKind::TooLarge, BACKEND, "blob.put")
                    .with_reason(Reason::BodyTooLarge)
                    .with_detail("over 10,000 parts; announce the length or raise the part size"));
            }
            let last = part.last;
            flying.push(async move {
                // All of it moves in here: its memory counts until it has arrived.
                let part = part;
                self.part(number, &part.chunks, part.crc64).await
            });
            if last {
                break;
            }
            let mut filling = pin!(filler.part(size));
            next = Some(loop {
                if flying.is_empty() {
                    break filling.await?;
                }
                match select(filling, flying.next()).await {
                    Either::Left((filled, _)) => break filled?,
                    Either::Right((arrived, rest)) => {
                        sent.extend(arrived.transpose().map_err(|failure| failure.error)?);
                        filling = rest;
                    }
                }
            });
        }
        while let Some(arrived) = flying.next().await {
            sent.push(arrived.map_err(|failure| failure.error)?);
        }
        sent.sort_by_key(CompletedPart::part_number);
        Ok(sent)
    }

    /// Sends one part, as often as it takes.
    pub(super) async fn part(
        &self,
        number: u64,
        chunks: &[Bytes],
        crc64: Crc64,
    ) -> Result<CompletedPart, Failure> {
        // invariant: there are 10,000 parts at most
        let number = number as i32;
        let store = &*self.store;
        let len: usize = chunks.iter().map(Bytes::len).sum();
        let crc64 = store.config.features.crc64nvme.then(|| crc64_text(crc64));
        let sent = store.call("blob.put", self.key.as_str(), |progress| {
            let request = store
                .client
                .upload_part()
                .bucket(&store.bucket)
                .key(&self.path)
                .set_upload_id(self.id.clone())
                .part_number(number)
                .content_length(len as i64)
                .set_checksum_crc64_nvme(crc64.clone())
                .body(call::body(chunks, progress).into());
            request.customize().disable_payload_signing().send()
        });
        let etag = sent.await?.e_tag;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(etag)
            .set_checksum_crc64_nvme(crc64)
            .build())
    }

    /// Makes the parts the object, in one step; its ETag.
    ///
    /// If that is a copy and the process dies before it, the parts lie under a reserved key, where
    /// [`S3BlobStore::abort_stale_uploads`](crate::S3BlobStore::abort_stale_uploads) finds them.
    pub(super) async fn complete(
        &self,
        parts: &[CompletedPart],
        crc64: Option<Crc64>,
        len: u64,
        guard: &Guard,
    ) -> Result<String, Failure> {
        if !self.staged {
            return self.assemble(parts, crc64, len, guard).await;
        }
        if !self.assembled.load(Ordering::Relaxed) {
            if let Err(failure) = self.assemble(parts, crc64, len, &Guard::None).await
                && !(failure.doubtful && self.is_assembled().await)
            {
                // Nothing has happened to the key itself.
                return Err(Failure { doubtful: false, ..failure });
            }
            self.assembled.store(true, Ordering::Relaxed);
        }
        let (store, path) = (&*self.store, self.store.path(&self.key));
        let copied = store.call_patiently("blob.put", self.key.as_str(), |_| {
            store
                .client
                .copy_object()
                .bucket(&store.bucket)
                .key(&path)
                .copy_source(format!("{}/{}", store.bucket, encode(&self.path)))
                .set_if_match(guard.if_match())
                .set_if_none_match(guard.if_none_match())
                .send()
        });
        let result = copied.await?.copy_object_result;
        Ok(result.and_then(|result| result.e_tag).unwrap_or_default())
    }

    /// Whether the parts are together under the reserved key, which nobody else writes.
    async fn is_assembled(&self) -> bool {
        let store = &*self.store;
        let seen = store
            .call("blob.put", self.key.as_str(), |_| store.send(Draft::new("HEAD", &self.path)));
        seen.await.is_ok()
    }

    async fn assemble(
        &self,
        parts: &[CompletedPart],
        crc64: Option<Crc64>,
        len: u64,
        guard: &Guard,
    ) -> Result<String, Failure> {
        let store = &*self.store;
        let crc64 = crc64.map(crc64_text).filter(|_| store.config.features.crc64nvme);
        let checked = store.config.features.crc64nvme;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let completed = store.call_patiently("blob.put", self.key.as_str(), |_| {
            store
                .client
                .complete_multipart_upload()
                .bucket(&store.bucket)
                .key(&self.path)
                .set_upload_id(self.id.clone())
                .multipart_upload(parts.clone())
                .set_checksum_type(checked.then_some(ChecksumType::FullObject))
                .set_checksum_crc64_nvme(crc64.clone())
                .set_mpu_object_size(checked.then(|| i64::try_from(len).unwrap_or(i64::MAX)))
                .set_if_match(guard.if_match())
                .set_if_none_match(guard.if_none_match())
                .send()
        });
        Ok(completed.await?.e_tag.unwrap_or_default())
    }

    pub(super) fn id(&self) -> Option<String> {
        self.id.clone()
    }

    /// The object is there. What it was copied from goes.
    pub(super) async fn done(mut self) {
        if self.staged {
            return self.abort_quietly().await;
        }
        self.id = None;
    }

    /// Gives it up because of `error`, which is what the caller learns.
    pub(super) async fn abort(self, error: Error) -> Error {
        self.abort_quietly().await;
        error
    }

    /// Gives it up.
    pub(super) async fn abort_quietly(mut self) {
        if let Some(id) = &self.id {
            // Until it is done, a drop leaves it to a task.
            self.store.abort_upload(&self.path, id, self.staged).await;
            self.id = None;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (store, path) = (Arc::clone(&self.store), std::mem::take(&mut self.path));
        let staged = self.staged;
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { store.abort_upload(&path, &id, staged).await });
            }
            Err(_) => tracing::warn!(key = %self.key, "an upload was dropped and not aborted"),
        }
    }
}

impl Inner {
    /// Frees the parts of an upload, and what they became if that was not yet the blob. If that
    /// fails, they wait for somebody to look for stale uploads, or a lifecycle rule.
    pub(super) async fn abort_upload(&self, path: &str, id: &str, staged: bool) {
        if staged && let Err(failure) = self.delete_object(path, None).await {
            tracing::warn!(key = path, error = %failure.error, "a staged upload is left");
        }
        let aborted = self.call("blob.abort", path, |_| {
            self.client.abort_multipart_upload().bucket(&self.bucket).key(path).upload_id(id).send()
        });
        if let Err(failure) = aborted.await
            && failure.status != 404
        {
            tracing::warn!(key = path, error = %failure.error, "the parts of an upload are left");
        }
    }
}
