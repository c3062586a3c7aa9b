//! Conditional changes whose outcome is never told wrong.
//!
//! A service answers that a condition does not hold, and it may have been our own earlier attempt
//! that changed the object: its answer was lost. So every put carries a write id in its metadata,
//! and whoever is refused looks whose object is there.
//!
//! An object that expired is still there for the service. A put if absent then replaces exactly
//! that object, by its ETag. The ETag of equal bytes is equal, so two that replace the same expired
//! object with its own bytes could both succeed; therefore the new object is stored in another form
//! than the old one (in one piece, or as one part), which changes its ETag.

use standfast_core::{Error, ErrorKind, Id128, Result};

use super::Inner;
use super::error::{BACKEND, Failure};
use super::object::{Object, etag_of};
use super::request::Draft;
use crate::key::BlobKey;
use crate::options::Precondition;

/// What a request asks the service to check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Guard {
    Absent,
    /// That what is there is still the object of this ETag, which has expired.
    Expired(String),
    Match(String),
    None,
}

impl Guard {
    pub(super) fn if_match(&self) -> Option<String> {
        match self {
            Self::Expired(etag) | Self::Match(etag) => Some(etag.clone()),
            _ => None,
        }
    }

    pub(super) fn if_none_match(&self) -> Option<String> {
        (*self == Self::Absent).then(|| "*".to_owned())
    }

    /// Whether a body stored in one piece could get the ETag of what it replaces.
    pub(super) fn avoids_one_piece(&self) -> bool {
        matches!(self, Self::Expired(etag) if !etag.contains('-'))
    }
}

/// What became of a conditional change.
#[derive(Debug)]
pub(super) enum Written {
    /// It is there, under this ETag.
    Done(String),
    Exists,
    Mismatch,
    /// The condition on the source of a copy did not hold.
    Source,
}

/// Everything that a conditional change needs to know of itself.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) key: &'a BlobKey,
    pub(super) precondition: &'a Precondition,
    pub(super) write: Id128,
    pub(super) operation: &'static str,
    /// Whether a refusal can be about something else than the key itself.
    pub(super) has_source: bool,
}

impl Inner {
    /// Makes a change with `attempt`, which gets what the service is to check and gives the new
    /// ETag.
    ///
    /// If the process dies before the service took the request, nothing happened; after it,
    /// everything did. Only the caller who cannot look any more does not know which.
    pub(super) async fn change<F>(
        &self,
        change: Change<'_>,
        mut attempt: impl FnMut(Guard) -> F,
    ) -> Result<Written>
    where
        F: Future<Output = Result<String, Failure>> + Send,
    {
        let Change { key, precondition, write, operation, has_source } = change;
        let mut guard = match precondition {
            Precondition::Always => Guard::None,
            Precondition::IfAbsent => Guard::Absent,
            Precondition::IfMatch(version) => match etag_of(version, self.clock.now()) {
                Some(etag) => Guard::Match(etag),
                None => return Ok(Written::Mismatch),
            },
        };
        let (began, mut doubtful) = (self.clock.now(), false);
        // Each round after the first means that somebody changed the object in between.
        for _ in 0..16 {
            let failure = match attempt(guard.clone()).await {
                Ok(etag) => return Ok(Written::Done(etag)),
                Err(failure) => failure,
            };
            doubtful |= failure.doubtful;
            let conditional = guard != Guard::None || has_source;
            let gone = failure.is_missing() && (has_source || guard.if_match().is_some());
            let refused = conditional && (failure.is_refusal() || gone);
            if !refused && !doubtful {
                return Err(failure.error);
            }
            // Our own write may be there already, or what is there may have expired.
            let there = match self.head_object(key).await {
                Ok(there) => there,
                Err(_) if doubtful => return Err(Failure { doubtful, ..failure }.into_changed()),
                Err(error) => return Err(error),
            };
            if let Some(object) = &there
                && object.write == Some(write)
            {
                return Ok(Written::Done(object.etag.clone()));
            }
            let live = there.as_ref().is_some_and(|object| object.meta.is_live(self.clock.now()));
            if doubtful {
                // What is there is not ours, but ours may have been there in between; unless this
                // one was there all the time and stood in its way.
                let stood = there.as_ref().is_some_and(|object| object.is_older_than(began));
                return match precondition {
                    Precondition::IfAbsent if live && stood => Ok(Written::Exists),
                    Precondition::IfMatch(_) if refused && live && stood && !has_source => {
                        Ok(Written::Mismatch)
                    }
                    _ if refused => Err(unknown(operation, key, &failure)),
                    _ => Err(Failure { doubtful, ..failure }.into_changed()),
                };
            }
            match (precondition, there) {
                (Precondition::IfAbsent, Some(_)) if live => return Ok(Written::Exists),
                (Precondition::IfAbsent, Some(expired)) => {
                    let seen = Guard::Expired(expired.etag);
                    if has_source && guard == seen {
                        return Ok(Written::Source);
                    }
                    guard = seen;
                }
                (Precondition::IfAbsent, None) => {
                    if has_source && guard == Guard::Absent {
                        return Ok(Written::Source);
                    }
                    guard = Guard::Absent;
                }
                // Still that version: the source was meant, or another writer that gave up.
                (Precondition::IfMatch(_), Some(object))
                    if live && guard.if_match().as_ref() == Some(&object.etag) =>
                {
                    if has_source {
                        return Ok(Written::Source);
                    }
                }
                (Precondition::IfMatch(_), _) => return Ok(Written::Mismatch),
                (Precondition::Always, _) => return Ok(Written::Source),
            }
        }
        Err(Error::new(ErrorKind::Conflict, BACKEND, operation)
            .with_detail(format!("{key:?} kept changing"))
            .with_retryable(true))
    }

    /// The object under `key`, expired or not.
    pub(super) async fn head_object(&self, key: &BlobKey) -> Result<Option<Object>> {
        let path = self.path(key);
        let sent = self
            .call("blob.head", key.as_str(), |_| self.send(Draft::new("HEAD", &path).checksummed()))
            .await;
        match sent {
            Ok(head) => Object::from_answer(key, self.is_public(key), &head).map(Some),
            Err(failure) if failure.is_missing() => {
                self.bucket_is_there().await?;
                Ok(None)
            }
            Err(failure) => Err(failure.error),
        }
    }
}

fn unknown(operation: &'static str, key: &BlobKey, failure: &Failure) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, BACKEND, operation)
        .with_detail(format!("{key:?}: an answer was lost and somebody else changed it since"))
        .with_source(failure.error.clone())
}
