//! Storing: what fits into one part goes in one request, everything else in parts.

use std::sync::Arc;

use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::Bytes;
use standfast_core::{Error, ErrorKind, Id128, Reason, Result, random};

use super::Inner;
use super::call;
use super::error::{BACKEND, Failure};
use super::multipart::{MAX_PARTS, Upload};
use super::object::{Ends, Entry, crc64_text, etag_of, sha256_text, version};
use super::part::{Filler, Part};
use super::request::Draft;
use super::write::{Change, Guard, Written};
use crate::body::Body;
use crate::checksum::Checksums;
use crate::key::BlobKey;
use crate::meta::{Attributes, BlobMeta};
use crate::options::{Precondition, PutOptions};
use crate::outcome::PutOutcome;
use crate::rules::{check_sums, new_meta};

const MIB: u64 = 1 << 20;

/// Sets on a request of any kind, one of the SDK or a [`Draft`], what is kept beside the bytes.
macro_rules! described {
    ($builder:expr, $attributes:expr, $entry:expr) => {{
        let attributes: &$crate::meta::Attributes = $attributes;
        let entry: &$crate::s3::object::Entry = $entry;
        let mut builder = $builder
            .set_cache_control(attributes.cache_control.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .content_type(attributes.content_type.as_deref().unwrap_or($crate::s3::object::NO_TYPE))
            .metadata($crate::s3::object::ENTRY, entry.encode());
        let valued = attributes.metadata.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in valued {
            builder = builder.metadata(name, value);
        }
        builder
    }};
}
pub(super) use described;

impl Inner {
    pub(super) async fn put(
        self: &Arc<Self>,
        key: &BlobKey,
        body: Body,
        options: &PutOptions,
    ) -> Result<PutOutcome> {
        options.check()?;
        self.check_visibility(key, options.visibility)?;
        self.check_condition("blob.put", &options.precondition)?;
        options.expiry.resolve(self.clock.now())?;
        let in_memory = matches!(body, Body::Bytes(_));
        let pieces = body.into_pieces().await?;
        let size = self.part_size(pieces.len(), &options.precondition)?;
        let mut filler = Filler::new(&self.budget, pieces, in_memory, options.sha256.is_some());
        let first = filler.part(size).await?;
        if first.last {
            self.put_whole(key, first, &filler.sums, options).await
        } else {
            self.put_parts(key, first, filler, size, options).await
        }
    }

    /// How large the parts of a body are: as configured, or so that 10,000 are enough.
    fn part_size(&self, len: Option<u64>, precondition: &Precondition) -> Result<usize> {
        let configured = self.config.part_size as u64;
        let needed = len.unwrap_or(0).div_ceil(MAX_PARTS).next_multiple_of(MIB);
        if needed > self.config.upload_memory as u64 {
            return Err(Error::new(ErrorKind::TooLarge, BACKEND, "blob.put")
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("needs parts of {needed} bytes; raise the upload memory")));
        }
        let mut size = configured.max(needed);
        // Parts cut elsewhere give equal bytes another ETag; see `write`.
        if *precondition == Precondition::IfAbsent && needed <= configured {
            let jitter = u64::from(u16::from_le_bytes(random::bytes())) % 2048 * 1024;
            size = (size - jitter.min(size)).max(5 * MIB);
        }
        // invariant: no more than the upload memory, which is a usize
        Ok(size as usize)
    }

    /// Stores a body that is in memory as a whole.
    async fn put_whole(
        self: &Arc<Self>,
        key: &BlobKey,
        part: Part,
        sums: &Checksums,
        options: &PutOptions,
    ) -> Result<PutOutcome> {
        check_sums(BACKEND, sums, options)?;
        let mut meta = new_meta(key, sums, options, self.clock.now())?;
        let entry = Entry { crc64: meta.crc64, ..self.entry(&meta) };
        self.note_expiry(&meta, entry.write).await?;
        let change = Change {
            key,
            precondition: &options.precondition,
            write: entry.write,
            operation: "blob.put",
            has_source: false,
        };
        let (part, entry) = (&part, &entry);
        let written = self
            .change(change, |guard| async move {
                if guard.avoids_one_piece() {
                    self.put_as_part(key, part, &options.attributes, entry, &guard).await
                } else {
                    self.put_object(key, &part.chunks, sums, options, entry, &guard).await
                }
            })
            .await?;
        outcome(written, &mut meta)
    }

    async fn put_object(
        &self,
        key: &BlobKey,
        chunks: &[Bytes],
        sums: &Checksums,
        options: &PutOptions,
        entry: &Entry,
        guard: &Guard,
    ) -> Result<String, Failure> {
        let path = self.path(key);
        // One checksum at most may be sent: the one that the caller knows, if there is one.
        let sha256 = options.sha256.map(sha256_text);
        let crc64 =
            (sha256.is_none() && self.config.features.crc64nvme).then(|| crc64_text(sums.crc64()));
        let put = self.call("blob.put", key.as_str(), |progress| {
            let put = Draft::new("PUT", &path)
                .body(call::body(chunks, progress))
                .header("x-amz-checksum-sha256", sha256.clone())
                .header("x-amz-checksum-crc64nvme", crc64.clone())
                .header("if-match", guard.if_match())
                .header("if-none-match", guard.if_none_match());
            self.send(described!(put, &options.attributes, entry))
        });
        Ok(put.await?.etag())
    }

    /// Stores a body as an upload of one part, which gives it another ETag than in one piece.
    async fn put_as_part(
        self: &Arc<Self>,
        key: &BlobKey,
        part: &Part,
        attributes: &Attributes,
        entry: &Entry,
        guard: &Guard,
    ) -> Result<String, Failure> {
        let upload = Upload::begin(self, key, attributes, entry, true).await?;
        let sent = upload.part(1, &part.chunks, part.crc64).await?;
        let completed = upload.complete(&[sent], Some(part.crc64), part.len, guard).await;
        match &completed {
            Ok(_) => upload.done().await,
            Err(_) => upload.abort_quietly().await,
        }
        completed
    }

    /// Uploads part by part, as many at once as the memory holds.
    ///
    /// If the process dies in between, nothing is visible, and the parts lie in the bucket until a
    /// lifecycle rule or a sweep removes them.
    async fn put_parts(
        self: &Arc<Self>,
        key: &BlobKey,
        first: Part,
        mut filler: Filler,
        size: usize,
        options: &PutOptions,
    ) -> Result<PutOutcome> {
        if let Some(refused) = self.refused_early(key, &options.precondition).await? {
            return Ok(refused);
        }
        let mut meta = new_meta(key, &filler.sums, options, self.clock.now())?;
        let entry = Entry { crc64: options.crc64, ..self.entry(&meta) };
        let conditional = options.precondition != Precondition::Always;
        let upload = Upload::begin(self, key, &options.attributes, &entry, conditional).await;
        let upload = upload.map_err(|failure| failure.error)?;
        let parts = match upload.send_all(first, &mut filler, size).await {
            Ok(parts) => parts,
            Err(error) => return Err(upload.abort(error).await),
        };
        let sums = &filler.sums;
        if let Err(error) = check_sums(BACKEND, sums, options) {
            return Err(upload.abort(error).await);
        }
        if !meta.is_live(self.clock.now()) {
            let error = Error::new(ErrorKind::Invalid, BACKEND, "blob.put")
                .with_detail(format!("{key:?} expired while it was uploaded"));
            return Err(upload.abort(error).await);
        }
        if let Err(error) = self.note_expiry(&meta, entry.write).await {
            return Err(upload.abort(error).await);
        }
        let change = Change {
            key,
            precondition: &options.precondition,
            write: entry.write,
            operation: "blob.put",
            has_source: false,
        };
        let (upload_ref, parts) = (&upload, &parts);
        let written = self
            .change(change, |guard| async move {
                upload_ref.complete(parts, Some(sums.crc64()), sums.len(), &guard).await
            })
            .await;
        meta.size = sums.len();
        let kept = entry.crc64.is_some() || self.config.features.crc64nvme;
        meta.crc64 = kept.then(|| sums.crc64());
        match written {
            Ok(Written::Done(etag)) => {
                upload.done().await;
                outcome(Written::Done(etag), &mut meta)
            }
            Ok(refused) => {
                upload.abort_quietly().await;
                outcome(refused, &mut meta)
            }
            Err(error) => Err(upload.abort(error).await),
        }
    }

    /// Spares an upload that could only be refused.
    async fn refused_early(
        &self,
        key: &BlobKey,
        precondition: &Precondition,
    ) -> Result<Option<PutOutcome>> {
        if *precondition == Precondition::Always {
            return Ok(None);
        }
        let now = self.clock.now();
        let live = self.head_object(key).await?.filter(|object| object.meta.is_live(now));
        Ok(match (precondition, live) {
            (Precondition::IfAbsent, Some(_)) => Some(PutOutcome::Exists),
            (Precondition::IfMatch(_), None) => Some(PutOutcome::Mismatch),
            (Precondition::IfMatch(version), Some(object))
                if etag_of(version, now).as_deref() != Some(&object.etag) =>
            {
                Some(PutOutcome::Mismatch)
            }
            _ => None,
        })
    }

    /// Our entry for a blob that is put now.
    pub(super) fn entry(&self, meta: &BlobMeta) -> Entry {
        Entry {
            write: Id128::random(),
            at: Some(meta.modified_at),
            ends: meta.expires_at.map_or(Ends::Never, Ends::At),
            crc64: None,
            sha256: meta.sha256,
            typed: meta.attributes.content_type.is_some(),
            empty: empty(&meta.attributes),
        }
    }

    /// The checksum that the service is to compute and keep for an upload in parts.
    pub(super) fn parts_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.config.features.crc64nvme.then_some(ChecksumAlgorithm::Crc64Nvme)
    }
}

/// The names of the metadata without values.
pub(super) fn empty(attributes: &Attributes) -> Vec<String> {
    let empty = attributes.metadata.iter().filter(|(_, value)| value.is_empty());
    empty.map(|(name, _)| name.clone()).collect()
}

fn outcome(written: Written, meta: &mut BlobMeta) -> Result<PutOutcome> {
    Ok(match written {
        Written::Done(etag) => {
            meta.version = version(&etag, meta.expires_at);
            PutOutcome::Stored(Box::new(meta.clone()))
        }
        Written::Exists => PutOutcome::Exists,
        Written::Mismatch | Written::Source => PutOutcome::Mismatch,
    })
}
