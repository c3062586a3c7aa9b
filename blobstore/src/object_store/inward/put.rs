//! Storing: what fits into one part goes in one request, everything else in parts.

use ::object_store::{
    Error as TheirError, MultipartUpload, ObjectStore as _, PutMode, PutMultipartOptions,
    PutOptions as TheirPutOptions, UpdateVersion, path::Path,
};
use bytes::{Bytes, BytesMut};
use standfast_core::{Clock as _, Error, ErrorKind, Id128, Result, SystemClock};
use tokio::task::JoinSet;

use super::super::convert::version;
use super::entry::Entry;
use super::{BACKEND, FromObjectStore, MIB, check_lasting, failure, path};
use crate::body::{Body, Pieces};
use crate::checksum::Checksums;
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::options::{Expiry, Precondition, PutOptions};
use crate::outcome::PutOutcome;
use crate::rules::check_sums;

/// The most parts that every service takes.
const MAX_PARTS: u64 = 10_000;

/// How many parts are under way beside the one that is filled.
const AT_ONCE: usize = 4;

/// A put that is under way.
struct Job<'a> {
    key: &'a BlobKey,
    path: Path,
    options: &'a PutOptions,
}

impl FromObjectStore {
    pub(super) async fn put_blob(
        &self,
        key: &BlobKey,
        body: Body,
        options: &PutOptions,
    ) -> Result<PutOutcome> {
        options.check()?;
        check_lasting(options.visibility, options.expiry != Expiry::Never)?;
        self.check_condition("blob.put", &options.precondition)?;
        let job = Job { key, path: path(key)?, options };
        let with_sha256 = options.sha256.is_some();
        let held = options.precondition != Precondition::Always;
        if let Body::Bytes(bytes) = body {
            let mut sums = Checksums::new(with_sha256);
            sums.update(&bytes);
            return self.put_whole(&job, bytes, &sums).await;
        }
        let pieces = body.into_pieces().await?;
        let too_long = || Self::refuse("blob.put", "preconditions for blobs as long as this one");
        if held && pieces.len().is_some_and(|len| len > self.conditional_len as u64) {
            return Err(too_long());
        }
        let size = if held { self.conditional_len } else { self.part_size_of(pieces.len()) };
        let sums = Checksums::new(with_sha256);
        let mut parts = Parts { pieces, rest: Bytes::new(), sums };
        let first = parts.next(size).await?;
        match first {
            Part { bytes, last: true } => self.put_whole(&job, bytes, &parts.sums).await,
            _ if held => Err(too_long()),
            first => self.put_parts(&job, first, parts, size).await,
        }
    }

    /// As configured, or so large that they are not too many.
    fn part_size_of(&self, len: Option<u64>) -> usize {
        let needed = len.unwrap_or(0).div_ceil(MAX_PARTS).next_multiple_of(MIB as u64);
        match len {
            Some(len) if len > self.part_size as u64 * MAX_PARTS => {
                usize::try_from(needed).unwrap_or(usize::MAX)
            }
            _ => self.part_size,
        }
    }

    async fn put_whole(&self, job: &Job<'_>, bytes: Bytes, sums: &Checksums) -> Result<PutOutcome> {
        check_sums(BACKEND, sums, job.options)?;
        let (mode, refused) = match &job.options.precondition {
            Precondition::Always => (PutMode::Overwrite, None),
            Precondition::IfAbsent => (PutMode::Create, Some(PutOutcome::Exists)),
            Precondition::IfMatch(version) => {
                // Some services compare ETags, some a version that only a look tells.
                let found = self.look(job.key, "blob.put").await?;
                let Some(seen) = found.filter(|seen| seen.meta.version == *version) else {
                    return Ok(PutOutcome::Mismatch);
                };
                let (e_tag, version) = (seen.object.e_tag, seen.object.version);
                let update = PutMode::Update(UpdateVersion { e_tag, version });
                (update, Some(PutOutcome::Mismatch))
            }
        };
        let entry = Entry::new(Some(sums.crc64()), job.options.sha256);
        let write = entry.write;
        let attributes = entry.beside(&job.options.attributes);
        let options = TheirPutOptions { mode, attributes, ..TheirPutOptions::default() };
        match (self.store.put_opts(&job.path, bytes.into(), options).await, refused) {
            (Ok(put), _) => self.stored(job, put.e_tag, write, sums).await,
            (Err(error), Some(refused)) => self.refused(job, write, error, refused).await,
            (Err(error), None) => Err(failure("blob.put", error)),
        }
    }

