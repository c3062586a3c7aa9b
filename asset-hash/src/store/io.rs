//! Single requests to the store, each repeated while that may help.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use standfast_blobstore::{
    Attributes, BlobEntry, BlobKey, BlobMeta, BlobStore, Body, DeleteOptions, DeleteOutcome,
    GetOptions, GetOutcome, ListOptions, Precondition, PutOptions, PutOutcome, Version,
};
use standfast_core::{Backoff, Clock, Error, ErrorKind, Result};

use super::failed;

/// The store, and the clock that waits between attempts.
#[derive(Clone, Debug)]
pub(super) struct Io {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A small object.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Bytes,
    pub(super) version: Version,
}

const ATTEMPTS: u32 = 5;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// Markers are the largest: some 150 bytes a file.
const LARGEST: u64 = 256 << 20;

impl Io {
    /// Does `request` again while its error says that this may help. Every request here can be
    /// repeated: one whose answer was lost fails its condition the second time, and whoever sent it
    /// reads again what is there.
    pub(super) async fn again<T, F>(&self, request: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let mut attempt = 1;
        loop {
            let error = match request().await {
                Err(error) if may_help(&error) && attempt < ATTEMPTS => error,
                done => return done,
            };
            let wait = error.retry_after().unwrap_or_else(|| BACKOFF.next(attempt));
            tracing::debug!(%error, attempt, ?wait, "a request is repeated");
            self.clock.sleep(wait).await;
            attempt += 1;
        }
    }

    pub(super) async fn get(&self, key: &BlobKey) -> Result<Option<Text>> {
        self.again(|| async move {
            let GetOutcome::Found(blob) = self.store.get(key, &GetOptions::default()).await? else {
                return Ok(None);
            };
            let version = blob.meta().version.clone();
            Ok(Some(Text { bytes: blob.bytes(LARGEST).await?, version }))
        })
        .await
    }

    /// Stores a small object for instances and people to read; `None` if the condition did not
    /// hold.
    pub(super) async fn put(
        &self,
        key: BlobKey,
        text: impl Into<Bytes>,
        precondition: Precondition,
    ) -> Result<Option<BlobMeta>> {
        let media =
            if key.as_str().ends_with(".json") || key.as_str().starts_with(super::names::SETS) {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
        let attributes =
            Attributes::default().with_content_type(media).with_cache_control("no-cache");
        let options =
            PutOptions::default().with_attributes(attributes).with_precondition(precondition);
        let (key, text, options) = (&key, text.into(), &options);
        let outcome = self
            .again(|| {
                let body = Body::from(text.clone());
                async move { self.store.put(key, body, options).await }
            })
            .await?;
        match outcome {
            PutOutcome::Stored(meta) => Ok(Some(*meta)),
            _ => Ok(None),
        }
    }

    /// Everything whose key begins with `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>> {
        Ok(self.pages(ListOptions::prefix(prefix)).await?.0)
    }

    /// What stands before the first slash of the keys.
    pub(super) async fn folders(&self) -> Result<Vec<String>> {
        Ok(self.pages(ListOptions::all().with_delimiter("/")).await?.1)
    }

    async fn pages(&self, mut options: ListOptions) -> Result<(Vec<BlobEntry>, Vec<String>)> {
        let (mut blobs, mut prefixes) = (Vec::new(), Vec::new());
        loop {
            let asked = &options;
            let page = self.again(|| async move { self.store.list(asked).await }).await?;
            blobs.extend(page.blobs);
            prefixes.extend(page.prefixes);
            let Some(token) = page.next else { return Ok((blobs, prefixes)) };
            options = options.with_token(token);
        }
    }

    /// Deletes the object if it is of this version; whether it is gone or is another one now.
    pub(super) async fn delete(&self, key: &BlobKey, version: &Version) -> Result<()> {
        let options = &DeleteOptions::default().with_if_match(version.clone());
        match self.again(|| async move { self.store.delete(key, options).await }).await? {
            DeleteOutcome::Failed(error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn may_help(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown
}

/// What keeps being changed by others.
pub(super) fn contended(what: &str) -> Error {
    failed(ErrorKind::Conflict, "write", format!("others kept changing {what}"))
        .with_retryable(true)
}
