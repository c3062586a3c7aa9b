//! Finding out what a service really does, by asking it to do what it must refuse.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedPart, MetadataDirective};
use bytes::Bytes;
use futures_util::future::join_all;
use standfast_core::{Id128, Result};

use super::copy::encode;
use super::error::Failure;
use super::features::S3Features;
use super::list::Ask;
use super::multipart::Upload;
use super::object::{Ends, Entry, crc64_text};
use super::request::Draft;
use super::write::Guard;
use super::{Inner, S3BlobStore};
use crate::checksum::Crc64;
use crate::key::BlobKey;
use crate::meta::Attributes;

const BODY: &[u8] = b"probe";
const PROBES: &str = ".standfast/probe/";

/// An ETag that no object has.
const NOBODY: &str = "\"00000000000000000000000000000000\"";

impl S3BlobStore {
    /// Asks the service to do what it must refuse, and keeps to itself what it did: some services
    /// take conditions and ignore them. Writes below `.standfast/probe/` and cleans up; if the
    /// process dies meanwhile, a few small objects are left there.
    ///
    /// # Errors
    ///
    /// `Denied`, `NotFound` (no such bucket), `Unavailable` and the like.
    pub async fn probe(&self) -> Result<S3Features> {
        let mut config = self.inner.config.clone();
        config.features = S3Features::AWS;
        let inner = Arc::new(Inner { config, ..(*self.inner).clone() });
        let probe = Probe { path: format!("{}{PROBES}{}/", inner.prefix, Id128::random()), inner };
        let found = probe.run().await;
        let cleaned = probe.clean().await;
        let told = self.inner.config.features;
        let found =
            S3Features { closed_forms: told.closed_forms, post_policy: told.post_policy, ..found? };
        cleaned?;
        tracing::info!(bucket = self.inner.bucket, ?found, "probed the S3 service");
        Ok(found)
    }
}

/// Keys that some services list in another order than that of their bytes.
const LISTED: &[&str] = &["o/a/b", "o/a", "o/a-", "o/B", "o/é", "o/b\\c"];

/// Keys for which several uploads race.
const RACED: &[&str] = &["r1", "r2", "r3", "r4", "r5", "r6"];

struct Probe {
    inner: Arc<Inner>,
    path: String,
}

/// Whether the service refused what it must refuse. Anything but an answer is an error.
fn refused<T>(outcome: std::result::Result<T, Failure>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(false),
        Err(failure) if failure.status == 412 => Ok(true),
        Err(failure) if matches!(failure.status, 400 | 501) => Ok(false),
        Err(failure) => Err(failure.error),
    }
}

/// Ends an upload, if `guard` holds.
async fn end(
    (upload, part): (Upload, CompletedPart),
    guard: &Guard,
) -> std::result::Result<String, Failure> {
    let sum = Some(Crc64::of(BODY));
    let ended = upload.complete(&[part], sum, BODY.len() as u64, guard).await;
    upload.abort_quietly().await;
    ended
}

impl Probe {
    async fn run(&self) -> Result<S3Features> {
        let etag = self.put("a", &Guard::None, None).await.map_err(|failure| failure.error)?;
        let stale = Guard::Match(NOBODY.to_owned());
        let absent = refused(self.put("a", &Guard::Absent, None).await)?;
        let matches = refused(self.put("a", &stale, None).await)?;
        let right = self.put("a", &Guard::Match(etag), None).await.is_ok();
        let found = S3Features {
            conditional_put: absent && matches && right,
            conditional_complete: self.conditional_complete().await?,
            conditional_copy: self.conditional_copy().await?,
            conditional_delete: self.conditional_delete().await?,
            crc64nvme: self.crc64nvme().await?,
            ..self.listing().await?
        };
        Ok(found)
    }

    async fn put(
        &self,
        name: &str,
        guard: &Guard,
        crc64: Option<Crc64>,
    ) -> std::result::Result<String, Failure> {
        let path = format!("{}{name}", self.path);
        let inner = &self.inner;
        let sent = inner.call("blob.probe", &path, |_| {
            let put = Draft::new("PUT", &path)
                .body(BODY.into())
                .header("if-match", guard.if_match())
                .header("if-none-match", guard.if_none_match())
                .header("x-amz-checksum-crc64nvme", crc64.map(crc64_text));
            inner.send(put)
        });
        Ok(sent.await?.etag())
    }