    /// What became of a conditional put that ended in `error`. The crate repeats requests whose
    /// answer was lost, and then the first one's own object refuses the second one.
    async fn refused(
        &self,
        job: &Job<'_>,
        write: Option<Id128>,
        error: TheirError,
        refused: PutOutcome,
    ) -> Result<PutOutcome> {
        let is_refusal = matches!(
            error,
            TheirError::AlreadyExists { .. }
                | TheirError::NotFound { .. }
                | TheirError::Precondition { .. }
        );
        let error = failure("blob.put", error);
        if !is_refusal && error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        let unknown = |error: Error| {
            Error::new(ErrorKind::OutcomeUnknown, BACKEND, "blob.put").with_source(error)
        };
        match self.look(job.key, "blob.put").await {
            Ok(Some(seen)) if seen.entry.write == write => {
                Ok(PutOutcome::Stored(Box::new(seen.meta)))
            }
            Ok(_) if is_refusal => Ok(refused),
            Ok(_) => Err(unknown(error)),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Stores a body part by part. Whatever ends it before its end, a drop included, aborts the
    /// upload; if the process dies, its parts are left to the rules of the bucket.
    async fn put_parts(
        &self,
        job: &Job<'_>,
        first: Part,
        mut parts: Parts,
        size: usize,
    ) -> Result<PutOutcome> {
        let entry = Entry::new(job.options.crc64, job.options.sha256);
        let write = entry.write;
        let attributes = entry.beside(&job.options.attributes);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let begun = self.store.put_multipart_opts(&job.path, options).await;
        let mut upload = Begun(Some(begun.map_err(|error| failure("blob.put", error))?));
        let mut flying = JoinSet::new();
        let sent = send_all(&mut upload, &mut flying, first, &mut parts, size).await;
        let sent = sent.and_then(|()| check_sums(BACKEND, &parts.sums, job.options));
        if let Err(error) = sent {
            flying.shutdown().await;
            upload.abort().await;
            return Err(error);
        }
        match upload.parts().complete().await {
            Ok(put) => {
                upload.0 = None;
                self.stored(job, put.e_tag, write, &parts.sums).await
            }
            Err(error) => {
                upload.abort().await;
                Err(failure("blob.put", error))
            }
        }
    }

    /// What is known of a blob that was stored just now: what a look says, unless another one is
    /// there already or the look fails, which makes the put no failure.
    async fn stored(
        &self,
        job: &Job<'_>,
        e_tag: Option<String>,
        write: Option<Id128>,
        sums: &Checksums,
    ) -> Result<PutOutcome> {
        let seen = self.look(job.key, "blob.put").await.ok().flatten();
        let mut meta = match (seen, e_tag) {
            (Some(seen), _) if seen.entry.write == write => seen.meta,
            (_, Some(e_tag)) => {
                let now = SystemClock.now();
                let mut meta = BlobMeta::new(job.key.clone(), sums.len(), version(&e_tag), now);
                meta.sha256 = job.options.sha256;
                meta.attributes = job.options.attributes.clone();
                meta
            }
            (_, None) => return Err(Self::refuse("blob.put", "objects without an ETag")),
        };
        meta.crc64 = Some(sums.crc64());
        Ok(PutOutcome::Stored(Box::new(meta)))
    }
}

async fn send_all(
    upload: &mut Begun,
    flying: &mut JoinSet<Result<(), TheirError>>,
    first: Part,
    parts: &mut Parts,
    size: usize,
) -> Result<()> {
    let mut next = Some(first);
    while let Some(part) = next.take() {
        // A task for each: it goes on while the body is waited for.
        flying.spawn(upload.parts().put_part(part.bytes.into()));
        if part.last {
            break;
        }
        if flying.len() == AT_ONCE {
            landed(flying.join_next().await)?;
        }
        next = Some(parts.next(size).await?);
    }
    while let Some(part) = flying.join_next().await {
        landed(Some(part))?;
    }
    Ok(())
}

fn landed(part: Option<Result<Result<(), TheirError>, tokio::task::JoinError>>) -> Result<()> {
    match part {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(failure("blob.put", error)),
        Some(Err(panic)) => {
            Err(Error::new(ErrorKind::Unexpected, BACKEND, "blob.put").with_source(panic))
        }
    }
}

/// An upload until it is over.
struct Begun(Option<Box<dyn MultipartUpload>>);

impl Begun {
    fn parts(&mut self) -> &mut dyn MultipartUpload {
        // invariant: it is taken by what ends it
        &mut **self.0.as_mut().expect("the upload is not over")
    }

    async fn abort(&mut self) {
        let aborted = self.parts().abort().await;
        // Until it is done, a drop leaves it to a task.
        self.0 = None;
        if let Err(error) = aborted {
            tracing::warn!(%error, "the parts of an upload are left");
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut upload) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if let Err(error) = upload.abort().await {
                        tracing::warn!(%error, "the parts of an upload are left");
                    }
                });
            }
            Err(_) => tracing::warn!("an upload was dropped and not aborted"),
        }
    }
}

struct Part {
    bytes: Bytes,
    /// Whether the body ends with it.
    last: bool,
}

/// Cuts a body into parts.
struct Parts {
    pieces: Pieces,
    /// What was taken and belongs to the next part.
    rest: Bytes,
    /// Of everything so far.
    sums: Checksums,
}

impl Parts {
    /// The next part, of `size` bytes unless it is the last one.
    async fn next(&mut self, size: usize) -> Result<Part> {
        let mut bytes = BytesMut::new();
        loop {
            if self.rest.is_empty() {
                match self.pieces.next().await? {
                    Some(piece) => self.rest = piece,
                    None => return Ok(Part { bytes: bytes.freeze(), last: true }),
                }
            }
            let left = size - bytes.len();
            if left == 0 {
                return Ok(Part { bytes: bytes.freeze(), last: false });
            }
            let piece = self.rest.split_to(left.min(self.rest.len()));
            self.sums.update(&piece);
            bytes.extend_from_slice(&piece);
        }
    }
}
