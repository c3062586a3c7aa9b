//! Collecting what expired.
//!
//! A listing of S3 does not show when objects end, so every put of one that does first notes it
//! under `.standfast/expiry/1/<when>-<write id>`, in the order in which they end. A sweep reads the
//! notes that are due and costs nothing for all that stays.

use chrono::{DateTime, Utc};
use standfast_core::{Id128, Result};

use super::Inner;
use super::call;
use super::list::{Ask, MAX_PAGE};
use super::request::Draft;
use crate::key::BlobKey;
use crate::meta::BlobMeta;
use crate::outcome::Swept;

const NOTES: &str = ".standfast/expiry/1/";

impl Inner {
    /// Notes when a blob that is about to be put ends.
    ///
    /// If the process dies between this and the put, a note is left of a blob that is not there,
    /// and the sweep drops it.
    pub(super) async fn note_expiry(&self, meta: &BlobMeta, write: Id128) -> Result<()> {
        match meta.expires_at {
            Some(at) => self.note(&meta.key, at, write).await,
            None => Ok(()),
        }
    }

    pub(super) async fn note(&self, key: &BlobKey, at: DateTime<Utc>, write: Id128) -> Result<()> {
        // No instant before 1970 is ahead.
        let path = format!("{}{NOTES}{:016x}-{write}", self.prefix, at.timestamp_micros());
        let body = [bytes::Bytes::copy_from_slice(key.as_str().as_bytes())];
        let sent = self.call("blob.put", &path, |progress| {
            self.send(Draft::new("PUT", &path).body(call::body(&body, progress)))
        });
        sent.await.map(drop).map_err(|failure| failure.error)
    }

    /// Deletes what the notes that are due name, if it is still that blob, then the notes.
    ///
    /// If the process dies in between, the note is still there and the next sweep finds the blob
    /// gone. The delete names the ETag that was seen: what was put meanwhile stays, unless it has
    /// the same bytes and came within the one round trip between the look and the delete.
    pub(super) async fn sweep(&self, max: usize) -> Result<Swept> {
        if !self.config.features.conditional_delete {
            return Err(self.unsupported("blob.sweep", "conditional deletes"));
        }
        let mut removed = 0;
        loop {
            let ask = Ask { prefix: NOTES, limit: MAX_PAGE, ..Ask::default() };
            let answer = self.ask("blob.sweep", &ask).await?;
            let mut notes: Vec<_> =
                answer.contents().iter().filter_map(|note| self.relative(note.key()?)).collect();
            notes.sort();
            let now = self.clock.now();
            let mut done = Vec::new();
            let mut complete = true;
            for note in &notes {
                let Some((at, write)) = parse(note) else {
                    tracing::warn!(note, "a sweep skips what is no note");
                    continue;
                };
                if at > now {
                    break;
                }
                if removed == max as u64 {
                    complete = false;
                    break;
                }
                removed += u64::from(self.collect(note, write, now).await?);
                done.push(format!("{}{note}", self.prefix));
            }
            if !done.is_empty() {
                let all: Vec<_> = (0..done.len()).collect();
                self.delete_objects(&done, &all).await?;
            }
            if !complete || done.is_empty() || !answer.is_truncated().unwrap_or(false) {
                return Ok(Swept::new(removed, complete));
            }
        }
    }

    /// Deletes the blob that a note is about, if it has expired and is of that write.
    async fn collect(&self, note: &str, write: Id128, now: DateTime<Utc>) -> Result<bool> {
        let path = format!("{}{note}", self.prefix);
        let sent = self.call("blob.sweep", note, |_| self.send(Draft::new("GET", &path)));
        let body = match sent.await {
            Ok(answer) => answer.body.collect().await.map(|body| body.to_vec()).unwrap_or_default(),
            Err(failure) if failure.is_missing() => return Ok(false),
            Err(failure) => return Err(failure.error),
        };
        let Some(key) = String::from_utf8(body).ok().and_then(|text| BlobKey::new(text).ok())
        else {
            tracing::warn!(note, "a note names no key");
            return Ok(false);
        };
        let found = self.head_object(&key).await?;
        let Some(object) = found.filter(|object| object.write == Some(write)) else {
            return Ok(false);
        };
        if object.meta.is_live(now) {
            return Ok(false);
        }
        match self.delete_object(&self.path(&key), Some(object.etag)).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_refusal() || failure.is_missing() => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }
}

fn parse(note: &str) -> Option<(DateTime<Utc>, Id128)> {
    let (at, write) = note.strip_prefix(NOTES)?.split_once('-')?;
    let at = i64::from_str_radix(at, 16).ok().and_then(DateTime::from_timestamp_micros)?;
    Some((at, write.parse().ok()?))
}
