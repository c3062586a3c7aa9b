//! How far a replay has come, in a blob that only one process at a time can advance.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use standfast_blobstore::{
    BlobKey, Body, GetOptions, GetOutcome, Precondition, PutOptions, PutOutcome, Version,
};
use standfast_core::{Error, ErrorKind, JobId, Reason, Result};

use super::filter::ReplayFilter;
use super::read::Archive;
use super::replay::Replayed;
use crate::wrap::stored::expiry;

/// The version this library writes, and the only one so far.
const VERSION: u16 = 1;

/// How long a replay can be resumed.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[derive(Debug, Deserialize, Serialize)]
struct Stored {
    v: u16,
    filter: ReplayFilter,
    until: DateTime<Utc>,
    position: Option<Position>,
    counts: Replayed,
    is_finished: bool,
}

/// The message that was sent last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Position {
    at: DateTime<Utc>,
    id: JobId,
}

impl Position {
    pub(super) fn new(at: DateTime<Utc>, id: JobId) -> Self {
        Self { at, id }
    }
}

/// The blob, as this process knows it.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    archive: &'a Archive,
    key: BlobKey,
    version: Version,
    stored: Stored,
}

impl<'a> Cursor<'a> {
    /// Goes on with the replay `name`, or begins it, with everything before `now`.
    pub(super) async fn open(
        archive: &'a Archive,
        name: &str,
        filter: &ReplayFilter,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let key = BlobKey::new(format!("{}/replays/{name}.json", archive.prefix))?;
        let fresh = Stored {
            v: VERSION,
            filter: filter.clone(),
            until: filter.until.map_or(now, |until| until.min(now)),
            position: None,
            counts: Replayed::default(),
            is_finished: false,
        };
        let put = put(archive, &key, &fresh, Precondition::IfAbsent).await?;
        if let PutOutcome::Stored(meta) = put {
            return Ok(Self { archive, key, version: meta.version, stored: fresh });
        }
        let GetOutcome::Found(blob) = archive.store.get(&key, &GetOptions::default()).await? else {
            return Err(taken(name));
        };
        let version = blob.meta().version.clone();
        let stored = decode(&blob.bytes(1024 * 1024).await?)?;
        if stored.filter != *filter {
            return Err(Error::new(ErrorKind::Invalid, "archive", "archive.replay")
                .with_detail(format!("the replay {name:?} was begun with another filter")));
        }
        Ok(Self { archive, key, version, stored })
    }

    pub(super) fn until(&self) -> DateTime<Utc> {
        self.stored.until
    }

    pub(super) fn counts(&self) -> &Replayed {
        &self.stored.counts
    }

    pub(super) fn is_finished(&self) -> bool {
        self.stored.is_finished
    }

    /// Whether a message was sent by an earlier run.
    pub(super) fn has_passed(&self, position: Position) -> bool {
        self.stored.position.is_some_and(|last| position <= last)
    }

    /// Remembers what was sent.
    ///
    /// Dies before it: what was sent since the last time is sent again, with the same ids.
    pub(super) async fn advance(
        &mut self,
        position: Option<Position>,
        counts: &Replayed,
        is_finished: bool,
    ) -> Result<()> {
        self.stored.position = position.or(self.stored.position);
        self.stored.counts = counts.clone();
        self.stored.is_finished = is_finished;
        let only = Precondition::IfMatch(self.version.clone());
        match put(self.archive, &self.key, &self.stored, only).await? {
            PutOutcome::Stored(meta) => {
                self.version = meta.version;
                Ok(())
            }
            _ => Err(taken(self.key.as_str())),
        }
    }
}

async fn put(
    archive: &Archive,
    key: &BlobKey,
    stored: &Stored,
    precondition: Precondition,
) -> Result<PutOutcome> {
    // invariant: times, numbers and text are JSON
    let json = serde_json::to_vec(stored).expect("a cursor is JSON");
    let options =
        PutOptions::default().with_expiry(expiry(Some(KEPT_FOR))).with_precondition(precondition);
    archive.store.put(key, Body::from(json), &options).await
}

fn decode(json: &[u8]) -> Result<Stored> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u16,
    }
    let unreadable = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, "archive", "archive.replay")
            .with_detail("the cursor of the replay cannot be read")
            .with_source(error)
    };
    let Versioned { v } = serde_json::from_slice(json).map_err(unreadable)?;
    if v > VERSION {
        return Err(Error::new(ErrorKind::Unsupported, "archive", "archive.replay")
            .with_reason(Reason::NewerVersion)
            .with_detail(format!("a cursor of version {v}, this library reads {VERSION}")));
    }
    serde_json::from_slice(json).map_err(unreadable)
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::Conflict, "archive", "archive.replay")
        .with_detail(format!("somebody else works on the replay {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_read_and_a_newer_one_refused() {
        let golden = include_bytes!("../../../tests/golden/replay-cursor-v1.json");
        let stored = decode(golden).unwrap();
        assert_eq!(stored.counts.sent, 7);
        assert_eq!(stored.filter.kind.as_deref(), Some("mail"));
        assert!(stored.position.is_some() && !stored.is_finished);
        assert_eq!(serde_json::to_vec(&stored).unwrap(), golden.trim_ascii());
        let newer = decode(br#"{"v":2,"whatever":[]}"#).unwrap_err();
        assert_eq!(newer.reason(), Some(Reason::NewerVersion));
        assert_eq!(decode(b"{}").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