    /// Whether the end of an upload in parts is refused, and of many at once all but one are.
    async fn conditional_complete(&self) -> Result<bool> {
        for guard in [Guard::Absent, Guard::Match(NOBODY.to_owned())] {
            let ready = self.upload("a").await.map_err(|failure| failure.error)?;
            if !refused(end(ready, &guard).await)? {
                return Ok(false);
            }
        }
        for name in RACED {
            let ready = join_all((0..8).map(|_| self.upload(name))).await;
            let ready: Result<Vec<_>, _> = ready.into_iter().collect();
            let ready = ready.map_err(|failure| failure.error)?;
            let ends = join_all(ready.into_iter().map(|one| end(one, &Guard::Absent))).await;
            let mut winners = 0;
            for end in ends {
                winners += u32::from(!refused(end)?);
            }
            if winners != 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An upload with its one part, to be ended.
    async fn upload(&self, name: &str) -> std::result::Result<(Upload, CompletedPart), Failure> {
        let entry = Entry {
            write: Id128::random(),
            at: None,
            ends: Ends::Never,
            crc64: None,
            sha256: None,
            typed: false,
            empty: Vec::new(),
        };
        // The reserved keys are none for callers, so this one is made by hand.
        // invariant: it is one segment of letters
        let key = BlobKey::new("probe").expect("a key");
        let path = format!("{}{name}", self.path);
        let attributes = Attributes::default();
        let upload = Upload::begin_at(&self.inner, &key, path, &attributes, &entry).await?;
        let part = upload.part(1, &[Bytes::from_static(BODY)], Crc64::of(BODY)).await?;
        Ok((upload, part))
    }

    async fn conditional_copy(&self) -> Result<bool> {
        let path = format!("{}a", self.path);
        let inner = &self.inner;
        let sent = inner.call("blob.probe", &path, |_| {
            inner
                .client
                .copy_object()
                .bucket(&inner.bucket)
                .key(&path)
                .copy_source(format!("{}/{}", inner.bucket, encode(&path)))
                .metadata_directive(MetadataDirective::Replace)
                .if_none_match("*")
                .send()
        });
        refused(sent.await)
    }

    async fn conditional_delete(&self) -> Result<bool> {
        self.put("d", &Guard::None, None).await.map_err(|failure| failure.error)?;
        let path = format!("{}d", self.path);
        refused(self.inner.delete_object(&path, Some(NOBODY.to_owned())).await)
    }

    /// Whether a wrong checksum is refused, and the one of an upload in parts is kept.
    async fn crc64nvme(&self) -> Result<bool> {
        let wrong = self.put("c", &Guard::None, Some(Crc64::of(b"another"))).await;
        match wrong {
            Err(failure) if failure.status == 400 => {}
            Err(failure) if failure.status != 501 => return Err(failure.error),
            _ => return Ok(false),
        }
        let right = Crc64::of(BODY);
        if self.put("c", &Guard::None, Some(right)).await.is_err() {
            return Ok(false);
        }
        let path = format!("{}c", self.path);
        let inner = &self.inner;
        let sent = inner
            .call("blob.probe", &path, |_| inner.send(Draft::new("HEAD", &path).checksummed()));
        let head = sent.await.map_err(|failure| failure.error)?;
        Ok(head.headers.get("x-amz-checksum-crc64nvme") == Some(&*crc64_text(right)))
    }

    /// What becomes of keys, and of their order.
    async fn listing(&self) -> Result<S3Features> {
        for name in LISTED {
            self.put(name, &Guard::None, None).await.map_err(|failure| failure.error)?;
        }
        let prefix = format!("{}o/", &self.path[self.inner.prefix.len()..]);
        let ask = Ask { prefix: &prefix, limit: 10, ..Ask::default() };
        let answer = self.inner.ask("blob.probe", &ask).await?;
        let names: Vec<_> =
            answer.contents().iter().filter_map(|it| self.inner.relative(it.key()?)).collect();
        let backslash = names.iter().any(|name| name.ends_with("b\\c"));
        let ordered_listing = names.len() == LISTED.len() && names.is_sorted();
        Ok(S3Features { backslash, ordered_listing, ..S3Features::PLAIN })
    }

    async fn clean(&self) -> Result<()> {
        for name in ["a", "c", "d"].iter().chain(LISTED).chain(RACED) {
            let gone = self.inner.delete_object(&format!("{}{name}", self.path), None).await;
            match gone {
                Err(failure) if !failure.is_missing() => return Err(failure.error),
                _ => {}
            }
        }
        Ok(())
    }
}
