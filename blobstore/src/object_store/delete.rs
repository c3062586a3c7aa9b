//! Deletes, as many at once as the store takes.

use std::sync::Arc;

use ::object_store::{Result as TheirResult, path::Path};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};

use super::convert::{failure, generic, key_of_old};
use crate::outcome::DeleteOutcome;
use crate::store::BlobStore;

/// How many batches are under way.
const AT_ONCE: usize = 4;

/// Deletes what comes, without waiting for a batch to be full: who waits for an answer before it
/// names the next one gets it. Answers come in order.
pub(super) fn delete_stream(
    store: &Arc<dyn BlobStore>,
    locations: BoxStream<'static, TheirResult<Path>>,
) -> BoxStream<'static, TheirResult<Path>> {
    let store = Arc::clone(store);
    let most = store.capabilities().max_delete_batch.max(1);
    locations
        .ready_chunks(most)
        .map(move |batch| {
            let store = Arc::clone(&store);
            async move { stream::iter(delete_batch(&*store, batch).await) }
        })
        .buffered(AT_ONCE)
        .flatten()
        .boxed()
}

async fn delete_batch(
    store: &dyn BlobStore,
    batch: Vec<TheirResult<Path>>,
) -> Vec<TheirResult<Path>> {
    let keyed: Vec<_> = batch
        .into_iter()
        .map(|location| location.and_then(|path| key_of_old(&path).map(|key| (path, key))))
        .collect();
    let keys: Vec<_> = keyed.iter().flatten().map(|(_, key)| key.clone()).collect();
    let mut outcomes = match store.delete_many(&keys).await {
        Ok(outcomes) => outcomes.into_iter(),
        Err(error) => vec![DeleteOutcome::Failed(error); keys.len()].into_iter(),
    };
    let answer = |(path, _): (Path, _)| match outcomes.next() {
        Some(DeleteOutcome::Failed(error)) => Err(failure(&path, error)),
        Some(outcome) if outcome.is_gone() => Ok(path),
        _ => Err(generic("a delete without an outcome")),
    };
    let mut answer = answer;
    keyed.into_iter().map(|keyed| keyed.and_then(&mut answer)).collect()
}
