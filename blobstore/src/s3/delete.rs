//! Deleting one blob or many.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use standfast_core::{Error, ErrorKind, Result};

use super::Inner;
use super::error::{BACKEND, Failure};
use super::object::etag_of;
use super::request::Draft;
use crate::key::BlobKey;
use crate::options::DeleteOptions;
use crate::outcome::DeleteOutcome;
use crate::rules::check_batch;

/// The most keys of one request.
pub(super) const MAX_BATCH: usize = 1000;

impl Inner {
    /// A repeated delete is as good as one: if an answer was lost, asking again does no harm.
    pub(super) async fn delete(
        &self,
        key: &BlobKey,
        options: &DeleteOptions,
    ) -> Result<DeleteOutcome> {
        let Some(version) = &options.if_match else {
            return match self.delete_object(&self.path(key), None).await {
                Ok(()) => Ok(DeleteOutcome::Deleted),
                Err(failure) if failure.is_missing() => Ok(DeleteOutcome::Missing),
                Err(failure) => Err(failure.error),
            };
        };
        if !self.config.features.conditional_delete {
            return Err(self.unsupported("blob.delete", "conditional deletes"));
        }
        let mut doubtful = false;
        if let Some(etag) = etag_of(version, self.clock.now()) {
            match self.delete_object(&self.path(key), Some(etag)).await {
                Ok(()) => return Ok(DeleteOutcome::Deleted),
                Err(failure) if failure.is_refusal() || failure.is_missing() => {
                    doubtful = failure.doubtful;
                }
                Err(failure) => return Err(failure.into_changed()),
            }
        }
        // Another version, or none that lives; or our own delete, whose answer was lost.
        let now = self.clock.now();
        Ok(match self.head_object(key).await?.filter(|object| object.meta.is_live(now)) {
            Some(_) => DeleteOutcome::Mismatch,
            None if doubtful => DeleteOutcome::Deleted,
            None => DeleteOutcome::Missing,
        })
    }

    pub(super) async fn delete_object(
        &self,
        path: &str,
        if_match: Option<String>,
    ) -> Result<(), Failure> {
        let sent = self.call("blob.delete", path, |_| {
            self.send(Draft::new("DELETE", path).header("if-match", if_match.clone()))
        });
        sent.await.map(drop)
    }

    pub(super) async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
        check_batch(BACKEND, keys.len(), MAX_BATCH)?;
        for key in keys {
            self.check_key("blob.delete", key)?;
        }
        let paths: Vec<_> = keys.iter().map(|key| self.path(key)).collect();
        let mut outcomes = vec![DeleteOutcome::Deleted; keys.len()];
        let mut left: Vec<_> = (0..keys.len()).collect();
        for attempt in 1.. {
            if left.is_empty() {
                break;
            }
            let failed = self.delete_objects(&paths, &left).await?;
            let mut again = Vec::new();
            for at in std::mem::take(&mut left) {
                let Some((code, message)) = failed.get(&paths[at]) else {
                    outcomes[at] = DeleteOutcome::Deleted;
                    continue;
                };
                let mut failure = Failure::answered("blob.delete", 200, code.clone());
                failure.error = match &**code {
                    "NoSuchKey" => {
                        outcomes[at] = DeleteOutcome::Missing;
                        continue;
                    }
                    _ => failure.error.with_detail(format!("{:?}: {code}: {message}", keys[at])),
                };
                if failure.again {
                    again.push(at);
                }
                outcomes[at] = DeleteOutcome::Failed(failure.error);
            }
            if attempt >= self.config.attempts {
                break;
            }
            if !again.is_empty() {
                let wait = standfast_core::Backoff::new(
                    std::time::Duration::from_millis(200),
                    std::time::Duration::from_secs(20),
                );
                self.clock.local().sleep(wait.next(attempt)).await;
            }
            left = again;
        }
        Ok(outcomes)
    }

    /// Deletes some of the paths; what went wrong, by path.
    pub(super) async fn delete_objects(
        &self,
        paths: &[String],
        which: &[usize],
    ) -> Result<std::collections::HashMap<String, (String, String)>> {
        let object = |path: &String| ObjectIdentifier::builder().key(path).build();
        let objects: Result<Vec<_>, _> = which.iter().map(|at| object(&paths[*at])).collect();
        let delete = objects
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build())
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, BACKEND, "blob.delete").with_source(error)
            })?;
        let what = format!("{} keys", which.len());
        let sent = self.call("blob.delete", &what, |_| {
            self.client.delete_objects().bucket(&self.bucket).delete(delete.clone()).send()
        });
        let answer = sent.await.map_err(|failure| failure.error)?;
        let failed = answer.errors.unwrap_or_default().into_iter().filter_map(|error| {
            let text = (error.code.unwrap_or_default(), error.message.unwrap_or_default());
            Some((error.key?, text))
        });
        Ok(failed.collect())
    }
}
