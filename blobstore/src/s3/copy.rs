//! Copies inside the service: in one request, or part by part where that is too large or must give
//! another ETag.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedPart, MetadataDirective};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use standfast_core::{Error, ErrorKind, Result};

use super::Inner;
use super::error::{BACKEND, Failure};
use super::multipart::Upload;
use super::object::{Entry, Object, etag_of, version};
use super::put::described;
use super::write::{Change, Guard, Written};
use crate::checksum::Crc64;
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::{CopyOptions, Precondition};
use crate::outcome::CopyOutcome;
use crate::rules::copied_meta;

/// The most that one request copies.
const MAX_COPY: u64 = 5 << 30;

/// The size of the parts of a larger copy, which nobody holds in memory: 10,000 make 10 TiB.
const PART: u64 = 1 << 30;

/// How many parts are copied at once.
const AT_ONCE: usize = 16;

/// What is copied, to where.
struct Job<'a> {
    source: &'a Object,
    from: String,
    to: &'a BlobKey,
    meta: &'a BlobMeta,
    entry: &'a Entry,
}

impl Inner {
    pub(super) async fn copy(
        self: &Arc<Self>,
        from: &BlobKey,
        to: &BlobKey,
        options: &CopyOptions,
    ) -> Result<CopyOutcome> {
        options.check()?;
        self.check_condition("blob.copy", &options.precondition)?;
        // Each round after the first means that the original changed while it was looked at.
        for _ in 0..16 {
            let now = self.clock.now();
            let found = self.head_object(from).await?.filter(|object| object.meta.is_live(now));
            let Some(source) = found else { return Ok(CopyOutcome::SourceMissing) };
            if let Some(version) = &options.source
                && etag_of(version, now).as_deref() != Some(&source.etag)
            {
                return Ok(CopyOutcome::SourceMismatch);
            }
            let mut meta = copied_meta(&source.meta, to, options, now)?;
            self.check_visibility(to, meta.visibility)?;
            let entry = Entry { crc64: meta.crc64, ..self.entry(&meta) };
            self.note_expiry(&meta, entry.write).await?;
            // Onto itself, a copy must not bring back what somebody replaced while it was copying.
            let onto_itself = from == to && options.precondition == Precondition::Always;
            let precondition = match &options.precondition {
                Precondition::Always if onto_itself && self.config.features.conditional_put => {
                    Precondition::IfMatch(source.meta.version.clone())
                }
                precondition => precondition.clone(),
            };
            let change = Change {
                key: to,
                precondition: &precondition,
                write: entry.write,
                operation: "blob.copy",
                has_source: true,
            };
            let from = format!("{}/{}", self.bucket, encode(&self.path(from)));
            let job = &Job { source: &source, from, to, meta: &meta, entry: &entry };
            let copied =
                self.change(change, |guard| async move { self.copy_once(job, guard).await });
            match copied.await? {
                Written::Done(etag) => {
                    meta.version = version(&etag, meta.expires_at);
                    return Ok(CopyOutcome::Stored(Box::new(meta)));
                }
                Written::Exists => return Ok(CopyOutcome::Exists),
                Written::Mismatch if !onto_itself => return Ok(CopyOutcome::Mismatch),
                Written::Mismatch | Written::Source => {}
            }
        }
        Err(Error::new(ErrorKind::Conflict, BACKEND, "blob.copy")
            .with_detail(format!("{from:?} kept changing"))
            .with_retryable(true))
    }

    async fn copy_once(self: &Arc<Self>, job: &Job<'_>, guard: Guard) -> Result<String, Failure> {
        let ignored = guard != Guard::None && !self.config.features.conditional_copy;
        if job.meta.size > MAX_COPY || guard.avoids_one_piece() || ignored {
            return self.copy_parts(job, &guard).await;
        }
        let path = self.path(job.to);
        let copied = self.call_patiently("blob.copy", job.to.as_str(), |_| {
            let request = self
                .client
                .copy_object()
                .bucket(&self.bucket)
                .key(&path)
                .copy_source(&job.from)
                .copy_source_if_match(&job.source.etag)
                .metadata_directive(MetadataDirective::Replace)
                .set_if_match(guard.if_match())
                .set_if_none_match(guard.if_none_match());
            described!(request, &job.meta.attributes, job.entry).send()
        });
        let result = copied.await?.copy_object_result;
        Ok(result.and_then(|result| result.e_tag).unwrap_or_default())
    }

    async fn copy_parts(self: &Arc<Self>, job: &Job<'_>, guard: &Guard) -> Result<String, Failure> {
        let upload = Upload::begin(self, job.to, &job.meta.attributes, job.entry, true).await?;
        let size = job.meta.size;
        let parts = if size == 0 {
            upload.part(1, &[], Crc64::of(b"")).await.map(|part| vec![part])
        } else {
            let starts = (0..size).step_by(PART as usize).zip(1..);
            let upload = &upload;
            let copies = starts.map(|(start, number)| async move {
                let range = format!("bytes={start}-{}", size.min(start + PART) - 1);
                self.copy_part(job, upload, number, range).await
            });
            stream::iter(copies).buffered(AT_ONCE).try_collect::<Vec<_>>().await
        };
        let completed = match parts {
            Ok(parts) => upload.complete(&parts, job.meta.crc64, size, guard).await,
            Err(failure) => Err(failure),
        };
        match &completed {
            Ok(_) => upload.done().await,
            Err(_) => upload.abort_quietly().await,
        }
        completed
    }

    async fn copy_part(
        &self,
        job: &Job<'_>,
        upload: &Upload,
        number: i32,
        range: String,
    ) -> Result<CompletedPart, Failure> {
        let path = self.path(job.to);
        let copied = self.call_patiently("blob.copy", job.to.as_str(), |_| {
            self.client
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(&path)
                .set_upload_id(upload.id())
                .part_number(number)
                .copy_source(&job.from)
                .copy_source_if_match(&job.source.etag)
                .copy_source_range(&range)
                .send()
        });
        let result = copied.await?.copy_part_result;
        let (etag, crc64) =
            result.map_or((None, None), |part| (part.e_tag, part.checksum_crc64_nvme));
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(etag)
            .set_checksum_crc64_nvme(crc64)
            .build())
    }
}

/// A path for the header that names the source.
pub(super) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
